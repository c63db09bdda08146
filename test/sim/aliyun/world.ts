/** What exists in the simulated account: VPCs, vSwitches, route tables with their entries, instances, other next hops. */
import { addressAt, parseAddress, parseCidr, size } from '../../../shared/cidr.ts';
import type { Core } from '../core/api.ts';
import { LaggedMap } from '../core/lagged-map.ts';
import type { EffectiveRoute } from '../core/routes.ts';

export interface Vpc {
  readonly id: string;
  readonly name: string;
  readonly routerId: string;
  readonly cidr: string;
  readonly cidr6: string;
  readonly secondary: readonly string[];
  readonly systemTable: string;
  readonly created: number;
}

export interface VSwitch {
  readonly id: string;
  readonly name: string;
  readonly vpc: string;
  readonly cidr: string;
  readonly cidr6: string;
  readonly zone: string;
  /** The table that its packets look at: the system one unless associated with another. */
  readonly table: string;
  readonly created: number;
}

export interface RouteTable {
  readonly id: string;
  readonly name: string;
  readonly vpc: string;
  readonly kind: 'System' | 'Custom';
  readonly created: number;
}

/** Next hops that are machines; the other kinds are whatever `gateway` made. */
export type HopKind = 'Instance' | 'NetworkInterface' | (string & {});

export interface Hop {
  readonly kind: HopKind;
  readonly id: string;
}

/** A custom route. Not changed in place: readers may see an older one for a while. */
export interface RouteEntry {
  readonly id: string;
  /** Grows with each entry: lists are in this order. */
  readonly order: number;
  readonly table: string;
  /** Canonical. */
  readonly prefix: string;
  readonly hop: Hop;
  readonly name: string;
  readonly description: string;
  readonly status: 'Pending' | 'Available' | 'Modifying' | 'Deleting';
  readonly modified: number;
}

export interface NetworkInterface {
  readonly id: string;
  readonly mac: string;
  readonly address: string;
  readonly address6: string;
  readonly instance: string;
  readonly primary: boolean;
}

export interface Instance {
  readonly id: string;
  readonly name: string;
  readonly hostName: string;
  readonly status: 'Running' | 'Stopped' | 'Stopping' | 'Starting' | 'Pending';
  readonly vpc: string;
  readonly vswitch: string;
  readonly interfaces: readonly NetworkInterface[];
  readonly tags: Readonly<Record<string, string>>;
  /** RAM role that it bears; '' for none. */
  readonly role: string;
  /** May be asked for metadata without a token, as instances may by default. */
  readonly tokens: 'required' | 'optional';
  /** Address that its calls come from, where that is not its own (tests on one machine). */
  readonly source: string;
  readonly created: number;
}

/** A gateway, a peering, a VPN: any next hop that is no machine. */
export interface Gateway {
  readonly id: string;
  readonly kind: string;
  readonly vpc: string;
  /** Where a router sends what is for it; '' for nowhere. */
  readonly via: string;
}

export const SERVICE_RANGE = parseCidr('100.64.0.0/10');

export class World {
  readonly core: Core;
  readonly region: string;
  readonly vpcs = new Map<string, Vpc>();
  readonly vswitches = new Map<string, VSwitch>();
  readonly tables = new Map<string, RouteTable>();
  readonly instances = new Map<string, Instance>();
  readonly gateways = new Map<string, Gateway>();
  readonly entries: LaggedMap<RouteEntry>;
  #order = 0;

  constructor(core: Core, region: string, lag: () => number) {
    this.core = core;
    this.region = region;
    this.entries = new LaggedMap(core.clock, lag);
  }

  nextOrder(): number {
    this.#order += 1;
    return this.#order;
  }

  /** Entries as they are. */
  entriesOf(table: string): RouteEntry[] {
    return this.entries.entries().flatMap(([, entry]) => (entry.table === table ? [entry] : []));
  }

  /** Entries as a reader is shown them. */
  shown(table: string): RouteEntry[] {
    return this.entries.visible().flatMap(([, entry]) => (entry.table === table ? [entry] : []));
  }

  setEntry(entry: RouteEntry): void {
    this.entries.set(entry.id, { ...entry, modified: this.core.clock.now() });
    this.publish();
  }

  dropEntry(id: string): void {
    this.entries.delete(id);
    this.publish();
  }

  vswitchesOf(vpc: string): VSwitch[] {
    return [...this.vswitches.values()].filter((one) => one.vpc === vpc);
  }

  interface(id: string): NetworkInterface | undefined {
    return [...this.instances.values()].flatMap(({ interfaces }) => interfaces).find((one) => one.id === id);
  }

  /** The machine behind a next hop. */
  machine(hop: Hop): Instance | undefined {
    const id = hop.kind === 'NetworkInterface' ? (this.interface(hop.id)?.instance ?? '') : hop.id;
    return this.instances.get(id);
  }

  /** Who calls from this address. */
  bySource(source: string): Instance | undefined {
    const all = [...this.instances.values()];
    const { text } = source === '' ? { text: '' } : parseAddress(source);
    return (
      all.find((one) => one.source !== '' && one.source === text) ??
      all.find(({ interfaces }) => interfaces.some(({ address, address6 }) => address === text || address6 === text))
    );
  }

  /** A free address of a vSwitch's block, IPv4 or IPv6; its first ones are the vendor's own. */
  freeAddress(block: string): string {
    const cidr = parseCidr(block);
    const interfaces = [...this.instances.values()].flatMap((one) => one.interfaces);
    const taken = new Set(interfaces.flatMap(({ address, address6 }) => [address, address6]));
    for (let n = 4n; n < size(cidr); n += 1n) {
      const { text } = addressAt(cidr, n);
      if (!taken.has(text)) return text;
    }
    throw new Error(`no free address in ${block}`);
  }

  /** Tells the router what the tables say now. An entry carries packets from when it is Available until it is gone. */
  publish(): void {
    this.core.routes.publish(
      this.entries.entries().flatMap(([, entry]) => (entry.status === 'Pending' ? [] : [this.#effective(entry)])),
    );
  }

  #effective({ table, prefix, hop }: RouteEntry): EffectiveRoute {
    const base = { table, prefix, target: hop.id };
    const gateway = this.gateways.get(hop.id);
    if (gateway !== undefined) {
      return gateway.via === '' ? { ...base, state: 'active' } : { ...base, state: 'active', via: gateway.via };
    }
    const machine = this.machine(hop);
    const through =
      hop.kind === 'NetworkInterface'
        ? machine?.interfaces.find(({ id }) => id === hop.id)
        : machine?.interfaces.find(({ primary }) => primary);
    const via = prefix.includes(':') ? through?.address6 : through?.address;
    if (via === undefined || via === '') return { ...base, state: 'blackhole' };
    return { ...base, state: 'active', via };
  }
}
