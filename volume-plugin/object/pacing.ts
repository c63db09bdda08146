import { type Context, now } from '../../shared/context.ts';

/** A refusal leaves this part of the calls at once: the lesser one when more was refused than taken since the last time. */
const LEFT = { much: 0.5, little: 0.8 };
/** What a round of answers without a refusal adds to the calls at once. */
const GROWTH = 2;
/** Milliseconds of the pause when nothing at all was taken between two refusals; it doubles, up to the longest. */
const PAUSE = { first: 100, longest: 5_000 };
/** With so many at once, or so long after the last refusal, nothing is held back any more. */
const FREE = { calls: 128, ms: 60_000 };
const MOST_PREFIXES = 1_000;

interface Pace {
  /** Calls at once. */
  limit: number;
  inFlight: number;
  /** No call before that. */
  until: number;
  /** Refusals with nothing taken between them. */
  strikes: number;
  /** When the limit was last lowered: what was sent before says nothing new. */
  lowered: number;
  /** Answers since then. */
  taken: number;
  refused: number;
  readonly waiting: Set<() => void>;
  timer: NodeJS.Timeout | undefined;
}

/** A call that was let through. */
export interface Passage {
  /** The store took it. */
  taken(): void;
  /** The store wants fewer of them. */
  slowed(): void;
  /** Neither: it failed in another way. */
  left(): void;
}

/**
 * Holds calls back where the store has said that they are too many: by prefix (the folder of a key), for stores limit
 * each range of keys by itself. A prefix that was never refused costs nothing.
 */
export class Pacing {
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #paces = new Map<string, Pace>();
  #inFlight = 0;

  /** For tests: milliseconds, and a number in [0, 1). */
  constructor(clock: () => number = now, random: () => number = Math.random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Prefixes that are held back. */
  get held(): number {
    return this.#paces.size;
  }

  /** Is this key's prefix held back? What need not be asked should not be. */
  isHeld(key: string): boolean {
    return this.#paces.size > 0 && this.#paces.has(prefixOf(key));
  }

  /** Waits for the turn of a call for `key`; its context's reason is thrown when that ends first. */
  async pass(key: string, c: Context): Promise<Passage> {
    const prefix = prefixOf(key);
    const pace = this.#paces.get(prefix);
    if (pace !== undefined) {
      if (pace.waiting.size === 0 && this.#isOpen(pace)) pace.inFlight += 1;
      else await this.#turn(pace, c);
    }
    this.#inFlight += 1;
    const sentAt = this.#clock();
    const leave = (): void => {
      this.#inFlight -= 1;
      if (pace === undefined) return;
      pace.inFlight -= 1;
      this.#wake(pace);
    };
    return {
      taken: () => {
        leave();
        if (pace !== undefined) this.#taken(prefix, pace, sentAt);
      },
      slowed: () => {
        this.#slowed(prefix, sentAt);
        leave();
      },
      left: leave,
    };
  }

  #isOpen(pace: Pace): boolean {
    return pace.inFlight < Math.floor(pace.limit) && this.#clock() >= pace.until;
  }

  /** Resolves when there is room, and takes it. */
  #turn(pace: Pace, c: Context): Promise<void> {
    return new Promise((resolve, reject) => {
      const settled = (): void => {
        pace.waiting.delete(woken);
        c.signal.removeEventListener('abort', ended);
      };
      const woken = (): void => {
        settled();
        // At once: until the call goes on, others would be let through for the same room.
        pace.inFlight += 1;
        resolve();
      };
      const ended = (): void => {
        settled();
        reject(c.signal.reason);
      };
      if (c.signal.aborted) {
        reject(c.signal.reason);
        return;
      }
      c.signal.addEventListener('abort', ended);
      pace.waiting.add(woken);
      this.#wake(pace);
    });
  }

  /** Lets as many go as there is room for, or sees to it that it is done in time. */
  #wake(pace: Pace): void {
    const wait = pace.until - this.#clock();
    if (wait > 0) {
      if (pace.waiting.size === 0) return;
      pace.timer ??= setTimeout(() => {
        pace.timer = undefined;
        this.#wake(pace);
      }, Math.ceil(wait));
      return;
    }
    let room = Math.floor(pace.limit) - pace.inFlight;
    for (const woken of pace.waiting) {
      if (room <= 0) return;
      room -= 1;
      woken();
    }
  }

  #taken(prefix: string, pace: Pace, sentAt: number): void {
    pace.strikes = 0;
    pace.taken += 1;
    if (sentAt >= pace.lowered) pace.limit += GROWTH / pace.limit;
    if (pace.limit < FREE.calls && this.#clock() - pace.lowered < FREE.ms) return;
    if (this.#paces.get(prefix) === pace) this.#paces.delete(prefix);
    pace.limit = Number.POSITIVE_INFINITY;
    pace.until = 0;
    this.#wake(pace);
  }

  #slowed(prefix: string, sentAt: number): void {
    let pace = this.#paces.get(prefix);
    if (pace === undefined) {
      this.#forgetOld();
      pace = {
        limit: Math.max(2, Math.min(FREE.calls, this.#inFlight)),
        inFlight: 0,
        until: 0,
        strikes: 0,
        lowered: Number.NEGATIVE_INFINITY,
        taken: 0,
        refused: 0,
        waiting: new Set(),
        timer: undefined,
      };
      this.#paces.set(prefix, pace);
    }
    pace.refused += 1;
    if (sentAt < pace.lowered) return;
    const at = this.#clock();
    pace.limit = Math.max(1, pace.limit * (pace.refused > pace.taken ? LEFT.much : LEFT.little));
    pace.lowered = at;
    pace.taken = 0;
    pace.refused = 0;
    if (pace.strikes > 0) {
      // At least half of it: a pause of nothing would be none.
      const most = Math.min(PAUSE.longest, PAUSE.first * 2 ** (pace.strikes - 1));
      pace.until = at + most * (0.5 + this.#random() / 2);
    }
    pace.strikes = Math.min(30, pace.strikes + 1);
  }

  #forgetOld(): void {
    if (this.#paces.size < MOST_PREFIXES) return;
    const at = this.#clock();
    for (const [prefix, pace] of this.#paces) {
      const isIdle = pace.waiting.size === 0 && pace.inFlight === 0;
      if (isIdle && (at - pace.lowered > FREE.ms || this.#paces.size >= MOST_PREFIXES)) this.#paces.delete(prefix);
    }
  }
}

const prefixOf = (key: string): string => key.slice(0, key.lastIndexOf('/') + 1);
