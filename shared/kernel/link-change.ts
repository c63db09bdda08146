import type { MessageWriter } from './attribute.ts';
import { AF_INET, AF_INET6, packMac } from './inet.ts';
import { IPV4_CONF, type Ipv4Conf } from './link-conf.ts';
import {
  checkName,
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
  info,
  infoOf,
  type LinkRef,
  RTM_DELLINK,
  RTM_NEWLINK,
} from './link-message.ts';
import { NLM_F_CREATE, NLM_F_EXCL, type Request } from './netlink-request.ts';

/** Requests that make, change and delete links. Kernel source: net/core/rtnetlink.c, drivers/net/veth.c. */

const RTM_SETLINK = 19;
const IFLA_NET_NS_PID = 19;
const IFLA_GROUP = 27;
const IFLA_NET_NS_FD = 28;
const IFLA_NUM_TX_QUEUES = 31;
const IFLA_NUM_RX_QUEUES = 32;
const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const ALIAS_LIMIT = 255;

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
