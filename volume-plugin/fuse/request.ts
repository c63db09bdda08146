import { isUtf8 } from 'node:buffer';
import { type Caller, Errno } from './file-system.ts';
import { IN_HEADER, NAME_MAX, RESENT_BIT } from './wire.ts';

const HIGH = 2 ** 32;

/** Memory that a request is read into: the same bytes as a Buffer and as 32-bit words. */
export class RequestMemory {
  readonly bytes: Buffer;
  readonly words: Uint32Array;

  /** All pages are there from the start: the kernel fails a request when the reader is killed while it has to fetch one. */
  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size).fill(1);
    this.words = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, size >> 2);
  }
}

/**
 * What the kernel has asked, and who asks. The header's fields stay; what is behind it is in memory that is used again once
 * the answer is there or has been promised.
 */
export class Request implements Caller {
  readonly opcode: number;
  /** Bytes, with the header. */
  readonly length: number;
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The two halves of `unique` as they were sent: the answer must name them. */
  readonly low: number;
  readonly high: number;
  /** In the hands of whom the answer waits for. */
  memory: RequestMemory;
  #controller: AbortController | undefined;
  #interrupted = false;

  constructor(memory: RequestMemory) {
    const { words } = memory;
    this.memory = memory;
    this.length = word(words, 0);
    this.opcode = word(words, 1);
    this.low = word(words, 2);
    this.high = word(words, 3);
    this.node = word(words, 4) + word(words, 5) * HIGH;
    this.uid = word(words, 6);
    this.gid = word(words, 7);
    this.pid = word(words, 8);
  }

  get unique(): bigint {
    return BigInt(this.key);
  }

  /** `unique` as a number: kernels count from 2 on. */
  get key(): number {
    return this.low + (this.high & ~RESENT_BIT) * HIGH;
  }

  get resent(): boolean {
    return this.high >= RESENT_BIT;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#interrupted) this.#controller.abort(new Errno('EINTR'));
    }
    return this.#controller.signal;
  }

  /** Whoever asks got a signal. */
  interrupt(): void {
    this.#interrupted = true;
    this.#controller?.abort(new Errno('EINTR'));
  }

  /** 32 bits at a byte offset behind the header. */
  u32(at: number): number {
    return word(this.memory.words, (IN_HEADER + at) >> 2);
  }

  /** 64 bits at a byte offset behind the header; exact below 2^53. */
  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * HIGH;
  }

  /** Like `u64`, of numbers that may be negative, such as times. */
  s64(at: number): number {
    return this.u32(at) + (this.u32(at + 4) | 0) * HIGH;
  }

  /** The bytes from an offset behind the header on, up to `end` or the request's end. Not a copy. */
  rest(at: number, length = this.length - IN_HEADER - at): Buffer {
    return this.memory.bytes.subarray(IN_HEADER + at, IN_HEADER + at + length);
  }

  /** Text that begins there and ends with a NUL. */
  text(at: number): string {
    const { bytes } = this.memory;
    const begin = IN_HEADER + at;
    const end = bytes.indexOf(0, begin);
    const text = bytes.toString('utf8', begin, end);
    if (text.includes('\ufffd') && !isUtf8(bytes.subarray(begin, end))) throw new Errno('EILSEQ', 'not UTF-8');
    return text;
  }

  /** A name of one component. Errors: EILSEQ, ENAMETOOLONG. */
  name(at: number): string {
    const name = this.text(at);
    if (name.length * 3 > NAME_MAX && Buffer.byteLength(name) > NAME_MAX) throw new Errno('ENAMETOOLONG');
    return name;
  }

  /** Where the text that begins at `at` is over. */
  behindText(at: number): number {
    return this.memory.bytes.indexOf(0, IN_HEADER + at) + 1 - IN_HEADER;
  }
}

const word = (words: Uint32Array, at: number): number => words[at] ?? 0;
