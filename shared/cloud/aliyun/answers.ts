import { parseCidr } from '../../cidr.ts';
import { PluginError } from '../../errors.ts';
import type { Body } from './caller.ts';

/** Of Aliyun's answers exactly what Drayage looks at. */

export interface TableInfo {
  readonly id: string;
  readonly system: boolean;
  /** vSwitches that use it. Those that no table names use the system table. */
  readonly vswitches: readonly string[];
}

export interface Hop {
  readonly id: string;
  /** `Instance`, `NetworkInterface`, `VpnGateway` … */
  readonly type: string;
}

export interface Entry {
  /** rte-… */
  readonly id: string;
  readonly table: string;
  /** Canonical CIDR. */
  readonly prefix: string;
  /** `Available`, or on its way: `Pending`, `Creating`, `Modifying`, `Deleting`. */
  readonly status: string;
  /** `Custom`: made by somebody; `System`: the VPC's own; others are learnt from a peer or a gateway. */
  readonly type: string;
  /** The first next hop: only routes between border routers have several. */
  readonly hop: Hop;
  readonly description: string;
}

export interface NewEntry {
  readonly table: string;
  readonly prefix: string;
  readonly hop: Hop;
  readonly description: string;
}

/** An entry of a batch that was not made. Its table is not told. */
export interface FailedEntry {
  readonly prefix: string;
  readonly hop: string;
  readonly code: string;
  readonly text: string;
}

export interface InstanceInfo {
  readonly id: string;
  /** Running, Stopped, Starting, Stopping, Pending. */
  readonly status: string;
  /** Its host name; the name that it has in the console where there is none. */
  readonly host: string;
  readonly address?: string;
}

export interface VSwitchInfo {
  readonly id: string;
  readonly cidrs: readonly string[];
}

export const recordOf = (value: unknown): Body => (typeof value === 'object' && value !== null ? { ...value } : {});
export const text = (from: Body, name: string): string => (typeof from[name] === 'string' ? from[name] : '');
/** `{ Vpcs: { Vpc: [...] } }` → the records. */
export const records = (from: Body, outer: string, inner: string): readonly Body[] => {
  const found = recordOf(from[outer])[inner];
  return Array.isArray(found) ? found.map(recordOf) : [];
};
/** `{ VSwitchIds: { VSwitchId: ['vsw-1'] } }` → the texts. */
export const texts = (from: Body, outer: string, inner: string): readonly string[] => {
  const found = recordOf(from[outer])[inner];
  return Array.isArray(found) ? found.filter((one) => typeof one === 'string') : [];
};

/** Undefined for what is no CIDR, such as the name of a prefix list. */
export const canonical = (cidr: string): string | undefined => {
  try {
    const whole = cidr.includes('/') ? cidr : `${cidr}/${cidr.includes(':') ? 128 : 32}`;
    return parseCidr(whole, { strict: false }).text;
  } catch (error) {
    if (error instanceof PluginError) return undefined;
    throw error;
  }
};

export const entryOf = (from: Body, table: string): readonly Entry[] => {
  const prefix = canonical(text(from, 'DestinationCidrBlock'));
  if (prefix === undefined) return [];
  const hop = records(from, 'NextHops', 'NextHop')[0] ?? {};
  return [
    {
      id: text(from, 'RouteEntryId'),
      table: text(from, 'RouteTableId') || table,
      prefix,
      status: text(from, 'Status'),
      type: text(from, 'Type'),
      hop: { id: text(hop, 'NextHopId'), type: text(hop, 'NextHopType') },
      description: text(from, 'Description'),
    },
  ];
};
