import type { StateStore } from '../shared/state/store.ts';
import type { FirewallModel, PublishedPort } from './firewall/policy.ts';
import type { EndpointRecord, NetworkState } from './state.ts';

export const publishedPorts = (endpoint: EndpointRecord): PublishedPort[] =>
  endpoint.ports.map((port) => ({ ...port, endpoint: endpoint.id, network: endpoint.network }));

/** What the firewall must say, from what this host knows. Deterministic: equal states give equal models. */
export function firewallModel(
  store: StateStore<NetworkState>,
  routes: { local(): readonly string[]; pools(): readonly string[] },
  without?: string,
): FirewallModel {
  const networks = [...store.all('networks').values()]
    .filter((network) => network.id !== without && network.phase !== 'deleting')
    .sort((a, b) => (a.id < b.id ? -1 : 1));
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
    ports: [...store.all('endpoints').values()].flatMap(publishedPorts),
  };
}
