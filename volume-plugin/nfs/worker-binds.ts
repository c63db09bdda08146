import { bindMount, SystemCallError, unmount } from '../../shared/kernel/syscalls.ts';
import { inFolder, pathOf } from './worker-folders.ts';

/**
 * Mounts of folders, by the kernel's own requests: a program takes ten times as long to start as this takes. They may wait for
 * a server like all that a worker does; it is killed then.
 */

/** linux/mount.h */
const MS_RDONLY = 1;
const MS_NODEV = 4;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/** Told apart from what a server says of the folder. */
const named = <T>(call: () => T): T => {
  try {
    return call();
  } catch (error) {
    throw error instanceof SystemCallError ? Object.assign(error, { code: `mount: ${error.errnoName}` }) : error;
  }
};

/**
 * Mounts a folder of the share at `target`; what was opened, whatever its name leads to by then. For reading only by way of
 * `stage`, an empty folder in nobody's sight: a mount that is made so when others have got it already stays as it was for
 * them.
 */
export const bindFolder = (root: string, path: string, target: string, stage: string | null): Promise<void> =>
  inFolder(root, path, async (folder) => {
    named(() => bindMount(pathOf(folder), stage ?? target, MS_BIND));
    if (stage === null) return;
    try {
      // All flags that the mount is to have must be said again.
      named(() => bindMount('none', stage, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV));
      named(() => bindMount(stage, target, MS_BIND));
    } finally {
      named(() => unmount(stage, MNT_DETACH | UMOUNT_NOFOLLOW));
    }
  });

/** False: something is open there. */
export const unbindFolder = (target: string): boolean => {
  try {
    unmount(target, UMOUNT_NOFOLLOW);
    return true;
  } catch (error) {
    if (error instanceof SystemCallError && error.errnoName === 'EBUSY') return false;
    return named(() => {
      throw error;
    });
  }
};
