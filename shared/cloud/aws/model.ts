/** EC2 as far as Drayage knows it: our own words for what it has, and exactly the calls that we make. */

/** Where a route leads. */
export type Target =
  /** The machine of an interface; `id` is the interface's. */
  | { readonly kind: 'interface'; readonly id: string; readonly instance?: string }
  /** Anything else: an internet, transit, NAT or VPN gateway, a peering, an endpoint. */
  | { readonly kind: 'gateway'; readonly id: string };

export interface TableRoute {
  /** CIDR in canonical form. */
  readonly prefix: string;
  readonly target: Target;
  readonly state: 'active' | 'blackhole';
  /** Local ones are the VPC's own; propagated ones come from a VPN gateway and are not counted against the quota. */
  readonly origin: 'static' | 'propagated' | 'local';
}

export interface Table {
  readonly id: string;
  readonly vpc: string;
  /** The one for subnets that have none of their own. */
  readonly main: boolean;
  /** Subnets with an explicit association. */
  readonly subnets: readonly string[];
  readonly routes: readonly TableRoute[];
}

export interface NetworkInterface {
  readonly id: string;
  /** The machine that it is attached to. */
  readonly instance?: string;
  readonly sourceDestCheck: boolean;
}

export type InstanceState = 'pending' | 'running' | 'stopping' | 'stopped' | 'shutting-down' | 'terminated';

export interface Instance {
  readonly id: string;
  readonly state: InstanceState;
  /** Its Name tag. */
  readonly name?: string;
  readonly privateDnsName?: string;
  readonly interfaces: readonly string[];
}

/** Where a route lies, and where it shall lead: an id of an interface, or of a gateway of any kind. */
export interface RouteInput {
  readonly table: string;
  readonly prefix: string;
  readonly target: string;
}

/** Ids to look for; what is not there is left out of the answer. */
export type Search = { readonly ids: readonly string[] } | { readonly interfaces: readonly string[] };

/** Every call: what is asked, and what is answered. `policy.ts` has the permission for each. */
export interface Calls {
  /** The tables of a VPC, all or those of `ids` that exist. */
  readonly DescribeRouteTables: {
    readonly input: { readonly vpc: string; readonly ids?: readonly string[] };
    readonly output: readonly Table[];
  };
  readonly DescribeInstances: { readonly input: Search; readonly output: readonly Instance[] };
  readonly DescribeNetworkInterfaces: {
    readonly input: { readonly ids: readonly string[] };
    readonly output: readonly NetworkInterface[];
  };
  readonly CreateRoute: { readonly input: RouteInput; readonly output: undefined };
  readonly ReplaceRoute: { readonly input: RouteInput; readonly output: undefined };
  readonly DeleteRoute: { readonly input: Omit<RouteInput, 'target'>; readonly output: undefined };
  /** Turns the source/dest check of an interface off. */
  readonly ModifyNetworkInterfaceAttribute: {
    readonly input: { readonly networkInterface: string };
    readonly output: undefined;
  };
  /** The most routes of a family that a table takes. */
  readonly GetServiceQuota: { readonly input: Readonly<Record<never, never>>; readonly output: number };
}

export type Action = keyof Calls;

/** A group of calls: what each is asked, and what it answers. */
export type CallTable<C> = { readonly [A in keyof C]: { readonly input: unknown; readonly output: unknown } };

export type ActionOf<C> = keyof C & string;

/** What a call is signed with. */
export interface AccessKey {
  readonly id: string;
  readonly secret: string;
  /** Of temporary keys. */
  readonly token?: string;
}

/** How a call is sent. */
export interface SendOptions {
  readonly signal: AbortSignal;
  /** Only asks whether the call would be allowed: ends in an error in any case. */
  readonly dryRun?: boolean;
}

/** One attempt at a call, in the vendor's way; rejects with what the vendor's client throws. */
export interface Wire<C extends CallTable<C> = Calls> {
  send<A extends ActionOf<C>>(
    action: A,
    input: C[A]['input'],
    key: AccessKey,
    options: SendOptions,
  ): Promise<C[A]['output']>;
  close(): void;
}
