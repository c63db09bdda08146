import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { currentDisk, generationOf, isMoving } from './generations.ts';
import type { Disk, DiskProvider } from './provider.ts';

/**
 * Earlier generations of a volume that a later, verified one has taken the place of. They are kept until somebody asks
 * for their removal: a move makes a copy, and what it was made of is the one thing to go back to should that be bad.
 */
export const retiredDisks = (disks: readonly Disk[]): readonly Disk[] => {
  const current = currentDisk(disks);
  if (current === undefined || isMoving(current) || current.tags.retired !== undefined) return [];
  if (current.state === 'failed' || current.state === 'creating') return [];
  return disks
    .filter(({ id, tags }) => id !== current.id && tags.retired !== undefined)
    .filter((one) => generationOf(one) < generationOf(current))
    .toSorted((a, b) => generationOf(a) - generationOf(b));
};

/**
 * Removes them, up to and with the generation of this number, and answers them. Errors: OPTION_INVALID when none of them
 * has it: nothing is removed then; VOLUME_BUSY when somebody has one attached by hand.
 */
export const removeRetired = async (
  provider: DiskProvider,
  volume: string,
  disks: readonly Disk[],
  last: number,
  c: Context,
): Promise<readonly Disk[]> => {
  const retired = retiredDisks(disks);
  const numbers = retired.map(generationOf);
  if (!numbers.includes(last)) {
    throw new PluginError('OPTION_INVALID', {
      ...{ where: `The command for volume ${volume}`, option: 'Generation', value: String(last) },
      reason: numbers.length === 0 ? 'no generation of it is retired' : 'that generation is not retired',
      allowed: numbers.join(', ') || 'nothing',
    });
  }
  const going = retired.filter((one) => generationOf(one) <= last);
  for (const { id } of going) await provider.remove(id, c);
  c.log.info('retired generations of a volume were removed', { volume, disks: going.map(({ id }) => id) });
  return going;
};
