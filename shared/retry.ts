import { type Context, remaining, sleep, throwIfDone } from './context.ts';
import { PluginError } from './errors.ts';

export interface RetryPolicy {
  /** Attempts in all; by default as many as the context's deadline allows. */
  readonly attempts?: number;
  /** Ceiling of the first pause in milliseconds; it doubles with each attempt. */
  readonly firstMs?: number;
  readonly longestMs?: number;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** The pause before attempt `attempt` + 1 (from 1), with full jitter: anywhere between 0 and the ceiling. */
export const pauseMs = (attempt: number, policy: RetryPolicy = {}): number => {
  const { firstMs = 100, longestMs = 5_000, random = Math.random } = policy;
  return random() * Math.min(longestMs, firstMs * 2 ** Math.min(attempt - 1, 30));
};

/**
 * Repeats `work` while it fails with a PluginError whose retry class is `backoff`, until the context ends; then the
 * last error of the work is thrown, which says more than that time ran out. Other errors are thrown at once.
 */
export const withRetry = async <T>(
  c: Context,
  work: (attempt: number) => Promise<T>,
  policy: RetryPolicy = {},
): Promise<T> => {
  throwIfDone(c);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!(error instanceof PluginError) || error.retry !== 'backoff' || error.code === 'DEADLINE') throw error;
      const pause = pauseMs(attempt, policy);
      if (attempt >= (policy.attempts ?? Number.POSITIVE_INFINITY) || pause >= remaining(c)) throw error;
      c.log.debug('will try again', { attempt, pauseMs: Math.round(pause), error: error.message });
      // When the context ends during the pause, what failed says more than that time ran out.
      await sleep(pause, c).catch(() => Promise.reject(error));
    }
  }
};
