import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { deviceControlLater } from './syscalls.ts';

/** _IOR('X', 125, __u32): EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN; Linux, fs/ext4/ext4.h and fs/xfs/xfs_fs.h. */
const SHUTDOWN = 0x8004587d;
/** Not even the journal is written: what is on the disk stays as it is from this moment on. */
const NO_LOG_FLUSH = 2;

/**
 * Shuts the mounted file system at `target` down: whatever is read or written there fails from now on, and nothing that
 * is in memory goes to the disk any more. It can only be unmounted. Errors: SystemCallError ENOTTY where the file system
 * has no such thing.
 */
export const shutDown = async (target: string): Promise<void> => {
  const folder = await open(target, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const how = Buffer.alloc(4);
    how.writeUInt32LE(NO_LOG_FLUSH);
    await deviceControlLater(folder.fd, SHUTDOWN, how);
  } finally {
    await folder.close();
  }
};
