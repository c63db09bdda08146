import type { Range, WatchEvent } from '../../shared/etcd/client.ts';
import type { KeyValue } from '../../shared/etcd/wire.ts';
import { type ClaimEntry, type EtcdKeys, type HostEntry, readClaim, readHost, routeOf } from './etcd-keys.ts';
import type { RouteEvent } from './provider.ts';

/**
 * What this host knows of the cluster: all claims and hosts as of a revision. News come from several sides (the watch,
 * answers to own writes, whole readings) and in any order; of one key the highest revision counts.
 */
export class EtcdView {
  readonly #keys: EtcdKeys;
  readonly #id: string;
  readonly #tell: (event: RouteEvent) => void;
  readonly #claims = new Map<string, ClaimEntry>();
  readonly #hosts = new Map<string, HostEntry>();
  /** Revision of the last change of each prefix, deletions too, after the last whole reading. */
  readonly #touched = new Map<string, number>();
  /** Revision of the last whole reading: news up to it are none. */
  #whole = 0;
  #revision = 0;

  constructor(keys: EtcdKeys, id: string, tell: (event: RouteEvent) => void) {
    this.#keys = keys;
    this.#id = id;
    this.#tell = tell;
  }

  /** The view has every claim that was made up to this revision. */
  get revision(): number {
    return this.#revision;
  }

  get claims(): ReadonlyMap<string, ClaimEntry> {
    return this.#claims;
  }

  get hosts(): ReadonlyMap<string, HostEntry> {
    return this.#hosts;
  }

  /** Takes over a whole reading of hosts and routes, and tells it as one. */
  reset(range: Range): void {
    this.#claims.clear();
    this.#hosts.clear();
    this.#touched.clear();
    this.#revision = range.revision;
    this.#whole = range.revision;
    for (const kv of range.kvs) this.#read(kv);
    this.#tell({ kind: 'sync', routes: [...this.#claims.values()].map((claim) => routeOf(claim, this.#id)) });
  }

  /** Takes over a reading of all routes, telling only what is new: what the watch missed, if it did. */
  merge(range: Range): void {
    if (range.revision < this.#revision) return;
    const seen = new Set<string>();
    for (const kv of range.kvs) {
      const prefix = this.#keys.prefixOf(kv.key);
      if (prefix === undefined) continue;
      seen.add(prefix);
      this.put(kv);
    }
    for (const prefix of [...this.#claims.keys()]) if (!seen.has(prefix)) this.#drop(prefix, range.revision);
    this.#revision = range.revision;
    this.#whole = range.revision;
    this.#touched.clear();
  }

  /** The events of the watch, in order. */
  follow(events: readonly WatchEvent[]): void {
    for (const { kind, kv } of events) {
      if (kind === 'put') this.put(kv);
      else this.delete(kv.key, kv.modRevision);
      this.#revision = Math.max(this.#revision, kv.modRevision);
    }
  }

  /** A claim of our own, made by a transaction that proved that no other was made before it. */
  claimed(kv: KeyValue): void {
    this.put(kv);
    this.#revision = Math.max(this.#revision, kv.modRevision);
  }

  /** A key was set. The view's revision stays: other keys may have changed before. */
  put(kv: KeyValue): void {
    const prefix = this.#keys.prefixOf(kv.key);
    if (prefix === undefined) {
      this.#read(kv);
      return;
    }
    if (kv.modRevision <= this.#last(prefix)) return;
    const claim = readClaim(prefix, kv);
    this.#claims.set(prefix, claim);
    this.#touched.set(prefix, kv.modRevision);
    this.#tell({ kind: 'put', route: routeOf(claim, this.#id) });
  }

  /** A key was deleted at this revision. */
  delete(key: string, revision: number): void {
    const prefix = this.#keys.prefixOf(key);
    if (prefix !== undefined) this.#drop(prefix, revision);
    else if (key.startsWith(this.#keys.hosts)) this.#hosts.delete(key);
  }

  #drop(prefix: string, revision: number): void {
    if (revision <= this.#last(prefix)) return;
    this.#touched.set(prefix, revision);
    if (this.#claims.delete(prefix)) this.#tell({ kind: 'remove', prefix });
  }

  #last(prefix: string): number {
    return Math.max(this.#whole, this.#touched.get(prefix) ?? 0);
  }

  #read(kv: KeyValue): void {
    const prefix = this.#keys.prefixOf(kv.key);
    if (prefix !== undefined) this.#claims.set(prefix, readClaim(prefix, kv));
    else if (kv.key.startsWith(this.#keys.hosts)) this.#hosts.set(kv.key, readHost(kv));
  }
}
