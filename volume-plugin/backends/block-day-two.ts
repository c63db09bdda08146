import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { thawFilesystem } from '../block/filesystem.ts';
import { unusable } from '../block/generations.ts';
import type { Disk } from '../block/provider.ts';
import type { DayTwo, Volume } from './backend.ts';
import { resizeDisk } from './block-growing.ts';
import { importDisk } from './block-importing.ts';
import type { KnownDisks } from './block-known.ts';
import { type BlockParts, currentOf } from './block-parts.ts';
import { siblings } from './block-removing.ts';
import { listedSnapshot, takeSnapshot } from './block-snapshots.ts';

/** What is done with volumes while they are used, for volumes that are disks. */
export const dayTwoOf = (parts: BlockParts, known: KnownDisks): DayTwo => {
  const { provider } = parts;
  return {
    resize: async (volume, size, c) => known.learn(await resizeDisk(parts, await usable(parts, volume, c), size, c)),
    snapshot: async (volume, token, c) => {
      const disk = currentOf(volume, await siblings(parts, volume, c));
      return listedSnapshot(await takeSnapshot(parts, disk, { reason: 'user' }, `drayage-user-${token}`, c));
    },
    snapshots: async (volume, c) => (await provider.snapshots(c, volume)).map(listedSnapshot),
    removeSnapshot: async (id, c) => {
      const found = await provider.describeSnapshot(id, c);
      if (found === undefined) throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot: id });
      await provider.removeSnapshot(id, c);
      return listedSnapshot(found);
    },
    import: async (request, c) => known.learn(await importDisk(parts, request, c)),
    thaw: thawFilesystem,
  };
};

/** The disk that the volume is on, when it may be attached. Errors: DISK_MISSING, DISK_FAILED for what is out of date. */
const usable = async (parts: BlockParts, volume: Volume, c: Context): Promise<Disk> => {
  const disks = await siblings(parts, volume, c);
  const found = currentOf(volume, disks);
  const why = unusable(found, disks);
  if (why !== undefined) throw new PluginError('DISK_FAILED', { volume: volume.name, disk: found.id, ...why });
  return found;
};
