import { demand, eachAttribute, type Message, type MessageWriter, readText, readU32 } from './attribute.ts';
import { AF_INET, AF_UNSPEC, type Family, packPrefix, unpackAddress } from './inet.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, type Request } from './netlink-request.ts';
import { SCOPES, type Scope, scopeName } from './route.ts';
import type { Rtnetlink } from './rtnetlink.ts';

/** Addresses of links. Kernel source: net/ipv4/devinet.c, net/ipv6/addrconf.c, include/uapi/linux/if_addr.h. */

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_PERMANENT = 0x80;
const IFA_F_NOPREFIXROUTE = 0x200;
const BODY_SIZE = 8;

export interface Address {
  /** Index of the link. */
  readonly link: number;
  /** With its prefix length: `169.254.1.1/32`, `fe80::1/64`. */
  readonly address: string;
  readonly scope?: Scope;
  /** IPv6: usable at once, without asking whether a neighbour has it. */
  readonly noDad?: boolean;
  /** The kernel makes no route for the prefix. */
  readonly noPrefixRoute?: boolean;
  /** IPv4 only; begins with the link's name. */
  readonly label?: string;
  /** IPv4: broadcast address. */
  readonly broadcast?: string;
}

/** An address as read. `tentative`: not usable yet, duplicate detection runs. */
export interface FoundAddress extends Address {
  readonly family: Family;
  readonly scope: Scope;
  readonly permanent: boolean;
  readonly tentative: boolean;
}

const write = (writer: MessageWriter, spec: Address): void => {
  const prefix = packPrefix(spec.address);
  const flags = (spec.noDad === true ? IFA_F_NODAD : 0) | (spec.noPrefixRoute === true ? IFA_F_NOPREFIXROUTE : 0);
  writer.body(BODY_SIZE, (buffer, at) => {
    buffer.writeUInt8(prefix.family, at);
    buffer.writeUInt8(prefix.length, at + 1);
    buffer.writeUInt8(SCOPES[spec.scope ?? 'global'], at + 3);
    buffer.writeUInt32LE(spec.link, at + 4);
  });
  writer.raw(IFA_LOCAL, prefix.address);
  writer.raw(IFA_ADDRESS, prefix.address);
  if (flags !== 0) writer.u32(IFA_FLAGS, flags);
  if (spec.label !== undefined) writer.text(IFA_LABEL, spec.label);
  if (spec.broadcast !== undefined) writer.raw(IFA_BROADCAST, packPrefix(spec.broadcast).address);
};

/** EEXIST when the link has the address. */
export const addAddress = (spec: Address): Request => ({
  type: RTM_NEWADDR,
  flags: NLM_F_CREATE | NLM_F_EXCL,
  what: `add address ${spec.address} to link ${spec.link}`,
  write: (writer) => write(writer, spec),
});

/** Adds; when it is there IPv6 takes over the flags, IPv4 leaves all as it is. */
export const replaceAddress = (spec: Address): Request => ({
  type: RTM_NEWADDR,
  flags: NLM_F_CREATE | NLM_F_REPLACE,
  what: `set address ${spec.address} of link ${spec.link}`,
  write: (writer) => write(writer, spec),
});

/** EADDRNOTAVAIL when the link does not have it. */
export const deleteAddress = (spec: Pick<Address, 'link' | 'address'>): Request => ({
  type: RTM_DELADDR,
  flags: 0,
  what: `delete address ${spec.address} of link ${spec.link}`,
  write: (writer) => write(writer, spec),
});

/** The addresses of a family, of one link if asked; the kernel filters. */
export const listAddresses = (
  rt: Rtnetlink,
  filter: { readonly family?: Family; readonly link?: number } = {},
): FoundAddress[] =>
  rt.dump(
    {
      type: RTM_GETADDR,
      flags: 0,
      what: 'list the addresses',
      write: (writer) =>
        writer.body(BODY_SIZE, (buffer, at) => {
          buffer.writeUInt8(filter.family ?? AF_UNSPEC, at);
          buffer.writeUInt32LE(filter.link ?? 0, at + 4);
        }),
    },
    (message) => (message.type === RTM_NEWADDR ? parseAddress(message) : undefined),
  );

/** Reads an RTM_NEWADDR or RTM_DELADDR message; undefined for families other than IP. Throws MalformedMessage. */
export const parseAddress = (message: Message): FoundAddress | undefined => {
  const body = demand(message.body, BODY_SIZE);
  const family = body.readUInt8(0);
  if (family !== AF_INET && family !== 10) return undefined;
  let flags = body.readUInt8(2);
  let local: Buffer | undefined;
  let peer: Buffer | undefined;
  let label: string | undefined;
  let broadcast: string | undefined;
  eachAttribute(body, BODY_SIZE, (type, value) => {
    if (type === IFA_LOCAL) local = value;
    else if (type === IFA_ADDRESS) peer = value;
    else if (type === IFA_FLAGS) flags = readU32(value);
    else if (type === IFA_LABEL) label = readText(value);
    else if (type === IFA_BROADCAST) broadcast = unpackAddress(value);
  });
  const bytes = local ?? peer;
  if (bytes === undefined) return undefined;
  return {
    link: body.readUInt32LE(4),
    family,
    address: `${unpackAddress(bytes)}/${body.readUInt8(1)}`,
    scope: scopeName(body.readUInt8(3)),
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
    noDad: (flags & IFA_F_NODAD) !== 0,
    noPrefixRoute: (flags & IFA_F_NOPREFIXROUTE) !== 0,
    ...(label === undefined ? {} : { label }),
    ...(broadcast === undefined ? {} : { broadcast }),
  };
};
