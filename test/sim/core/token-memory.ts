/** ClientToken: a repeated request with the token of an earlier one gets the earlier one's answer, not a second effect. */
import type { Clock } from './clock.ts';

interface Remembered<R> {
  readonly parameters: string;
  readonly result: R;
  readonly until: number;
}

export class TokenMemory<R> {
  readonly #clock: Clock;
  readonly #ttl: number;
  readonly #results = new Map<string, Remembered<R>>();

  /** `ttl`: for how many milliseconds a token is remembered (a day by default). */
  constructor(clock: Clock, ttl = 24 * 3600_000) {
    this.#clock = clock;
    this.#ttl = ttl;
  }

  /**
   * What became of the request that first bore this token: its result, `mismatch` when its parameters were others, or
   * undefined when there was none. `scope` names account and action: tokens of different actions are different.
   */
  recall(scope: string, token: string, parameters: unknown): { result: R } | 'mismatch' | undefined {
    const key = `${scope} ${token}`;
    const found = this.#results.get(key);
    if (found === undefined || found.until <= this.#clock.now()) return undefined;
    return found.parameters === JSON.stringify(parameters) ? { result: found.result } : 'mismatch';
  }

  remember(scope: string, token: string, parameters: unknown, result: R): void {
    const until = this.#clock.now() + this.#ttl;
    this.#results.set(`${scope} ${token}`, { parameters: JSON.stringify(parameters), result, until });
  }
}
