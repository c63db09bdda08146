import { readFileSync, writeFileSync } from 'node:fs';
import type { Logger } from '../../shared/log.ts';

/**
 * How far the kernel reads ahead of whoever reads a file of the mount, in KiB: 128 when nothing is said, which halves what
 * is read in a second. Where /sys may not be written to, or the kernel (before 6.7) does not say which mount is behind /dev/fuse, it stays so.
 */
export const setReadAhead = (fd: number, kilobytes: number, log: Logger): void => {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
    const connection = /^fuse_connection:\s*(\d+)$/m.exec(info)?.[1];
    if (connection === undefined) log.debug('the kernel does not tell the number of the mount');
    else writeFileSync(`/sys/class/bdi/0:${connection}/read_ahead_kb`, String(kilobytes));
  } catch (error) {
    log.info('the kernel reads ahead as far as it usually does', {
      reason: error instanceof Error ? error.message : String(error),
    });
  }
};
