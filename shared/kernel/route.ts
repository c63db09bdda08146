import { demand, eachAttribute, type Message, type MessageWriter, readU32 } from './attribute.ts';
import { AF_INET, AF_INET6, type Family, familyOf, packAddress, packPrefix, unpackAddress } from './inet.ts';
import { isKernelError } from './kernel-error.ts';
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, type Request } from './netlink-request.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/** Routes. Kernel source: net/ipv4/fib_frontend.c, net/ipv6/route.c, include/uapi/linux/rtnetlink.h. */

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;

/** Who made a route. Drayage's own number, not in iproute2's rt_protos. */
export const RTPROT_DRAYAGE = 68;
export const RTPROT_KERNEL = 2;
export const RTPROT_BOOT = 3;
export const RTPROT_STATIC = 4;

export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;

const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTAX_MTU = 2;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTM_F_LOOKUP_TABLE = 0x1000;
const RTM_F_FIB_MATCH = 0x2000;
const BODY_SIZE = 12;

const TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const;
export type RouteType = keyof typeof TYPES;
const typeNames = new Map(Object.entries(TYPES).map(([name, number]) => [number as number, name as RouteType]));

/** How far an address or the destination of a route is. */
export const SCOPES = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;
export type Scope = keyof typeof SCOPES;
export const scopeName = (number: number): Scope =>
  number === 253 ? 'link' : number === 254 ? 'host' : number === 200 ? 'site' : number === 255 ? 'nowhere' : 'global';

export interface Route {
  /** CIDR, canonical; the default routes are `0.0.0.0/0` and `::/0`. */
  readonly destination: string;
  /** `unicast` when absent. */
  readonly type?: RouteType;
  /** Index of the link. */
  readonly link?: number;
  /** Next hop. An IPv4 destination may have an IPv6 one. */
  readonly via?: string;
  /** The source address that the host itself uses. */
  readonly source?: string;
  /** Lower wins; IPv4 has 0, IPv6 1024 when absent. */
  readonly metric?: number;
  /** Main (254) when absent. */
  readonly table?: number;
  /** RTPROT_DRAYAGE when absent. */
  readonly protocol?: number;
  /** Chosen by the kernel's habit when absent: `link` for a connected IPv4 route, else `global`. */
  readonly scope?: Scope;
  /** The next hop is on the link although no prefix says so. */
  readonly onlink?: boolean;
  /** Bytes. */
  readonly mtu?: number;
}

/** A route as read; all that the kernel told. */
export interface FoundRoute extends Route {
  readonly family: Family;
  readonly type: RouteType;
  readonly table: number;
  readonly protocol: number;
  readonly scope: Scope;
  /** Several next hops: none of them is in `via`. */
  readonly multipath: boolean;
}

/** `10.1.0.0/24 via 10.0.0.2 on link 3`, for errors. */
const describe = (route: Route): string =>
  [
    route.type === undefined || route.type === 'unicast' ? '' : `${route.type} `,
    route.destination,
    route.via === undefined ? '' : ` via ${route.via}`,
    route.link === undefined ? '' : ` on link ${route.link}`,
  ].join('');

const write = (writer: MessageWriter, route: Route, deleting: boolean): void => {
  const prefix = packPrefix(route.destination);
  const table = route.table ?? RT_TABLE_MAIN;
  const type = TYPES[route.type ?? 'unicast'];
  const connected = type === TYPES.unicast && route.via === undefined && prefix.family === AF_INET;
  const scope = route.scope ?? (deleting ? 'nowhere' : type === TYPES.local ? 'host' : connected ? 'link' : 'global');
  writer.body(BODY_SIZE, (buffer, at) => {
    buffer.writeUInt8(prefix.family, at);
    buffer.writeUInt8(prefix.length, at + 1);
    buffer.writeUInt8(table > 255 ? 252 : table, at + 4);
    buffer.writeUInt8(route.protocol ?? RTPROT_DRAYAGE, at + 5);
    buffer.writeUInt8(SCOPES[scope], at + 6);
    // A deletion without a type takes a route of any type.
    buffer.writeUInt8(deleting && route.type === undefined ? 0 : type, at + 7);
    buffer.writeUInt32LE(route.onlink === true ? RTNH_F_ONLINK : 0, at + 8);
  });
  if (prefix.length > 0) writer.raw(RTA_DST, prefix.address);
  if (table > 255) writer.u32(RTA_TABLE, table);
  if (route.link !== undefined) writer.u32(RTA_OIF, route.link);
  if (route.metric !== undefined) writer.u32(RTA_PRIORITY, route.metric);
  if (route.source !== undefined) writer.raw(RTA_PREFSRC, packAddress(route.source));
  if (route.via !== undefined) writeNextHop(writer, route.via, prefix.family);
  const { mtu } = route;
  if (mtu !== undefined) writer.nest(RTA_METRICS, () => writer.u32(RTAX_MTU, mtu));
};

const writeNextHop = (writer: MessageWriter, via: string, family: Family): void => {
  const hop = familyOf(via);
  if (hop === family) {
    writer.raw(RTA_GATEWAY, packAddress(via));
    return;
  }
  if (hop === AF_INET) throw new RangeError(`an IPv6 route cannot go via ${via}`);
  writer.raw(RTA_VIA, Buffer.concat([Buffer.from([hop, 0]), packAddress(via)]));
};

/** EEXIST when a route to the destination with that metric is in the table. */
export const addRoute = (route: Route): Request => ({
  type: RTM_NEWROUTE,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `add route ${describe(route)}`,
  write: (writer) => write(writer, route, false),
});

/** Adds, or takes the place of the route to the same destination with the same metric: atomic, no gap in between. */
export const replaceRoute = (route: Route): Request => ({
  type: RTM_NEWROUTE,
  flags: NLM_F_CREATE | NLM_F_REPLACE,
  what: `set route ${describe(route)}`,
  write: (writer) => write(writer, route, false),
});

/** Adds a further route to the same destination. */
export const appendRoute = (route: Route): Request => ({
  type: RTM_NEWROUTE,
  flags: NLM_F_CREATE | NLM_F_APPEND,
  what: `append route ${describe(route)}`,
  write: (writer) => write(writer, route, false),
});

/** Deletes the first route that agrees with all that is given (protocol too: ours unless told). ESRCH when none does. */
export const deleteRoute = (route: Route): Request => ({
  type: RTM_DELROUTE,
  flags: 0,
  what: `delete route ${describe(route)}`,
  write: (writer) => write(writer, route, true),
});

export interface RouteFilter {
  readonly family: Family;
  /** Main (254) when absent; 0 for all tables. */
  readonly table?: number;
  readonly protocol?: number;
  /** Index of the link. */
  readonly link?: number;
  readonly type?: RouteType;
}

/** The routes of one family that match; the kernel filters. Cached (cloned) entries are left out. */
export const listRoutes = (rt: Rtnetlink, filter: RouteFilter): FoundRoute[] => {
  try {
    return dumpRoutes(rt, filter);
  } catch (error) {
    // A table comes into being with its first route.
    if (isKernelError(error, 'ENOENT')) return [];
    throw error;
  }
};

const dumpRoutes = (rt: Rtnetlink, filter: RouteFilter): FoundRoute[] => {
  const table = filter.table ?? RT_TABLE_MAIN;
  return rt.dump(
    {
      type: RTM_GETROUTE,
      flags: 0,
      what: 'list the routes',
      write: (writer) => {
        writer.body(BODY_SIZE, (buffer, at) => {
          buffer.writeUInt8(filter.family, at);
          buffer.writeUInt8(table > 255 ? 252 : table, at + 4);
          buffer.writeUInt8(filter.protocol ?? 0, at + 5);
          buffer.writeUInt8(filter.type === undefined ? 0 : TYPES[filter.type], at + 7);
        });
        if (table > 255) writer.u32(RTA_TABLE, table);
        if (filter.link !== undefined) writer.u32(RTA_OIF, filter.link);
      },
    },
    (message) => (message.type === RTM_NEWROUTE ? parseRoute(message) : undefined),
  );
};

/**
 * Which route the host takes to `address`, from `source` if given: what the kernel makes of the table's entry or, with
 * `entry`, that entry itself with its maker. Throws KernelError: ENETUNREACH, EHOSTUNREACH ….
 */
export const lookUpRoute = (
  rt: Rtnetlink,
  address: string,
  options: { readonly source?: string; readonly link?: number; readonly entry?: boolean } = {},
): FoundRoute | undefined =>
  rt.ask(
    {
      type: RTM_GETROUTE,
      flags: 0,
      what: `look up the route to ${address}`,
      write: (writer) => {
        const family = familyOf(address);
        const bits = family === AF_INET ? 32 : 128;
        writer.body(BODY_SIZE, (buffer, at) => {
          buffer.writeUInt8(family, at);
          buffer.writeUInt8(bits, at + 1);
          buffer.writeUInt8(options.source === undefined ? 0 : bits, at + 2);
          const table = family === AF_INET ? RTM_F_LOOKUP_TABLE : 0;
          buffer.writeUInt32LE(table | (options.entry === true ? RTM_F_FIB_MATCH : 0), at + 8);
        });
        writer.raw(RTA_DST, packAddress(address));
        if (options.source !== undefined) writer.raw(RTA_SRC, packAddress(options.source));
        if (options.link !== undefined) writer.u32(RTA_OIF, options.link);
      },
    },
    parseLookup,
  );

const parseLookup = (message: Message): FoundRoute | undefined => parse(message, true);

/** Reads an RTM_NEWROUTE or RTM_DELROUTE message; undefined for cached entries and other families. */
export const parseRoute = (message: Message): FoundRoute | undefined => parse(message, false);

const parse = (message: Message, cloned: boolean): FoundRoute | undefined => {
  const body = demand(message.body, BODY_SIZE);
  const family = body.readUInt8(0);
  const type = typeNames.get(body.readUInt8(7));
  const flags = body.readUInt32LE(8);
  if ((family !== AF_INET && family !== AF_INET6) || type === undefined) return undefined;
  if (!cloned && (flags & RTM_F_CLONED) !== 0) return undefined;
  let address = family === AF_INET ? '0.0.0.0' : '::';
  const route: { -readonly [K in keyof FoundRoute]: FoundRoute[K] } = {
    family,
    destination: '',
    type,
    table: body.readUInt8(4),
    protocol: body.readUInt8(5),
    scope: scopeName(body.readUInt8(6)),
    multipath: false,
  };
  eachAttribute(body, BODY_SIZE, (key, value) => {
    if (key === RTA_DST) address = unpackAddress(value);
    else if (key === RTA_OIF) route.link = readU32(value);
    else if (key === RTA_GATEWAY) route.via = unpackAddress(value);
    else if (key === RTA_VIA) route.via = unpackAddress(value.subarray(2));
    else if (key === RTA_PREFSRC) route.source = unpackAddress(value);
    else if (key === RTA_PRIORITY) route.metric = readU32(value);
    else if (key === RTA_TABLE) route.table = readU32(value);
    else if (key === RTA_MULTIPATH) route.multipath = true;
    else if (key === RTA_METRICS) {
      eachAttribute(value, 0, (metric, number) => {
        if (metric === RTAX_MTU) route.mtu = readU32(number);
      });
    }
  });
  if ((flags & RTNH_F_ONLINK) !== 0) route.onlink = true;
  route.destination = `${address}/${body.readUInt8(1)}`;
  return route;
};
