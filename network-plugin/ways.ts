import { type Cidr, contains, parseCidr, subtract } from '../shared/cidr.ts';
import type { EndpointRecord, NetworkRecord } from './state.ts';

/** Destinations in a pool beyond this host, and the endpoint of the sandbox, by its slot, that leads there. */
export interface Way {
  readonly pool: string;
  readonly slot: number;
  readonly destinations: readonly string[];
}

/** Another endpoint of the sandbox. `settled`: its link is in the sandbox already. */
export interface Sibling {
  readonly endpoint: EndpointRecord;
  readonly settled: boolean;
}

/**
 * What a sandbox must be told where this host has networks of several pools: the default route leads into one network
 * only, and a container must speak to each pool with its address in it. At the start of a container each network is
 * told of by itself, so each brings the way into its own pool; and those that were connected before are made up for.
 *
 * Left out are pools that an earlier endpoint of the sandbox was told, and this host's own prefixes: the engine refuses
 * a network whose subnet any route of the sandbox covers (so a network made later asks for a restart of the container).
 * Ways through a sibling that is not settled are left out too: when a container starts, engines before 28 set up its
 * links after all joins, in an order of their own, and fail at a next hop that is not there yet.
 */
export function waysOf(
  joining: EndpointRecord,
  siblings: readonly Sibling[],
  networks: ReadonlyMap<string, NetworkRecord>,
): Way[] {
  const told = new Set(siblings.flatMap(({ endpoint }) => endpoint.told ?? []));
  const own = [...networks.values()].flatMap(({ prefixes }) => prefixes.map((prefix) => parseCidr(prefix)));
  const poolsOf = (endpoint: EndpointRecord, family: 4 | 6): Cidr[] => {
    if ((family === 4 ? endpoint.address : endpoint.address6) === undefined) return [];
    const pools = (networks.get(endpoint.network)?.pools ?? []).map((pool) => parseCidr(pool));
    return pools.filter((pool) => pool.family === family);
  };
  return ([4, 6] as const).flatMap((family) => {
    const known = [...networks.values()].flatMap((network) =>
      network.pools.filter((pool) => parseCidr(pool).family === family),
    );
    if (new Set(known).size < 2) return [];
    const all = [...siblings, { endpoint: joining, settled: true }];
    const pools = new Map(all.flatMap(({ endpoint }) => poolsOf(endpoint, family)).map((pool) => [pool.text, pool]));
    return [...pools.values()].flatMap((pool) => {
      const through = all.find(
        ({ endpoint, settled }) => settled && poolsOf(endpoint, family).some(({ text }) => text === pool.text),
      );
      if (through === undefined || told.has(pool.text)) return [];
      const within = [...new Set(known)]
        .filter((other) => other !== pool.text)
        .map((other) => parseCidr(other))
        .filter((other) => contains(pool, other));
      const rest = [...own, ...within].reduce((parts, hole) => parts.flatMap((part) => subtract(part, hole)), [pool]);
      const destinations = rest.map((part) => part.text);
      return destinations.length === 0 ? [] : [{ pool: pool.text, slot: through.endpoint.slot ?? 0, destinations }];
    });
  });
}
