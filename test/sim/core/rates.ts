/** Token buckets per API action, as the clouds throttle: a burst, then a steady rate. */
import type { Clock } from './clock.ts';

export interface Rate {
  /** Calls that may come at once. */
  readonly burst: number;
  /** Calls regained per second. */
  readonly perSecond: number;
  /** Name of a bucket that several actions draw from; without it every action has its own. */
  readonly bucket?: string;
}

/** Action name, or the beginning of one followed by `*`, or `*` → its rate. The longest name that fits decides; no fit: no limit. */
export type RateTable = Readonly<Record<string, Rate>>;

export class TokenBucket {
  readonly #rate: Rate;
  readonly #clock: Clock;
  #tokens: number;
  #at: number;

  constructor(rate: Rate, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
    this.#tokens = rate.burst;
    this.#at = clock.now();
  }

  /** Takes one token; false when there is none: then nothing is taken. */
  take(): boolean {
    const now = this.#clock.now();
    // A test may set the clock back.
    const passed = Math.max(0, now - this.#at) / 1000;
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + passed * this.#rate.perSecond);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** All buckets of one account in one region. */
export class Throttle {
  readonly #clock: Clock;
  #table: RateTable;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(table: RateTable, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  /** New limits from now on; all buckets are full again. */
  configure(table: RateTable): void {
    this.#table = table;
    this.#buckets.clear();
  }

  /** True when the call may pass. */
  take(action: string): boolean {
    const fits = (name: string) => name === action || (name.endsWith('*') && action.startsWith(name.slice(0, -1)));
    const [name] = Object.keys(this.#table)
      .filter(fits)
      .sort((a, b) => b.length - a.length);
    const rate = name === undefined ? undefined : this.#table[name];
    if (rate === undefined) return true;
    const key = rate.bucket ?? action;
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = new TokenBucket(rate, this.#clock);
      this.#buckets.set(key, bucket);
    }
    return bucket.take();
  }
}
