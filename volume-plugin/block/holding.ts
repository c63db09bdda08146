import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { probe } from '../../shared/kernel/block-device.ts';
import { generationOf, isMoving } from './generations.ts';
import type { Disk, DiskHost, DiskProvider } from './provider.ts';

/** Whether a disk is what it should be, and still this host's: what is looked at around its mounting. */

/** How often the volume was taken from a host on an operator's word. */
export const epochOf = ({ epoch = '0' }: Disk['tags']): number => (/^\d{1,9}$/.test(epoch) ? Number(epoch) : 0);

/**
 * Of a disk that was copied from another zone: has it the very file system that its volume has? Errors: DISK_FAILED.
 */
export const verifyCopy = async (disk: Disk, device: string, c: Context): Promise<void> => {
  const { moving, formatted, formatting, imported, clone } = disk.tags;
  // Of a file system that others made the UUID is not known.
  if (moving === undefined || formatting === undefined || imported !== undefined || clone !== undefined) return;
  if (disk.fromSnapshot === undefined) return;
  const { uuid } = await probe(device, c, formatted);
  if (uuid === formatting) return;
  const reason = `its file system is ${uuid ?? 'unknown'}, not ${formatting} as on ${moving}; that one has its data still`;
  throw new PluginError('DISK_FAILED', { volume: disk.volume, disk: disk.id, state: 'moving', reason });
};

/** Why a disk that this host has mounted is not its own any more; undefined: nothing says so. */
export const whyLost = (
  self: DiskHost,
  mounted: { readonly epoch?: number },
  disk: Disk,
  siblings: readonly Disk[],
): string | undefined => {
  const { holder, tags, state } = disk;
  if (holder !== undefined && holder.id !== self.id) return `host ${holder.name} has it`;
  if (epochOf(tags) > (mounted.epoch ?? 0)) return 'an operator has taken it from this host with drayage volume fence';
  if (tags.retired !== undefined) return `it has moved to another zone, where it was in use at ${tags.retired}`;
  const later = siblings.find((one) => generationOf(one) > generationOf(disk) && !isMoving(one));
  if (later !== undefined) return `it has moved to another zone, as disk ${later.id}`;
  return holder === undefined && state === 'available' ? 'its disk is attached to no host' : undefined;
};

/** The last look after mounting: nobody may have taken it meanwhile. Errors: VOLUME_LOST. */
export const refuseWhenLost = async (provider: DiskProvider, self: DiskHost, disk: Disk, c: Context): Promise<void> => {
  const found = await provider.describe(disk.id, c);
  // What was seen attached a moment ago may for another moment be shown as it was before.
  const reason =
    found?.holder === undefined && found?.state === 'available' && epochOf(found.tags) === epochOf(disk.tags)
      ? undefined
      : found && whyLost(self, { epoch: epochOf(disk.tags) }, found, []);
  if (reason !== undefined) throw new PluginError('VOLUME_LOST', { volume: disk.volume, reason });
};
