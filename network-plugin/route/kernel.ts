import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';

/** The way to a peer's prefix in this host's kernel. */
export interface PeerRoute {
  readonly prefix: string;
  readonly via: string;
}

/** Something of this host that a prefix must not overlap. */
export interface LocalUse {
  /** Canonical CIDR: an address's subnet, or a route's destination. */
  readonly prefix: string;
  readonly kind: 'address' | 'route';
  /** Leads to a gateway, so that a narrower prefix can be cut out of it. */
  readonly gateway: boolean;
  /** Whose it is, in words that fit behind "which is": `the subnet of br-1a2b (address 172.18.0.1)`. */
  readonly what: string;
}

/** What route engine and providers need of this host's kernel; routes of ours bear protocol 68. Errors: KERNEL. */
export interface RouteKernel {
  /** Our routes by a gateway: the ways to peers. */
  peers(c: Context): Promise<readonly PeerRoute[]>;
  /** Sets the way to a peer's prefix in place of an earlier one of ours. Errors: ROUTE_CONFLICT with a route of others. */
  putPeer(route: PeerRoute, c: Context): Promise<void>;
  /** Removes exactly this route; succeeds when it is gone. */
  removePeer(route: PeerRoute, c: Context): Promise<void>;
  /** Prefixes of our `unreachable` routes: what this host answers for. */
  held(c: Context): Promise<readonly string[]>;
  /** Makes the `unreachable` route of a prefix; false when there is any route to it. The kernel decides between two. */
  hold(prefix: string, c: Context): Promise<boolean>;
  /** Removes our `unreachable` route of a prefix; succeeds when it is gone. */
  unhold(prefix: string, c: Context): Promise<void>;
  /** Addresses with their subnets, and routes that are not ours; default and link-local routes left out. */
  uses(c: Context): Promise<readonly LocalUse[]>;
}

/**
 * Throws PREFIX_IS_LOCAL or ROUTE_CONFLICT when the prefix overlaps something of the host. With `narrower`, it may lie
 * within a wider route that leads to a gateway.
 */
export const refuseLocal = (prefix: string, uses: readonly LocalUse[], narrower: boolean): void => {
  const found = uses.find((use) => inTheWay(prefix, use, narrower));
  if (found === undefined) return;
  throw found.kind === 'route'
    ? new PluginError('ROUTE_CONFLICT', { prefix, table: 'this host', target: found.what })
    : new PluginError('PREFIX_IS_LOCAL', { prefix, address: found.prefix, what: found.what });
};

/** Does this use keep the prefix from being claimed? */
export const inTheWay = (prefix: string, use: LocalUse, narrower: boolean): boolean => {
  const [asked, used] = [parseCidr(prefix), parseCidr(use.prefix)];
  if (!overlaps(asked, used)) return false;
  return !(narrower && use.gateway && used.length < asked.length && contains(used, asked));
};
