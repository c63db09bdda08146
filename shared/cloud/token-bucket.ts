import { type Context, now, remaining } from '../context.ts';
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
 * What a first refusal leaves of the rate, each further one of that, and the least of it: hundreds of hosts draw on one
 * limit, and none of them knows of the others.
 */
const PRESSED = { first: 1 / 10, next: 1 / 2, least: 1 / 150 };
/** What each call that is not refused adds, as a part of the whole rate. */
const REGAIN = 1 / 20;
/** After so long without a refusal, in milliseconds, nothing is left of it. */
const FORGET_MS = 120_000;

/**
 * Limits how often something is done: `take` waits for its turn, first come first served. Who could not have one before
 * the deadline is refused at once, and takes nothing from the others. The rate follows what the other side takes: it
 * falls by parts when that refuses, and rises by steps while it does not.
 */
export class TokenBucket {
  readonly #provider: string;
  readonly #rate: Rate;
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #waiting: Waiter[] = [];
  #perSecond: number;
  /** When the rate was last lowered. */
  #pressed = Number.NEGATIVE_INFINITY;
  #tokens: number;
  #counted: number;
  #timer: NodeJS.Timeout | undefined;

  /** `provider` names who is asked, in errors; `clock`: milliseconds, and `random`: a number in [0, 1), for tests. */
  constructor(provider: string, rate: Rate, clock: () => number = now, random: () => number = Math.random) {
    this.#provider = provider;
    this.#rate = rate;
    this.#clock = clock;
    this.#random = random;
    this.#perSecond = rate.perSecond;
    this.#tokens = rate.burst;
    this.#counted = clock();
  }

  /** Waits for a turn. Errors: PROVIDER_THROTTLED when none comes before the deadline, the context's own reason. */
  async take(c: Context): Promise<void> {
    if (c.signal.aborted) throw this.#endOf(c);
    this.#refill();
    if (this.#waiting.length === 0 && this.#tokens >= 1) {
      this.#tokens -= 1;
      return;
    }
    if (this.#waitMs(this.#waiting.length + 1) >= remaining(c)) throw this.#tooLate();
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(this.#endOf(c));
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

  /**
   * The other side says that it is too much, to a call that was sent at `sentAt` (on the bucket's clock): everybody here
   * waits for a turn at the lower rate, a little more or less, so that hosts that were refused together part. Calls that
   * were under way when the rate was lowered say nothing new.
   */
  refused(sentAt: number = this.#clock()): void {
    this.#refill();
    if (sentAt >= this.#pressed) {
      const { perSecond } = this.#rate;
      const lower = Math.min(this.#perSecond * PRESSED.next, perSecond * PRESSED.first);
      this.#perSecond = Math.max(lower, perSecond * PRESSED.least);
      this.#pressed = this.#clock();
    }
    this.#tokens = Math.min(this.#tokens, this.#random() - 0.5);
  }

  /** The other side took a call. */
  accepted(): void {
    if (this.#perSecond === this.#rate.perSecond) return;
    this.#refill();
    this.#perSecond = Math.min(this.#rate.perSecond, this.#perSecond + this.#rate.perSecond * REGAIN);
    this.#schedule();
  }

  /** The other side has refused calls a short time ago. */
  get isPressed(): boolean {
    this.#refill();
    return this.#perSecond < this.#rate.perSecond;
  }

  /** Calls that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Why a call that has not been sent ends with its context: the rate may have fallen since a turn seemed to come in time. */
  #endOf({ signal: { reason } }: Context): unknown {
    const isOver = reason instanceof PluginError && reason.code === 'DEADLINE';
    return isOver && this.isPressed ? this.#tooLate() : reason;
  }

  #tooLate(): PluginError {
    const reason = this.isPressed
      ? 'it has refused calls of this account for their number, and the next turn comes after the time left'
      : `${this.#waiting.length} calls of this host wait already, more than fit into the time left`;
    return new PluginError('PROVIDER_THROTTLED', { provider: this.#provider, reason });
  }

  #refill(): void {
    const at = this.#clock();
    this.#tokens = Math.min(this.#rate.burst, this.#tokens + ((at - this.#counted) / 1000) * this.#perSecond);
    this.#counted = at;
    if (at - this.#pressed > FORGET_MS) this.#perSecond = this.#rate.perSecond;
  }

  #waitMs(place: number): number {
    return Math.max(0, ((place - this.#tokens) / this.#perSecond) * 1000);
  }

  /** Anew each time: since the last time the rate may have risen, and the next turn come earlier than it looked then. */
  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
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

  /** The cloud said that this API is called too often, to a call that was sent at `sentAt` (on the contexts' clock). */
  refused(api: string, sentAt?: number): void {
    this.#bucket(api).refused(sentAt);
  }

  /** The cloud answered a call of this API, whatever it said. */
  accepted(api: string): void {
    this.#bucket(api).accepted();
  }

  /** Calls of this API were refused for their number a short time ago: what can do without one should. */
  isPressed(api: string): boolean {
    return this.#bucket(api).isPressed;
  }

  #bucket(api: string): TokenBucket {
    const known = this.#buckets.get(api);
    if (known !== undefined) return known;
    const made = new TokenBucket(this.#provider, this.#rateOf(api));
    this.#buckets.set(api, made);
    return made;
  }
}
