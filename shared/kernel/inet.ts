import { isIPv4, isIPv6 } from 'node:net';

/** IP and hardware addresses between text and the kernel's bytes. */

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;
export type Family = typeof AF_INET | typeof AF_INET6;

/** The family of an address or prefix in text. Throws RangeError when it is neither. */
export const familyOf = (text: string): Family => {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  if (isIPv4(address)) return AF_INET;
  if (isIPv6(address)) return AF_INET6;
  throw new RangeError(`"${text}" is not an IP address`);
};

/** 4 or 16 bytes in network order. Throws RangeError on anything else than a plain address (no zone, no prefix). */
export const packAddress = (text: string): Buffer => {
  if (isIPv4(text)) return packIPv4(text);
  if (!isIPv6(text) || text.includes('%')) throw new RangeError(`"${text}" is not an IP address`);
  const bytes = Buffer.alloc(16);
  let body = text;
  if (text.includes('.')) {
    const colon = text.lastIndexOf(':');
    const tail = packIPv4(text.slice(colon + 1));
    body = `${text.slice(0, colon)}:${tail.readUInt16BE(0).toString(16)}:${tail.readUInt16BE(2).toString(16)}`;
  }
  const [head = '', tail] = body.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  front.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), i * 2);
  });
  back.forEach((group, i) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - (back.length - i) * 2);
  });
  return bytes;
};

const packIPv4 = (text: string): Buffer => Buffer.from(text.split('.').map(Number));

/** Canonical text (RFC 5952) of 4 or 16 bytes. */
export const unpackAddress = (bytes: Buffer): string => {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length !== 16) throw new RangeError(`${bytes.length} bytes are not an IP address`);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes.readUInt16BE(i));
  let at = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (groups[i + length] === 0) length++;
    if (length > longest) {
      at = i;
      longest = length;
    }
    if (length > 0) i += length;
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  return at < 0 ? hex(groups) : `${hex(groups.slice(0, at))}::${hex(groups.slice(at + longest))}`;
};

/** An address with its prefix length; a bare address is a host's (/32, /128). Host bits are kept. */
export interface Prefix {
  readonly family: Family;
  readonly address: Buffer;
  readonly length: number;
}

/** Throws RangeError when the text is not `address[/length]`. `default` is not a prefix here: say 0.0.0.0/0 or ::/0. */
export const packPrefix = (text: string): Prefix => {
  const [address = '', length, more] = text.split('/');
  const family = familyOf(address);
  const bits = family === AF_INET ? 32 : 128;
  const size = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (size < 0 || size > bits || more !== undefined) throw new RangeError(`"${text}" is not a prefix`);
  return { family, address: packAddress(address), length: size };
};

/** Six bytes of `02:42:0a:40:00:02`. */
export const packMac = (text: string): Buffer => {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new RangeError(`"${text}" is not a MAC address`);
  return Buffer.from(text.replaceAll(':', ''), 'hex');
};

export const unpackMac = (bytes: Buffer): string => bytes.toString('hex').replace(/(..)(?=.)/g, '$1:');
