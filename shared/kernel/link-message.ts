import type { MessageWriter } from './attribute.ts';
import { AF_UNSPEC } from './inet.ts';

/** What requests about links begin with. Kernel source: net/core/rtnetlink.c, include/uapi/linux/if_link.h. */

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const IFF_UP = 0x1;
export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_MASTER = 10;
export const IFLA_LINKINFO = 18;
export const IFLA_IFALIAS = 20;
export const IFLA_AF_SPEC = 26;
export const IFLA_INFO_KIND = 1;
export const IFLA_INET_CONF = 1;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;
export const INFO_SIZE = 16;
const NAME_LIMIT = 15;

/** How requests name a link: by index, which never changes, or by name. */
export type LinkRef = { readonly index: number } | { readonly name: string };

/** The name itself. Throws RangeError when no link can have it. */
export const checkName = (name: string): string => {
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

/** The fixed part. `flags` counts where `change` has a bit. */
export const info = (writer: MessageWriter, index: number, flags: number, change: number): void =>
  writer.body(INFO_SIZE, (buffer, at) => {
    buffer.writeUInt8(AF_UNSPEC, at);
    buffer.writeInt32LE(index, at + 4);
    buffer.writeUInt32LE(flags, at + 8);
    buffer.writeUInt32LE(change, at + 12);
  });

/** The fixed part of a request about one link, and its name where that is how it is told. Throws RangeError. */
export const infoOf = (writer: MessageWriter, ref: LinkRef, flags = 0, change = 0): void => {
  if ('index' in ref) info(writer, checkIndex(ref.index), flags, change);
  else {
    info(writer, 0, flags, change);
    writer.text(IFLA_IFNAME, checkName(ref.name));
  }
};
