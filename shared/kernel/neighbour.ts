import { demand, eachAttribute, type Message, type MessageWriter, readU8 } from './attribute.ts';
import { AF_INET, AF_INET6, type Family, familyOf, packAddress, packMac, unpackAddress, unpackMac } from './inet.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, type Request } from './netlink-request.ts';
import { RTPROT_DRAYAGE } from './route.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/**
 * ARP and NDP: neighbours, proxy entries, and the tables' settings.
 * Kernel source: net/core/neighbour.c, include/uapi/linux/neighbour.h.
 */

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const RTM_NEWNEIGHTBL = 64;
const RTM_GETNEIGHTBL = 66;
const RTM_SETNEIGHTBL = 67;

const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_IFINDEX = 8;
const NDA_PROTOCOL = 12;
const NTF_PROXY = 0x08;
const NUD_PERMANENT = 0x80;
const NDTA_NAME = 1;
const NDTA_PARMS = 6;
const NDTPA_IFINDEX = 1;
const NDTPA_RETRANS_TIME = 5;
const NDTPA_MCAST_PROBES = 11;
const NDTPA_PROXY_DELAY = 13;
const BODY_SIZE = 12;

const STATES = {
  incomplete: 1,
  reachable: 2,
  stale: 4,
  delay: 8,
  probe: 16,
  failed: 32,
  noarp: 64,
  permanent: 128,
} as const;
export type NeighbourState = keyof typeof STATES;
const stateNames = new Map(Object.entries(STATES).map(([name, number]) => [number as number, name as NeighbourState]));

export interface Neighbour {
  /** Index of the link. */
  readonly link: number;
  readonly address: string;
  readonly mac: string;
  /** `permanent` when absent. */
  readonly state?: NeighbourState;
}

export interface FoundNeighbour {
  readonly link: number;
  readonly family: Family;
  readonly address: string;
  readonly mac?: string;
  readonly state?: NeighbourState;
  readonly protocol: number;
}

/** The host answers ARP or NDP for `address`. */
export interface Proxy {
  readonly address: string;
  /** Index of the link that it answers on. IPv4: on all links when absent; IPv6 needs one (ENOBUFS without). */
  readonly link?: number;
}

export interface FoundProxy extends Proxy {
  readonly family: Family;
  /** RTPROT_DRAYAGE for ours; 0 when its maker said nothing, and before Linux 5.1. */
  readonly protocol: number;
}

const body = (writer: MessageWriter, family: Family, link: number, state: number, flags: number): void =>
  writer.body(BODY_SIZE, (buffer, at) => {
    buffer.writeUInt8(family, at);
    buffer.writeInt32LE(link, at + 4);
    buffer.writeUInt16LE(state, at + 8);
    buffer.writeUInt8(flags, at + 10);
  });

const writeNeighbour = (writer: MessageWriter, entry: Neighbour): void => {
  body(writer, familyOf(entry.address), entry.link, STATES[entry.state ?? 'permanent'], 0);
  writer.raw(NDA_DST, packAddress(entry.address));
  writer.raw(NDA_LLADDR, packMac(entry.mac));
};

/** EEXIST when the link has an entry for the address. */
export const addNeighbour = (entry: Neighbour): Request => ({
  type: RTM_NEWNEIGH,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `add neighbour ${entry.address} on link ${entry.link}`,
  write: (writer) => writeNeighbour(writer, entry),
});

export const replaceNeighbour = (entry: Neighbour): Request => ({
  type: RTM_NEWNEIGH,
  flags: NLM_F_CREATE | NLM_F_REPLACE,
  what: `set neighbour ${entry.address} on link ${entry.link}`,
  write: (writer) => writeNeighbour(writer, entry),
});

/** ENOENT when there is none. */
export const deleteNeighbour = (entry: Pick<Neighbour, 'link' | 'address'>): Request => ({
  type: RTM_DELNEIGH,
  flags: 0,
  what: `delete neighbour ${entry.address} on link ${entry.link}`,
  write: (writer) => {
    body(writer, familyOf(entry.address), entry.link, 0, 0);
    writer.raw(NDA_DST, packAddress(entry.address));
  },
});

const writeProxy = (writer: MessageWriter, proxy: Proxy, deleting: boolean): void => {
  body(writer, familyOf(proxy.address), proxy.link ?? 0, deleting ? 0 : NUD_PERMANENT, NTF_PROXY);
  writer.raw(NDA_DST, packAddress(proxy.address));
  if (!deleting) writer.u8(NDA_PROTOCOL, RTPROT_DRAYAGE);
};

const describeProxy = (proxy: Proxy): string =>
  `proxy neighbour ${proxy.address}${proxy.link === undefined ? '' : ` on link ${proxy.link}`}`;

/** Makes the entry; succeeds when it is there. */
export const setProxy = (proxy: Proxy): Request => ({
  type: RTM_NEWNEIGH,
  flags: NLM_F_CREATE | NLM_F_REPLACE,
  what: `set ${describeProxy(proxy)}`,
  write: (writer) => writeProxy(writer, proxy, false),
});

/** ENOENT when there is none. */
export const deleteProxy = (proxy: Proxy): Request => ({
  type: RTM_DELNEIGH,
  flags: 0,
  what: `delete ${describeProxy(proxy)}`,
  write: (writer) => writeProxy(writer, proxy, true),
});

const dumpRequest = (family: Family, flags: number, link: number | undefined): Request => ({
  type: RTM_GETNEIGH,
  flags: 0,
  what: flags === 0 ? 'list the neighbours' : 'list the proxy neighbours',
  write: (writer) => {
    body(writer, family, 0, 0, flags);
    if (link !== undefined) writer.u32(NDA_IFINDEX, link);
  },
});

/** The neighbours of one family, of one link if asked; proxies are not among them. */
export const listNeighbours = (
  rt: Rtnetlink,
  filter: { readonly family: Family; readonly link?: number },
): FoundNeighbour[] =>
  rt.dump(dumpRequest(filter.family, 0, filter.link), (message) =>
    message.type === RTM_NEWNEIGH ? parseNeighbour(message) : undefined,
  );

/** The proxy entries of one family, with those that belong to no link. */
export const listProxies = (rt: Rtnetlink, filter: { readonly family: Family }): FoundProxy[] =>
  rt.dump(dumpRequest(filter.family, NTF_PROXY, undefined), (message) => {
    const found = message.type === RTM_NEWNEIGH ? parseNeighbour(message) : undefined;
    if (found === undefined) return undefined;
    const { family, address, protocol, link } = found;
    return link === 0 ? { family, address, protocol } : { family, address, protocol, link };
  });

const parseNeighbour = (message: Message): FoundNeighbour | undefined => {
  const bytes = demand(message.body, BODY_SIZE);
  const family = bytes.readUInt8(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  let address: string | undefined;
  let mac: string | undefined;
  let protocol = 0;
  eachAttribute(bytes, BODY_SIZE, (type, value) => {
    if (type === NDA_DST) address = unpackAddress(value);
    else if (type === NDA_LLADDR && value.length === 6) mac = unpackMac(value);
    else if (type === NDA_PROTOCOL) protocol = readU8(value);
  });
  if (address === undefined) return undefined;
  const state = stateNames.get(bytes.readUInt16LE(8));
  return {
    link: bytes.readInt32LE(4),
    family,
    address,
    protocol,
    ...(mac === undefined ? {} : { mac }),
    ...(state === undefined ? {} : { state }),
  };
};

const tableName = (family: Family): string => (family === AF_INET ? 'arp_cache' : 'ndisc_cache');

/** Times in milliseconds; what is absent stays as it is. */
export interface NeighbourTimes {
  /** How long the host waits at random, at most, before it answers as a proxy: 800 is the kernel's default, 0 answers at once. */
  readonly proxyDelay?: number;
  /** How long it waits for an answer before it asks again: 1000 by default. Packets for the neighbour wait as long. */
  readonly retransmit?: number;
  /** How often it asks all of the link before it calls the neighbour unreachable: 3 by default. */
  readonly probes?: number;
}

/** Sets the times of one link. The delay of proxies is read with `listProxyDelays`. */
export const setNeighbourTimes = (family: Family, link: number, times: NeighbourTimes): Request => ({
  type: RTM_SETNEIGHTBL,
  flags: 0,
  what: `set the times of neighbours on link ${link} (${tableName(family)})`,
  write: (writer) => {
    writer.body(4, (buffer, at) => {
      buffer.writeUInt8(family, at);
    });
    writer.text(NDTA_NAME, tableName(family));
    writer.nest(NDTA_PARMS, () => {
      writer.u32(NDTPA_IFINDEX, link);
      if (times.proxyDelay !== undefined) writer.u64(NDTPA_PROXY_DELAY, BigInt(times.proxyDelay));
      if (times.retransmit !== undefined) writer.u64(NDTPA_RETRANS_TIME, BigInt(times.retransmit));
      if (times.probes !== undefined) writer.u32(NDTPA_MCAST_PROBES, times.probes);
    });
  },
});

/** Milliseconds by link index, of one family. */
export const listProxyDelays = (rt: Rtnetlink, family: Family): Map<number, number> => {
  const delays = new Map<number, number>();
  rt.dump(
    {
      type: RTM_GETNEIGHTBL,
      flags: 0,
      what: 'list the neighbour tables',
      write: (writer) =>
        writer.body(4, (buffer, at) => {
          buffer.writeUInt8(family, at);
        }),
    },
    (message) => {
      if (message.type === RTM_NEWNEIGHTBL) readDelay(message.body, family, delays);
      return undefined;
    },
  );
  return delays;
};

const readDelay = (bytes: Buffer, family: Family, delays: Map<number, number>): void => {
  if (demand(bytes, 4).readUInt8(0) !== family) return;
  eachAttribute(bytes, 4, (type, value) => {
    if (type !== NDTA_PARMS) return;
    let link = 0;
    let delay: number | undefined;
    eachAttribute(value, 0, (key, parameter) => {
      if (key === NDTPA_IFINDEX) link = demand(parameter, 4).readUInt32LE(0);
      else if (key === NDTPA_PROXY_DELAY) delay = Number(demand(parameter, 8).readBigUInt64LE(0));
    });
    if (link !== 0 && delay !== undefined) delays.set(link, delay);
  });
};
