import type { Context } from '../../shared/context.ts';

/** Waits for work that others wait for too, but no longer than the own context; then its reason is thrown. */
export const noLongerThan = <T>(c: Context, work: Promise<T>): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    const ended = (): void => reject(c.signal.reason);
    if (c.signal.aborted) ended();
    c.signal.addEventListener('abort', ended, { once: true });
    work.then(resolve, reject).finally(() => c.signal.removeEventListener('abort', ended));
  });
