import { hostCidr, overlaps, parseAddress, parseCidr } from '../../shared/cidr.ts';
import { type Context, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { EtcdClient } from '../../shared/etcd/client.ts';
import type { EtcdOptions } from '../../shared/etcd/transport.ts';
import { EtcdError, type KeyValue } from '../../shared/etcd/wire.ts';
import type { Logger } from '../../shared/log.ts';
import { type ClaimEntry, EtcdKeys, readClaim, routeOf, writeClaim } from './etcd-keys.ts';
import { EtcdSession, translate } from './etcd-session.ts';
import type { EtcdView } from './etcd-view.ts';
import type { NextHop, RouteEvent, RouteProvider, RouteRequest, RouteTable } from './provider.ts';

export interface EtcdProviderOptions {
  readonly etcd: EtcdOptions;
  /** First part of all keys, such as `/drayage`. */
  readonly root: string;
  readonly cluster: string;
  /** This host's name, and the addresses that peers send to. */
  readonly self: NextHop;
  /** Made once per host and kept in its state. */
  readonly id: string;
  readonly leaseSeconds: number;
  /** Look on only. */
  readonly observer?: boolean;
  readonly log: Logger;
}

const TABLE = 'main';
/** Of those that ask at once one always wins, so the others need not wait long. */
const LONGEST_JITTER_MS = 40;

/**
 * Provider `etcd`: private hosts on one network that route to each other directly. A claim is a key under the host's
 * lease, written by a transaction that fails when any claim of the cluster changed since it was checked for overlaps:
 * so no two hosts ever hold overlapping prefixes, and a host that is gone gives its prefixes back with its lease.
 */
export class EtcdProvider implements RouteProvider {
  readonly name = 'etcd';
  readonly installsKernelRoutes = true;
  readonly allowsNarrower = true;
  readonly #options: EtcdProviderOptions;
  readonly #client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #session: EtcdSession;
  readonly #listeners = new Set<(event: RouteEvent) => void>();

  constructor(options: EtcdProviderOptions) {
    const { self, id, leaseSeconds, observer = false, log } = options;
    this.#options = options;
    this.#client = new EtcdClient(options.etcd);
    this.#keys = new EtcdKeys(options.root, options.cluster);
    const tell = (event: RouteEvent): void => {
      for (const listener of this.#listeners) listener(event);
    };
    const keys = this.#keys;
    this.#session = new EtcdSession({ client: this.#client, keys, self, id, leaseSeconds, observer, log, tell });
  }

  get #view(): EtcdView {
    return this.#session.view;
  }

  start(c: Context): Promise<void> {
    return this.#session.start(c);
  }

  async self(): Promise<NextHop> {
    return this.#options.self;
  }

  async tables(): Promise<readonly string[]> {
    return [TABLE];
  }

  async read(c: Context): Promise<readonly RouteTable[]> {
    this.#view.merge(await this.#guard(() => this.#client.rangePrefix(this.#keys.routes, c)));
    return [{ id: TABLE, routes: [...this.#view.claims.values()].map((claim) => routeOf(claim, this.#options.id)) }];
  }

  async create(_table: string, request: RouteRequest, c: Context): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const done = await this.#guard(() => this.#attempt(request, attempt > 0, c));
      if (done) return;
      await sleep(Math.random() * Math.min(LONGEST_JITTER_MS, 5 * 2 ** attempt), c);
    }
  }

  async replace(_table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    const { lease } = await this.#session.grip(c);
    const key = this.#keys.route(request.prefix);
    const claim = await this.#read(request.prefix, c);
    const conflict = (target: string): PluginError =>
      new PluginError('ROUTE_CONFLICT', { prefix: request.prefix, table: 'etcd', target });
    if (claim === undefined) throw conflict('nothing');
    if (claim.host !== expected.host) throw conflict(claim.host);
    const value = writeClaim(request.prefix, request.pool, this.#options.self, this.#options.id);
    const result = await this.#guard(() =>
      this.#client.txn([{ key, modRevision: claim.modRevision }], [{ put: key, value, lease }], [], c),
    );
    if (result.succeeded) {
      this.#view.put(written(key, value, lease, result.revision));
      return;
    }
    // A request whose answer is lost on the way is sent again, and then finds its own effect.
    this.#view.merge(await this.#guard(() => this.#client.rangePrefix(this.#keys.routes, c)));
    const holder = this.#view.claims.get(request.prefix);
    if (holder?.id !== this.#options.id || holder.lease !== lease) throw conflict(holder?.host ?? 'nothing by now');
  }

  async remove(_table: string, { prefix }: Pick<RouteRequest, 'prefix'>, c: Context): Promise<void> {
    const key = this.#keys.route(prefix);
    for (;;) {
      const claim = await this.#read(prefix, c);
      if (claim === undefined || claim.id !== this.#options.id) return;
      const compare = [{ key, modRevision: claim.modRevision }];
      const result = await this.#guard(() => this.#client.txn(compare, [{ delete: key }], [], c));
      if (result.succeeded) {
        this.#view.delete(key, result.revision);
        return;
      }
    }
  }

  /** The hosts themselves: all of them know the way to all containers. */
  local(): readonly string[] {
    const hosts = [...this.#view.hosts.values(), this.#options.self];
    const addresses = hosts.flatMap(({ address, address6 }) => [address, address6]);
    return [...new Set(addresses.flatMap((one) => (one === undefined ? [] : [hostCidr(parseAddress(one)).text])))];
  }

  watch(onEvent: (event: RouteEvent) => void): () => void {
    this.#listeners.add(onEvent);
    return () => void this.#listeners.delete(onEvent);
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    return {
      endpoint: this.#client.endpoint,
      cluster: this.#options.cluster,
      lease: this.#session.lease ?? 'none',
      hosts: this.#view.hosts.size,
      claims: this.#view.claims.size,
      revision: this.#view.revision,
    };
  }

  async close(): Promise<void> {
    await this.#session.close();
    this.#listeners.clear();
  }

  /** One optimistic attempt at a claim. False: somebody else changed something meanwhile, and the view is now fresh. */
  async #attempt({ prefix, pool }: RouteRequest, fresh: boolean, c: Context): Promise<boolean> {
    const { lease, hostRevision } = await this.#session.grip(c);
    const { revision } = this.#view;
    const asked = parseCidr(prefix);
    const taken = [...this.#view.claims.values()].find((claim) => overlaps(asked, parseCidr(claim.prefix)));
    if (taken !== undefined) {
      const isOurs = taken.prefix === prefix && taken.id === this.#options.id;
      // Before anybody is refused, or told that all is well, etcd is asked whether it still is so.
      if (!fresh && (await this.#read(taken.prefix, c))?.modRevision !== taken.modRevision) {
        this.#view.merge(await this.#client.rangePrefix(this.#keys.routes, c));
        return false;
      }
      if (!isOurs) throw this.#owned(prefix, taken);
      if (taken.lease === lease) return true;
    }
    const key = this.#keys.route(prefix);
    const hostKey = this.#keys.host(this.#options.self.host);
    const value = writeClaim(prefix, pool, this.#options.self, this.#options.id);
    try {
      const result = await this.#client.txn(
        [
          { prefix: this.#keys.routes, unchangedSince: revision },
          { key: hostKey, createRevision: hostRevision },
        ],
        [{ put: key, value, lease }],
        [{ rangePrefix: this.#keys.routes }, { rangePrefix: hostKey }],
        c,
      );
      if (result.succeeded) {
        this.#view.claimed(written(key, value, lease, result.revision));
        return true;
      }
      const [routes, host] = result.ranges;
      if (routes !== undefined) this.#view.merge(routes);
      if (host?.kvs.find((kv) => kv.key === hostKey)?.createRevision !== hostRevision) this.#session.lost();
      return false;
    } catch (error) {
      if (!(error instanceof EtcdError) || error.kind !== 'lease-gone') throw error;
      this.#session.lost();
      return false;
    }
  }

  async #read(prefix: string, c: Context): Promise<ClaimEntry | undefined> {
    const kv = await this.#guard(() => this.#client.get(this.#keys.route(prefix), c));
    return kv === undefined ? undefined : readClaim(prefix, kv);
  }

  #owned(prefix: string, { prefix: other, host, id }: ClaimEntry): PluginError {
    if (id === this.#options.id) return new PluginError('PREFIX_OVERLAP', { prefix, other, owner: 'this host' });
    return new PluginError('PREFIX_OWNED', { prefix, owner: host, other: other === prefix ? undefined : other });
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw translate(error);
    }
  }
}

const written = (key: string, value: string, lease: string, revision: number): KeyValue => ({
  key,
  value,
  lease,
  createRevision: revision,
  modRevision: revision,
});
