import { PluginError } from './errors.ts';
import type { Logger } from './log.ts';

/** What every call that may wait is given: who asks, until when, and whether it still matters. */
export interface Context {
  readonly requestId: string;
  /** Aborted at the deadline or when the parent is; the reason is what to throw. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds, on a clock that never steps: compare with `now()`, or use `remaining`. */
  readonly deadline: number;
  /** Epoch milliseconds on the same clock: until then whoever asked waits, when the work may go on for longer. */
  readonly answerBy?: number;
  readonly log: Logger;
}

/** Epoch milliseconds of a clock that is not moved when somebody sets the time (NTP, a resumed machine). */
export const now = (): number => performance.timeOrigin + performance.now();

/** Six digits of hex that tell calls of one log apart: nothing secret, and asked for with every call. */
export const newRequestId = (): string =>
  Math.floor(Math.random() * 0x1000000)
    .toString(16)
    .padStart(6, '0');

/** setTimeout takes no more (24 days); a context that lives longer, such as a process's, needs no timer. */
const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * A context that ends after `timeoutMs`, or with its parent when that is earlier. A child keeps the parent's request
 * id. `id` is a request id that `log` says already. The timer does not keep the process alive. `Infinity` makes one that
 * ends with its parent only.
 */
export const newContext = (log: Logger, timeoutMs: number, parent?: Context, id?: string): Context => {
  const requestId = parent?.requestId ?? id ?? newRequestId();
  const deadline = Math.min(now() + timeoutMs, parent?.deadline ?? Number.POSITIVE_INFINITY);
  const controller = new AbortController();
  let leave: (() => void) | undefined;
  const end = (reason: unknown): void => {
    clearTimeout(timer);
    leave?.();
    controller.abort(reason);
  };
  // One that lasts as long as its parent is ended by it.
  const wait = deadline === parent?.deadline ? Number.POSITIVE_INFINITY : Math.max(0, timeoutMs);
  const timer =
    wait > LONGEST_TIMER ? undefined : setTimeout(() => end(deadlineError(timeoutMs, requestId)), wait).unref();
  if (parent !== undefined) leave = follow(parent.signal, end);
  return {
    requestId,
    signal: controller.signal,
    deadline,
    ...(parent?.answerBy !== undefined && { answerBy: parent.answerBy }),
    log: parent === undefined && id === undefined ? log.child({ requestId }) : log,
  };
};

/** A context that can also be ended by hand, for instance when a service shuts down. */
export const cancellable = (parent: Context): { readonly context: Context; cancel(reason: unknown): void } => {
  const controller = new AbortController();
  let leave: (() => void) | undefined;
  const cancel = (reason: unknown): void => {
    leave?.();
    controller.abort(reason);
  };
  leave = follow(parent.signal, cancel);
  return { context: { ...parent, signal: controller.signal }, cancel };
};

type End = (reason: unknown) => void;

const followers = new WeakMap<AbortSignal, Set<End>>();

/**
 * `end` is called when the signal is, at once if it has been; answers how to leave it. One listener of a signal is enough for all: an
 * EventTarget looks through those that it has when one is added, and a long life has tens of thousands of contexts below it.
 */
const follow = (signal: AbortSignal, end: End): (() => void) | undefined => {
  if (signal.aborted) {
    end(signal.reason);
    return undefined;
  }
  const known = followers.get(signal);
  const all = known ?? new Set<End>();
  if (known === undefined) {
    followers.set(signal, all);
    signal.addEventListener('abort', () => {
      for (const one of all) one(signal.reason);
    });
  }
  all.add(end);
  return () => all.delete(end);
};

const deadlineError = (timeoutMs: number, requestId: string): PluginError =>
  new PluginError('DEADLINE', { what: 'The call', seconds: Math.round(timeoutMs / 100) / 10 }, { requestId });

/** Milliseconds left, never below 0. */
export const remaining = (c: Context): number => (c.signal.aborted ? 0 : Math.max(0, c.deadline - now()));

/** Throws the reason of the end (usually DEADLINE) when the context has ended. */
export const throwIfDone = (c: Context): void => {
  if (c.signal.aborted) throw c.signal.reason;
  if (now() >= c.deadline) throw deadlineError(0, c.requestId);
};

/** Waits `ms`; rejects with the reason when the context ends first. */
export const sleep = (ms: number, c: Context): Promise<void> =>
  new Promise((resolve, reject) => {
    if (c.signal.aborted) {
      reject(c.signal.reason);
      return;
    }
    const ended = (): void => {
      clearTimeout(timer);
      reject(c.signal.reason);
    };
    const timer = setTimeout(
      () => {
        c.signal.removeEventListener('abort', ended);
        resolve();
      },
      Math.min(ms, LONGEST_TIMER),
    );
    c.signal.addEventListener('abort', ended, { once: true });
  });

/** Waits for work that others wait for too, or that does not know of contexts, but no longer than this one: then its reason is thrown. */
export const noLongerThan = <T>(c: Context, work: Promise<T>): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    const ended = (): void => reject(c.signal.reason);
    if (c.signal.aborted) ended();
    c.signal.addEventListener('abort', ended, { once: true });
    work.then(resolve, reject).finally(() => c.signal.removeEventListener('abort', ended));
  });
