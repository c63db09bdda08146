import type { Context } from '../shared/context.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { DataPath, Drift } from './datapath/datapath.ts';
import type { FirewallModel, PublishedPort, RoamingAddress } from './firewall/policy.ts';
import type { Claims, Ipam } from './ipam.ts';
import type { Settings } from './options.ts';
import type { PortRequest } from './ports/port-request.ts';
import type { NetworkState, PortRecord } from './state.ts';

/** What the driver is put together from, as it needs it. */

/** The part of the route engine that the driver needs beside claiming. */
export interface Routes extends Claims {
  /** Prefixes that this host believes it holds while the provider says that another does. */
  lost(): readonly { readonly prefix: string; readonly owner: string }[];
  /** CIDRs that the provider's routers know: never masqueraded, and `ingress=vpc`. */
  local(): readonly string[];
  /** Every pool that the cluster is known to use. */
  pools(): readonly string[];
}

/** The part of the firewall that the driver needs. */
export interface PacketFilter {
  apply(model: FirewallModel, c: Context): Promise<void>;
  publish(ports: readonly PublishedPort[], c: Context): Promise<void>;
  revoke(ports: readonly PublishedPort[], c: Context): Promise<void>;
  /** Lets single addresses count as their networks' own, and no more: elements, while every rule stays. */
  admit(addresses: readonly RoamingAddress[], c: Context): Promise<void>;
  dismiss(addresses: readonly RoamingAddress[], c: Context): Promise<void>;
  /** Lets containers' packets through tables of iptables that have come into use since the last look. */
  ensureAccepts(c: Context): Promise<void>;
  /** Takes out everything that is ours; writes nothing when there is nothing. */
  remove(c: Context): Promise<void>;
  check(model: FirewallModel, repair: boolean, c: Context): Promise<Drift[]>;
}

/** Host ports: chosen, and kept from other processes of the host while they are published. */
export interface HostPorts {
  /** All or nothing. Errors: PORT_TAKEN, PORTS_EXHAUSTED. */
  reserve(
    owner: { readonly endpoint: string; readonly network: string },
    requests: readonly PortRequest[],
    targets: { readonly address?: string; readonly address6?: string },
    c: Context,
  ): Promise<readonly PortRecord[]>;
  release(endpoint: string): Promise<void>;
}

export interface DriverDeps {
  readonly store: StateStore<NetworkState>;
  readonly ipam: Ipam;
  readonly routes: Routes;
  readonly path: DataPath;
  readonly filter: PacketFilter;
  readonly ports: HostPorts;
  /** This host's own pools. */
  readonly home: Pick<Settings, 'pool' | 'pool6'>;
  readonly dryRun: boolean;
  /** May containers ask the cloud's metadata service? */
  readonly metadata?: FirewallModel['metadata'];
  readonly now?: () => number;
}

/** From the start of a step that may have to be undone: the call's own deadline and the undoing after it. */
export const UNDO_MS = 45_000;
