import type { MessageWriter } from './attribute.ts';

/** For requests that make things: refuse what exists, replace it, or make what is missing. */
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

/** One message to the kernel. Made by the builders in link-change.ts, address.ts and so on; run by `Netlink`. */
export interface Request {
  readonly type: number;
  /** NLM_F_CREATE and the like; NLM_F_REQUEST and NLM_F_ACK are added. */
  readonly flags: number;
  /** What is attempted on what, for errors: "add route 10.1.0.0/24 dev eth0". */
  readonly what: string;
  /** The kernel says nothing about it unless it refuses everything because of it. */
  readonly silent?: true;
  /** The errno by which the kernel says that there is no such thing, where that is an answer and no failure. */
  readonly absent?: number;
  /** Writes the fixed body and the attributes. Throws RangeError on values that cannot be expressed. */
  write(writer: MessageWriter): void;
}
