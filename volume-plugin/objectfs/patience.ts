import { type Answer, type Caller, Errno } from '../fuse/file-system.ts';

/**
 * Whoever is interrupted gets his answer all the same when it comes soon: programs get signals all the time, and few expect
 * EINTR of what they ask. What does not come within this time he gives up: a process that is killed must be able to end.
 */
const GRACE_MS = 3_000;

/** The answer, or EINTR when the caller was interrupted and it still does not come. `late` is given what comes after that. */
export const patiently = <T>(
  answer: Answer<T>,
  { signal }: Pick<Caller, 'signal'>,
  late: (answer: T) => void = () => undefined,
  graceMs: number = GRACE_MS,
): Answer<T> => {
  if (!(answer instanceof Promise)) return answer;
  return new Promise<T>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const giveUp = (): void => {
      isOver = true;
      reject(new Errno('EINTR', 'whoever asked was interrupted'));
    };
    const interrupted = (): void => {
      timer = setTimeout(giveUp, graceMs);
    };
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', interrupted);
    };
    if (signal.aborted) interrupted();
    else signal.addEventListener('abort', interrupted, { once: true });
    answer.then(
      (value) => {
        end();
        if (isOver) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        end();
        reject(error);
      },
    );
  });
};
