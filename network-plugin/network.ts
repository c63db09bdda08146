import { type Cidr, contains, parseAddress, parseCidr } from '../shared/cidr.ts';
import { PluginError } from '../shared/errors.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { CheckedEndpoint, PathEndpoint, PathNetwork } from './datapath/datapath.ts';
import { homePool, parseNetworkOptions, type Settings } from './options.ts';
import { ADDRESS_SPACE } from './pool-plan.ts';
import { type AddressOwners, lostAddresses, refuseReserved } from './roaming.ts';
import type { EndpointRecord, NetworkRecord, NetworkState, PoolRecord } from './state.ts';

/** One pool of CreateNetwork, as Docker's IPAM driver or ours handed it out. */
export interface PoolData {
  readonly addressSpace: string;
  readonly pool: string;
  readonly gateway: string | undefined;
  /** Addresses that the operator keeps for other uses (`--aux-address`), with a prefix length. */
  readonly auxiliary: readonly string[];
}

export interface NetworkRequest {
  readonly id: string;
  readonly options: Record<string, string>;
  readonly internal: boolean;
  readonly pools: readonly PoolData[];
}

export interface NetworkPlan {
  readonly record: NetworkRecord;
  /** Pools of our IPAM driver that now belong to this network. */
  readonly pools: readonly PoolRecord[];
  /** Addresses of those pools that no endpoint will ever hold. */
  readonly auxiliary: readonly { readonly pool: string; readonly address: string }[];
}

/** Our pool behind one of Docker's: the gateway lies in the prefix that is meant. */
function ownPool(data: PoolData, store: StateStore<NetworkState>): PoolRecord {
  const gateway = data.gateway === undefined ? undefined : parseAddress(bare(data.gateway));
  for (const record of store.all('pools').values()) {
    if (record.pool !== data.pool || record.released === true) continue;
    if (gateway !== undefined && contains(parseCidr(record.prefix), gateway)) return record;
  }
  throw new PluginError('POOL_INVALID', {
    pool: data.pool,
    reason: `this host holds no prefix of it for the gateway ${data.gateway ?? 'that Docker did not name'}`,
  });
}

const bare = (address: string): string => address.split('/')[0] ?? address;

/** What CreateNetwork asks for, checked. Nothing is changed. Errors: OPTION_*, POOL_INVALID, PREFIX_OVERLAP. */
export function planNetwork(
  request: NetworkRequest,
  home: Pick<Settings, 'pool' | 'pool6'>,
  store: StateStore<NetworkState>,
  now: number,
): NetworkPlan {
  const options = parseNetworkOptions(request.options);
  if (request.pools.length === 0) {
    throw new PluginError('POOL_INVALID', { pool: 'no pool', reason: 'a network needs at least one subnet' });
  }
  const pools: PoolRecord[] = [];
  const claims: string[] = [];
  const auxiliary: { pool: string; address: string }[] = [];
  for (const data of request.pools) {
    if (data.addressSpace === ADDRESS_SPACE) {
      const record = ownPool(data, store);
      pools.push(record);
      for (const address of data.auxiliary) auxiliary.push({ pool: record.id, address: bare(address) });
    } else {
      claims.push(parseCidr(data.pool).text);
    }
  }
  const record: NetworkRecord = {
    id: request.id,
    phase: 'creating',
    pools: [...pools.map((pool) => pool.pool), ...claims].map((pool) => homePool(parseCidr(pool), home).text),
    prefixes: [...pools.map((pool) => pool.prefix), ...claims],
    claims,
    ...(options.mtu === undefined ? {} : { mtu: options.mtu }),
    masquerade: options.masquerade,
    ingress: options.ingress,
    allow: options.allow.map((prefix) => prefix.text),
    internal: request.internal,
    ...(options.roaming.length === 0 ? {} : { roaming: options.roaming.map((range) => range.text) }),
    since: now,
  };
  refuseStrays(options.roaming, request.pools);
  for (const prefix of record.prefixes) refuseReserved(prefix, [record]);
  return { record, pools, auxiliary };
}

/** A roaming address is one of the network's subnet to Docker, so it must lie in a pool that Docker was told. */
function refuseStrays(ranges: readonly Cidr[], pools: readonly PoolData[]): void {
  const told = pools.map(({ pool }) => parseCidr(pool));
  const stray = ranges.find((range) => !told.some((pool) => contains(pool, range)));
  if (stray === undefined) return;
  throw new PluginError('OPTION_INVALID', {
    where: 'network option',
    option: 'roaming',
    value: stray.text,
    reason: `it is not in ${told.map(({ text }) => text).join(' or ')}`,
    allowed: "parts of the network's pool",
  });
}

export const pathNetwork = (network: NetworkRecord): PathNetwork => ({
  id: network.id,
  prefixes: network.prefixes,
  pools: network.pools,
  // IPAM hands out addresses with the length of the host's prefix.
  subnets: network.prefixes,
  ...(network.mtu === undefined ? {} : { mtu: network.mtu }),
});

export const pathEndpoint = (endpoint: EndpointRecord, network: NetworkRecord): PathEndpoint => ({
  id: endpoint.id,
  network: pathNetwork(network),
  ...(endpoint.address === undefined ? {} : { address: endpoint.address }),
  ...(endpoint.address6 === undefined ? {} : { address6: endpoint.address6 }),
  mac: endpoint.mac,
  ...(endpoint.slot === undefined ? {} : { slot: endpoint.slot }),
});

/**
 * All endpoints, as the data path's check wants them. An address that another host has by now is left out, so that this
 * host leads no packets to its former container.
 */
export function checkedEndpoints(store: StateStore<NetworkState>, routes: AddressOwners): CheckedEndpoint[] {
  const gone = lostAddresses(store, routes);
  return [...store.all('endpoints').values()].flatMap((endpoint) => {
    const network = store.get('networks', endpoint.network);
    if (network === undefined) return [];
    const { address, address6, ...rest } = pathEndpoint(endpoint, network);
    const attached = endpoint.phase === 'joined';
    const held = (one: string | undefined): one is string => one !== undefined && !gone.has(one);
    return [{ ...rest, attached, ...(held(address) && { address }), ...(held(address6) && { address6 }) }];
  });
}
