import type { Context } from '../../shared/context.ts';
import { addressOf } from '../../shared/kernel/syscalls.ts';

/** Larger pieces begin at multiples of it in memory: disks write such ones without a copy. */
export const PAGE = 4096;
/** Smaller pieces are not worth keeping. */
const SMALLEST = 128 * 1024;
/** What small pieces may have on top: a program that waits for 128 KiB does not wait for an upload of 8 MiB. */
const ON_TOP = 4 * 1024 * 1024;
const SMALL = 1024 * 1024;

/** Memory that was lent. */
export interface Lent {
  readonly buffer: Buffer;
  /** It may be lent to others from now on: nobody looks at it any more. */
  free(): void;
  /** It counts no more, and is not lent to others: somebody may look at it still. */
  leave(): void;
}

/** Something that has memory which it could do without. */
export interface Idle {
  /** Gives it back, soon; bytes. 0: it is in use. */
  evict(): number;
}

interface Waiting {
  readonly bytes: number;
  readonly lend: () => void;
}

/**
 * The memory that a volume's bytes may take on their way, lent in buffers that are used again: buffers that are left to the
 * garbage collector stay for as long as it likes. Sizes are rounded up to powers of two.
 */
export class Memory {
  readonly limit: number;
  #lent = 0;
  #kept = 0;
  /** Buffers that nobody uses, by size. */
  readonly #free = new Map<number, Buffer[]>();
  readonly #waiting: Waiting[] = [];
  /** The one that has been idle for the longest as the first. */
  readonly #idle = new Set<Idle>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Bytes that are lent. */
  get lent(): number {
    return this.#lent;
  }

  /** Waits until there is so much; one piece may be larger than all there is. Rejects with the context's reason. */
  take(bytes: number, c: Context): Promise<Lent> {
    const size = sizeOf(bytes);
    if (this.#waiting.length === 0 || size <= SMALL) {
      const lent = this.tryTake(bytes);
      if (lent !== undefined) return Promise.resolve(lent);
    }
    return new Promise((resolve, reject) => {
      if (c.signal.aborted) {
        reject(c.signal.reason);
        return;
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(one), 1);
        reject(c.signal.reason);
        this.#serve();
      };
      const one: Waiting = {
        bytes: size,
        lend: () => {
          c.signal.removeEventListener('abort', leave);
          resolve(this.#lend(bytes, size));
        },
      };
      c.signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(one);
      this.#evict(size);
    });
  }

  /** Undefined: there is not so much now. */
  tryTake(bytes: number): Lent | undefined {
    const size = sizeOf(bytes);
    return this.#fits(size) ? this.#lend(bytes, size) : undefined;
  }

  /** May be asked to give back its memory when somebody waits for some. */
  idle(one: Idle): void {
    this.#idle.add(one);
    const first = this.#waiting[0];
    if (first !== undefined) this.#evict(first.bytes);
  }

  /** Memory on top of all, for who would wait for some while others wait for what he holds. */
  beyond(bytes: number): Lent {
    const nothing = (): void => undefined;
    return { buffer: Buffer.allocUnsafeSlow(bytes), free: nothing, leave: nothing };
  }

  busy(one: Idle): void {
    this.#idle.delete(one);
  }

  #evict(bytes: number): void {
    let left = bytes;
    for (const one of this.#idle) {
      if (left <= 0) return;
      left -= one.evict();
    }
  }

  #fits(size: number): boolean {
    return this.#lent === 0 || this.#lent + size <= this.limit + (size <= SMALL ? ON_TOP : 0);
  }

  #lend(bytes: number, size: number): Lent {
    this.#lent += size;
    let memory = this.#free.get(size)?.pop();
    if (memory !== undefined) this.#kept -= size;
    else {
      this.#trim(this.limit - this.#lent);
      memory = size < SMALLEST ? Buffer.allocUnsafeSlow(size) : onPage(size);
    }
    const held = memory;
    let out = true;
    const back = (keep: boolean): void => {
      if (!out) return;
      out = false;
      this.#lent -= size;
      if (keep && size >= SMALLEST && this.#lent + this.#kept + size <= this.limit) {
        this.#kept += size;
        const same = this.#free.get(size);
        if (same === undefined) this.#free.set(size, [held]);
        else same.push(held);
      }
      this.#serve();
    };
    return { buffer: held.subarray(0, bytes), free: () => back(true), leave: () => back(false) };
  }

  /** Leaves buffers that nobody uses to the garbage collector, until no more than `bytes` of them are kept. */
  #trim(bytes: number): void {
    for (const [size, buffers] of this.#free) {
      while (this.#kept > bytes && buffers.pop() !== undefined) this.#kept -= size;
    }
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.lend();
    }
  }
}

const onPage = (size: number): Buffer => {
  const memory = Buffer.allocUnsafeSlow(size + PAGE);
  const skipped = Number(-addressOf(memory) & BigInt(PAGE - 1));
  return memory.subarray(skipped, skipped + size);
};

const sizeOf = (bytes: number): number => (bytes <= SMALLEST / 2 ? bytes : 2 ** Math.ceil(Math.log2(bytes)));
