import { type Context, now, remaining, throwIfDone } from '../context.ts';
import { PluginError } from '../errors.ts';

/** How many calls at once, and how many a second after that. */
export interface Rate {
  readonly burst: number;
  readonly perSecond: number;
}

interface Waiter {
  readonly resolve: () => void;
}

/**
 * Limits how often something is done: `take` waits for its turn, first come first served. Who could not have one before
 * the deadline is refused at once, and takes nothing from the others.
 */
export class TokenBucket {
  readonly #provider: string;
  readonly #rate: Rate;
  readonly #clock: () => number;
  readonly #waiting: Waiter[] = [];
  #tokens: number;
  #counted: number;
  #timer: NodeJS.Timeout | undefined;

  /** `provider` names who is asked, in errors; `clock`: milliseconds, for tests. */
  constructor(provider: string, rate: Rate, clock: () => number = now) {
    this.#provider = provider;
    this.#rate = rate;
    this.#clock = clock;
    this.#tokens = rate.burst;
    this.#counted = clock();
  }

  /** Waits for a turn. Errors: PROVIDER_THROTTLED when none comes before the deadline, the context's own reason. */
  async take(c: Context): Promise<void> {
    throwIfDone(c);
    this.#refill();
    if (this.#waiting.length === 0 && this.#tokens >= 1) {
      this.#tokens -= 1;
      return;
    }
    if (this.#waitMs(this.#waiting.length + 1) >= remaining(c)) {
      const reason = `${this.#waiting.length} calls of this host wait already, more than fit into the time left`;
      throw new PluginError('PROVIDER_THROTTLED', { provider: this.#provider, reason });
    }
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(c.signal.reason);
      };
      const waiter: Waiter = {
        resolve: () => {
          c.signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      this.#waiting.push(waiter);
      c.signal.addEventListener('abort', leave, { once: true });
      this.#schedule();
    });
  }

  /** The other side says that it is too much: everybody here waits for the next refill. */
  empty(): void {
    this.#refill();
    this.#tokens = Math.min(this.#tokens, 0);
  }

  /** Calls that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  #refill(): void {
    const at = this.#clock();
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + ((at - this.#counted) / 1000) * this.#rate.perSecond);
    this.#counted = at;
  }

  #waitMs(place: number): number {
    return Math.max(0, ((place - this.#tokens) / this.#rate.perSecond) * 1000);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#waiting.length === 0) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#refill();
        // Timers are early by a fraction of a millisecond at times.
        while (this.#tokens >= 0.999 && this.#waiting.length > 0) {
          this.#tokens -= 1;
          this.#waiting.shift()?.resolve();
        }
        this.#schedule();
      },
      Math.ceil(this.#waitMs(1)),
    );
  }
}

/** One bucket for each API of a provider, made when it is first used. */
export class RateLimits {
  readonly #provider: string;
  readonly #rateOf: (api: string) => Rate;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(provider: string, rateOf: (api: string) => Rate) {
    this.#provider = provider;
    this.#rateOf = rateOf;
  }

  /** Waits for a turn at this API. Errors: PROVIDER_THROTTLED, the context's own reason. */
  take(api: string, c: Context): Promise<void> {
    return this.#bucket(api).take(c);
  }

  /** The cloud said that this API is called too often. */
  throttled(api: string): void {
    this.#bucket(api).empty();
  }

  #bucket(api: string): TokenBucket {
    const known = this.#buckets.get(api);
    if (known !== undefined) return known;
    const made = new TokenBucket(this.#provider, this.#rateOf(api));
    this.#buckets.set(api, made);
    return made;
  }
}
