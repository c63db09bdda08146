import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceSize } from '../../shared/kernel/block-device.ts';
import { filesystemSize, growFilesystem, isFilesystem } from '../block/filesystem.ts';
import { until } from '../block/looking.ts';
import type { Disk } from '../block/provider.ts';
import { BLOCK_OPTIONS, grownOptions, optionsOf, parseGrowth } from './block-options.ts';
import { type BlockParts, mountOf } from './block-parts.ts';

/** What a file system may leave of its disk without being grown, in bytes. */
const REST = 2 ** 20;

/**
 * Makes a disk larger, and the file system on it where it is mounted here; otherwise that is done at the next mount. Each
 * step succeeds when it was done. Answers the disk with its new options. Errors: OPTION_INVALID, VOLUME_BUSY,
 * STILL_WORKING, FILESYSTEM_DAMAGED, and those of the provider.
 */
export const resizeDisk = async (parts: BlockParts, disk: Disk, size: string, c: Context): Promise<Disk> => {
  const { provider, self } = parts;
  const { id, volume, holder } = disk;
  const bytes = parseGrowth(size);
  if (bytes < disk.size) {
    const { format } = BLOCK_OPTIONS.size;
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'size', value: size, reason: 'volumes only become larger' },
      allowed: `at least the ${format(disk.size)} that volume ${volume} has`,
    });
  }
  if (holder !== undefined && holder.id !== self().id) {
    throw new PluginError('VOLUME_BUSY', { volume, holder: holder.name, reason: 'where it can be resized' });
  }
  await provider.resize(id, bytes, c);
  const grown = await until<Disk>(`making disk ${id} of volume ${volume} larger`, c, async (says) => {
    const found = await provider.describe(id, c);
    if (found === undefined) throw new PluginError('DISK_MISSING', { volume, disk: id });
    says(`it has ${found.size} of ${bytes} bytes`);
    return found.size >= bytes ? { done: found } : 'wait';
  });
  const mount = await mountOf(parts, grown, c);
  if (mount !== undefined) {
    const { device, target } = mount;
    await until(`making ${device} of volume ${volume} larger`, c, async (says) => {
      says(`the kernel shows ${deviceSize(device)} of ${bytes} bytes`);
      return deviceSize(device) >= bytes ? { done: true } : 'wait';
    });
    if (target !== undefined) await growMounted(grown, device, target, c);
  }
  const options = JSON.stringify(grownOptions(optionsOf(grown), bytes));
  if (grown.tags.options !== options) await provider.tag(id, { options }, c);
  return { ...grown, tags: { ...grown.tags, options } };
};

/** Makes a mounted file system as large as its disk; one that is so already is left alone. */
export const growMounted = async (
  { volume, tags }: Disk,
  device: string,
  target: string,
  c: Context,
): Promise<void> => {
  const { formatted: kind = '' } = tags;
  if (!isFilesystem(kind)) return;
  const [size, used] = [deviceSize(device), await filesystemSize(device, c)];
  if (used !== undefined && size - used < REST) return;
  await growFilesystem(kind, device, target, c);
  c.log.info('a file system was made larger', { volume, device, kind, from: used, to: size });
};
