/** The checksums of object stores, over lists of buffers. Tables are of the polynomials' reflected forms. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

const tableOf = (polynomial: number): Int32Array => {
  const table = new Int32Array(256);
  for (let n = 0; n < 256; n += 1) {
    let value = n;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    table[n] = value;
  }
  return table;
};

let castagnoli: Int32Array | undefined;

const crc32c = (body: readonly Buffer[]): number => {
  castagnoli ??= tableOf(0x82f63b78);
  let value = -1;
  for (const part of body) {
    for (let at = 0; at < part.length; at += 1) {
      value = (value >>> 8) ^ (castagnoli[(value ^ (part[at] ?? 0)) & 255] ?? 0);
    }
  }
  return ~value >>> 0;
};

/** Reflected polynomials of CRC-64: NVME's, which S3 takes, and ECMA-182's (XZ), which OSS takes. */
export const POLYNOMIAL_NVME = 0x9a6c9329ac4bc9b5n;
export const POLYNOMIAL_ECMA = 0xc96c5795d7870f42n;

/** High and low halves of entries, for the polynomial. */
interface Halves {
  readonly high: Int32Array;
  readonly low: Int32Array;
}

const halves = new Map<bigint, Halves>();

const halvesOf = (polynomial: bigint): Halves => {
  const known = halves.get(polynomial);
  if (known !== undefined) return known;
  const high = new Int32Array(256);
  const low = new Int32Array(256);
  for (let n = 0; n < 256; n += 1) {
    let value = BigInt(n);
    for (let bit = 0; bit < 8; bit += 1) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n;
    high[n] = Number(BigInt.asIntN(32, value >> 32n));
    low[n] = Number(BigInt.asIntN(32, value));
  }
  const made = { high, low };
  halves.set(polynomial, made);
  return made;
};

/** Two halves of 32 bits, a byte at a time: 100 to 300 MB/s. Slow, and independent of what it is to judge. */
export function crc64(body: readonly Buffer[], polynomial: bigint): bigint {
  const { high, low } = halvesOf(polynomial);
  let h = -1;
  let l = -1;
  for (const part of body) {
    for (let at = 0; at < part.length; at += 1) {
      const n = (l ^ (part[at] ?? 0)) & 255;
      l = ((l >>> 8) | (h << 24)) ^ (low[n] ?? 0);
      h = (h >>> 8) ^ (high[n] ?? 0);
    }
  }
  return (BigInt(~h >>> 0) << 32n) | BigInt(~l >>> 0);
}

export const crc32Of = (body: readonly Buffer[]): number => body.reduce((value, part) => crc32(part, value), 0);

export const hashOf = (algorithm: string, body: readonly Buffer[]): Buffer => {
  const hash = createHash(algorithm);
  for (const part of body) hash.update(part);
  return hash.digest();
};

const word = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.toString('base64');
};

/** The algorithms of S3, by the end of their header `x-amz-checksum-…`: what the header says of a body. */
export const CHECKSUMS = {
  crc32: (body) => word(crc32Of(body)),
  crc32c: (body) => word(crc32c(body)),
  crc64nvme: (body) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(crc64(body, POLYNOMIAL_NVME));
    return bytes.toString('base64');
  },
  sha1: (body) => hashOf('sha1', body).toString('base64'),
  sha256: (body) => hashOf('sha256', body).toString('base64'),
} as const satisfies Readonly<Record<string, (body: readonly Buffer[]) => string>>;

export type ChecksumName = keyof typeof CHECKSUMS;

export const CHECKSUM_NAMES = Object.keys(CHECKSUMS) as ChecksumName[];

/** In XML: `ChecksumCRC32`. */
export const checksumElement = (name: ChecksumName): string => `Checksum${name.toUpperCase()}`;
