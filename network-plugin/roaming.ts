import { contains, hostCidr, overlaps, parseAddress, parseCidr } from '../shared/cidr.ts';
import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { StateStore } from '../shared/state/store.ts';
import { addressKey } from './free-address.ts';
import { homePool, type Settings } from './options.ts';
import type { AddressRecord, EndpointRecord, NetworkRecord, NetworkState, PoolRecord } from './state.ts';

/** The part of the route engine that roaming addresses need. */
export interface AddressClaims {
  /** The claim is the lock between hosts. Errors: ADDRESS_HELD, ADDRESS_ELSEWHERE, STILL_WORKING, PROVIDER_*, DEADLINE. */
  claimAddress(address: string, pool: string, c: Context): Promise<void>;
  /** Idempotent; what cannot be done now is done later. Errors: DRY_RUN. */
  releaseAddress(address: string, c: Context): Promise<void>;
}

/** What of the routes tells whether an address of this host is another's by now. */
export interface AddressOwners {
  /** Prefixes and addresses that this host believes it holds while the provider says that another does. */
  lost(): readonly { readonly prefix: string; readonly owner: string }[];
  ownerOf(address: string): { readonly host: string; readonly ours: boolean } | undefined;
}

/** Who has an address that is to be had. */
export const NOBODY = 'nobody';

/**
 * Addresses that lie in no host's prefix and follow their container from host to host. Each is claimed at the route
 * provider when Docker asks for it, and given back as soon as Docker does: nothing of it is kept for later.
 */
export class Roaming {
  readonly #store: StateStore<NetworkState>;
  readonly #claims: AddressClaims;
  readonly #settings: Pick<Settings, 'pool' | 'pool6'>;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();
  /** Given out by this process. What an earlier one gave out and no endpoint has is a call's that never ended. */
  readonly #given = new Set<string>();

  constructor(
    store: StateStore<NetworkState>,
    claims: AddressClaims,
    settings: Pick<Settings, 'pool' | 'pool6'>,
    now: () => number,
  ) {
    this.#store = store;
    this.#claims = claims;
    this.#settings = settings;
    this.#now = now;
  }

  /**
   * Claims the address for this host. `unusedMs`: Docker makes an endpoint of what it asked for within this time.
   * Errors: ADDRESS_IN_USE (by this host), and those of `claimAddress`.
   */
  async hold(pool: PoolRecord, address: string, unusedMs: number, c: Context): Promise<void> {
    const key = addressKey(pool.id, address);
    await this.#locks.run(
      address,
      async () => {
        const former = this.#refuseTaken(pool, address, unusedMs);
        const record = { pool: pool.id, address, at: this.#now(), purpose: 'endpoint', roaming: true } as const;
        await this.#store.update((tx) => tx.put('addresses', key, { ...record, phase: 'claiming' }));
        try {
          await this.#claim(pool, address, c);
        } catch (error) {
          // Going on unattended: the call is repeated and joins it, or reconcile gives back what came of it.
          const goesOn = error instanceof PluginError && error.code === 'STILL_WORKING';
          if (!goesOn) {
            await this.#store.update((tx) =>
              former === undefined ? tx.delete('addresses', key) : tx.put('addresses', key, former),
            );
          }
          throw error;
        }
        await this.#store.update((tx) => tx.put('addresses', key, { ...record, phase: 'held' }));
        this.#given.add(key);
      },
      c,
    );
  }

  /** Claims an address again that a container of this host has kept all the while. Errors: those of `claimAddress`. */
  async regain(pool: PoolRecord, address: string, c: Context): Promise<void> {
    await this.#locks.run(
      address,
      async () => {
        if (this.#store.get('addresses', addressKey(pool.id, address))?.phase === 'held')
          await this.#claim(pool, address, c);
      },
      c,
    );
  }

  #claim(pool: PoolRecord, address: string, c: Context): Promise<void> {
    return this.#claims.claimAddress(address, homePool(parseCidr(pool.pool), this.#settings).text, c);
  }

  /** The record of an earlier call that did not come to its end, if there is one. */
  #refuseTaken(pool: PoolRecord, address: string, unusedMs: number): AddressRecord | undefined {
    for (const other of this.#store.all('pools').values()) {
      const existing = this.#store.get('addresses', addressKey(other.id, address));
      if (existing === undefined) continue;
      const holder = holderOf(this.#store, other.network, address);
      const given = this.#given.has(addressKey(other.id, address)) && this.#now() - existing.at < unusedMs;
      // An endpoint that is not joined may be what a crash left: CreateEndpoint looks whether its container runs.
      if (holder?.phase !== 'joined' && !given && other.id === pool.id) return existing;
      const network = `network ${(other.network ?? other.id).slice(0, 12)}`;
      const owner = holder === undefined ? network : `endpoint ${holder.id.slice(0, 12)}`;
      throw new PluginError('ADDRESS_IN_USE', { address, owner });
    }
    return undefined;
  }

  /** Gives the address back, when it is as it was `seen`; one that an endpoint with a link has is left to that. */
  async release(pool: string, address: string, c: Context, seen?: AddressRecord): Promise<void> {
    const key = addressKey(pool, address);
    await this.#locks.run(
      address,
      async () => {
        const record = this.#store.get('addresses', key);
        if (record === undefined || (seen !== undefined && seen.at !== record.at)) return;
        const holder = holderOf(this.#store, this.#store.get('pools', pool)?.network, address);
        if (holder !== undefined && holder.phase !== 'created') {
          c.log.warn('a roaming address stays with the endpoint that has it', { address, endpoint: holder.id });
          return;
        }
        await this.#claims.releaseAddress(address, c);
        await this.#store.update((tx) => tx.delete('addresses', key));
        this.#given.delete(key);
      },
      c,
    );
  }
}

/** The endpoint of a network that has an address. */
export function holderOf(
  store: StateStore<NetworkState>,
  network: string | undefined,
  address: string,
): EndpointRecord | undefined {
  for (const endpoint of store.all('endpoints').values()) {
    if (endpoint.network === network && (endpoint.address === address || endpoint.address6 === address))
      return endpoint;
  }
  return undefined;
}

/** Does this host hold the address as a roaming one, for the network? */
export function isHeld(store: StateStore<NetworkState>, network: string, address: string): boolean {
  for (const pool of store.all('pools').values()) {
    if (pool.network !== network) continue;
    const record = store.get('addresses', addressKey(pool.id, address));
    if (record?.roaming === true && record.phase === 'held') return true;
  }
  return false;
}

/** The addresses of an endpoint that lie outside of this host's prefixes in its network. */
export function roamingOf(
  endpoint: { readonly address?: string | undefined; readonly address6?: string | undefined },
  network: NetworkRecord,
): string[] {
  const isOwn = (address: string): boolean =>
    network.prefixes.some((prefix) => contains(parseCidr(prefix), parseAddress(address)));
  return [endpoint.address, endpoint.address6].flatMap((one) => (one === undefined || isOwn(one) ? [] : [one]));
}

/**
 * Roaming addresses that containers of this host have, and that it does not hold any more, with who has them: they were
 * taken by another host while this one was thought to be dead. The records tell, also after a restart.
 */
export function lostAddresses(store: StateStore<NetworkState>, routes: AddressOwners): ReadonlyMap<string, string> {
  const roaming = new Set<string>();
  for (const record of store.all('addresses').values()) {
    if (record.roaming === true && record.phase === 'held') roaming.add(record.address);
  }
  const found = new Map<string, string>();
  if (roaming.size === 0) return found;
  const lost = routes.lost();
  for (const { address, address6 } of store.all('endpoints').values()) {
    for (const one of [address, address6]) {
      const owner = one !== undefined && roaming.has(one) ? takerOf(one, store, routes, lost) : undefined;
      if (one !== undefined && owner !== undefined) found.set(one, owner);
    }
  }
  return found;
}

/** Who has a roaming address instead of this host; undefined when this host has it. */
export function takerOf(
  address: string,
  store: StateStore<NetworkState>,
  routes: AddressOwners,
  lost = routes.lost(),
): string | undefined {
  const prefix = hostCidr(parseAddress(address)).text;
  if (store.get('claims', prefix)?.phase === 'held') {
    return lost.find((one) => one.prefix === prefix)?.owner;
  }
  const owner = routes.ownerOf(address);
  return owner === undefined || owner.ours ? NOBODY : owner.host;
}

/** Parts of the pools that this host's networks keep for roaming addresses: no prefix is claimed in them. */
export const roamingRanges = (store: StateStore<NetworkState>): readonly string[] => [
  ...new Set([...store.all('networks').values()].flatMap(({ roaming = [] }) => roaming)),
];

/** Throws PREFIX_OVERLAP when a prefix lies in a network's roaming range, or the range in it. */
export function refuseReserved(prefix: string, networks: Iterable<Pick<NetworkRecord, 'id' | 'roaming'>>): void {
  for (const { id, roaming = [] } of networks) {
    const other = roaming.find((range) => overlaps(parseCidr(prefix), parseCidr(range)));
    if (other === undefined) continue;
    const owner = `the roaming addresses of network ${id.slice(0, 12)}`;
    throw new PluginError('PREFIX_OVERLAP', { prefix, other, owner });
  }
}
