import { contains, parseCidr } from '../../shared/cidr.ts';
import type { Route } from './provider.ts';

/**
 * Prefixes of the cluster's hosts that lie in none of these pools, sorted: each stands for the pool that it was drawn
 * from, which some providers (AWS) have no place to keep. Hosts of the cluster are those that have a prefix in one of
 * the pools; what else leads to an instance, such as a VPN that somebody runs on it, is no pool.
 */
export const strayPrefixes = (routes: readonly Route[], pools: readonly string[]): readonly string[] => {
  const areas = pools.map((pool) => parseCidr(pool));
  const isWithin = ({ prefix }: Route): boolean => areas.some((area) => contains(area, parseCidr(prefix)));
  const claims = routes.filter(({ gateway }) => gateway !== true);
  const hosts = new Set(claims.filter(isWithin).map(({ nextHop }) => nextHop.target));
  return claims
    .filter((route) => route.pool === undefined && !isWithin(route) && hosts.has(route.nextHop.target))
    .map(({ prefix }) => prefix)
    .sort();
};
