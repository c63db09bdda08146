import { now, sleep } from '../../shared/context.ts';
import { pauseMs } from '../../shared/retry.ts';
import { isPassing } from './content-errors.ts';
import type { World } from './content-world.ts';

/** Repeats calls to a store that does not answer, for as long as that was waited for since something last succeeded. */
export class Patience {
  readonly #world: World;
  #since = now();

  constructor(world: World) {
    this.#world = world;
  }

  async call<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await work();
        this.#since = now();
        return result;
      } catch (error) {
        const pause = pauseMs(attempt);
        if (!isPassing(error) || now() + pause - this.#since > this.#world.retryMs) throw error;
        await sleep(pause, this.#world.context);
      }
    }
  }
}
