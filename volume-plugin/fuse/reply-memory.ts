import type { Attributes } from './file-system.ts';
import { BLOCK_SIZE } from './wire.ts';

const HIGH = 2 ** 32;
const NANO = 1_000_000_000;

/** Memory that answers are written into, by structure; the same memory for all of them. Offsets are in bytes, and multiples of 4. */
export class ReplyMemory {
  readonly bytes: Buffer;
  readonly #words: Uint32Array;
  readonly #wide: BigInt64Array;
  readonly #split: Uint32Array;

  constructor(size: number) {
    // All pages are there from the start, as those of requests.
    this.bytes = Buffer.allocUnsafeSlow(size).fill(1);
    this.#words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, size >> 2);
    this.#wide = new BigInt64Array(1);
    this.#split = new Uint32Array(this.#wide.buffer);
  }

  u32(at: number, value: number): void {
    this.#words[at >> 2] = value;
  }

  /** Whole numbers below 2^53, negative ones too. */
  u64(at: number, value: number): void {
    this.#words[at >> 2] = value;
    this.#words[(at >> 2) + 1] = Math.floor(value / HIGH);
  }

  /** Nanoseconds as seconds at one place and the rest at another. */
  time(secondsAt: number, restAt: number, nanoseconds: bigint): void {
    this.#wide[0] = nanoseconds;
    const low = this.#split[0] ?? 0;
    const high = (this.#split[1] ?? 0) | 0;
    // The quotient may be off by one where the sum is rounded; the rest, modulo 2^32, tells. A division of bigints costs ten times that.
    let seconds = Math.floor((high * HIGH + low) / NANO);
    let rest = (low - Math.imul(seconds, NANO)) | 0;
    if (rest < 0) {
      seconds -= 1;
      rest += NANO;
    } else if (rest >= NANO) {
      seconds += 1;
      rest -= NANO;
    }
    this.u64(secondsAt, seconds);
    this.u32(restAt, rest);
  }

  /** How long something may be relied on, as seconds and nanoseconds. */
  validity(secondsAt: number, restAt: number, milliseconds: number): void {
    const whole = Math.min(Math.max(0, milliseconds), Number.MAX_SAFE_INTEGER);
    const seconds = Math.floor(whole / 1000);
    this.u64(secondsAt, seconds);
    this.u32(restAt, Math.floor((whole - seconds * 1000) * 1_000_000));
  }

  /** struct fuse_attr, 88 bytes. */
  attributes(at: number, of: Attributes): void {
    this.u64(at, of.node);
    this.u64(at + 8, of.size);
    this.u64(at + 16, Math.ceil(of.size / 512));
    this.time(at + 24, at + 48, of.atime);
    this.time(at + 32, at + 52, of.mtime);
    this.time(at + 40, at + 56, of.ctime);
    this.u32(at + 60, of.mode);
    this.u32(at + 64, of.nlink);
    this.u32(at + 68, of.uid);
    this.u32(at + 72, of.gid);
    this.u32(at + 76, of.rdev);
    this.u32(at + 80, BLOCK_SIZE);
    this.u32(at + 84, 0);
  }

  /** struct fuse_entry_out, 128 bytes. Numbers of nodes are never used again, so all are of one generation. */
  entry(at: number, attributes: Attributes, entryMs: number, attributesMs: number): void {
    this.u64(at, attributes.node);
    this.u64(at + 8, 0);
    this.validity(at + 16, at + 32, entryMs);
    this.validity(at + 24, at + 36, attributesMs);
    this.attributes(at + 40, attributes);
  }
}
