import { closeSync, constants, openSync } from 'node:fs';
import { deviceControl } from './syscalls.ts';

/** ioctl_iflags(2): the argument is an int although the numbers say long. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IMMUTABLE_FL = 0x10;

/**
 * Makes a folder immutable (nobody can make, remove or rename anything in it, root included), or changeable again. Needs
 * CAP_LINUX_IMMUTABLE. Throws SystemCallError: ENOTTY or EOPNOTSUPP where the file system has no such flag.
 */
export function setImmutable(folder: string, on: boolean): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const flags = Buffer.alloc(8);
    deviceControl(fd, FS_IOC_GETFLAGS, flags);
    const before = flags.readInt32LE(0);
    const after = on ? before | FS_IMMUTABLE_FL : before & ~FS_IMMUTABLE_FL;
    if (after === before) return;
    flags.writeInt32LE(after, 0);
    deviceControl(fd, FS_IOC_SETFLAGS, flags);
  } finally {
    closeSync(fd);
  }
}
