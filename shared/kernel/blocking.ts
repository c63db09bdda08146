import { type Context, now, remaining } from '../context.ts';
import { PluginError } from '../errors.ts';

/**
 * Calls that wait in the kernel: a file on a server, a sector of a disk. They have a thread of libuv's pool each, and
 * from a server or a disk that is dead they do not come back, nor can they be ended. So whoever waits is told after a
 * while and the call is left behind; and what may be dead, named by a key, never gets more than a few threads of the
 * pool, which everything else needs, too. What is left behind has no lock of ours: it gives its thread free when it
 * comes back, if it ever does. (Programs, which can be killed, are started by `exec`.)
 */

/** Threads for one key. Two, so that a list of many files is read as fast as two cores can. */
const PER_KEY = 2;
/** Threads for all keys: the pool has 16 in the volume plugin (UV_THREADPOOL_SIZE in its config). */
const IN_ALL = 12;
/** A file or a sector comes within milliseconds; a server that fails over may need that long. */
const PATIENCE_MS = 20_000;

/** How long such a call is waited for on behalf of a caller, in milliseconds. */
export const patienceWithin = (c: Context): number => Math.min(PATIENCE_MS, remaining(c));

interface Waiting {
  readonly key: string;
  begin(): void;
}

const underWay = new Map<string, number>();
let inAll = 0;
const queue: Waiting[] = [];

const isFree = (key: string): boolean => inAll < IN_ALL && (underWay.get(key) ?? 0) < PER_KEY;

const take = (key: string): void => {
  inAll += 1;
  underWay.set(key, (underWay.get(key) ?? 0) + 1);
};

const giveBack = (key: string): void => {
  inAll -= 1;
  const left = (underWay.get(key) ?? 1) - 1;
  if (left > 0) underWay.set(key, left);
  else underWay.delete(key);
  for (let at = 0; at < queue.length && inAll < IN_ALL; ) {
    const next = queue[at];
    if (next === undefined || !isFree(next.key)) at += 1;
    else {
      queue.splice(at, 1);
      next.begin();
    }
  }
};

/**
 * Makes the call, which must clean up after itself when nobody waits for it any more; or else `discard` is given what it
 * answered too late, and may fail: what it would tell of, a server or a disk that was dead, has been told. `key` is what
 * would be dead (a folder, a device), `what` says in a sentence what is done: "reading /mnt/disks". Errors: those of the
 * call, and DEADLINE after `patienceMs`, its turn included.
 */
export const blocking = <T>(
  key: string,
  what: string,
  call: () => Promise<T>,
  patienceMs = PATIENCE_MS,
  discard: (result: T) => unknown = () => undefined,
): Promise<T> => {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const begun = now();
  let late = false;
  const waiting: Waiting = {
    key,
    begin: () => {
      take(key);
      // One that throws at once is told like one that rejects.
      const made = (async () => call())();
      const end = (tell: () => void): void => {
        clearTimeout(timer);
        giveBack(key);
        tell();
      };
      made.then(
        (result) => end(() => (late ? void (async () => discard(result))().catch(() => undefined) : resolve(result))),
        (error: unknown) => end(() => reject(error)),
      );
    },
  };
  const timer = setTimeout(() => {
    late = true;
    const at = queue.indexOf(waiting);
    if (at >= 0) queue.splice(at, 1);
    reject(new PluginError('DEADLINE', { what, seconds: Math.round((now() - begun) / 100) / 10 }));
  }, patienceMs);
  if (isFree(key)) waiting.begin();
  else queue.push(waiting);
  return promise;
};
