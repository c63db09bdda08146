import { type Context, newContext, now, remaining } from './context.ts';
import { asPluginError, PluginError } from './errors.ts';
import type { Logger } from './log.ts';

interface Flight {
  readonly work: Promise<unknown>;
  /** Epoch milliseconds on the clock of contexts. */
  readonly begun: number;
  readonly ended: () => boolean;
}

/** Longest time that work may go on after its caller was answered, in milliseconds. */
const WORK_MS = 5 * 60_000;
/** So long before its time is over a caller is answered; of a short time, a tenth. */
const MARGIN_MS = 1_500;
/** What comes late in a call gets so long all the same. */
const SHORTEST_MS = 1_000;

/**
 * Work that goes on when its caller cannot wait any longer. The caller is then told STILL_WORKING; the next one who
 * asks for the same takes the work over where it is.
 */
export class Unattended {
  readonly #log: Logger;
  readonly #end: AbortSignal;
  readonly #longestMs: number;
  /** Work that nobody waits for, by what was asked. */
  readonly #left = new Map<string, Flight[]>();
  readonly #all = new Set<Promise<unknown>>();

  /** All work ends with `end`. */
  constructor(log: Logger, end: AbortSignal, longestMs: number = WORK_MS) {
    this.#log = log;
    this.#end = end;
    this.#longestMs = longestMs;
  }

  /**
   * Does the work, or takes over the same (by `key`) that was left alone. `what` says it in a sentence: "claiming
   * 10.64.3.0/24", or answers how far it is by then. `onUnattended` is given what came of it when nobody waited any more.
   * Errors: STILL_WORKING, those of the work, and the caller's own when it was cancelled.
   */
  async run<T>(
    key: string,
    what: string | (() => string),
    work: (c: Context) => Promise<T>,
    c: Context,
    onUnattended: (result: T) => void = () => undefined,
  ): Promise<T> {
    for (;;) {
      const joined = this.#takeOver(key);
      try {
        return await this.#follow(joined ?? this.#begin(work, c), key, what, c, onUnattended);
      } catch (error) {
        // What was joined had its time from an earlier call; this one has time of its own.
        if (joined?.ended() !== true || c.signal.aborted || !isOutOfTime(error)) throw error;
      }
    }
  }

  /** Does work go on under this key that nobody waits for? */
  has(key: string): boolean {
    return this.#left.has(key);
  }

  /** Waits until all work has ended, but no longer than `ms`. */
  async settled(ms: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, ms);
    await Promise.race([Promise.allSettled(this.#all), late.promise]);
    clearTimeout(timer);
  }

  /** Waits for the work as long as the caller can, and leaves it alone then. */
  async #follow<T>(
    flight: Flight,
    key: string,
    what: string | (() => string),
    c: Context,
    onUnattended: (result: T) => void,
  ): Promise<T> {
    const words = (): string => (typeof what === 'string' ? what : what());
    const late = Promise.withResolvers<never>();
    const over = (): void => {
      const seconds = Math.round((now() - flight.begun) / 100) / 10;
      late.reject(new PluginError('STILL_WORKING', { what: words(), seconds }));
    };
    const cancelled = (): void => late.reject(c.signal.reason);
    const timer = setTimeout(over, patienceOf(c));
    if (c.signal.aborted) cancelled();
    c.signal.addEventListener('abort', cancelled, { once: true });
    try {
      return (await Promise.race([flight.work, late.promise])) as T;
    } finally {
      clearTimeout(timer);
      c.signal.removeEventListener('abort', cancelled);
      // Only work of this kind is kept under this key.
      if (!flight.ended()) this.#leave(key, words(), flight, (result) => onUnattended(result as T));
    }
  }

  #begin(work: (c: Context) => Promise<unknown>, { requestId, log }: Context): Flight {
    const parent: Context = { requestId, signal: this.#end, deadline: Number.POSITIVE_INFINITY, log };
    const running = work(newContext(log, this.#longestMs, parent));
    this.#all.add(running);
    const forget = (): void => void this.#all.delete(running);
    running.then(forget, forget);
    return { work: running, begun: now(), ended: () => !this.#all.has(running) };
  }

  #takeOver(key: string): Flight | undefined {
    const flight = this.#left.get(key)?.shift();
    if (this.#left.get(key)?.length === 0) this.#left.delete(key);
    return flight;
  }

  #leave(key: string, what: string, flight: Flight, onUnattended: (result: unknown) => void): void {
    const others = this.#left.get(key) ?? [];
    this.#left.set(key, [...others, flight]);
    const gone = (): boolean => {
      const left = this.#left.get(key) ?? [];
      if (!left.includes(flight)) return false;
      const rest = left.filter((one) => one !== flight);
      if (rest.length > 0) this.#left.set(key, rest);
      else this.#left.delete(key);
      return true;
    };
    flight.work.then(
      (result: unknown) => {
        if (!gone()) return;
        this.#log.info('work that outlived its caller is done', { what });
        onUnattended(result);
      },
      (error: unknown) => {
        if (gone()) this.#log.warn('work that outlived its caller has failed', { what, error: asPluginError(error) });
      },
    );
  }
}

/** Did the time of work that has ended run out, rather than that it failed? Whoever says STILL_WORKING then has given up, too. */
const isOutOfTime = (error: unknown): boolean =>
  error instanceof PluginError &&
  (error.code === 'DEADLINE' || error.code === 'STILL_WORKING' || error.code.endsWith('_THROTTLED'));

/** How long this caller can wait before it has to be told that work goes on, in milliseconds. */
export const patienceOf = (c: Context): number => {
  const left = Math.min(remaining(c), (c.answerBy ?? Number.POSITIVE_INFINITY) - now());
  return Math.max(Math.min(SHORTEST_MS, remaining(c) / 2), left - Math.min(MARGIN_MS, left / 10));
};
