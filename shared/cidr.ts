/** Addresses and prefixes of both families, as big integers, with one canonical text each (RFC 5952 for IPv6). */
import { isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { PluginError } from './errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
  /** Canonical. */
  readonly text: string;
}

export interface Cidr {
  readonly family: Family;
  /** The first address: no bit is set behind the length. */
  readonly base: bigint;
  readonly length: number;
  /** Canonical, such as `10.64.3.0/24`. */
  readonly text: string;
}

/** Bits in an address. */
export const width = (family: Family): 32 | 128 => (family === 4 ? 32 : 128);

const bytesOf = (value: bigint): number[] =>
  Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(120 - 8 * i)) & 0xffn));

/** Canonical text of an address. Throws RangeError when the value does not fit. */
export const formatAddress = (family: Family, value: bigint): string => {
  if (value < 0n || value >> BigInt(width(family)) !== 0n) throw new RangeError(`no IPv${family} address: ${value}`);
  if (family === 6) return ipaddr.IPv6.parse(ipaddr.fromByteArray(bytesOf(value)).toString()).toRFC5952String();
  const bits = Number(value);
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
};

/** The address with this value. */
export const addressOf = (family: Family, value: bigint): Address => ({
  family,
  value,
  text: formatAddress(family, value),
});

const FOUR_PARTS = /^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/;

const whyNot = (text: string): string | undefined => {
  if (text === '') return 'it is empty';
  if (text !== text.trim()) return 'it has spaces around it';
  if (text.includes('%')) return 'an address with a zone (%) is only valid on one interface';
  if (text.includes('/')) return 'an address has no /length here';
  if (text.includes(':')) return ipaddr.IPv6.isValid(text) ? undefined : 'not an IPv6 address';
  if (/^\d+(\.\d+){3}$/.test(text) && /(^|\.)0\d/.test(text)) return 'leading zeros could mean octal numbers';
  if (!FOUR_PARTS.test(text)) return 'an IPv4 address has four decimal numbers';
  return ipaddr.IPv4.isValid(text) ? undefined : 'each of the four numbers is at most 255';
};

/**
 * Parses an IPv4 or IPv6 address. Refused with ADDRESS_INVALID: leading zeros, short forms, zones, IPv4-mapped IPv6
 * (`::ffff:10.0.0.1`, which the kernel and Docker treat as IPv4 in some places only).
 */
export const parseAddress = (text: string): Address => {
  // What Node takes for one is written canonically.
  if (isIPv4(text))
    return { family: 4, value: text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n), text };
  const reason = whyNot(text);
  if (reason !== undefined) throw new PluginError('ADDRESS_INVALID', { input: text, reason });
  const parsed = ipaddr.parse(text);
  if (parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress()) {
    const reason = `write the IPv4 address ${parsed.toIPv4Address().toString()} itself`;
    throw new PluginError('ADDRESS_INVALID', { input: text, reason });
  }
  const family = parsed.kind() === 'ipv4' ? 4 : 6;
  const value = parsed.toByteArray().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return addressOf(family, value);
};

/** The prefix of this length that `value` lies in. */
export const cidrOf = (family: Family, value: bigint, length: number): Cidr => {
  const bits = BigInt(width(family) - length);
  const base = (value >> bits) << bits;
  return { family, base, length, text: `${formatAddress(family, base)}/${length}` };
};

const split = (text: string): { address: Address; length: number } => {
  const invalid = (reason: string, cause?: unknown): PluginError =>
    new PluginError('CIDR_INVALID', { input: text, reason }, { cause });
  const slash = text.indexOf('/');
  if (slash < 0) throw invalid('the /length is missing');
  let address: Address;
  try {
    address = parseAddress(text.slice(0, slash));
  } catch (error) {
    throw invalid(String(error instanceof PluginError ? error.context.reason : error), error);
  }
  const digits = text.slice(slash + 1);
  const length = /^(0|[1-9]\d{0,2})$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(length <= width(address.family))) {
    throw invalid(`the length of an IPv${address.family} prefix is a number from 0 to ${width(address.family)}`);
  }
  return { address, length };
};

/**
 * Parses a prefix. Bits behind the length are refused with CIDR_INVALID (and the prefix that was probably meant), or
 * cut off when `strict` is false.
 */
export const parseCidr = (text: string, options: { strict?: boolean } = {}): Cidr => {
  const known = remembered.get(text);
  if (known !== undefined) return known;
  const { address, length } = split(text);
  const cidr = cidrOf(address.family, address.value, length);
  if (cidr.base === address.value) return remember(text, cidr);
  if (options.strict ?? true) {
    const reason = `it has bits set behind /${length}`;
    throw new PluginError('CIDR_INVALID', { input: text, reason, suggestion: cidr.text });
  }
  return cidr;
};

/** Every call of the engine has to do with the same few pools and prefixes: as they are written, without stray bits. */
const remembered = new Map<string, Cidr>();
const MOST_REMEMBERED = 500;

const remember = (text: string, cidr: Cidr): Cidr => {
  if (remembered.size >= MOST_REMEMBERED) remembered.clear();
  remembered.set(text, Object.freeze(cidr));
  return cidr;
};

/** Parses an address with the length of its subnet, as Docker writes interface addresses: `10.70.1.2/24`. */
export const parseInterfaceAddress = (text: string): { readonly address: Address; readonly subnet: Cidr } => {
  const { address, length } = split(text);
  return { address, subnet: cidrOf(address.family, address.value, length) };
};

/** How many addresses. */
export const size = (cidr: Cidr): bigint => 1n << BigInt(width(cidr.family) - cidr.length);

export const first = (cidr: Cidr): Address => addressOf(cidr.family, cidr.base);
export const last = (cidr: Cidr): Address => addressOf(cidr.family, cidr.base + size(cidr) - 1n);

/** The prefix that is just this address: /32 or /128. */
export const hostCidr = (address: Address): Cidr => cidrOf(address.family, address.value, width(address.family));

const isCidr = (item: Address | Cidr): item is Cidr => 'base' in item;

/** Is the address, or the whole prefix, in `cidr`? False across families. */
export const contains = (cidr: Cidr, item: Address | Cidr): boolean => {
  if (cidr.family !== item.family) return false;
  if (isCidr(item) && item.length < cidr.length) return false;
  const bits = BigInt(width(cidr.family) - cidr.length);
  return (isCidr(item) ? item.base : item.value) >> bits === cidr.base >> bits;
};

/** Do two prefixes share an address? Then one contains the other. */
export const overlaps = (a: Cidr, b: Cidr): boolean => contains(a, b) || contains(b, a);

/** The address `offset` places after the first; negative offsets count from the end (-1 is the last). */
export const addressAt = (cidr: Cidr, offset: bigint | number): Address => {
  const place = BigInt(offset) < 0n ? size(cidr) + BigInt(offset) : BigInt(offset);
  if (place < 0n || place >= size(cidr)) throw new RangeError(`${cidr.text} has no address ${offset}`);
  return addressOf(cidr.family, cidr.base + place);
};

const subnetLength = (pool: Cidr, length: number): bigint => {
  if (!Number.isInteger(length) || length < pool.length || length > width(pool.family)) {
    throw new PluginError('POOL_INVALID', {
      pool: pool.text,
      reason: `it holds no prefix of length /${length}; lengths from /${pool.length} to /${width(pool.family)} fit`,
    });
  }
  return BigInt(length - pool.length);
};

/** How many prefixes of a length a pool holds. */
export const subnetCount = (pool: Cidr, length: number): bigint => 1n << subnetLength(pool, length);

/** The prefix number `n` (from 0) of a length in a pool. */
export const nthSubnet = (pool: Cidr, length: number, n: bigint | number): Cidr => {
  const index = BigInt(n);
  if (index < 0n || index >= subnetCount(pool, length))
    throw new RangeError(`${pool.text} has no /${length} number ${n}`);
  return cidrOf(pool.family, pool.base + (index << BigInt(width(pool.family) - length)), length);
};

/** All prefixes of a length in a pool, in order, made as they are asked for. */
export function* subnets(pool: Cidr, length: number): Generator<Cidr, void, undefined> {
  const count = subnetCount(pool, length);
  for (let n = 0n; n < count; n += 1n) yield nthSubnet(pool, length, n);
}

/** What is left of a prefix without another one: the fewest prefixes, in order. */
export const subtract = (from: Cidr, hole: Cidr): readonly Cidr[] => {
  if (!overlaps(from, hole)) return [from];
  if (contains(hole, from)) return [];
  const [low, high] = [nthSubnet(from, from.length + 1, 0), nthSubnet(from, from.length + 1, 1)];
  return [...subtract(low, hole), ...subtract(high, hole)];
};

/** Order for sort(): IPv4 first, then by address, then wider prefixes first. */
export const compareCidrs = (a: Cidr, b: Cidr): number => {
  if (a.family !== b.family) return a.family - b.family;
  if (a.base !== b.base) return a.base < b.base ? -1 : 1;
  return a.length - b.length;
};
