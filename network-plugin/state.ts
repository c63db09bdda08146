/** What the `vpc` plugin remembers on this host: one record type a collection, all plain JSON. */

/** A prefix that this host holds, or is about to hold or give back, at the route provider. Key: the prefix. */
export interface ClaimRecord {
  /** CIDR in canonical form, such as `10.64.3.0/24`. */
  readonly prefix: string;
  /** The pool that it was drawn from; equal to `prefix` where Docker's own IPAM chose the subnet. */
  readonly pool: string;
  /** `claiming` and `releasing` are intents: reconcile finishes or undoes them after a crash. */
  readonly phase: 'claiming' | 'held' | 'releasing';
  /** Found in the kernel when the records had been lost: held for the containers in it, and no longer. */
  readonly adopted?: true;
  /** ISO time of the last change. */
  readonly since: string;
}

/** A pool handed to Docker by the IPAM driver. Key: the PoolID, which by itself says pool and prefix. */
export interface PoolRecord {
  readonly id: string;
  readonly addressSpace: string;
  /** What Docker was told: the whole pool, so that `--ip` may name any address in it. */
  readonly pool: string;
  /** The host's prefix: the range that addresses are drawn from. */
  readonly prefix: string;
  /** `--ip-range`, when it is narrower than the prefix. */
  readonly range?: string;
  /** The gateway address, once Docker has asked for it: it tells CreateNetwork which prefix is meant. */
  readonly gateway?: string;
  /** Where the next search for a free address starts. */
  readonly next: string;
  /** The network that uses it, once CreateNetwork has come. */
  readonly network?: string;
  /** Docker has released it, or deleted its network: the pool and its claim go once both have come, or reconcile looks. */
  readonly released?: boolean;
  /** Epoch milliseconds of its making. */
  readonly since: number;
}

/** One address in use or resting. Key: `<PoolID>|<address>`. */
export interface AddressRecord {
  readonly pool: string;
  readonly address: string;
  /**
   * `released` addresses rest until `at`, so that peers forget the old holder first. `claiming` is an intent of roaming
   * ones: the provider may have the claim or not.
   */
  readonly phase: 'claiming' | 'held' | 'released';
  /** Epoch milliseconds since when it is held, or at which a released one may be given out again. */
  readonly at: number;
  readonly purpose: 'endpoint' | 'gateway' | 'auxiliary';
  /** In no host's prefix: it has a claim of its own at the route provider, and goes with its container. */
  readonly roaming?: true;
}

export type Masquerade = 'auto' | 'on' | 'off';
export type Ingress = 'any' | 'vpc' | 'pool';

/** A Docker network. Key: Docker's network id. */
export interface NetworkRecord {
  readonly id: string;
  readonly phase: 'creating' | 'ready' | 'deleting';
  /** The pools that Docker was told (CIDRs), IPv4 and IPv6. Networks of one pool reach each other. */
  readonly pools: readonly string[];
  /** The prefixes of this host in them. */
  readonly prefixes: readonly string[];
  /** Prefixes claimed by CreateNetwork itself (Docker's own IPAM), to be released with the network. */
  readonly claims: readonly string[];
  readonly mtu?: number;
  readonly masquerade: Masquerade;
  readonly ingress: Ingress;
  readonly allow: readonly string[];
  readonly internal: boolean;
  /** Parts of the pools that are kept for roaming addresses. */
  readonly roaming?: readonly string[];
  /** Epoch milliseconds of its making. */
  readonly since: number;
}

/** One entry of Docker's port map as it is programmed. */
export interface PortRecord {
  /** IP protocol number: 6 TCP, 17 UDP, 132 SCTP. */
  readonly protocol: 6 | 17 | 132;
  /** `''` for every address of the host. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly targetIp: string;
  readonly targetPort: number;
}

/** An endpoint: one container on one network. Key: Docker's endpoint id. */
export interface EndpointRecord {
  readonly id: string;
  readonly network: string;
  /** `joining` and `leaving` are intents: reconcile finishes or undoes them after a crash. */
  readonly phase: 'created' | 'joining' | 'joined' | 'leaving';
  /** Addresses without a prefix length. */
  readonly address?: string;
  readonly address6?: string;
  readonly mac: string;
  readonly link: string;
  readonly sandbox?: string;
  /** Which of its sandbox's endpoints it is, from 0: endpoints of one container need different gateways. */
  readonly slot?: number;
  /** Pools of the sandbox's networks whose routes its Join gave to the sandbox; they go with it. */
  readonly told?: readonly string[];
  /** Epoch milliseconds of the last change of phase. */
  readonly since: number;
  readonly ports: readonly PortRecord[];
}

/** A route to a gateway that this host has made, as PEERS asked for. Key: the prefix. */
export interface GatewayRecord {
  /** CIDR in canonical form. */
  readonly prefix: string;
  /** The router's name of the gateway. */
  readonly via: string;
  /** ISO time of the last change. */
  readonly since: string;
}

/** What this host keeps of itself. Key: `self`. */
export interface HostRecord {
  /** Random, made once: tells this host from another one of the same name. */
  readonly id: string;
}

/** The collections of the plugin's store. */
export interface NetworkState {
  readonly hosts: HostRecord;
  readonly claims: ClaimRecord;
  readonly gateways: GatewayRecord;
  readonly pools: PoolRecord;
  readonly addresses: AddressRecord;
  readonly networks: NetworkRecord;
  readonly endpoints: EndpointRecord;
}
