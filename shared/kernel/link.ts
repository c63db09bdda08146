import { demand, eachAttribute, type Message, readI32, readText, readU8, readU32 } from './attribute.ts';
import { AF_INET, AF_INET6, unpackMac } from './inet.ts';
import { IPV4_CONF, IPV6_CONF, type Ipv4Conf, type Ipv6Conf } from './link-conf.ts';
import {
  describeLink,
  IFF_UP,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET_CONF,
  IFLA_INET6_ADDR_GEN_MODE,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_MTU,
  IN6_ADDR_GEN_MODE_NONE,
  INFO_SIZE,
  info,
  infoOf,
  type LinkRef,
  RTM_NEWLINK,
} from './link-message.ts';
import { type LinkStats, parseStats } from './link-stats.ts';
import type { Request } from './netlink-request.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/** Network interfaces as they are. Kernel source: net/core/rtnetlink.c, include/uapi/linux/if_link.h. */

const RTM_GETLINK = 18;
const IFF_RUNNING = 0x40;
const IFLA_LINK = 5;
const IFLA_OPERSTATE = 16;
const IFLA_STATS64 = 23;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const IFLA_INET6_CONF = 2;
const RTEXT_FILTER_SKIP_STATS = 8;
const ENODEV = 19;

const OPERSTATES = ['unknown', 'notpresent', 'down', 'lowerlayerdown', 'testing', 'dormant', 'up'] as const;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`; absent for hardware and loopback. */
  readonly kind?: string;
  /** Bytes. */
  readonly mtu: number;
  readonly mac?: string;
  /** Administratively up; `running` says that it carries packets. */
  readonly up: boolean;
  readonly running: boolean;
  readonly operstate: (typeof OPERSTATES)[number];
  readonly alias?: string;
  /** Index of the bridge or bond that it is in. */
  readonly master?: number;
  /** Index of the other end of a veth, in the namespace `peerNetns` (an id of this namespace) if that is there. */
  readonly peer?: number;
  readonly peerNetns?: number;
  readonly ipv4: Ipv4Conf;
  readonly ipv6: Ipv6Conf;
  /** No link-local address is made of the MAC. */
  readonly noAddressGeneration: boolean;
  readonly stats?: LinkStats;
}

export interface LinkFilter {
  /** `veth`, `bridge` …. */
  readonly kind?: string;
  /** Index of a bridge. */
  readonly master?: number;
  /** Read packet counters too. */
  readonly stats?: boolean;
}

/** All links that match; the kernel filters. */
export const listLinks = (rt: Rtnetlink, filter: LinkFilter = {}): Link[] =>
  rt.dump(
    {
      type: RTM_GETLINK,
      flags: 0,
      what: 'list the links',
      write: (writer) => {
        info(writer, 0, 0, 0);
        writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        if (filter.master !== undefined) writer.u32(IFLA_MASTER, filter.master);
        const { kind } = filter;
        if (kind !== undefined) writer.nest(IFLA_LINKINFO, () => writer.text(IFLA_INFO_KIND, kind));
      },
    },
    (message) => (message.type === RTM_NEWLINK ? parseLink(message, filter.stats) : undefined),
  );

/** Asks for one link, which comes as a message for `parseLink`; ENODEV is no failure. */
export const readLink = (ref: LinkRef): Request => ({
  type: RTM_GETLINK,
  flags: 0,
  what: `read ${describeLink(ref)}`,
  absent: ENODEV,
  write: (writer) => {
    infoOf(writer, ref);
    writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  },
});

/** One link, or undefined when there is none. Other failures throw KernelError. */
export const findLink = (rt: Rtnetlink, ref: LinkRef, filter: { readonly stats?: boolean } = {}): Link | undefined =>
  rt.ask(readLink(ref), (message) => parseLink(message, filter.stats));

/** Reads an RTM_NEWLINK or RTM_DELLINK message. Throws MalformedMessage. */
export const parseLink = (message: Message, stats = false): Link => {
  const body = demand(message.body, INFO_SIZE);
  const flags = body.readUInt32LE(8);
  const link: { -readonly [K in keyof Link]: Link[K] } = {
    index: body.readInt32LE(4),
    name: '',
    mtu: 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_RUNNING) !== 0,
    operstate: 'unknown',
    ipv4: {},
    ipv6: {},
    noAddressGeneration: false,
  };
  eachAttribute(body, INFO_SIZE, (type, value) => {
    if (type === IFLA_IFNAME) link.name = readText(value);
    else if (type === IFLA_MTU) link.mtu = readU32(value);
    else if (type === IFLA_ADDRESS && value.length === 6) link.mac = unpackMac(value);
    else if (type === IFLA_OPERSTATE) link.operstate = OPERSTATES[readU8(value)] ?? 'unknown';
    else if (type === IFLA_IFALIAS) link.alias = readText(value);
    else if (type === IFLA_MASTER) link.master = readU32(value);
    else if (type === IFLA_LINK) link.peer = readU32(value);
    else if (type === IFLA_LINK_NETNSID) link.peerNetns = readI32(value);
    else if (type === IFLA_STATS64 && stats) link.stats = parseStats(value);
    else if (type === IFLA_LINKINFO) {
      eachAttribute(value, 0, (key, text) => {
        if (key === IFLA_INFO_KIND) link.kind = readText(text);
      });
    } else if (type === IFLA_AF_SPEC) parseFamilies(value, link);
  });
  return link;
};

const parseFamilies = (
  families: Buffer,
  link: { ipv4: Ipv4Conf; ipv6: Ipv6Conf; noAddressGeneration: boolean },
): void =>
  eachAttribute(families, 0, (family, spec) =>
    eachAttribute(spec, 0, (type, value) => {
      // The arrays are indexed by the numbers of the two enums; IPv4's begins at 1, IPv6's at 0.
      if (family === AF_INET && type === IFLA_INET_CONF) link.ipv4 = readConf(value, IPV4_CONF, 1);
      else if (family === AF_INET6 && type === IFLA_INET6_CONF) link.ipv6 = readConf(value, IPV6_CONF, 0);
      else if (family === AF_INET6 && type === IFLA_INET6_ADDR_GEN_MODE) {
        link.noAddressGeneration = readU8(value) === IN6_ADDR_GEN_MODE_NONE;
      }
    }),
  );

const readConf = <K extends string>(
  values: Buffer,
  ids: Readonly<Record<K, number>>,
  first: number,
): Partial<Record<K, number>> => {
  const conf: Partial<Record<K, number>> = {};
  for (const key in ids) {
    const at = (ids[key] - first) * 4;
    if (at + 4 <= values.length) conf[key] = values.readInt32LE(at);
  }
  return conf;
};
