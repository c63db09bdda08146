import { eachAttribute, type Message, type MessageWriter } from './attribute.ts';
import { AF_INET, AF_INET6, type Family, unpackAddress } from './inet.ts';
import { isKernelError } from './kernel-error.ts';
import { Netlink } from './netlink.ts';
import type { Request } from './netlink-request.ts';
import type { NetlinkOptions } from './netlink-socket.ts';

/**
 * Connection tracking: enough of it to find connections of one port and to forget them.
 * Kernel source: net/netfilter/nf_conntrack_netlink.c, include/uapi/linux/netfilter/nfnetlink_conntrack.h.
 */

const NETLINK_NETFILTER = 12;
const GET = (1 << 8) | 1;
const DELETE = (1 << 8) | 2;

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
/** What to compare of the original direction: the protocol number, the destination port (Linux 5.8 and later). */
const BY_PROTOCOL = 1 << 3;
const BY_PORT = 1 << 5;

/** One direction of a connection. */
export interface Tuple {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface Connection {
  readonly family: Family;
  readonly original: Tuple;
  /** As the answers look before translation is undone: its source is where the packets really go. */
  readonly reply: Tuple;
  /** What names it to the kernel. */
  readonly key: readonly { readonly type: number; readonly value: Buffer }[];
}

const header = (writer: MessageWriter, family: Family): void => {
  writer.body(4, (buffer, at) => {
    buffer.writeUInt8(family, at);
  });
};

const be16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value, 0);
  return bytes;
};

const readTuple = (bytes: Buffer): Tuple | undefined => {
  const tuple = { source: '', destination: '', protocol: -1, sourcePort: 0, destinationPort: 0 };
  eachAttribute(bytes, 0, (part, value) => {
    if (part === CTA_TUPLE_IP) {
      eachAttribute(value, 0, (type, address) => {
        // 1 and 3 are the sources, 2 and 4 the destinations, of IPv4 and IPv6.
        tuple[type % 2 === 1 ? 'source' : 'destination'] = unpackAddress(address);
      });
    } else if (part === CTA_TUPLE_PROTO) {
      eachAttribute(value, 0, (type, data) => {
        if (type === CTA_PROTO_NUM) tuple.protocol = data.readUInt8(0);
        else if (type === CTA_PROTO_SRC_PORT) tuple.sourcePort = data.readUInt16BE(0);
        else if (type === CTA_PROTO_DST_PORT) tuple.destinationPort = data.readUInt16BE(0);
      });
    }
  });
  return tuple.source === '' || tuple.protocol < 0 ? undefined : tuple;
};

const readConnection = (message: Message): Connection | undefined => {
  const family = message.body.readUInt8(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  let original: Tuple | undefined;
  let reply: Tuple | undefined;
  const key: { type: number; value: Buffer }[] = [];
  eachAttribute(message.body, 4, (type, value) => {
    if (type === CTA_TUPLE_ORIG) original = readTuple(value);
    else if (type === CTA_TUPLE_REPLY) reply = readTuple(value);
    if (type === CTA_TUPLE_ORIG || type === CTA_ID || type === CTA_ZONE) key.push({ type, value: Buffer.from(value) });
  });
  return original === undefined || reply === undefined ? undefined : { family, original, reply, key };
};

/** The connections of one network namespace. */
export class Conntrack extends Netlink {
  /** Throws KernelError. */
  static open(options: NetlinkOptions = {}): Conntrack {
    return new Conntrack(NETLINK_NETFILTER, options);
  }

  /**
   * Connections that were begun towards one of these ports. The kernel leaves others out where it can (5.8 and later),
   * but walks its whole table, which takes about 10 ms on a large machine: ask for many ports at once.
   * Throws KernelError.
   */
  towards(family: Family, protocol: number, ports: readonly number[]): Connection[] {
    const [port = 0] = ports;
    const alone = ports.length === 1;
    const request: Request = {
      type: GET,
      flags: 0,
      what: `list the connections to port ${ports.join(', ')}`,
      write: (writer) => {
        header(writer, family);
        writer.nest(CTA_TUPLE_ORIG, () => {
          writer.nest(CTA_TUPLE_PROTO, () => {
            writer.u8(CTA_PROTO_NUM, protocol);
            if (alone) writer.raw(CTA_PROTO_DST_PORT, be16(port));
          });
        });
        writer.nest(CTA_FILTER, () => {
          writer.u32(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL | (alone ? BY_PORT : 0));
        });
      },
    };
    return this.dump(request, readConnection).filter(
      ({ original }) => original.protocol === protocol && ports.includes(original.destinationPort),
    );
  }

  /** Forgets a connection: its next packet is looked at as if it were the first. One that is gone already is fine. */
  forget(connection: Connection): void {
    const { source, destination } = connection.original;
    const request: Request = {
      type: DELETE,
      flags: 0,
      what: `forget the connection from ${source} to ${destination}`,
      write: (writer) => {
        header(writer, connection.family);
        for (const { type, value } of connection.key) writer.raw(type, value);
      },
    };
    const [failure] = this.attempt([request]);
    if (failure !== undefined && !isKernelError(failure, 'ENOENT')) throw failure;
  }
}
