import { type Address, type Cidr, contains, hostCidr, overlaps, parseAddress, parseCidr } from '../shared/cidr.ts';
import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { StateStore } from '../shared/state/store.ts';
import { addressKey, following, freeAddress, REST_MS, usable } from './free-address.ts';
import { homePool, type Settings } from './options.ts';
import { ADDRESS_SPACE, type PoolPlan, type PoolRequest, parsePoolId, planPool, poolId } from './pool-plan.ts';
import { type AddressClaims, holderOf, Roaming, refuseReserved } from './roaming.ts';
import type { FreePrefix } from './route/free-prefix.ts';
import type { AddressRecord, NetworkState, PoolRecord } from './state.ts';

/** The part of the route engine that claiming needs. */
export interface Claims extends AddressClaims {
  claim(prefix: string, pool: string, c: Context): Promise<void>;
  claimFree(wanted: FreePrefix, c: Context): Promise<string>;
  release(prefix: string, c: Context): Promise<void>;
  ownerOf(address: string): { readonly host: string; readonly prefix: string; readonly ours: boolean } | undefined;
}

export interface AddressRequest {
  readonly pool: string;
  readonly address: string | undefined;
  readonly gateway: boolean;
}

/** Docker creates the endpoint within this time of asking for its address; afterwards a holder without one is gone. */
const UNCLAIMED_MS = 60_000;
/** So many prefixes of a pool may be given out before the networks that they are for are made. */
const MOST_UNUSED = 64;

/**
 * Docker's IPAM driver `vpc`. RequestPool claims a prefix for this host at the route provider: the claim is the lock
 * between hosts. Addresses come from that prefix; Docker is told the whole pool, so that it lets `--ip` name any
 * address of it and this driver can say whose it is. An address that is nobody's roams: see Roaming.
 */
export class Ipam {
  readonly #store: StateStore<NetworkState>;
  readonly #claims: Claims;
  readonly #settings: Pick<Settings, 'pool' | 'prefix' | 'pool6' | 'prefix6'>;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();
  readonly #roaming: Roaming;

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
    this.#roaming = new Roaming(store, claims, settings, now);
  }

  /** Claims a prefix and answers the pool's record. Errors: OPTION_*, POOL_INVALID, POOL_EXHAUSTED, PREFIX_*. */
  async requestPool(request: PoolRequest, c: Context): Promise<PoolRecord> {
    const plan = planPool(request, this.#settings);
    return this.#locks.run(plan.pool.text, () => this.#claimPool(plan, c), c);
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
    if (exact === undefined) this.#refuseEndless(pool);
    const prefix =
      exact?.text ??
      (await this.#claims.claimFree(
        {
          pool: pool.text,
          length,
          ...(plan.range === undefined ? {} : { within: plan.range.text }),
          ...this.#formerPrefix(pool, length),
        },
        c,
      ));
    if (exact !== undefined) await this.#claims.claim(exact.text, homePool(pool, this.#settings).text, c);
    return this.#saveRecord(pool.text, prefix, range);
  }

  /**
   * Engines before 28 hold a pool against the host's routes when no `--subnet` names it, and while they see an overlap
   * ask again and again, keeping what they were given: they would take the whole pool and never answer.
   */
  #refuseEndless(pool: Cidr): void {
    const isFresh = (record: PoolRecord): boolean =>
      record.pool === pool.text &&
      record.network === undefined &&
      record.gateway === undefined &&
      record.released !== true &&
      this.#now() - record.since < UNCLAIMED_MS;
    if ([...this.#store.all('pools').values()].filter(isFresh).length < MOST_UNUSED) return;
    const reason = `a route of this host overlaps it, so that Docker takes none of its prefixes; with --subnet ${pool.text} it does`;
    throw new PluginError('POOL_INVALID', { pool: pool.text, reason });
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
  #formerPrefix(pool: Cidr, length: number): Pick<FreePrefix, 'preferred'> {
    const used = new Set([...this.#store.all('pools').values()].map((record) => record.prefix));
    for (const network of this.#store.all('networks').values()) for (const prefix of network.prefixes) used.add(prefix);
    for (const claim of this.#store.all('claims').values()) {
      const fits = claim.pool === pool.text && parseCidr(claim.prefix).length === length;
      if (fits && claim.phase !== 'releasing' && !used.has(claim.prefix)) return { preferred: claim.prefix };
    }
    return {};
  }

  #refuseOverlap(prefix: Cidr): void {
    refuseReserved(prefix.text, this.#store.all('networks').values());
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
    for (const { pool, address, roaming } of [...this.#store.all('addresses').values()]) {
      if (pool === id && roaming === true) await this.#roaming.release(id, address, c);
    }
    await this.#claims.release(record.prefix, c);
    await this.#store.update((tx) => {
      for (const [key, address] of tx.all('addresses')) if (address.pool === id) tx.delete('addresses', key);
      tx.delete('pools', id);
    });
  }

  /**
   * An address with the length of the host's prefix, such as `10.64.3.5/24`: what lies beyond goes by the gateway. A
   * roaming one has the length of itself. Errors: ADDRESS_IN_USE, ADDRESS_ELSEWHERE, ADDRESS_OUTSIDE, ADDRESS_HELD,
   * POOL_EXHAUSTED, and those of a claim.
   */
  async requestAddress(request: AddressRequest, c: Context): Promise<string> {
    const record = this.#store.get('pools', request.pool) ?? (await this.#rebuild(request.pool, c));
    const prefix = parseCidr(record.prefix);
    const wanted = request.address === undefined ? undefined : parseAddress(request.address);
    if (wanted !== undefined && !contains(prefix, wanted)) {
      if (!this.#mayRoam(wanted, record, request)) throw this.#foreign(wanted.text, record);
      await this.#roaming.hold(record, wanted.text, UNCLAIMED_MS, c);
      return hostCidr(wanted).text;
    }
    const address = await this.#store.update((tx) => {
      const pool = tx.get('pools', record.id) ?? record;
      const held = tx.all('addresses');
      const chosen =
        wanted?.text ??
        (request.gateway
          ? (pool.gateway ?? freeAddress(pool, prefix, held, this.#now()))
          : freeAddress(pool, undefined, held, this.#now()));
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
    const parsed = parsePoolId(id);
    c.log.warn('a pool that the state does not have is made again from its PoolID', { pool: id });
    await this.#claims.claim(parsed.prefix.text, homePool(parsed.pool, this.#settings).text, c);
    return this.#saveRecord(parsed.pool.text, parsed.prefix.text, parsed.range?.text);
  }

  /** An address of the pool in nobody's prefix, for a container: what is kept for a network itself stays on its host. */
  #mayRoam(address: Address, record: PoolRecord, { gateway }: AddressRequest): boolean {
    // Auxiliary addresses come before the network is made.
    if (gateway || record.network === undefined || !contains(parseCidr(record.pool), address)) return false;
    const owner = this.#claims.ownerOf(address.text);
    return owner === undefined || owner.prefix === hostCidr(address).text;
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
    const holder = holderOf(this.#store, pool.network, address);
    const young = this.#now() - existing.at < UNCLAIMED_MS;
    // A holder that never came, or went while the plugin was down, does not keep its address for ever.
    if (existing.purpose !== 'endpoint' || holder !== undefined || young) {
      const owner = holder === undefined ? `the network's ${existing.purpose}` : `endpoint ${holder.id.slice(0, 12)}`;
      throw new PluginError('ADDRESS_IN_USE', { address, owner });
    }
  }

  /** For reconcile: a roaming address that was lost. Errors: those of a claim. */
  async regainAddress(address: string, c: Context): Promise<void> {
    for (const pool of this.#store.all('pools').values()) await this.#roaming.regain(pool, address, c);
  }

  /** Errors: DRY_RUN for a roaming address. `seen`: only while its record is that one. */
  async releaseAddress(id: string, address: string, c: Context, seen?: AddressRecord): Promise<void> {
    const { text } = parseAddress(address);
    const key = addressKey(id, text);
    const known = this.#store.get('addresses', key);
    if (known === undefined) return;
    if (known.roaming === true) {
      await this.#roaming.release(id, text, c, seen);
      return;
    }
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
