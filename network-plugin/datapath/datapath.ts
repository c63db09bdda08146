import type { Context } from '../../shared/context.ts';

/** What a data path must know of a network. Addresses and prefixes are canonical text. */
export interface PathNetwork {
  readonly id: string;
  /** This host's prefixes in the network's pools; traffic to an unused address in them is answered "unreachable". */
  readonly prefixes: readonly string[];
  /** The whole pools, IPv4 and IPv6, that containers see as their subnet. */
  readonly pools: readonly string[];
  /** What Docker's mask makes containers believe to be on their link; the prefixes when absent. */
  readonly subnets?: readonly string[];
  /** Bytes; the uplink's MTU when absent. */
  readonly mtu?: number;
}

/** What a data path must know of an endpoint. */
export interface PathEndpoint {
  readonly id: string;
  readonly network: PathNetwork;
  readonly address?: string;
  readonly address6?: string;
  readonly mac: string;
  /**
   * The lowest number from 0 that no other endpoint of the same sandbox has; 0 when absent. Endpoints of one sandbox
   * need different gateways: the engine refuses a second route to the same one ("file exists").
   */
  readonly slot?: number;
  /** Further destinations that the sandbox is to reach, through this endpoint or the one with that slot. */
  readonly ways?: readonly { readonly slot: number; readonly destinations: readonly string[] }[];
}

/** An endpoint as `check` needs it: one that is still being attached owns its link, but is not held against the kernel. */
export interface CheckedEndpoint extends PathEndpoint {
  readonly attached: boolean;
}

/** The engine's part of an attachment: what Join answers. */
export interface Attachment {
  /** Name of the link that the engine moves into the sandbox. */
  readonly source: string;
  readonly gateway?: string;
  readonly gateway6?: string;
  /** `via` absent: connected, that is on the link itself. */
  readonly routes: readonly { readonly destination: string; readonly via?: string }[];
}

/** A container on a link of ours that no record knows: what is left when the records were lost. */
export interface Stranger {
  /** The endpoint's id, which the link carries. */
  readonly endpoint: string;
  readonly link: string;
  /** Without a prefix length: what the host's routes lead there. */
  readonly addresses: readonly string[];
}

/** One thing that was not as it should be, in words for a log and a table. */
export interface Drift {
  readonly what: string;
  readonly repaired: boolean;
}

/**
 * How packets get from a sandbox to the host and back. Every call is idempotent: repeated after a crash it finishes
 * what the first one began, and `detach` or `teardown` of something that is gone succeeds.
 */
export interface DataPath {
  readonly name: string;
  /** Host-side preparation of a network. */
  setup(network: PathNetwork, c: Context): Promise<void>;
  /** Makes the link pair and the host's routes. Errors: LINK_FAILED, UPLINK_MISSING. */
  attach(endpoint: PathEndpoint, c: Context): Promise<Attachment>;
  detach(endpointId: string, c: Context): Promise<void>;
  /** Where the endpoint's far end is: `host` before the engine has moved it, or after it has moved it back. */
  present(endpointId: string): Promise<'absent' | 'host' | 'sandbox'>;
  /** Links of ours, beside those of `known` endpoints, whose far end is in another namespace. */
  strangers(known: ReadonlySet<string>): Promise<readonly Stranger[]>;
  /**
   * Compares the kernel with what should be; repairs when `repair`. Writes nothing when all is well. It looks and
   * repairs without giving way to other calls, so that nothing is half-made under its eyes. Strangers are told of and left
   * as they are, with their routes and prefixes.
   */
  check(
    networks: readonly PathNetwork[],
    endpoints: readonly CheckedEndpoint[],
    repair: boolean,
    c: Context,
  ): Promise<Drift[]>;
  teardown(network: PathNetwork, c: Context): Promise<void>;
}

/** Host-side link name of an endpoint. Fifteen bytes are the kernel's limit. */
export const hostLink = (endpointId: string): string => `dry${endpointId.slice(0, 11)}`;
/** Sandbox-side link name before the engine moves and renames it. */
export const sandboxLink = (endpointId: string): string => `drc${endpointId.slice(0, 11)}`;
