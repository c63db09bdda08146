import type { Context } from '../../shared/context.ts';
import { pauseMs } from '../../shared/retry.ts';

/** What can be brought to the store; each one goes on where it was when it is tried again. */
export interface Pushed {
  /** Bytes that wait. */
  readonly waiting: number;
  /** Is there anything that can be brought? */
  readonly due: boolean;
  push(): Promise<void>;
}

/** The longest pause before something that failed is tried again. */
const LONGEST_PAUSE_MS = 60_000;

/** Brings files to the store, so many at a time, in their order, and each one again until it succeeds. */
export class UploadQueue<T extends Pushed> {
  readonly #atOnce: number;
  readonly #context: Context;
  /** Those that wait for a place, in their order. */
  readonly #ready = new Set<T>();
  readonly #running = new Set<T>();
  /** Failed ones and their timers. */
  readonly #paused = new Map<T, NodeJS.Timeout>();
  readonly #failures = new Map<T, number>();
  /** What was last said of a failure; undefined since everything has succeeded. */
  lastFailure: string | undefined;

  constructor(atOnce: number, context: Context) {
    this.#atOnce = atOnce;
    this.#context = context;
  }

  /** Everything that was added and has not succeeded yet. */
  get size(): number {
    return this.#ready.size + this.#running.size + this.#paused.size;
  }

  get failing(): number {
    return this.#failures.size;
  }

  add(item: T): void {
    if (this.#running.has(item) || this.#paused.has(item)) return;
    this.#ready.add(item);
    this.#begin();
  }

  /** Tries those that have failed at once, as when somebody waits for all. */
  hurry(): void {
    for (const [item, timer] of this.#paused) {
      clearTimeout(timer);
      this.#paused.delete(item);
      this.#ready.add(item);
    }
    this.#begin();
  }

  close(): void {
    for (const timer of this.#paused.values()) clearTimeout(timer);
    this.#paused.clear();
    this.#ready.clear();
  }

  #begin(): void {
    for (const item of this.#ready) {
      if (this.#running.size >= this.#atOnce || this.#context.signal.aborted) return;
      this.#ready.delete(item);
      this.#running.add(item);
      void this.#run(item);
    }
  }

  async #run(item: T): Promise<void> {
    try {
      await item.push();
      this.#failures.delete(item);
      if (this.#failures.size === 0) this.lastFailure = undefined;
    } catch (error) {
      this.#failed(item, error);
    } finally {
      this.#running.delete(item);
    }
    // Written meanwhile.
    if (item.due && !this.#paused.has(item) && !this.#context.signal.aborted) this.#ready.add(item);
    this.#begin();
  }

  #failed(item: T, error: unknown): void {
    if (this.#context.signal.aborted) return;
    const failures = (this.#failures.get(item) ?? 0) + 1;
    this.#failures.set(item, failures);
    this.lastFailure = error instanceof Error ? error.message : String(error);
    this.#context.log.warn('what was written could not be brought to the store yet', { failures, error });
    const pause = pauseMs(failures, { firstMs: 500, longestMs: LONGEST_PAUSE_MS });
    const again = (): void => {
      this.#paused.delete(item);
      if (item.due) this.#ready.add(item);
      else this.#failures.delete(item);
      this.#begin();
    };
    this.#paused.set(item, setTimeout(again, pause).unref());
  }
}
