import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { detachDisk } from '../block/attach.ts';
import { barDisk, isBarred, unbarDisk } from '../block/barring.ts';
import { currentDisk, generationOf, isBlank, isMoving } from '../block/generations.ts';
import { busyDisk } from '../block/hold-tag.ts';
import type { Disk } from '../block/provider.ts';
import { refuseWhileMoving, removeMoveSnapshots } from '../block/stillness.ts';
import type { Volume, VolumeRemoval } from './backend.ts';
import { isOnRemove, type OnRemove } from './block-options.ts';
import { type BlockParts, untilReady } from './block-parts.ts';
import { takeSnapshot } from './block-snapshots.ts';

/**
 * What `docker volume rm` does: by the tag `on-remove`, written when the volume was made, its disk is deleted, kept as a
 * snapshot and deleted, or let go. Earlier generations go first: with the current one gone they would be taken for it.
 * Errors: VOLUME_BUSY, VOLUME_MOVING, STILL_WORKING while the snapshot is written: no other host can have the disk until
 * then; BACKEND_REFUSED when an operator has ended that.
 */
export const removeDisks = async (parts: BlockParts, volume: VolumeRemoval, c: Context): Promise<void> => {
  const { provider } = parts;
  const disks = await siblings(parts, volume, c);
  const current = currentDisk(disks);
  if (current === undefined) return;
  if (volume.resumed === true && wasMadeAnew(volume, current, disks)) {
    c.log.warn('a volume was removed and made anew meanwhile; that one stays', {
      volume: volume.name,
      disk: current.id,
    });
    return;
  }
  await refuseWhileMoving(provider, parts.self(), disks, c);
  for (const disk of disks) await free(parts, disk, c);
  const { 'on-remove': asked } = current.tags;
  const what = isOnRemove(asked) ? asked : 'delete';
  // A disk that nobody has ever written to is not worth keeping.
  if (what !== 'snapshot' || isBlank(current)) await removeAll(parts, volume, disks, current, what, c);
  else await keepSnapshot(parts, volume, current, () => removeAll(parts, volume, disks, current, what, c), c);
};

/** Keeps everybody from the disk, has a snapshot taken and then does `rest`; a refusal gives the disk back to everybody. */
const keepSnapshot = async (
  parts: BlockParts,
  volume: VolumeRemoval,
  current: Disk,
  rest: () => Promise<void>,
  c: Context,
): Promise<void> => {
  const { provider } = parts;
  try {
    const barred = await barDisk(parts, current, volume, c);
    if (barred === undefined) return;
    // Who moves it looks the other way round.
    await refuseWhileMoving(provider, parts.self(), await siblings(parts, volume, c), c);
    // One of an earlier removal, which was refused, has not what was written since.
    const token = `drayage-remove-${current.id}-${barred.removal}`;
    const taken = await takeSnapshot(parts, barred.disk, { reason: 'on-remove' }, token, c);
    await untilReady(provider, taken, c);
    if (await isBarred(parts, barred, c)) await rest();
  } catch (thrown) {
    const { retry, code } = asPluginError(thrown);
    // What is open goes on, and nobody is to write to what goes with it.
    if (retry !== 'backoff' && code !== 'INTERNAL') await unbarDisk(parts, current, c);
    throw thrown;
  }
};

const removeAll = async (
  { provider }: BlockParts,
  volume: Volume,
  disks: readonly Disk[],
  current: Disk,
  what: OnRemove,
  c: Context,
): Promise<void> => {
  const others = disks.filter(({ id }) => id !== current.id);
  // Of moves that were not finished.
  await removeMoveSnapshots(provider, volume.name, () => true, c);
  for (const disk of [...others, current]) {
    if (what === 'retain' && !isMoving(disk)) await provider.release(disk.id, c);
    else await provider.remove(disk.id, c);
  }
};

/** Is what has the volume's name now another one than was known? Its own disk is gone then, and did not move. */
const wasMadeAnew = ({ handle: { disk: id } }: Volume, current: Disk, disks: readonly Disk[]): boolean =>
  id !== undefined &&
  current.id !== id &&
  generationOf(current) === 1 &&
  !disks.some((one) => one.id === id && one.state !== 'deleting');

/** All that there is of the volume, also what a list does not show yet. */
export const siblings = async ({ provider }: BlockParts, volume: Volume, c: Context): Promise<readonly Disk[]> => {
  const { disk: id } = volume.handle;
  const [listed, known] = await Promise.all([
    provider.list(c, volume.name),
    id === undefined ? undefined : provider.describe(id, c),
  ]);
  const unlisted = known !== undefined && known.volume === volume.name && !listed.some((one) => one.id === known.id);
  return unlisted ? [...listed, known] : listed;
};

const free = async (parts: BlockParts, disk: Disk, c: Context): Promise<void> => {
  const { holder } = disk;
  if (holder === undefined) return;
  if (holder.id !== parts.self().id) throw busyDisk(disk);
  await letGo(parts, disk, c);
};

/**
 * Detaches a disk from this host. Not while another mount namespace still has it mounted: what that has not written out
 * would be lost, and a cloud takes a disk away without a question. Errors: VOLUME_IN_USE, STILL_WORKING, and those of the
 * provider.
 */
export const letGo = async ({ provider, self }: BlockParts, disk: Disk, c: Context): Promise<void> => {
  const device = disk.state === 'attached' ? await provider.device(disk, c) : undefined;
  if (device !== undefined && !(await isFree(device))) {
    throw new PluginError('VOLUME_IN_USE', { volume: disk.volume, users: `a mount of ${device} in another namespace` });
  }
  await detachDisk(provider, self(), disk.id, c);
};

/** A device that has gone is used by nobody. */
const isFree = async (device: string): Promise<boolean> => {
  try {
    return await isUnused(device);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENXIO')) return true;
    throw error;
  }
};
