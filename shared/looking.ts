import { type Context, now, sleep, throwIfDone } from './context.ts';
import { PluginError } from './errors.ts';

/** Waiting for what others do: one step at a time, with a look in between. */

/** First and longest pause between two looks, in milliseconds. */
const FIRST_MS = 100;
const LONGEST_MS = 3_000;
/** How the pauses grow: so small a part of what a state lasts is it seen too late. */
const GROWTH = 1.25;

/** The same for what shows in a moment: most within a second. */
const FIRST_SOON_MS = 40;
const LONGEST_SOON_MS = 1_000;

/** Waited before a step is asked for again that does not show: what was just asked for may not show yet. */
const AGAIN_MS = 10_000;

/** `again`: something was asked for, and is looked at without a pause; the pauses begin anew. */
export type Look<T> = { readonly done: T } | 'again' | 'wait';

/**
 * Looks until it is done; the pauses grow. Errors: those of `look`, and the context's when time is up: STILL_WORKING with
 * the reason that was last said instead of a plain DEADLINE.
 */
export const until = async <T>(
  what: string,
  c: Context,
  look: (says: (reason: string) => void) => Promise<Look<T>>,
): Promise<T> => {
  const begun = now();
  let reason: string | undefined;
  try {
    for (let pause = FIRST_MS; ; ) {
      throwIfDone(c);
      const result = await look((news) => {
        reason = news;
      });
      if (typeof result === 'object') return result.done;
      if (result === 'again') {
        pause = FIRST_MS;
        continue;
      }
      await sleep(pause * (0.8 + 0.4 * Math.random()), c);
      pause = Math.min(LONGEST_MS, pause * GROWTH);
    }
  } catch (error) {
    if (!(error instanceof PluginError && error.code === 'DEADLINE') || reason === undefined) throw error;
    const seconds = Math.round((now() - begun) / 100) / 10;
    throw new PluginError('STILL_WORKING', { what, seconds, reason }, { cause: error });
  }
};

/**
 * Looks for so many milliseconds at most until there is an answer: what was done may show late. Undefined: there is still
 * none. Errors: those of `look`, the context's.
 */
export const soon = async <T>(
  forMs: number,
  c: Context,
  look: () => Promise<T | undefined>,
): Promise<T | undefined> => {
  const end = now() + forMs;
  for (let pause = FIRST_SOON_MS; ; pause = Math.min(LONGEST_SOON_MS, pause * 1.5)) {
    throwIfDone(c);
    const found = await look();
    const left = end - now();
    if (found !== undefined || left <= 0) return found;
    await sleep(Math.min(pause, left), c);
  }
};

/** Does a step once, and again only after a while: answers true when it was done now. */
export const onceInAWhile = (): ((step: () => Promise<void>) => Promise<boolean>) => {
  let askedAt = Number.NEGATIVE_INFINITY;
  return async (step) => {
    if (now() - askedAt < AGAIN_MS) return false;
    await step();
    askedAt = now();
    return true;
  };
};
