/** What goes on in a simulated cloud after a request was answered. */
import type { Clock } from './clock.ts';
import { type Media, noMedia } from './media.ts';

export class Background {
  readonly #clock: Clock;
  readonly #media: Media;
  readonly #failures: unknown[] = [];

  constructor(clock: Clock, media: Media) {
    this.#clock = clock;
    this.#media = media;
  }

  /**
   * Does `then` once the time is over and `work` has resolved; at once where there is neither. Infinite time: never.
   * Of work that fails `then` is not done, and `failures` tells.
   */
  after<T = undefined>(ms: number, work: (() => Promise<T>) | undefined, then: (result: T) => void): void {
    const isLong = ms > 0;
    if (!isLong && work === undefined) {
      then(undefined as T);
      return;
    }
    const time = isLong ? this.#passed(ms) : undefined;
    const run = async (): Promise<void> => {
      const result = await work?.();
      await time;
      then(result as T);
    };
    void run().catch((error: unknown) => this.#failures.push(error));
  }

  /** The same of work on the media: without media (`noMedia`) there is none to be done. */
  onMedia(ms: number, work: (() => Promise<void>) | undefined, then: () => void = () => undefined): void {
    this.after(ms, this.#media === noMedia ? undefined : work, then);
  }

  /** What has failed since the last time somebody asked. */
  failures(): unknown[] {
    return this.#failures.splice(0);
  }

  #passed(ms: number): Promise<void> {
    return Number.isFinite(ms) ? this.#clock.sleep(ms) : new Promise(() => undefined);
  }
}
