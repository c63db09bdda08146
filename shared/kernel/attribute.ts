/**
 * Netlink messages as bytes: a 16-byte header, a fixed body, then attributes (length, type, value, padding to four
 * bytes), which nest. Numbers are in the host's order: little-endian on every machine that the plugins ship for.
 * Kernel source: include/uapi/linux/netlink.h, lib/nlattr.c.
 */

const HEADER = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const LARGEST_VALUE = 0xffff - 4;

const align = (length: number): number => (length + 3) & ~3;

/** A message or an attribute that ends before its own length says, or is too short for what it should hold. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/** Writes messages one behind another into one growing buffer; `reset` makes it ready for the next send. */
export class MessageWriter {
  #buffer: Buffer;
  #end = 0;
  #start = 0;

  constructor(size = 4096) {
    this.#buffer = Buffer.alloc(size);
  }

  /** All bytes written since `reset`; valid until the next write. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#end);
  }

  reset(): void {
    this.#end = 0;
  }

  /** Begins a message; `finish` closes it. */
  begin(type: number, flags: number, sequence: number): void {
    this.#start = this.#end;
    this.#room(HEADER);
    this.#buffer.writeUInt16LE(type, this.#start + 4);
    this.#buffer.writeUInt16LE(flags, this.#start + 6);
    this.#buffer.writeUInt32LE(sequence, this.#start + 8);
    this.#buffer.writeUInt32LE(0, this.#start + 12);
  }

  finish(): void {
    this.#buffer.writeUInt32LE(this.#end - this.#start, this.#start);
  }

  /** Throws away a message that was begun: its bytes could not be made. */
  abandon(): void {
    this.#end = this.#start;
  }

  /** Room for a fixed body of `size` bytes, zeroed; `fill` gets the buffer and where the body starts. */
  body(size: number, fill: (buffer: Buffer, at: number) => void): void {
    const at = this.#room(size);
    fill(this.#buffer, at);
  }

  u8(type: number, value: number): void {
    const at = this.#attribute(type, 1);
    this.#buffer.writeUInt8(value, at);
  }

  u16(type: number, value: number): void {
    const at = this.#attribute(type, 2);
    this.#buffer.writeUInt16LE(value, at);
  }

  u32(type: number, value: number): void {
    const at = this.#attribute(type, 4);
    this.#buffer.writeUInt32LE(value, at);
  }

  u64(type: number, value: bigint): void {
    const at = this.#attribute(type, 8);
    this.#buffer.writeBigUInt64LE(value, at);
  }

  flag(type: number): void {
    this.#attribute(type, 0);
  }

  /** NUL-terminated. */
  text(type: number, value: string): void {
    if (value.includes('\0')) throw new RangeError('a text attribute cannot hold a NUL');
    const length = Buffer.byteLength(value);
    const at = this.#attribute(type, length + 1);
    this.#buffer.write(value, at);
  }

  raw(type: number, value: Buffer): void {
    const at = this.#attribute(type, value.length);
    value.copy(this.#buffer, at);
  }

  /** An attribute made of what `fill` writes. `flagged`: some families want NLA_F_NESTED, none refuses it. */
  nest(type: number, fill: () => void): void {
    const at = this.#attribute(type | NLA_F_NESTED, 0) - 4;
    fill();
    const length = this.#end - at;
    if (length > 0xffff) throw new RangeError('nested attributes are too large');
    this.#buffer.writeUInt16LE(length, at);
  }

  /** Writes an attribute's header with room for its value; answers where the value goes. */
  #attribute(type: number, length: number): number {
    if (length > LARGEST_VALUE) throw new RangeError(`an attribute of ${length} bytes is too large`);
    const at = this.#room(4 + length);
    this.#buffer.writeUInt16LE(4 + length, at);
    this.#buffer.writeUInt16LE(type, at + 2);
    return at + 4;
  }

  /** `size` zeroed bytes, padded; answers where they start. */
  #room(size: number): number {
    const at = this.#end;
    const end = at + align(size);
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(end, this.#buffer.length * 2));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#buffer.fill(0, at, end);
    this.#end = end;
    return at;
  }
}

/** One message as received. `body` starts after the header and is only valid until the next receive. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** Cuts a datagram into its messages. Throws MalformedMessage when a length points outside. */
export const eachMessage = (datagram: Buffer, visit: (message: Message) => void): void => {
  let at = 0;
  while (at < datagram.length) {
    if (datagram.length - at < HEADER) throw new MalformedMessage('a netlink message has no whole header');
    const length = datagram.readUInt32LE(at);
    if (length < HEADER || at + length > datagram.length) {
      throw new MalformedMessage(`a netlink message of ${length} bytes does not fit its datagram`);
    }
    visit({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + HEADER, at + length),
    });
    at += align(length);
  }
};

/**
 * Visits the attributes of `bytes` from `start` on; types come without the nested and byte-order flags.
 * Throws MalformedMessage when one is cut short.
 */
export const eachAttribute = (bytes: Buffer, start: number, visit: (type: number, value: Buffer) => void): void => {
  let at = start;
  while (bytes.length - at >= 4) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) {
      throw new MalformedMessage(`a netlink attribute of ${length} bytes does not fit its message`);
    }
    visit(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += align(length);
  }
};

/** The fixed body must be there before it is read. */
export const demand = (bytes: Buffer, size: number): Buffer => {
  if (bytes.length < size) throw new MalformedMessage(`${bytes.length} bytes where ${size} were expected`);
  return bytes;
};

export const readU32 = (value: Buffer): number => demand(value, 4).readUInt32LE(0);
export const readI32 = (value: Buffer): number => demand(value, 4).readInt32LE(0);
export const readU8 = (value: Buffer): number => demand(value, 1).readUInt8(0);

/** Up to the first NUL. */
export const readText = (value: Buffer): string => {
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
};
