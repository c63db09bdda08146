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
/** What a mount loses when it is made readonly and that is not said again. */
const LASTING: Readonly<Record<string, number>> = { nosuid: 2, nodev: MS_NODEV, noexec: 8, nosymfollow: 256 };

/** Told apart from what a server says of the folder. */
const named = <T>(call: () => T): T => {
  try {
    return call();
  } catch (error) {
    throw error instanceof SystemCallError ? Object.assign(error, { code: `mount: ${error.errnoName}` }) : error;
  }
};

/** How a folder is to be mounted for reading only. */
export interface ReadonlyBind {
  /**
   * An empty folder in nobody's sight, by way of which it is mounted: a mount that is made readonly when others have got it
   * already stays as it was for them.
   */
  readonly stage: string;
  /** What the share may not do, as the mount table has it: `nosuid`, … */
  readonly flags: readonly string[];
}

/**
 * Mounts a folder of the share at `target`; what was opened, whatever its name leads to by then. Nothing is mounted once
 * `signal` is aborted.
 */
export const bindFolder = (
  root: string,
  path: string,
  target: string,
  asReadonly: ReadonlyBind | null,
  signal: AbortSignal,
): Promise<void> =>
  inFolder(root, path, async (folder) => {
    signal.throwIfAborted();
    if (asReadonly === null) {
      named(() => bindMount(pathOf(folder), target, MS_BIND));
      return;
    }
    const { stage, flags } = asReadonly;
    const lasting = flags.reduce((all, flag) => all | (LASTING[flag] ?? 0), MS_NODEV);
    named(() => bindMount(pathOf(folder), stage, MS_BIND));
    try {
      named(() => bindMount('none', stage, MS_REMOUNT | MS_BIND | MS_RDONLY | lasting));
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
