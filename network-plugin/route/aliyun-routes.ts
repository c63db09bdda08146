import { type Cidr, contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Entry, Hop } from '../../shared/cloud/aliyun/answers.ts';
import { PluginError } from '../../shared/errors.ts';
import type { AliyunHosts } from './aliyun-hosts.ts';
import type { NextHop, Route } from './provider.ts';

/** Entries of Aliyun's route tables as the engine's routes, and what an entry says of who made it. */

/** Next hop types by the beginning of their ids. */
const TYPES: readonly (readonly [beginning: string, type: string])[] = [
  ['i-', 'Instance'],
  ['eni-', 'NetworkInterface'],
  ['havip-', 'HaVip'],
  ['vpn-', 'VpnGateway'],
  ['ri-', 'RouterInterface'],
  ['ngw-', 'NatGateway'],
  ['tr-attach-', 'Attachment'],
  ['cen', 'Attachment'],
  ['pcc-', 'VpcPeer'],
  ['ipv6gw-', 'IPv6Gateway'],
  ['ipv4gw-', 'Ipv4Gateway'],
  ['ecr', 'Ecr'],
];

/** The next hop of `CIDR via TARGET`. Errors: SETTING_INVALID for an id of no known kind. */
export const hopOf = (via: string): Hop => {
  const type = TYPES.find(([beginning]) => via.startsWith(beginning))?.[1];
  if (type !== undefined) return { id: via, type };
  throw new PluginError('SETTING_INVALID', {
    ...{ option: 'PEERS', value: via, reason: 'no kind of next hop has such an id' },
    ...{ allowed: TYPES.map(([beginning]) => `${beginning}…`).join(', '), example: '10.96.0.0/12 via vpn-bp1a2b3c' },
  });
};

/** What we write into the description of an entry: who it leads to and what for. */
export interface Mark {
  /** Absent for a route to a gateway. */
  readonly host?: string;
  readonly pool?: string;
}

const WORD = 'drayage';

export const writeMark = ({ host, pool }: Mark): string => {
  const words = [
    WORD,
    host === undefined ? 'gateway' : `host=${host}`,
    ...(pool === undefined ? [] : [`pool=${pool}`]),
  ];
  return words.join(' ');
};

/** Undefined for what somebody else has written. */
export const readMark = (description: string): Mark | undefined => {
  const [first, ...words] = description.split(' ');
  if (first !== WORD) return undefined;
  const value = (name: string): string | undefined =>
    words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  const [host, pool] = [value('host'), value('pool')];
  return { ...(host !== undefined && { host }), ...(pool !== undefined && { pool }) };
};

/** What entries are looked at with. */
export interface Viewpoint {
  readonly self: NextHop;
  /** Pools of this host's settings. */
  readonly pools: readonly Cidr[];
  readonly hosts: AliyunHosts;
}

/**
 * Is it a host's claim? Marked ones are; others only when they lead to an instance inside of a pool. What else leads to
 * an instance, such as a VPN that somebody runs on it, is no business of ours.
 */
const isClaim = ({ description, hop, prefix }: Entry, { pools }: Viewpoint): boolean => {
  const mark = readMark(description);
  if (mark !== undefined) return mark.host !== undefined;
  const cidr = parseCidr(prefix);
  const near = ['Instance', 'NetworkInterface', 'HaVip'].includes(hop.type);
  return near && pools.some((pool) => overlaps(pool, cidr));
};

/** Neither the VPC's own nor a default route. */
const isOurBusiness = (entry: Entry): boolean => entry.type !== 'System' && parseCidr(entry.prefix).length > 0;

/** Who an entry leads to. */
export const holderOf = (entry: Entry, view: Viewpoint): NextHop => {
  const { id } = entry.hop;
  if (id === view.self.target) return view.self;
  const info = view.hosts.info(id);
  const host = readMark(entry.description)?.host ?? info?.host ?? id;
  return { host, ...(info?.address !== undefined && { address: info.address }), target: id };
};

export const isGateway = (entry: Entry, view: Viewpoint): boolean => !isClaim(entry, view);

/** As the engine sees it; undefined for what is not its business. */
export const routeOf = (entry: Entry, view: Viewpoint): Route | undefined => {
  if (!isOurBusiness(entry)) return undefined;
  const pool = readMark(entry.description)?.pool;
  const state = view.hosts.isGone(entry.hop.id) ? 'blackhole' : 'active';
  const rest = { prefix: entry.prefix, state, ...(pool !== undefined && { pool }) } as const;
  if (isGateway(entry, view)) {
    const id = entry.hop.id || entry.hop.type;
    return { ...rest, nextHop: { host: id, target: id }, ours: false, gateway: true };
  }
  return { ...rest, nextHop: holderOf(entry, view), ours: entry.hop.id === view.self.target };
};

const MOVING = new Set(['Pending', 'Creating', 'Modifying', 'Deleting']);

/** Is it on its way? Then neither it nor its table takes a change. */
export const isMoving = ({ status }: Entry): boolean => MOVING.has(status);

/** A route that is asked for. */
export interface Wanted {
  readonly table: string;
  readonly prefix: string;
  readonly hop: Hop;
  readonly description: string;
  /** Leads to a gateway: narrower claims may be cut out of it. */
  readonly gateway: boolean;
}

/** What the table says to a wanted route. */
export type Verdict =
  | { readonly is: 'free' }
  /** It is there, and leads where it shall. */
  | { readonly is: 'there'; readonly entry: Entry }
  /** It, or what is in its way, is being made or deleted: look again. */
  | { readonly is: 'moving' }
  | { readonly is: 'refused'; readonly why: PluginError };

const refused = (why: PluginError): Verdict => ({ is: 'refused', why });

/** The claim of a host that is in the way of the wanted route. */
const owned = (entry: Entry, { prefix }: Wanted, view: Viewpoint): Verdict => {
  const other = entry.prefix === prefix ? undefined : entry.prefix;
  if (entry.hop.id === view.self.target) {
    return refused(new PluginError('PREFIX_OVERLAP', { prefix, other: entry.prefix, owner: 'this host' }));
  }
  const { id } = entry.hop;
  const state = view.hosts.isGone(id) ? `a blackhole: its instance ${id} is released` : undefined;
  const owner = holderOf(entry, view).host;
  return refused(new PluginError('PREFIX_OWNED', { prefix, owner, other, state, target: id }));
};

export const conflict = (prefix: string, table: string, target: string): PluginError =>
  new PluginError('ROUTE_CONFLICT', { prefix, table, target });

/** Whether a route of another length is in the way: gateways may have claims within, claims have nothing within. */
const obstacle = (entry: Entry, wanted: Wanted, view: Viewpoint): Verdict | undefined => {
  const [asked, other] = [parseCidr(wanted.prefix), parseCidr(entry.prefix)];
  if (entry.prefix === wanted.prefix || !isOurBusiness(entry) || !overlaps(asked, other)) return undefined;
  if (isGateway(entry, view)) {
    if (wanted.gateway || contains(other, asked)) return undefined;
    const target = `${entry.hop.id || entry.hop.type} (${entry.prefix})`;
    return refused(conflict(wanted.prefix, wanted.table, target));
  }
  if (wanted.gateway && contains(asked, other)) return undefined;
  return entry.status === 'Deleting' ? { is: 'moving' } : owned(entry, wanted, view);
};

/** What `entries`, all of the table, say to the wanted route. No I/O. */
export const judge = (entries: readonly Entry[], wanted: Wanted, view: Viewpoint): Verdict => {
  const { prefix, table, hop } = wanted;
  const same = entries.find((entry) => entry.prefix === prefix);
  if (same !== undefined && same.hop.id !== hop.id) {
    if (same.status === 'Deleting') return { is: 'moving' };
    if (same.type === 'System') {
      const what = 'a vSwitch or service of this VPC';
      return refused(new PluginError('PREFIX_IS_LOCAL', { prefix, address: prefix, what }));
    }
    return isGateway(same, view) ? refused(conflict(prefix, table, same.hop.id)) : owned(same, wanted, view);
  }
  for (const entry of entries) {
    const verdict = obstacle(entry, wanted, view);
    if (verdict !== undefined) return verdict;
  }
  if (same === undefined) return { is: 'free' };
  return isMoving(same) ? { is: 'moving' } : { is: 'there', entry: same };
};
