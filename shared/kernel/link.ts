import {
  demand,
  eachAttribute,
  type Message,
  type MessageWriter,
  readI32,
  readText,
  readU8,
  readU32,
} from './attribute.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, packMac, unpackMac } from './inet.ts';
import { IPV4_CONF, IPV6_CONF, type Ipv4Conf, type Ipv6Conf } from './link-conf.ts';
import { type LinkStats, parseStats } from './link-stats.ts';
import { NLM_F_CREATE, NLM_F_EXCL, type Request } from './netlink-request.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/** Network interfaces. Kernel source: net/core/rtnetlink.c, drivers/net/veth.c, include/uapi/linux/if_link.h. */

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_OPERSTATE = 16;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_PID = 19;
const IFLA_IFALIAS = 20;
const IFLA_STATS64 = 23;
const IFLA_AF_SPEC = 26;
const IFLA_GROUP = 27;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_INET_CONF = 1;
const IFLA_INET6_CONF = 2;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const ENODEV = 19;

const INFO_SIZE = 16;
const NAME_LIMIT = 15;
const ALIAS_LIMIT = 255;
const OPERSTATES = ['unknown', 'notpresent', 'down', 'lowerlayerdown', 'testing', 'dormant', 'up'] as const;

/** How requests name a link: by index, which never changes, or by name. */
export type LinkRef = { readonly index: number } | { readonly name: string };

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

export interface LinkSettings {
  readonly up?: boolean;
  /** Bytes. */
  readonly mtu?: number;
  readonly mac?: string;
  /** New name; the link must be down on kernels before 6.2. */
  readonly rename?: string;
  /** Up to 255 bytes, for people and for proof of ownership. */
  readonly alias?: string;
  /** Index of a bridge, or 0 for none. */
  readonly master?: number;
  /** A number that links can be deleted by together; 0 is everybody's. */
  readonly group?: number;
  /** Move to the namespace of this descriptor or process. */
  readonly netns?: { readonly fd: number } | { readonly pid: number };
  readonly ipv4?: Ipv4Conf;
  /** Make no link-local address of the MAC (addrgenmode none). */
  readonly noAddressGeneration?: boolean;
}

export interface VethSpec {
  readonly name: string;
  readonly peer: string;
  /** Bytes, both ends. */
  readonly mtu?: number;
  readonly mac?: string;
  readonly peerMac?: string;
  /** Of `name` only: its peer cannot be up before both are there. */
  readonly up?: boolean;
  /** Where the peer is made; here when absent. */
  readonly peerNetns?: { readonly fd: number } | { readonly pid: number };
  /** Each way, of both ends. By default the kernel makes one a CPU and uses the first; making them is most of the work. */
  readonly queues?: number;
}

const checkName = (name: string): string => {
  if (name === '' || name === '.' || name === '..' || Buffer.byteLength(name) > NAME_LIMIT || /[\s/:\0]/.test(name)) {
    throw new RangeError(`"${name}" is not a link name (1 to ${NAME_LIMIT} bytes, no space, slash or colon)`);
  }
  return name;
};

const checkIndex = (index: number): number => {
  if (!Number.isInteger(index) || index < 1 || index > 0x7fffffff) throw new RangeError(`${index} is not a link index`);
  return index;
};

/** `dev eth0` or `link 7`, for errors. */
export const describeLink = (ref: LinkRef): string => ('name' in ref ? ref.name : `link ${ref.index}`);

const info = (writer: MessageWriter, index: number, flags: number, change: number): void =>
  writer.body(INFO_SIZE, (buffer, at) => {
    buffer.writeUInt8(AF_UNSPEC, at);
    buffer.writeInt32LE(index, at + 4);
    buffer.writeUInt32LE(flags, at + 8);
    buffer.writeUInt32LE(change, at + 12);
  });

const infoOf = (writer: MessageWriter, ref: LinkRef, flags = 0, change = 0): void => {
  if ('index' in ref) info(writer, checkIndex(ref.index), flags, change);
  else {
    info(writer, 0, flags, change);
    writer.text(IFLA_IFNAME, checkName(ref.name));
  }
};

const writeAlias = (writer: MessageWriter, alias: string): void => {
  if (Buffer.byteLength(alias) > ALIAS_LIMIT) throw new RangeError(`an alias has at most ${ALIAS_LIMIT} bytes`);
  writer.text(IFLA_IFALIAS, alias);
};

const writeNetns = (writer: MessageWriter, netns: { fd: number } | { pid: number }): void => {
  if ('fd' in netns) writer.u32(IFLA_NET_NS_FD, netns.fd);
  else writer.u32(IFLA_NET_NS_PID, netns.pid);
};

/**
 * A veth pair. Refused with EEXIST when either name is taken. The kernel takes no alias here: send `setLink` with one
 * behind it in the same `run`, between which nothing comes, not even SIGKILL.
 */
export const createVeth = (spec: VethSpec): Request => ({
  type: RTM_NEWLINK,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `create the link pair ${spec.name} and ${spec.peer}`,
  write: (writer) => {
    const side = (name: string, up: boolean | undefined, mac: string | undefined): void => {
      const flags = up === true ? IFF_UP : 0;
      info(writer, 0, flags, flags);
      writer.text(IFLA_IFNAME, checkName(name));
      if (spec.mtu !== undefined) writer.u32(IFLA_MTU, spec.mtu);
      if (mac !== undefined) writer.raw(IFLA_ADDRESS, packMac(mac));
      if (spec.queues === undefined) return;
      writer.u32(IFLA_NUM_TX_QUEUES, spec.queues);
      writer.u32(IFLA_NUM_RX_QUEUES, spec.queues);
    };
    side(spec.name, spec.up, spec.mac);
    writer.nest(IFLA_LINKINFO, () => {
      writer.text(IFLA_INFO_KIND, 'veth');
      writer.nest(IFLA_INFO_DATA, () =>
        writer.nest(VETH_INFO_PEER, () => {
          side(spec.peer, undefined, spec.peerMac);
          if (spec.peerNetns !== undefined) writeNetns(writer, spec.peerNetns);
        }),
      );
    });
  },
});

/** A bridge. Refused with EEXIST when the name is taken. */
export const createBridge = (spec: {
  readonly name: string;
  readonly mtu?: number;
  readonly mac?: string;
  readonly up?: boolean;
}): Request => ({
  type: RTM_NEWLINK,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `create the bridge ${spec.name}`,
  write: (writer) => {
    const flags = spec.up === true ? IFF_UP : 0;
    info(writer, 0, flags, flags);
    writer.text(IFLA_IFNAME, checkName(spec.name));
    if (spec.mtu !== undefined) writer.u32(IFLA_MTU, spec.mtu);
    if (spec.mac !== undefined) writer.raw(IFLA_ADDRESS, packMac(spec.mac));
    writer.nest(IFLA_LINKINFO, () => writer.text(IFLA_INFO_KIND, 'bridge'));
  },
});

/** Deletes a link, and with it its peer, addresses and routes. ENODEV when there is none. */
export const deleteLink = (ref: LinkRef): Request => ({
  type: RTM_DELLINK,
  flags: 0,
  what: `delete ${describeLink(ref)}`,
  write: (writer) => infoOf(writer, ref),
});

/** Deletes all links of a group with one wait of the kernel for all. ENODEV when it has none. */
export const deleteGroup = (group: number): Request => ({
  type: RTM_DELLINK,
  flags: 0,
  what: `delete the links of group ${group}`,
  write: (writer) => {
    if (!Number.isInteger(group) || group < 1) throw new RangeError(`${group} is not a group to delete`);
    info(writer, 0, 0, 0);
    writer.u32(IFLA_GROUP, group);
  },
});

/** Changes what is given, all in one message; the kernel applies it in its own order and may stop half-way. */
export const setLink = (ref: LinkRef, settings: LinkSettings): Request => ({
  type: RTM_SETLINK,
  flags: 0,
  what: `set ${describeSettings(settings)} of ${describeLink(ref)}`,
  write: (writer) => {
    if (settings.rename !== undefined && 'name' in ref) throw new RangeError('a rename needs the index of the link');
    infoOf(writer, ref, settings.up === true ? IFF_UP : 0, settings.up === undefined ? 0 : IFF_UP);
    if (settings.rename !== undefined) writer.text(IFLA_IFNAME, checkName(settings.rename));
    if (settings.mtu !== undefined) writer.u32(IFLA_MTU, settings.mtu);
    if (settings.mac !== undefined) writer.raw(IFLA_ADDRESS, packMac(settings.mac));
    if (settings.alias !== undefined) writeAlias(writer, settings.alias);
    if (settings.master !== undefined) writer.u32(IFLA_MASTER, settings.master);
    if (settings.group !== undefined) writer.u32(IFLA_GROUP, settings.group);
    if (settings.netns !== undefined) writeNetns(writer, settings.netns);
    if (settings.ipv4 !== undefined || settings.noAddressGeneration !== undefined) {
      writer.nest(IFLA_AF_SPEC, () => writeFamilies(writer, settings));
    }
  },
});

const describeSettings = (settings: LinkSettings): string =>
  Object.entries(settings)
    .map(([key, value]) => (typeof value === 'object' ? key : `${key}=${value}`))
    .join(' ');

const writeFamilies = (writer: MessageWriter, settings: LinkSettings): void => {
  const { ipv4, noAddressGeneration } = settings;
  if (ipv4 !== undefined) {
    writer.nest(AF_INET, () =>
      writer.nest(IFLA_INET_CONF, () => {
        for (const [key, id] of Object.entries(IPV4_CONF)) {
          const value = ipv4[key as keyof Ipv4Conf];
          if (value !== undefined) writer.u32(id, value);
        }
      }),
    );
  }
  if (noAddressGeneration !== undefined) {
    writer.nest(AF_INET6, () => writer.u8(IFLA_INET6_ADDR_GEN_MODE, noAddressGeneration ? IN6_ADDR_GEN_MODE_NONE : 0));
  }
};

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
