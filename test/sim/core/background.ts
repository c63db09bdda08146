/** What goes on in a simulated cloud after a request was answered. */
import type { Clock } from './clock.ts';

export class Background {
  readonly #clock: Clock;
  readonly #failures: unknown[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Does `then` once the time is over and `work` has resolved; with no time and no work at once. Infinite time: never.
   * Work that fails is told by `failures`, and `then` is not done.
   */
  after<T = undefined>(ms: number, work: (() => Promise<T>) | undefined, then: (result: T) => void): void {
    void this.#run(ms, work, then).catch((error: unknown) => this.#failures.push(error));
  }

  /** What has failed since the last time somebody asked. */
  failures(): unknown[] {
    return this.#failures.splice(0);
  }

  async #run<T>(ms: number, work: (() => Promise<T>) | undefined, then: (result: T) => void): Promise<void> {
    const time = ms <= 0 ? undefined : Number.isFinite(ms) ? this.#clock.sleep(ms) : new Promise<void>(() => undefined);
    const result = await work?.();
    await time;
    then(result as T);
  }
}
