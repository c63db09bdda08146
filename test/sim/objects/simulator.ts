/** What the simulated object stores have in common: their parts, their control interface, and handles for tests. */

import { type Call, type CallFilter, CallLog } from '../core/call-log.ts';
import { type Clock, RealClock } from '../core/clock.ts';
import { controlHandler } from '../core/control.ts';
import { type Credential, Credentials, type KeyRequest, type KeyStyle } from '../core/credentials.ts';
import { Faults, type ObjectFault } from '../core/faults.ts';
import { type HttpServer, type ListenAt, listen } from '../core/http.ts';
import { Ids } from '../core/ids.ts';
import { RoutePublisher } from '../core/routes.ts';
import type { Bucket } from './bucket.ts';
import { type ObjectCore, type ObjectService, objectHandler } from './service.ts';
import type { ServiceParts } from './store-service.ts';
import { listenObjects, type TlsFiles, type WireServer } from './wire.ts';
import type { ObjectLimits, ObjectWorld } from './world.ts';

/** All of it but `clock` may come as JSON. */
export interface ObjectSimConfig {
  /** The machine's time by default. */
  readonly clock?: Clock;
  readonly region?: string;
  /** Where requests come to: 127.0.0.1, and any free port, by default. */
  readonly host?: string;
  readonly port?: number;
  /** HTTPS in the place of HTTP. */
  readonly tls?: TlsFiles;
  /** Where the control interface listens; without it there is none. */
  readonly control?: ListenAt;
  /** Milliseconds from the end of a request to its answer; 0 by default. */
  readonly latencyMs?: number;
  /** Buckets that are there from the start. */
  readonly buckets?: readonly string[];
  /** Bodies of 64 KiB and more have ETags that are no MD5 (as with SSE-KMS): MD5 takes 1.3 s of CPU for a GiB. */
  readonly fastEtags?: boolean;
  /** Hosts below these name a bucket; `localhost` by default. */
  readonly domains?: readonly string[];
  /** Access keys that exist from the start, as the first user's. */
  readonly key?: { readonly id: string; readonly secret: string };
  /** Calls that are remembered, the newest; 20,000 by default. */
  readonly kept?: number;
}

const never = (): never => {
  throw new Error('an object store has no routes');
};

/** Quotas and states of a bucket, as JSON. */
export interface BucketSettings {
  readonly readOnly?: boolean;
  /** null: none. */
  readonly quotaBytes?: number | null;
  readonly quotaObjects?: number | null;
  /** May be read without a signature. */
  readonly open?: boolean;
}

/** What a vendor's simulator is made of. */
export interface VendorParts<W> {
  readonly keys: KeyStyle;
  /** The usual region. */
  readonly region: string;
  world(region: string, clock: Clock): W;
}

/** A simulated object store. Subclasses say what it speaks. */
export abstract class ObjectSim<W extends ObjectWorld = ObjectWorld> {
  readonly core: ObjectCore;
  readonly world: W;
  readonly region: string;
  /** Permissions in the vendor's words (`s3:PutObject`) that nobody has. */
  readonly denied = new Set<string>();
  /** Buckets that may be read without a signature. */
  readonly open = new Set<string>();
  readonly domains: readonly string[];
  #wire: WireServer | undefined;
  #control: HttpServer | undefined;

  constructor(config: ObjectSimConfig, vendor: VendorParts<W>) {
    const clock = config.clock ?? new RealClock();
    const ids = new Ids();
    this.region = config.region ?? vendor.region;
    this.domains = config.domains ?? ['localhost'];
    this.core = {
      clock,
      ids,
      credentials: new Credentials(clock, ids, vendor.keys),
      faults: new Faults<ObjectFault>(clock),
      calls: new CallLog(config.kept ?? 20_000),
      counts: new Map(),
      latency: new Map([['*', config.latencyMs ?? 0]]),
    };
    if (config.key !== undefined) this.core.credentials.add(config.key);
    this.world = vendor.world(this.region, clock);
    for (const name of config.buckets ?? []) this.world.addBucket(name);
  }

  protected abstract service(parts: ServiceParts<W>): ObjectService;
  /** Those that only this vendor's has, for the control interface. */
  protected abstract verbs(): Readonly<Record<string, (argument: never) => unknown>>;
  /** What the vendor's tools need in their environment. */
  abstract environment(key?: Credential): Record<string, string>;

  get endpoint(): string {
    return this.#wire?.url ?? never();
  }

  get port(): number {
    return this.#wire?.port ?? never();
  }

  get faults(): Faults<ObjectFault> {
    return this.core.faults;
  }

  get clock(): Clock {
    return this.core.clock;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#wire?.connections ?? 0;
  }

  key(request: KeyRequest = {}): Credential {
    return this.core.credentials.key(request);
  }

  get buckets(): ReadonlyMap<string, Bucket> {
    return this.world.buckets;
  }

  /** Makes it when it is not there. One of another region is not served as one of this is. */
  bucket(name: string, region?: string): Bucket {
    return this.world.buckets.get(name) ?? this.world.addBucket(name, region);
  }

  /** Somebody else has a bucket of that name. */
  taken(name: string): void {
    this.world.taken.add(name);
  }

  /** Other limits, such as parts of 1 KiB: to test uploads in parts with little. */
  limits(limits: Partial<ObjectLimits>): void {
    Object.assign(this.world.limits, limits);
  }

  /** Milliseconds for the action, or for all that have no latency of their own. */
  latency(ms: number, action = '*'): void {
    this.core.latency.set(action, ms);
  }

  calls(filter: CallFilter = {}): Call[] {
    return this.core.calls.list(filter);
  }

  /** Calls by action since the start or `clearCalls`. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.core.counts);
  }

  clearCalls(): void {
    this.core.calls.clear();
    this.core.counts.clear();
  }

  deny(...actions: readonly string[]): void {
    for (const action of actions) this.denied.add(action);
  }

  allow(...actions: readonly string[]): void {
    for (const action of actions) this.denied.delete(action);
  }

  set(name: string, settings: BucketSettings): void {
    const bucket = this.bucket(name);
    const { readOnly, quotaBytes, quotaObjects, open } = settings;
    if (open === true) this.open.add(name);
    if (open === false) this.open.delete(name);
    if (readOnly !== undefined) bucket.readOnly = readOnly;
    if (quotaBytes !== undefined) bucket.quotaBytes = quotaBytes ?? Number.POSITIVE_INFINITY;
    if (quotaObjects !== undefined) bucket.quotaObjects = quotaObjects ?? Number.POSITIVE_INFINITY;
  }

  /** Cuts all connections; new ones are taken. */
  cut(): void {
    this.#wire?.cut();
  }

  /** Nobody listens any more, and all connections are cut; what is stored stays. `resume` on the same port. */
  async halt(): Promise<void> {
    await this.#wire?.close();
  }

  async resume(): Promise<void> {
    await this.start({ ...this.#config, port: this.port });
  }

  #config: ObjectSimConfig = {};

  async start(config: ObjectSimConfig): Promise<void> {
    this.#config = config;
    const { host, port, tls, control } = config;
    const at = { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) };
    const { world, denied, open, domains } = this;
    const service = this.service({ world, credentials: this.core.credentials, denied, open, domains });
    this.#wire = await listenObjects(objectHandler(this.core, service), {
      ...at,
      ...(tls === undefined ? {} : { tls }),
    });
    if (control === undefined || this.#control !== undefined) return;
    const handler = controlHandler({
      core: { ...this.core, routes: new RoutePublisher() },
      verbs: {
        latency: ({ ms, action }: { ms: number; action?: string }) => this.latency(ms, action),
        counts: () => this.counts(),
        clearCalls: () => this.clearCalls(),
        deny: ({ actions }: { actions: readonly string[] }) => this.deny(...actions),
        allow: ({ actions }: { actions: readonly string[] }) => this.allow(...actions),
        make: ({ name, region }: { name: string; region?: string }) => {
          this.bucket(name, region);
        },
        taken: ({ name }: { name: string }) => this.taken(name),
        limits: (limits: Partial<ObjectLimits>) => this.limits(limits),
        bucket: ({ name, ...settings }: { name: string } & BucketSettings) => this.set(name, settings),
        cut: () => this.cut(),
        halt: () => this.halt(),
        resume: () => this.resume(),
        ...this.verbs(),
      },
      info: () => this.info(),
      state: () => this.state(),
    });
    this.#control = await listen(handler, control);
  }

  info() {
    return {
      endpoint: this.endpoint,
      port: this.port,
      region: this.region,
      control: this.#control?.url,
      pid: process.pid,
    };
  }

  /** Buckets with their objects: keys, sizes and ETags. */
  state() {
    return [...this.buckets.values()].map((bucket) => ({
      name: bucket.name,
      region: bucket.region,
      bytes: bucket.bytes,
      uploads: [...bucket.uploads.values()].map(({ id, key, parts }) => ({ id, key, parts: parts.size })),
      objects: bucket.all().map(({ key, size, etag, meta }) => ({ key, size, etag, meta })),
    }));
  }

  async close(): Promise<void> {
    await Promise.all([this.#wire?.close(), this.#control?.close()]);
  }
}
