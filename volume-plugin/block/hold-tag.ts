import { PluginError } from '../../shared/errors.ts';
import type { Disk, DiskTags } from './provider.ts';

/**
 * How many containers use a disk, as the host that has it last said. It is a hint for whoever is refused the disk, and may
 * be out of date: nothing is decided by it. It names its host, so that what an earlier holder has left counts for nothing.
 */

export const HOLDS = 'holds';

export const holdsTag = (host: string, count: number): DiskTags => ({ [HOLDS]: `${count} ${host}` });

/** Undefined: the disk's holder has not said. */
export const holdsOf = ({ tags, holder }: Pick<Disk, 'tags' | 'holder'>): number | undefined => {
  const [, count, host] = /^([1-9]\d{0,5}) (.+)$/s.exec(tags[HOLDS] ?? '') ?? [];
  return host !== undefined && host === holder?.id ? Number(count) : undefined;
};

/** The refusal of a disk that another host has. */
export const busyDisk = (disk: Disk, reason?: string): PluginError => {
  const count = holdsOf(disk);
  return new PluginError('VOLUME_BUSY', {
    ...{ volume: disk.volume, holder: disk.holder?.name ?? 'another one', reason },
    ...(count !== undefined && { users: count === 1 ? '1 container' : `${count} containers` }),
  });
};
