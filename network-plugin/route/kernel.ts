import type { Context } from '../../shared/context.ts';

/** The way to a peer's prefix in this host's kernel. */
export interface PeerRoute {
  readonly prefix: string;
  readonly via: string;
}

/** Something of this host that a prefix must not overlap. */
export interface LocalUse {
  /** An address with its length, or a route's destination. */
  readonly prefix: string;
  readonly kind: 'address' | 'subnet' | 'route';
  /** In words, such as `address 172.18.0.1/16 of br-1a2b`. */
  readonly text: string;
}

/** What route engine and providers need of this host's kernel; routes of ours bear protocol 68. */
export interface RouteKernel {
  /** Our routes by a gateway: the ways to peers. */
  peers(c: Context): Promise<readonly PeerRoute[]>;
  /** Sets the way to a peer's prefix in place of an earlier one of ours. Errors: ROUTE_FAILED. */
  putPeer(route: PeerRoute, c: Context): Promise<void>;
  /** Removes exactly this route; succeeds when it is gone. */
  removePeer(route: PeerRoute, c: Context): Promise<void>;
  /** Prefixes of our `unreachable` routes: what this host answers for. */
  held(c: Context): Promise<readonly string[]>;
  /** Makes the `unreachable` route of a prefix; false when any route of that prefix and metric exists. */
  hold(prefix: string, c: Context): Promise<boolean>;
  /** Removes our `unreachable` route of a prefix; succeeds when it is gone. */
  unhold(prefix: string, c: Context): Promise<void>;
  /** Addresses, connected subnets and routes that are not ours; default routes left out. */
  uses(c: Context): Promise<readonly LocalUse[]>;
}
