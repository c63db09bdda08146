import type { Context } from '../../shared/context.ts';
import type { Drift } from '../datapath/datapath.ts';

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

/** What became of a next hop. `stopped` ones may come back; `gone` ones are confirmed never to. */
export type Fate = 'alive' | 'stopped' | 'gone' | 'unknown';

/** A prefix and who it leads to. */
export interface Route {
  /** CIDR in canonical form. */
  readonly prefix: string;
  readonly nextHop: NextHop;
  /** `blackhole`: the target is gone, and the router drops what it gets for the prefix. */
  readonly state: 'active' | 'blackhole';
  /** The target is this very host: not just one of its name. */
  readonly ours: boolean;
  /** Leads to no host but to a gateway, a peering, a VPN: narrower prefixes may be cut out of it. `host` names it. */
  readonly gateway?: true;
  /** The pool that the prefix was drawn from, where the provider keeps it. */
  readonly pool?: string;
}

/** A place that routes are kept in, with what is in it. A provider with only one names it `main`. */
export interface RouteTable {
  readonly id: string;
  /** Routes of any kind but the router's own (local) and default ones. */
  readonly routes: readonly Route[];
  /** Most routes of a family that the table takes, and how many it has, where the provider counts them. */
  readonly limit?: number;
  readonly used?: number;
}

/** What is asked of `create`; the provider adds the rest. */
export interface RouteRequest {
  readonly prefix: string;
  readonly pool: string;
  /** Leads there instead of to this host: the router's name of a gateway, a peering, a VPN. */
  readonly via?: string;
}

/** Something that the provider needs or that an operator should know, looked at just now. */
export interface Finding {
  /** What was looked at, in a word or two: `source/dest check`. */
  readonly check: string;
  readonly state: 'good' | 'warning' | 'bad' | 'unknown';
  /** What was found, as a sentence. */
  readonly found: string;
  /** What to do about it, as a sentence; absent when all is well. */
  readonly remedy?: string;
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
 * PROVIDER_AUTH (credentials), PROVIDER_PERMISSION (names the right that is missing), PROVIDER_THROTTLED, DEADLINE.
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
  /**
   * Ids of the tables that every claim goes into. The first is the arbiter, the same for every host of the cluster: who
   * has a prefix there has it everywhere. No I/O after `start`; `read` may find others.
   */
  tables(c: Context): Promise<readonly string[]>;
  /**
   * Everything there is, table by table in the order of `tables`, with as few calls as the provider can: what it has read
   * itself within the last `maxAgeMs` (0 by default) will do.
   */
  read(c: Context, maxAgeMs?: number): Promise<readonly RouteTable[]>;
  /**
   * Claims a prefix for this host, atomically. Succeeds when this host holds exactly this prefix already, or when it
   * leads to `via` already. Calls for several tables at once may be sent as one.
   * Errors: PREFIX_OWNED (it, or one overlapping it, is another's: the error names whose, and whether it is a
   * blackhole), ROUTE_CONFLICT (something that is no claim is in the way: the error names it), QUOTA_EXCEEDED.
   */
  create(table: string, request: RouteRequest, c: Context): Promise<void>;
  /**
   * Points the prefix to this host (or `via`) in one step, but only if it still leads where `expected` says; of several
   * hosts at once one succeeds. Errors: ROUTE_CONFLICT.
   */
  replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void>;
  /** Removes the route, but only if it points to this host (or `via`); succeeds when there is none, or another's. */
  remove(table: string, route: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void>;
  /** What became of the target of a route. Absent where routes vanish with their hosts. */
  fate?(hop: NextHop, c: Context): Promise<Fate>;
  /** CIDRs reached without address translation, beside the pools; a prefix may not be claimed in them. No I/O. */
  local(): readonly string[];
  /**
   * Looks at what the host itself needs of the cloud, such as no source/dest check on its interface, and with `repair`
   * puts it right. Answers what was not as it should be, by name; nothing when all is well, which costs no write.
   */
  prepareHost?(repair: boolean, c: Context): Promise<readonly Drift[]>;
  /**
   * The quota of routes of a table, asked for just now; undefined when it is not told, and then nobody is refused for it
   * but by the router itself. Absent where `read` always knows it.
   */
  quota?(c: Context): Promise<number | undefined>;
  /** Starts telling of changes. Without it the engine lists at each reconcile. The answer stops it. */
  watch?(onEvent: (event: RouteEvent) => void): () => void;
  /** Looks at what the provider needs: permissions, quota, clock, the host's own settings at the cloud. Never rejects for what it finds. */
  findings?(c: Context): Promise<readonly Finding[]>;
  /** Details for a status, without secrets. No I/O. */
  status?(): Readonly<Record<string, string | number | boolean>>;
  /** Stops background work. Claims stay: a host that is merely restarting keeps its prefixes. */
  close(): Promise<void>;
}
