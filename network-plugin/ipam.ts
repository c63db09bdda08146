import {
  type Cidr,
  contains,
  first as firstOf,
  formatAddress,
  last as lastOf,
  overlaps,
  parseAddress,
  parseCidr,
} from '../shared/cidr.ts';
import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { StateStore } from '../shared/state/store.ts';
import { homePool, parseIpamOptions, type Settings } from './options.ts';
import type { FreePrefix } from './route/free-prefix.ts';
import type { AddressRecord, EndpointRecord, NetworkState, PoolRecord } from './state.ts';

/** The part of the route engine that claiming needs. */
export interface Claims {
  claim(prefix: string, pool: string, c: Context): Promise<void>;
  claimFree(wanted: FreePrefix, c: Context): Promise<string>;
  release(prefix: string, c: Context): Promise<void>;
  ownerOf(address: string): { readonly host: string; readonly prefix: string; readonly ours: boolean } | undefined;
}

export interface PoolRequest {
  readonly addressSpace: string;
  readonly pool: string | undefined;
  readonly range: string | undefined;
  readonly options: Record<string, string>;
  readonly v6: boolean;
}

export interface AddressRequest {
  readonly pool: string;
  readonly address: string | undefined;
  readonly gateway: boolean;
}

/** What a RequestPool comes to: `exact` is the prefix to claim, or else a free one of `length` in `range` or `pool`. */
interface PoolPlan {
  readonly pool: Cidr;
  readonly range: Cidr | undefined;
  readonly exact: Cidr | undefined;
  readonly length: number;
}

/** The one address space of this driver: its pools are told apart by the route provider. */
export const ADDRESS_SPACE = 'vpc';

/** A released address rests this long, so that peers' neighbour tables and connections forget its last holder. */
export const REST_MS = 30_000;
/** Docker creates the endpoint within this time of asking for its address; afterwards a holder without one is gone. */
const UNCLAIMED_MS = 60_000;

/**
 * The PoolID says all that is needed to make the record again, so that a lost state folder is mended by Docker's next
 * request. Docker stores it and repeats it as it is: no request replay at start is needed.
 */
const poolId = (pool: string, prefix: string, range: string | undefined): string =>
  ['vpc', pool, prefix, ...(range === undefined ? [] : [range])].join('|');

const addressKey = (pool: string, address: string): string => `${pool}|${address}`;

/**
 * Docker's IPAM driver `vpc`. RequestPool claims a prefix for this host at the route provider: the claim is the lock
 * between hosts. Addresses come from that prefix; Docker is told the whole pool, so that it lets `--ip` name any
 * address of it and this driver can say whose it is.
 */
export class Ipam {
  readonly #store: StateStore<NetworkState>;
  readonly #claims: Claims;
  readonly #settings: Pick<Settings, 'pool' | 'prefix' | 'pool6' | 'prefix6'>;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();

  constructor(
    store: StateStore<NetworkState>,
    claims: Claims,
    settings: Pick<Settings, 'pool' | 'prefix' | 'pool6' | 'prefix6'>,
    now: () => number = Date.now,
  ) {
    this.#store = store;
    this.#claims = claims;
    this.#settings = settings;
    this.#now = now;
  }

  /** Claims a prefix and answers the pool's record. Errors: OPTION_*, POOL_INVALID, POOL_EXHAUSTED, PREFIX_*. */
  async requestPool(request: PoolRequest, c: Context): Promise<PoolRecord> {
    if (request.addressSpace !== ADDRESS_SPACE) {
      throw new PluginError('BAD_REQUEST', {
        reason: `the address space is "${request.addressSpace}", and this driver's is "${ADDRESS_SPACE}"`,
      });
    }
    const plan = this.#plan(request);
    return this.#locks.run(plan.pool.text, () => this.#claimPool(plan, c), c);
  }

  #plan(request: PoolRequest): PoolPlan {
    const options = parseIpamOptions(request.options);
    const subnet = request.pool === undefined ? undefined : parseCidr(request.pool);
    // Both requests of a dual-stack network bring all options.
    const [named, length] = request.v6
      ? [options.pool6, options.prefix6 ?? this.#settings.prefix6]
      : [options.pool, options.prefix ?? this.#settings.prefix];
    if (subnet !== undefined && named !== undefined && !contains(named, subnet)) {
      const reason = `--subnet names ${subnet.text}, which is not in it`;
      throw new PluginError('POOL_INVALID', { pool: named.text, reason });
    }
    const pool = named ?? subnet ?? (request.v6 ? this.#settings.pool6 : this.#settings.pool);
    if (request.v6 !== (pool.family === 6)) {
      throw new PluginError('POOL_INVALID', {
        pool: pool.text,
        reason: `an IPv${request.v6 ? 6 : 4} pool was asked for`,
      });
    }
    // With both, the pool is the named one and the subnet says where in it this host's prefix is.
    const narrow = request.range ?? (named === undefined ? undefined : subnet?.text);
    const range = narrow === undefined ? undefined : parseCidr(narrow);
    if (range !== undefined && !contains(pool, range)) {
      throw new PluginError('POOL_INVALID', { pool: pool.text, reason: `--ip-range ${range.text} is outside of it` });
    }
    if (pool.length >= length) return { pool, range, exact: pool, length };
    if (range !== undefined && range.length >= length) return { pool, range: undefined, exact: range, length };
    return { pool, range, exact: undefined, length };
  }

  async #claimPool(plan: PoolPlan, c: Context): Promise<PoolRecord> {
    const { pool, exact, length } = plan;
    // A range wider than a host's prefix says where in the pool to look for a free one.
    const range = exact === undefined || plan.range?.text === exact.text ? undefined : plan.range?.text;
    if (exact !== undefined) {
      const id = poolId(pool.text, exact.text, range);
      const known = this.#store.get('pools', id);
      // The engine repeats a call whose answer was lost: a pool that nothing has used since is that call's.
      if (known !== undefined && known.network === undefined && known.released !== true && known.gateway === undefined)
        return known;
      // One whose release was lost is given to whoever asks next.
      if (known?.released === true && known.network === undefined) await this.dropPool(id, c);
      this.#refuseOverlap(exact);
    }
    const prefix =
      exact?.text ??
      (await this.#claims.claimFree(
        {
          pool: pool.text,
          length,
          ...(plan.range === undefined ? {} : { within: plan.range.text }),
          ...this.#formerPrefix(pool),
        },
        c,
      ));
    if (exact !== undefined) await this.#claims.claim(exact.text, homePool(pool, this.#settings).text, c);
    return this.#saveRecord(pool.text, prefix, range);
  }

  #saveRecord(pool: string, prefix: string, range: string | undefined): Promise<PoolRecord> {
    const record: PoolRecord = {
      id: poolId(pool, prefix, range),
      addressSpace: ADDRESS_SPACE,
      pool,
      prefix,
      ...(range === undefined ? {} : { range }),
      next: usable(parseCidr(range ?? prefix), parseCidr(prefix))[0],
      since: this.#now(),
    };
    return this.#store.update((tx) => {
      tx.put('pools', record.id, record);
      return record;
    });
  }

  /** A claim of the pool that nothing uses any more: what an interrupted call left is the first to be taken again. */
  #formerPrefix(pool: Cidr): Pick<FreePrefix, 'preferred'> {
    const used = new Set([...this.#store.all('pools').values()].map((record) => record.prefix));
    for (const network of this.#store.all('networks').values()) for (const prefix of network.prefixes) used.add(prefix);
    for (const claim of this.#store.all('claims').values()) {
      if (claim.pool === pool.text && claim.phase !== 'releasing' && !used.has(claim.prefix))
        return { preferred: claim.prefix };
    }
    return {};
  }

  #refuseOverlap(prefix: Cidr): void {
    for (const other of this.#store.all('pools').values()) {
      if (overlaps(prefix, parseCidr(other.prefix))) {
        throw new PluginError('PREFIX_OVERLAP', {
          prefix: prefix.text,
          other: other.prefix,
          owner: `${other.network === undefined ? 'another network' : `network ${other.network.slice(0, 12)}`} of this host`,
        });
      }
    }
  }

  /** Gives the pool back. Where a network still stands on it, the claim is kept until Docker deletes that too. */
  async releasePool(id: string, c: Context): Promise<void> {
    const record = this.#store.get('pools', id);
    if (record === undefined) return;
    await this.#locks.run(
      record.pool,
      async () => {
        if (record.network !== undefined && this.#store.get('networks', record.network) !== undefined) {
          await this.#store.update((tx) => tx.put('pools', id, { ...record, released: true }));
        } else {
          await this.dropPool(id, c);
        }
      },
      c,
    );
  }

  /** Forgets a pool with its addresses and releases its prefix. */
  async dropPool(id: string, c: Context): Promise<void> {
    const record = this.#store.get('pools', id);
    if (record === undefined) return;
    await this.#claims.release(record.prefix, c);
    await this.#store.update((tx) => {
      for (const [key, address] of tx.all('addresses')) if (address.pool === id) tx.delete('addresses', key);
      tx.delete('pools', id);
    });
  }

  /**
   * An address with the length of the host's prefix, such as `10.64.3.5/24`: what lies beyond goes by the gateway.
   * Errors: ADDRESS_IN_USE, ADDRESS_ELSEWHERE, ADDRESS_OUTSIDE, POOL_EXHAUSTED.
   */
  async requestAddress(request: AddressRequest, c: Context): Promise<string> {
    const record = this.#store.get('pools', request.pool) ?? (await this.#rebuild(request.pool, c));
    const prefix = parseCidr(record.prefix);
    const wanted = request.address === undefined ? undefined : parseAddress(request.address);
    if (wanted !== undefined && !contains(prefix, wanted)) throw this.#foreign(wanted.text, record);
    const address = await this.#store.update((tx) => {
      const pool = tx.get('pools', record.id) ?? record;
      const held = tx.all('addresses');
      const chosen =
        wanted?.text ??
        (request.gateway ? (pool.gateway ?? this.#free(pool, prefix, held)) : this.#free(pool, undefined, held));
      if (wanted !== undefined && !(request.gateway && pool.gateway === chosen)) this.#refuseTaken(pool, chosen, held);
      tx.put('addresses', addressKey(pool.id, chosen), {
        pool: pool.id,
        address: chosen,
        phase: 'held',
        at: this.#now(),
        purpose: request.gateway ? 'gateway' : 'endpoint',
      });
      const next = wanted === undefined && !request.gateway ? following(chosen) : pool.next;
      tx.put('pools', pool.id, { ...pool, next, ...(request.gateway ? { gateway: chosen } : {}) });
      return chosen;
    });
    return `${address}/${prefix.length}`;
  }

  /** After the loss of the state folder: the PoolID is Docker's memory of what this host held. */
  async #rebuild(id: string, c: Context): Promise<PoolRecord> {
    const [scheme, pool, prefix, range] = id.split('|');
    if (scheme !== 'vpc' || pool === undefined || prefix === undefined) {
      throw new PluginError('BAD_REQUEST', { reason: `PoolID "${id}" is not one that this driver gave out` });
    }
    const parsed = {
      pool: parseCidr(pool),
      prefix: parseCidr(prefix),
      range: range === undefined ? undefined : parseCidr(range),
    };
    c.log.warn('a pool that the state does not have is made again from its PoolID', { pool: id });
    await this.#claims.claim(parsed.prefix.text, homePool(parsed.pool, this.#settings).text, c);
    return this.#saveRecord(parsed.pool.text, parsed.prefix.text, parsed.range?.text);
  }

  #foreign(address: string, record: PoolRecord): PluginError {
    const owner = this.#claims.ownerOf(address);
    if (owner !== undefined && !owner.ours) {
      return new PluginError('ADDRESS_ELSEWHERE', {
        address,
        owner: owner.host,
        prefix: owner.prefix,
        own: record.prefix,
      });
    }
    return new PluginError('ADDRESS_OUTSIDE', { address, prefix: record.prefix });
  }

  #refuseTaken(pool: PoolRecord, address: string, held: ReadonlyMap<string, AddressRecord>): void {
    const [first, last] = usable(parseCidr(pool.prefix));
    const value = parseAddress(address).value;
    if (value < parseAddress(first).value || value > parseAddress(last).value) {
      throw new PluginError('ADDRESS_OUTSIDE', { address, prefix: `the usable range ${first} to ${last}` });
    }
    const existing = held.get(addressKey(pool.id, address));
    if (existing === undefined || existing.phase === 'released') return;
    const holder = this.#holder(pool, address);
    const young = this.#now() - existing.at < UNCLAIMED_MS;
    // A holder that never came, or went while the plugin was down, does not keep its address for ever.
    if (existing.purpose !== 'endpoint' || holder !== undefined || young) {
      const owner = holder === undefined ? `the network's ${existing.purpose}` : `endpoint ${holder.id.slice(0, 12)}`;
      throw new PluginError('ADDRESS_IN_USE', { address, owner });
    }
  }

  #holder(pool: PoolRecord, address: string): EndpointRecord | undefined {
    for (const endpoint of this.#store.all('endpoints').values()) {
      if (endpoint.network === pool.network && (endpoint.address === address || endpoint.address6 === address))
        return endpoint;
    }
    return undefined;
  }

  /** Next fit from where the last search ended, within `--ip-range` or, for the gateway, from the prefix's start. */
  #free(pool: PoolRecord, whole: Cidr | undefined, held: ReadonlyMap<string, AddressRecord>): string {
    const area = whole ?? parseCidr(pool.range ?? pool.prefix);
    const [firstText, lastText] = usable(area, parseCidr(pool.prefix));
    const first = parseAddress(firstText).value;
    const last = parseAddress(lastText).value;
    const begin = whole === undefined ? parseAddress(pool.next).value : first;
    const now = this.#now();
    let resting = 0;
    let at = begin < first || begin > last ? first : begin;
    // At most every address that has a record can be in the way.
    for (let tried = 0n; tried <= last - first && tried <= BigInt(held.size); tried += 1n) {
      const address = formatAddress(area.family, at);
      const existing = held.get(addressKey(pool.id, address));
      if (existing === undefined || (existing.phase === 'released' && existing.at <= now)) return address;
      if (existing.phase === 'released') resting += 1;
      at = at === last ? first : at + 1n;
    }
    throw new PluginError('POOL_EXHAUSTED', {
      pool: area.text,
      kind: 'address',
      reason:
        resting === 0 ? undefined : `${resting} of them may be used again ${REST_MS / 1000} s after their release`,
    });
  }

  async releaseAddress(id: string, address: string, _c: Context): Promise<void> {
    const key = addressKey(id, parseAddress(address).text);
    if (this.#store.get('addresses', key) === undefined) return;
    await this.#store.update((tx) => {
      const existing = tx.get('addresses', key);
      if (existing === undefined) return;
      const now = this.#now();
      tx.put('addresses', key, { ...existing, phase: 'released', at: now + REST_MS });
      const pool = tx.get('pools', id);
      if (existing.purpose === 'gateway' && pool !== undefined) {
        const { gateway: _gone, ...rest } = pool;
        tx.put('pools', id, rest);
      }
      for (const [other, record] of tx.all('addresses')) {
        if (record.phase === 'released' && record.at <= now) tx.delete('addresses', other);
      }
    });
  }
}

/** First and last address that a container may have: an IPv4 prefix's network and broadcast addresses are not given out. */
function usable(area: Cidr, prefix: Cidr = area): [first: string, last: string] {
  const skip = prefix.family === 4 && prefix.length <= 30;
  const lowest = firstOf(prefix).value + 1n;
  const highest = lastOf(prefix).value - (skip ? 1n : 0n);
  const first = firstOf(area).value;
  const last = lastOf(area).value;
  return [
    formatAddress(area.family, first < lowest ? lowest : first),
    formatAddress(area.family, last > highest ? highest : last),
  ];
}

function following(address: string): string {
  const { family, value } = parseAddress(address);
  return formatAddress(family, value + 1n);
}
