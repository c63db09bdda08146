/**
 * Time that passes at once: timers of the whole process go off in the order of their times, one after the other, each when
 * everything that the one before has set going has come to rest. Only for code that waits for nothing but timers.
 */

interface Timer {
  readonly at: number;
  readonly number: number;
  readonly run: () => void;
}

export class VirtualTime {
  #now = 0;
  #count = 0;
  readonly #timers = new Map<number, Timer>();
  readonly #real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now.bind(performance),
    random: Math.random,
  };

  /** Milliseconds since `install`. */
  get now(): number {
    return this.#now;
  }

  /** From here on the process has this time and this chance, until `restore`. */
  install(random: () => number): void {
    Math.random = random;
    const set = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): unknown => {
      const number = ++this.#count;
      this.#timers.set(number, { at: this.#now + Math.max(0, ms), number, run: () => run(...args) });
      const handle = { unref: () => handle, ref: () => handle, [Symbol.toPrimitive]: () => number };
      return handle;
    };
    globalThis.setTimeout = set as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((handle: unknown) =>
      this.#timers.delete(Number(handle ?? 0))) as unknown as typeof clearTimeout;
    performance.now = () => this.#now;
  }

  restore(): void {
    globalThis.setTimeout = this.#real.setTimeout;
    globalThis.clearTimeout = this.#real.clearTimeout;
    performance.now = this.#real.now;
    Math.random = this.#real.random;
  }

  /** Lets time pass until `isOver`, or until nothing is left to happen: then false. */
  async run(isOver: () => boolean): Promise<boolean> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (isOver()) return true;
      const next = this.#first();
      if (next === undefined) return false;
      this.#timers.delete(next.number);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
  }

  #first(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers.values()) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.number < first.number)) {
        first = timer;
      }
    }
    return first;
  }
}
