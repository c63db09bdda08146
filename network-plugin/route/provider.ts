import type { Context } from '../../shared/context.ts';

/** Who a host is to the router: what its prefixes point to. */
export interface NextHop {
  /** Name of the host; unique in the cluster. */
  readonly host: string;
  /** Addresses that peers on the same network send to (host-gw). */
  readonly address?: string;
  readonly address6?: string;
  /** The router's own name for the host: an interface or an instance. */
  readonly target?: string;
}

/** A place that routes are kept in. A provider with only one names it `main`. */
export interface RouteTable {
  readonly id: string;
  /** Most routes that the table takes, and how many it has, where the provider counts them. */
  readonly limit?: number;
  readonly used?: number;
}

/** A prefix and who it leads to. */
export interface Route {
  /** CIDR in canonical form. */
  readonly prefix: string;
  readonly nextHop: NextHop;
  /** `blackhole`: the target is gone, and the router drops what it gets for the prefix. */
  readonly state: 'active' | 'blackhole';
  /** The target is this very host: not just one of its name. */
  readonly ours: boolean;
  /** The pool that the prefix was drawn from, where the provider keeps it. */
  readonly pool?: string;
}

/** What is asked of `create`; the provider adds the rest. */
export interface RouteRequest {
  readonly prefix: string;
  readonly pool: string;
}

/** What a provider tells as it learns it. Events arrive in the order of the changes. */
export type RouteEvent =
  /** A confirmed whole view: whatever it does not name is gone. */
  | { readonly kind: 'sync'; readonly routes: readonly Route[] }
  | { readonly kind: 'put'; readonly route: Route }
  | { readonly kind: 'remove'; readonly prefix: string }
  /** These two say nothing about routes: the last view stays good until a `sync` or `remove` says otherwise. */
  | { readonly kind: 'unreachable'; readonly why: string }
  | { readonly kind: 'reachable' };

/**
 * Where prefixes are claimed: the router, or what stands for it. A claim is the lock between hosts: however many
 * hosts ask at once, no two ever hold overlapping prefixes.
 *
 * Errors of every call with I/O: PROVIDER_UNREACHABLE (retry with back-off; for a writing call the outcome is open),
 * PROVIDER_AUTH (credentials or rights; retrying does not help), DEADLINE.
 */
export interface RouteProvider {
  readonly name: string;
  /** Hosts route to each other directly, so each must program its peers' prefixes into its own kernel. */
  readonly installsKernelRoutes: boolean;
  /** A prefix may lie within a wider route of the host that leads to a gateway: it takes its part out of that. */
  readonly allowsNarrower: boolean;
  /**
   * One attempt to get to work: says who this host is, and begins to hold its place. Repeated by the engine until it
   * succeeds; afterwards the provider keeps itself going until `close`. Errors: also NODE_NAME_TAKEN.
   */
  start(c: Context): Promise<void>;
  /** Who this host is to the router. No I/O after `start`. */
  self(c: Context): Promise<NextHop>;
  tables(c: Context): Promise<readonly RouteTable[]>;
  /** Routes of the table that overlap `within`, or all. */
  list(table: string, within: string | undefined, c: Context): Promise<readonly Route[]>;
  /**
   * Claims a prefix for this host, atomically. Succeeds when this host holds exactly this prefix already.
   * Errors: PREFIX_OWNED (it, or one overlapping it, is another's: the error names whose), ROUTE_CONFLICT (something
   * that is no claim is in the way: the error names it).
   */
  create(table: string, request: RouteRequest, c: Context): Promise<void>;
  /** Points the prefix to this host, but only if it still points where `expected` says. Errors: ROUTE_CONFLICT. */
  replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void>;
  /** Removes the route, but only if it points to this host; succeeds when there is none, or another's. */
  remove(table: string, prefix: string, c: Context): Promise<void>;
  /** CIDRs reached without address translation, beside the pools; a prefix may not be claimed in them. No I/O. */
  local(): readonly string[];
  /** Whatever the host itself needs, such as no source check on its interface. */
  prepareHost?(c: Context): Promise<void>;
  /** Starts telling of changes. Without it the engine lists at each reconcile. The answer stops it. */
  watch?(onEvent: (event: RouteEvent) => void): () => void;
  /** Details for a status, without secrets. No I/O. */
  status?(): Readonly<Record<string, string | number | boolean>>;
  /** Stops background work. Claims stay: a host that is merely restarting keeps its prefixes. */
  close(): Promise<void>;
}
