import type { StateStore } from '../shared/state/store.ts';
import type { FirewallModel, PublishedPort, RoamingAddress } from './firewall/policy.ts';
import { type AddressOwners, lostAddresses, roamingOf } from './roaming.ts';
import type { EndpointRecord, NetworkRecord, NetworkState } from './state.ts';

export const publishedPorts = (endpoint: EndpointRecord): PublishedPort[] =>
  endpoint.ports.map((port) => ({ ...port, endpoint: endpoint.id, network: endpoint.network }));

/** Addresses that an endpoint brings along, as long as its link is there. `gone`: those that are another host's. */
export const roamingAddresses = (
  endpoint: EndpointRecord,
  network: NetworkRecord,
  gone?: { has(address: string): boolean },
): RoamingAddress[] => {
  const { id, internal, masquerade } = network;
  const addresses = endpoint.phase === 'created' ? [] : roamingOf(endpoint, network);
  return addresses
    .filter((address) => gone?.has(address) !== true)
    .map((address) => ({ address, network: { id, internal, masquerade } }));
};

export interface ModelOptions {
  /** A network on its way out. */
  readonly without?: string | undefined;
  /** The setting METADATA_ACCESS. */
  readonly metadata?: FirewallModel['metadata'];
}

/** What the firewall must say, from what this host knows. Deterministic: equal states give equal models. */
export function firewallModel(
  store: StateStore<NetworkState>,
  routes: AddressOwners & { local(): readonly string[]; pools(): readonly string[] },
  { without, metadata }: ModelOptions = {},
): FirewallModel {
  const networks = [...store.all('networks').values()]
    .filter((network) => network.id !== without && network.phase !== 'deleting')
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const known = new Map(networks.map((network) => [network.id, network]));
  const endpoints = [...store.all('endpoints').values()];
  const gone = lostAddresses(store, routes);
  return {
    networks: networks.map(({ id, prefixes, pools, allow, ingress, internal, masquerade }) => ({
      id,
      prefixes,
      pools,
      allow,
      ingress,
      internal,
      masquerade,
    })),
    local: [...routes.local()].sort(),
    otherPools: [...new Set([...routes.pools(), ...networks.flatMap((network) => network.pools)])].sort(),
    ports: endpoints.flatMap(publishedPorts),
    ...(metadata !== undefined && { metadata }),
    roaming: endpoints.flatMap((endpoint) => {
      const network = known.get(endpoint.network);
      return network === undefined ? [] : roamingAddresses(endpoint, network, gone);
    }),
  };
}
