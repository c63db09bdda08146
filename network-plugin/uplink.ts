import { hostname } from 'node:os';
import { PluginError } from '../shared/errors.ts';
import { listAddresses } from '../shared/kernel/address.ts';
import { AF_INET, AF_INET6, type Family } from '../shared/kernel/inet.ts';
import { isKernelError } from '../shared/kernel/kernel-error.ts';
import { findLink, type Link } from '../shared/kernel/link.ts';
import { type FoundRoute, listRoutes, lookUpRoute, RT_TABLE_MAIN } from '../shared/kernel/route.ts';
import type { Rtnetlink } from '../shared/kernel/rtnetlink.ts';
import type { Settings } from './options.ts';

/** The interface that leads to the other hosts, and this host's own addresses on it. */
export interface Uplink {
  readonly index: number;
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** Without a prefix length. */
  readonly address?: string;
  readonly address6?: string;
}

const DEFAULTS = { [AF_INET]: '0.0.0.0/0', [AF_INET6]: '::/0' } as const;

/** Addresses for documentation: no route but the default one leads there. Looked up instead of read from a long table. */
const NOWHERE = { [AF_INET]: '192.0.2.1', [AF_INET6]: '2001:db8::1' } as const;

/** The link of the default route with the lowest metric. */
const defaultLink = (rt: Rtnetlink, family: Family): number | undefined => {
  const taken = entryFor(rt, NOWHERE[family]);
  if (taken?.type === 'unicast' && taken.destination === DEFAULTS[family] && taken.link !== undefined) {
    return taken.link;
  }
  return listedDefault(rt, family);
};

const entryFor = (rt: Rtnetlink, address: string): FoundRoute | undefined => {
  try {
    return lookUpRoute(rt, address, { entry: true });
  } catch (error) {
    if (isKernelError(error)) return undefined;
    throw error;
  }
};

const listedDefault = (rt: Rtnetlink, family: Family): number | undefined =>
  listRoutes(rt, { family, table: RT_TABLE_MAIN })
    .filter(
      ({ destination, type, link }) => destination === DEFAULTS[family] && type === 'unicast' && link !== undefined,
    )
    .sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0))[0]?.link;

const linkWith = (rt: Rtnetlink, address: string): number | undefined => {
  const entry = entryFor(rt, address);
  return entry?.type === 'local' ? entry.link : undefined;
};

const bare = (address: string): string => address.split('/')[0] ?? address;

const chosen = (rt: Rtnetlink, settings: Pick<Settings, 'uplink' | 'nodeIp'>): Link | undefined => {
  const { uplink, nodeIp } = settings;
  if (uplink !== undefined) {
    const link = findLink(rt, { name: uplink });
    if (link === undefined)
      throw new PluginError('UPLINK_MISSING', { reason: `no interface is named ${uplink} (UPLINK)` });
    return link;
  }
  const index =
    nodeIp === undefined ? (defaultLink(rt, AF_INET) ?? defaultLink(rt, AF_INET6)) : linkWith(rt, nodeIp.text);
  if (index === undefined && nodeIp !== undefined) {
    throw new PluginError('UPLINK_MISSING', { reason: `no interface has the address ${nodeIp.text} (NODE_IP)` });
  }
  return index === undefined ? undefined : findLink(rt, { index });
};

/**
 * The uplink as it is now; undefined on a host without a default route. Errors: UPLINK_MISSING when a setting names
 * one that is not there.
 */
export function findUplink(rt: Rtnetlink, settings: Pick<Settings, 'uplink' | 'nodeIp'>): Uplink | undefined {
  const link = chosen(rt, settings);
  if (link === undefined) return undefined;
  const own = listAddresses(rt, { link: link.index }).filter((found) => found.scope === 'global' && !found.tentative);
  const first = (family: Family): string | undefined => {
    const all = own.filter((found) => found.family === family).map((found) => bare(found.address));
    return all.find((address) => address === settings.nodeIp?.text) ?? all[0];
  };
  const [address, address6] = [first(AF_INET), first(AF_INET6)];
  return {
    index: link.index,
    name: link.name,
    mtu: link.mtu,
    ...(address === undefined ? {} : { address }),
    ...(address6 === undefined ? {} : { address6 }),
  };
}

/** This host's name in the cluster. */
export const nodeName = (settings: Pick<Settings, 'nodeName'>): string => settings.nodeName ?? hostname();
