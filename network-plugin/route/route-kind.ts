import { type Cidr, parseCidr, width } from '../../shared/cidr.ts';
import type { Route } from './provider.ts';

/** What a route is for: a host's prefix, a single roaming address, or what lies behind a gateway. */
export type RouteKind = 'prefix' | 'address' | 'gateway';

/** Is it a single address, and so no host's prefix? */
export const isAddress = (cidr: Cidr): boolean => cidr.length === width(cidr.family);

export const kindOf = (route: Pick<Route, 'prefix' | 'gateway'>): RouteKind =>
  route.gateway === true ? 'gateway' : isAddress(parseCidr(route.prefix)) ? 'address' : 'prefix';
