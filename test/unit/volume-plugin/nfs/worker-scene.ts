import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { silentLogger } from '../../../../shared/log.ts';
import { FILES_TIMES, type FilesParts, WorkerShareFiles } from '../../../../volume-plugin/nfs/worker-share-files.ts';
import { context, scratch } from '../block/scratch.ts';

/** Files of a share, with the real process that works on them, in a folder of this machine. Use `inOwnMounts`. */

export const filesOf = (t: Test, root: string, change: Partial<FilesParts> = {}): WorkerShareFiles => {
  const files = new WorkerShareFiles({
    ...{ shareId: 'server:/x', root, times: FILES_TIMES, log: silentLogger },
    server: { isSilent: () => false, check: async () => undefined },
    onStale: () => undefined,
    ...change,
  });
  t.teardown(() => files.close());
  return files;
};

export const scene = (t: Test, change: Partial<FilesParts> = {}) => {
  const root = scratch(t);
  return { root, files: filesOf(t, root, change), c: context() };
};

/** Waits, 10 s at most. */
export const until = async (what: () => boolean): Promise<void> => {
  for (const end = performance.now() + 10_000; !what() && performance.now() < end; ) await sleep(10);
};
