import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Table, TableRoute } from '../../shared/cloud/aws/model.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { routesOf, routeTo } from './aws-tables.ts';
import type { RouteRequest } from './provider.ts';

export interface ObstacleDeps {
  /** This host's interface. */
  readonly own: string;
  /** Name of the host that the route leads to, looked up if need be. */
  readonly nameOf: (route: TableRoute, c: Context) => Promise<string>;
  /** Does the route lead to a gateway, and to no host? */
  readonly isGateway: (route: TableRoute) => boolean;
}

export const conflict = (table: string, prefix: string, target: string): PluginError =>
  new PluginError('ROUTE_CONFLICT', { prefix, table, target });

/**
 * Throws what is in the way of the request in this table: PREFIX_OWNED, PREFIX_OVERLAP, ROUTE_CONFLICT. `there`: it
 * leads where it should already. A prefix may be cut out of what leads to a gateway, but nothing may lie in a prefix;
 * what leads to a gateway may have the prefixes of hosts in it.
 */
export const refuseObstacles = async (
  { own, nameOf, isGateway }: ObstacleDeps,
  table: Table,
  { prefix, via }: RouteRequest,
  c: Context,
): Promise<'there' | 'free'> => {
  const asked = parseCidr(prefix);
  const exact = routeTo(table, prefix);
  const others = routesOf(table).filter((one) => one !== exact && overlaps(asked, parseCidr(one.prefix)));
  for (const route of exact === undefined ? others : [exact, ...others]) {
    const isSame = route.prefix === prefix;
    if (isSame && route.target.id === (via ?? own)) continue;
    const cidr = parseCidr(route.prefix);
    if (isGateway(route)) {
      if (!isSame && (via !== undefined || contains(cidr, asked))) continue;
      throw conflict(table.id, prefix, isSame ? route.target.id : `${route.target.id} (${route.prefix})`);
    }
    if (via !== undefined && !isSame && contains(asked, cidr)) continue;
    if (route.target.id === own) {
      throw new PluginError('PREFIX_OVERLAP', { prefix, other: route.prefix, owner: 'this host' });
    }
    const other = isSame ? undefined : route.prefix;
    const state = route.state === 'blackhole' ? 'a blackhole: that host is not running' : undefined;
    throw new PluginError('PREFIX_OWNED', { prefix, owner: await nameOf(route, c), other, state });
  }
  return exact?.target.id === (via ?? own) ? 'there' : 'free';
};
