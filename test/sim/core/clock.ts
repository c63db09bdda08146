/** The simulators' time: signatures, lag, token buckets, expiry and asynchronous states all read this one clock. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Runs `work` once that much time has passed; answers how to call it off. */
  after(ms: number, work: () => void): () => void;
  sleep(ms: number): Promise<void>;
  /** Moves time forward; whatever is due by then runs before this returns. */
  advance(ms: number): void;
}

interface Due {
  readonly at: number;
  readonly work: () => void;
}

const byTime = (a: Due, b: Due): number => a.at - b.at;

/** Time stands still except in `advance`: for tests in one process. Starts at the machine's time, so that an SDK's signatures fit. */
export class ManualClock implements Clock {
  #now: number;
  readonly #due = new Set<Due>();

  constructor(start = Date.now()) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, work: () => void): () => void {
    const due = { at: this.#now + ms, work };
    this.#due.add(due);
    return () => this.#due.delete(due);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#due].filter(({ at }) => at <= end).sort(byTime);
      if (next === undefined) break;
      this.#due.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.work();
    }
    this.#now = end;
  }
}

/** The machine's time, plus whatever `advance` added: what a simulator runs on unless told otherwise. Its timers keep no process alive. */
export class RealClock implements Clock {
  #ahead = 0;
  readonly #due = new Map<Due, NodeJS.Timeout>();

  now(): number {
    return Date.now() + this.#ahead;
  }

  after(ms: number, work: () => void): () => void {
    const due = { at: this.now() + ms, work };
    this.#arm(due);
    return () => this.#disarm(due);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  advance(ms: number): void {
    this.#ahead += ms;
    for (const due of [...this.#due.keys()].sort(byTime)) {
      this.#disarm(due);
      if (due.at <= this.now()) due.work();
      else this.#arm(due);
    }
  }

  #arm(due: Due): void {
    const timer = setTimeout(
      () => {
        this.#due.delete(due);
        due.work();
      },
      Math.max(0, due.at - this.now()),
    );
    this.#due.set(due, timer.unref());
  }

  #disarm(due: Due): void {
    clearTimeout(this.#due.get(due));
    this.#due.delete(due);
  }
}
