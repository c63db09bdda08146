import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceSize } from '../../shared/kernel/block-device.ts';
import { until } from '../../shared/looking.ts';
import {
  type Filesystem,
  filesystemSize,
  growBeforeMount,
  growFilesystem,
  isFilesystem,
  leastGrownSize,
} from '../block/filesystem.ts';
import type { Disk } from '../block/provider.ts';
import { BLOCK_OPTIONS, grownOptions, optionsOf, parseGrowth } from './block-options.ts';
import { type BlockParts, mountOf } from './block-parts.ts';

/** What a file system may leave of its disk without being grown, in bytes. */
const REST = 2 ** 20;

/**
 * Makes a disk larger, and the file system on it where it is mounted here; otherwise that is done at the next mount. Each
 * step succeeds when it was done. Answers the disk with its new options. Errors: OPTION_INVALID, VOLUME_ELSEWHERE,
 * STILL_WORKING, FILESYSTEM_DAMAGED, and those of the provider.
 */
export const resizeDisk = async (parts: BlockParts, disk: Disk, size: string, c: Context): Promise<Disk> => {
  const { provider, self } = parts;
  const { id, volume, holder } = disk;
  const bytes = parseGrowth(size);
  const refuse = (reason: string, allowed: number): PluginError =>
    new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'size', value: size, reason },
      allowed: `at least ${BLOCK_OPTIONS.size.format(allowed)}`,
    });
  if (bytes < disk.size) throw refuse('volumes only become larger', disk.size);
  const { formatted = '' } = disk.tags;
  if (bytes > disk.size && isFilesystem(formatted) && bytes < leastGrownSize(formatted)) {
    throw refuse(`${formatted} does not grow to that`, leastGrownSize(formatted));
  }
  if (holder !== undefined && holder.id !== self().id) {
    throw new PluginError('VOLUME_ELSEWHERE', { volume, holder: holder.name });
  }
  await provider.resize(id, bytes, c);
  const grown = await until<Disk>(`making disk ${id} of volume ${volume} larger`, c, async (says) => {
    const found = await provider.describe(id, c);
    if (found === undefined) throw new PluginError('DISK_MISSING', { volume, disk: id });
    says(`it has ${found.size} of ${bytes} bytes`);
    return found.size >= bytes ? { done: found } : 'wait';
  });
  // Whether or not its file system can be made larger now, the disk has this size, and the next mount sees to the rest.
  const options = JSON.stringify(grownOptions(optionsOf(grown), bytes));
  if (grown.tags.options !== options) await provider.tag(id, { options }, c);
  const resized = { ...grown, tags: { ...grown.tags, options } };
  const mount = await mountOf(parts, resized, c);
  if (mount !== undefined) {
    const { device, target } = mount;
    await until(`making ${device} of volume ${volume} larger`, c, async (says) => {
      says(`the kernel shows ${deviceSize(device)} of ${bytes} bytes`);
      return deviceSize(device) >= bytes ? { done: true } : 'wait';
    });
    if (target !== undefined) await growMounted(resized, device, target, c);
  }
  return resized;
};

const isSmaller = async (device: string, c: Context): Promise<boolean> => {
  const used = await filesystemSize(device, c);
  return used !== undefined && deviceSize(device) - used >= REST;
};

/** Makes a file system as large as its disk where that must be done before it is mounted. Answers whether it was. */
export const growUnmounted = async (kind: Filesystem, device: string, c: Context): Promise<boolean> =>
  (await isSmaller(device, c)) && (await growBeforeMount(kind, device, c));

/** Makes a mounted file system as large as its disk; one that is so already is left alone. */
export const growMounted = async (
  { volume, tags }: Disk,
  device: string,
  target: string,
  c: Context,
): Promise<void> => {
  const { formatted: kind = '' } = tags;
  if (!isFilesystem(kind) || !(await isSmaller(device, c))) return;
  await growFilesystem(kind, device, target, c);
  c.log.info('a file system was made larger', { volume, device, kind, to: deviceSize(device) });
};
