import { closeSync } from 'node:fs';
import { asKernelError } from './kernel-error.ts';
import { insideNetns } from './netns.ts';
import { bind, connect, setSocketOption, socket } from './syscalls.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

export interface NetlinkOptions {
  /** Descriptor of the network namespace to talk to; the thread's own when absent. */
  readonly netns?: number;
  /** Multicast groups to listen to (monitor). */
  readonly groups?: readonly number[];
  /** Bytes; 1 MiB unless told. Forced over net.core.rmem_max. */
  readonly receiveBuffer?: number;
}

/** The descriptor of a netlink socket, which the caller closes. Throws KernelError. */
export const openSocket = (protocol: number, options: NetlinkOptions): number =>
  options.netns === undefined ? open(protocol, options) : insideNetns(options.netns, () => open(protocol, options));

const open = (protocol: number, options: NetlinkOptions): number => {
  let fd = -1;
  try {
    fd = socket(AF_NETLINK, SOCK_RAW, protocol);
    const kernel = Buffer.alloc(12);
    kernel.writeUInt16LE(AF_NETLINK, 0);
    bind(fd, kernel);
    // A connected socket takes messages from the kernel only: no other process can forge answers.
    connect(fd, kernel);
    setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    if (protocol === 0) setSocketOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBuffer ?? 1 << 20);
    for (const group of options.groups ?? []) setSocketOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    return fd;
  } catch (error) {
    if (fd >= 0) closeSync(fd);
    throw asKernelError(error, 'open a netlink socket');
  }
};
