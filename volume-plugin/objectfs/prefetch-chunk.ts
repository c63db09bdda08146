import { type Context, noLongerThan } from '../../shared/context.ts';
import type { Idle, Lent, Memory } from './budget.ts';

/** A piece of an object in memory, or on its way there. */
export class Chunk implements Idle {
  readonly start: number;
  readonly end: number;
  readonly lent: Lent;
  /** When it is there; rejects with what the store said. */
  readonly came: Promise<void>;
  there = false;
  failed = false;
  /** Bytes of it that were read. */
  read = 0;
  #pins = 0;
  #over = false;
  readonly #memory: Memory;
  readonly #onFree: () => void;
  readonly #giveUp: () => void;

  constructor(
    memory: Memory,
    start: number,
    lent: Lent,
    fetch: (into: Buffer) => Promise<void>,
    onFree: () => void,
    giveUp: () => void,
  ) {
    this.start = start;
    this.end = start + lent.buffer.length;
    this.lent = lent;
    this.#memory = memory;
    this.#onFree = onFree;
    this.#giveUp = giveUp;
    this.came = fetch(lent.buffer).then(
      () => {
        this.there = true;
        if (this.#over) this.#settle();
        else memory.idle(this);
      },
      (error: unknown) => {
        this.failed = true;
        // A request may still be on its way with this memory.
        lent.leave();
        throw error;
      },
    );
    // Nobody may be waiting for what was fetched ahead.
    this.came.catch(() => undefined);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Waits for it, no longer than the context lasts. */
  wait(c: Context): Promise<void> {
    return noLongerThan(c, this.came);
  }

  /** Somebody looks at its memory until the answer is called. */
  pin(): () => void {
    this.#pins += 1;
    let out = false;
    return () => {
      if (out) return;
      out = true;
      this.#pins -= 1;
      if (this.#over) this.#settle();
      else if (this.#pins === 0 && this.there) this.#memory.idle(this);
    };
  }

  /** Nobody will ask for it again: its memory is free when nobody looks at it any more, and not before this turn is over. */
  retire(): void {
    if (this.#over) return;
    this.#over = true;
    this.#memory.busy(this);
    this.#onFree();
    setImmediate(() => this.#settle());
  }

  evict(): number {
    if (this.#pins > 0 || !this.there) return 0;
    this.retire();
    return this.length;
  }

  #settle(): void {
    if (this.#pins > 0) return;
    if (this.there) this.lent.free();
    else if (!this.failed) this.#giveUp();
  }
}
