import { crc32 } from 'node:zlib';
import { CrcMachine } from './crc-machine.ts';

/** The names that S3 and OSS have for them; crc64ecma is that of xz. */
export type CrcName = 'crc32' | 'crc32c' | 'crc64ecma' | 'crc64nvme';

interface Kind {
  readonly bits: 32 | 64;
  /** Reflected. */
  readonly polynomial: bigint;
}

/** https://reveng.sourceforge.io/crc-catalogue/: all are reflected, begin with ones, and are inverted at the end. */
const KINDS: Readonly<Record<CrcName, Kind>> = {
  crc32: { bits: 32, polynomial: 0xedb88320n },
  crc32c: { bits: 32, polynomial: 0x82f63b78n },
  crc64ecma: { bits: 64, polynomial: 0xc96c5795d7870f42n },
  crc64nvme: { bits: 64, polynomial: 0x9a6c9329ac4bc9b5n },
};

/** Made when they are first used. */
const machines = new Map<CrcName, CrcMachine>();

const machineOf = (name: CrcName): CrcMachine => {
  const known = machines.get(name);
  if (known !== undefined) return known;
  const made = new CrcMachine(KINDS[name].polynomial);
  machines.set(name, made);
  return made;
};

/** The CRC of all bytes in order; `before` is that of what came before them. crc32 is the fastest by far: 6 GB/s. */
export const crcOf = (name: CrcName, data: readonly Uint8Array[], before = 0n): bigint => {
  if (name === 'crc32') {
    let crc = Number(before);
    for (const piece of data) crc = crc32(piece, crc);
    return BigInt(crc);
  }
  const machine = machineOf(name);
  const ones = (1n << BigInt(KINDS[name].bits)) - 1n;
  let register = before ^ ones;
  for (const piece of data) register = machine.run(piece, register);
  return register ^ ones;
};

/** The CRC of `a` followed by `b`, of their CRCs: `bytes` is the length of `b`. */
export const combineCrc = (name: CrcName, a: bigint, b: bigint, bytes: number): bigint => {
  const { bits, polynomial } = KINDS[name];
  const width = BigInt(bits);
  // Zeros behind `a` multiply it by x to the power of their bits, modulo the polynomial; squares bring that up fast.
  let factor = 1n << (width - 1n);
  let square = 1n << (width - 9n);
  for (let rest = BigInt(bytes); rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) factor = multiply(square, factor, width, polynomial);
    square = multiply(square, square, width, polynomial);
  }
  return multiply(factor, a, width, polynomial) ^ b;
};

/** Of polynomials whose highest bit is the constant term, as reflected ones have it. */
const multiply = (a: bigint, b: bigint, width: bigint, polynomial: bigint): bigint => {
  let product = 0n;
  let shifted = b;
  for (let bit = width - 1n; bit >= 0n; bit -= 1n) {
    if (((a >> bit) & 1n) === 1n) product ^= shifted;
    shifted = (shifted & 1n) === 1n ? (shifted >> 1n) ^ polynomial : shifted >> 1n;
  }
  return product;
};

/** As S3 writes it: its bytes, the highest first, in base64. OSS writes the number: `String(crc)`. */
export const base64Crc = (name: CrcName, crc: bigint): string => {
  const bytes = KINDS[name].bits / 8;
  return Buffer.from(crc.toString(16).padStart(2 * bytes, '0'), 'hex').toString('base64');
};
