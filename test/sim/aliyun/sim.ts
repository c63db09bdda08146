/**
 * A simulated Alibaba Cloud account: VPC, ECS, NAS and Quota Center (RPC, signatures V1 and V3) on one address, the
 * metadata service on another, and the control interface of the core.
 *
 *   const sim = await startAliyunSim();
 *   const vpc = sim.vpc({ cidr: '10.250.0.0/16' });
 *   const vswitch = sim.vswitch({ vpc: vpc.id, cidr: '10.250.0.0/24' });
 *   const host = sim.instance({ vswitch: vswitch.id, role: sim.role({ name: 'drayage' }).name, source: '127.0.0.2' });
 */
import { apiHandler, type Core, type Service } from '../core/api.ts';
import type { Call, CallFilter } from '../core/call-log.ts';
import { type CoreConfig, makeCore } from '../core/config.ts';
import { controlHandler } from '../core/control.ts';
import type { Credential, KeyRequest } from '../core/credentials.ts';
import { type HttpHandler, type HttpServer, listen } from '../core/http.ts';
import { type DiskTimes, type Media, type MediaDisk, noMedia, noTimes } from '../core/media.ts';
import { Quotas } from '../core/quotas.ts';
import { type RateTable, Throttle } from '../core/rates.ts';
import type { EffectiveRoute, RouteSink } from '../core/routes.ts';
import { Builder } from './builder.ts';
import { DiskTokens, diskActions } from './disk-actions.ts';
import { diskLists } from './disk-list.ts';
import { tagActions } from './disk-tags.ts';
import { DISK_QUOTAS, Disks } from './disks.ts';
import { ecsActions } from './ecs-actions.ts';
import { Gate, type Json, rpcService } from './gateway.ts';
import { MetadataService } from './metadata.ts';
import { NAS_QUOTAS, Nas } from './nas.ts';
import { nasActions } from './nas-actions.ts';
import { nasLists } from './nas-list.ts';
import { nasRules } from './nas-rules.ts';
import { quotaActions } from './quota-actions.ts';
import { routeActions } from './route-actions.ts';
import { ROUTES_QUOTA, Routing, type Timing } from './routing.ts';
import { readSigned } from './signature.ts';
import { snapshotActions } from './snapshot-actions.ts';
import { aliyunVerbs } from './verbs.ts';
import { vpcActions } from './vpc-actions.ts';
import { World } from './world.ts';

export interface AliyunConfig extends CoreConfig {
  readonly region?: string;
  readonly account?: string;
  readonly timing?: Partial<Timing>;
  /** How long an instance's role credentials hold; six hours by default. */
  readonly roleTtlMs?: number;
  /** Where disks have their bytes, and machines; none by default. */
  readonly media?: Media;
  /** How long states of disks last; not at all by default. */
  readonly times?: Partial<DiskTimes>;
  /** How disks are plugged in: `virtio`, unless told. */
  readonly bus?: MediaDisk['bus'];
}

/** The vendor publishes no table of its limits per API; these are of the order that its users report. */
export const ALIYUN_RATES: RateTable = {
  'Describe*': { burst: 100, perSecond: 20 },
  'List*': { burst: 50, perSecond: 10 },
  'Get*': { burst: 50, perSecond: 10 },
  '*': { burst: 20, perSecond: 5 },
};

export const ALIYUN_QUOTAS = {
  [ROUTES_QUOTA]: 200,
  vpc_quota_route_tables_num: 9,
  vpc_quota_vswitches_num: 150,
} as const;

/** Long enough to be met, short enough to play with; real entries take one to a few seconds. */
const TIMING: Timing = {
  settleMs: 1_000,
  conflictMs: 500,
  conflict: 'TaskConflict',
  duplicate: 'InvalidCIDRBlock.Duplicate',
};

const HOURS = 3_600_000;

export class AliyunSim extends Builder {
  readonly core: Core;
  readonly world: World;
  readonly quotas: Quotas;
  readonly region: string;
  /** File systems of NAS, and what can be done to them behind everybody's back. */
  readonly nas: Nas;
  readonly #disks: Disks;
  readonly #metadata: MetadataService;
  readonly #throttles: readonly Throttle[];
  readonly #servers: HttpServer[] = [];
  #lagMs: number;

  private constructor(parts: {
    core: Core;
    world: World;
    routing: Routing;
    disks: Disks;
    nas: Nas;
    quotas: Quotas;
    config: AliyunConfig;
    throttles: readonly Throttle[];
  }) {
    super(parts.world, parts.routing, parts.disks);
    this.#disks = parts.disks;
    this.nas = parts.nas;
    this.core = parts.core;
    this.world = parts.world;
    this.quotas = parts.quotas;
    this.region = parts.world.region;
    this.#throttles = parts.throttles;
    this.#lagMs = parts.config.lagMs ?? 0;
    this.#metadata = new MetadataService(parts.core, parts.world, {
      role: (name) => this.roleOf(name),
      roleTtlMs: parts.config.roleTtlMs ?? 6 * HOURS,
    });
  }

  static async start(config: AliyunConfig = {}): Promise<AliyunSim> {
    const core = makeCore(config, { lasting: 'LTAI', temporary: 'STS.' });
    const region = config.region ?? 'cn-hangzhou';
    const account = config.account ?? '1234567890123456';
    const quotas = new Quotas({ ...ALIYUN_QUOTAS, ...DISK_QUOTAS, ...NAS_QUOTAS, ...config.quotas });
    let lag = (): number => 0;
    const world = new World(core, region, () => lag());
    const routing = new Routing(world, quotas, { ...TIMING, ...config.timing });
    const disks = new Disks(world, {
      ...{ media: config.media ?? noMedia, times: { ...noTimes, ...config.times }, bus: config.bus ?? 'virtio' },
      ...{ quotas, lag: () => lag() },
    });
    const nas = new Nas(world, quotas, () => lag());
    const tokens = new DiskTokens(world);
    const gate = new Gate(core);
    const product = (name: string, version: string, actions: Parameters<typeof rpcService>[0]['actions']) => {
      const throttle = new Throttle(config.rates ?? ALIYUN_RATES, core.clock);
      return {
        throttle,
        version,
        service: rpcService({ clock: core.clock, name, version, throttle, gate, actions, region, account }),
      };
    };
    const products = [
      product('vpc', '2016-04-28', { ...vpcActions(world), ...routeActions(world, routing) }),
      product('ecs', '2014-05-26', {
        ...ecsActions(world),
        ...diskLists(world, disks),
        ...diskActions(world, disks, tokens),
        ...snapshotActions(disks, tokens),
        ...tagActions(disks),
      }),
      product('nas', '2017-06-26', { ...nasLists(nas), ...nasActions(nas), ...nasRules(nas) }),
      product('quotas', '2020-05-10', quotaActions(quotas, region)),
    ];
    const throttles = products.map(({ throttle }) => throttle);
    const sim = new AliyunSim({ core, world, routing, disks, nas, quotas, config, throttles });
    lag = () => sim.lagMs;
    await sim.#listen(config, products);
    return sim;
  }

  async #listen(
    config: AliyunConfig,
    products: readonly { readonly version: string; readonly service: Service<Json> }[],
  ): Promise<void> {
    const handlers = products.map(({ version, service }) => ({ version, handler: apiHandler(this.core, service) }));
    // The real products have a host name each; here the version tells them apart.
    const api: HttpHandler = (request) => {
      const { version } = readSigned(request);
      const { handler } = handlers.find((one) => one.version === version) ?? handlers[0] ?? {};
      if (handler === undefined) throw new Error('no products');
      return handler(request);
    };
    const control = controlHandler({
      core: this.core,
      verbs: aliyunVerbs(this),
      info: () => this.info(),
      state: () => this.state(),
    });
    try {
      this.#servers.push(await listen(api, config.api));
      this.#servers.push(await listen(apiHandler(this.core, this.#metadata.service()), config.metadata));
      this.#servers.push(await listen(control, config.control));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Where the API of all products answers. */
  get endpoint(): string {
    return this.#servers[0]?.url ?? '';
  }

  get metadataEndpoint(): string {
    return this.#servers[1]?.url ?? '';
  }

  get control(): string {
    return this.#servers[2]?.url ?? '';
  }

  calls(filter: CallFilter = {}): Call[] {
    return this.core.calls.list(filter);
  }

  count(filter: CallFilter = {}): number {
    return this.core.calls.count(filter);
  }

  clearCalls(): void {
    this.core.calls.clear();
  }

  /** What a router should carry: every custom entry as it is now. */
  effectiveRoutes(): readonly EffectiveRoute[] {
    return this.core.routes.current.routes;
  }

  /** Gives the sink the routes now and with each change; calls are answered after it has applied them. */
  attach(sink: RouteSink): Promise<void> {
    return this.core.routes.attach(sink);
  }

  /** Resolves when all sinks have the routes as they are. */
  settled(): Promise<void> {
    return this.core.routes.settled();
  }

  get faults(): Core['faults'] {
    return this.core.faults;
  }

  get clock(): Core['clock'] {
    return this.core.clock;
  }

  /** Milliseconds until a write shows in lists of entries. */
  get lagMs(): number {
    return this.#lagMs;
  }

  set lagMs(ms: number) {
    this.#lagMs = ms;
  }

  get roleTtlMs(): number {
    return this.#metadata.roleTtlMs;
  }

  set roleTtlMs(ms: number) {
    this.#metadata.roleTtlMs = ms;
  }

  /** A new user with one access key. */
  key(request: KeyRequest = {}): Credential {
    return this.core.credentials.key(request);
  }

  /** The credentials that an instance's role has now. */
  roleCredentials(instance: string): Credential | undefined {
    const found = this.world.instances.get(instance);
    return found === undefined ? undefined : this.#metadata.session(found);
  }

  /** The credential's time is over. */
  expire(accessKeyId: string): void {
    this.core.credentials.expire(accessKeyId);
  }

  /** Who asks the metadata service from an address that no instance has is this one. */
  takeStrangersFor(instance: string): void {
    this.#metadata.fallback = instance;
  }

  /** A metadata service of its own for one instance, whatever the caller's address: for many hosts in one process. */
  async metadataOf(instance: string): Promise<string> {
    const server = await listen(apiHandler(this.core, this.#metadata.service(instance)));
    this.#servers.push(server);
    return server.url;
  }

  /** New limits from now on; `{}` for none. */
  rates(table: RateTable): void {
    for (const throttle of this.#throttles) throttle.configure(table);
  }

  info(): Readonly<Record<string, unknown>> {
    const { endpoint, metadataEndpoint, control, region } = this;
    // As settings of the plugin.
    const settings = {
      PROVIDER: 'aliyun',
      REGION: region,
      CLOUD_ENDPOINT: endpoint,
      METADATA_ENDPOINT: metadataEndpoint,
    };
    return { cloud: 'aliyun', region, endpoint, metadataEndpoint, control, settings };
  }

  state(): Readonly<Record<string, unknown>> {
    const { vpcs, vswitches, tables, instances, gateways } = this.world;
    const all = { vpcs, vswitches, tables, instances, gateways };
    const lists = Object.entries(all).map(([name, map]) => [name, [...map.values()]]);
    const made = { routes: this.routes(), disks: this.disks(), snapshots: this.snapshots(), nas: this.nas.state() };
    return { ...Object.fromEntries(lists), ...made, quotas: this.quotas.all() };
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.close()));
    const [failure] = this.#disks.failures();
    if (failure !== undefined) throw failure;
  }
}

/** Starts a simulator on 127.0.0.1 (or where the configuration says). It ends with `close`. */
export const startAliyunSim = (config: AliyunConfig = {}): Promise<AliyunSim> => AliyunSim.start(config);
