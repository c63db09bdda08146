import { closeSync, constants, openSync } from 'node:fs';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { SystemCallError, unmount } from '../../shared/kernel/syscalls.ts';

const MNT_FORCE = 1;
const O_PATH = 0o10_000_000;

/**
 * Ends all that waits for an answer of the FUSE file system at `target`, when its source is `source`, with ECONNABORTED, and all
 * that comes later with ENOTCONN. It stays mounted: nobody writes to what is beneath. Waits for nobody.
 */
export const abortMount = (target: string, source: string): void => {
  const found = mountAt(readMountTable(), target);
  if (found?.source !== source || !found.type.startsWith('fuse')) return;
  // With a descriptor in it, it is too busy to be unmounted, which is what comes after the abort. O_PATH asks the file system nothing.
  const held = openSync(target, O_PATH | constants.O_DIRECTORY);
  try {
    unmount(target, MNT_FORCE);
  } catch (error) {
    if (!(error instanceof SystemCallError) || error.errnoName !== 'EBUSY') throw error;
  } finally {
    closeSync(held);
  }
};
