import { writeFileSync } from 'node:fs';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import type { Logger } from '../../shared/log.ts';
import { targetOf } from './keeper-file.ts';

/**
 * How far the kernel reads ahead of whoever reads a file of the mount that is kept for `folder`, in KiB: 128 when nothing is
 * said, which halves what is read in a second. Where /sys may not be written to it stays so.
 */
export const setReadAhead = (folder: string, kilobytes: number, log: Logger): void => {
  try {
    const target = targetOf(folder);
    const device = target === undefined ? undefined : mountAt(readMountTable(), target)?.device;
    if (device === undefined) log.debug('it is not known where the volume is mounted', { folder });
    else writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(kilobytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    log.info('the kernel reads ahead as far as it usually does', { reason });
  }
};
