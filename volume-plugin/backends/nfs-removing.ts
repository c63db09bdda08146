import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { MountedShare } from '../nfs/mounted-share.ts';
import { createIn, folderOf, RETAINED, readRecord, recordText, type ShareRecord, TRASH } from '../nfs/records.ts';
import { removeRecord, takeFolder } from '../nfs/removals.ts';
import { refuseWhenUsed } from '../nfs/users.ts';
import type { VolumeRemoval } from './backend.ts';
import { readNfsOptions } from './nfs-options.ts';
import type { NfsParts } from './nfs-parts.ts';

/**
 * Removes a volume: its folder is moved away first, so that a new volume of the name is empty whatever happens, then its
 * record; of either it is made sure that it is this volume's, and used by nobody, when others cannot find it any more. A folder of `path=` stays as it is. Answers the share when there is something in its trash now. Errors:
 * VOLUME_BUSY, SHARE_*.
 */
export const removeShareVolume = async (
  parts: NfsParts,
  volume: VolumeRemoval,
  c: Context,
): Promise<MountedShare | undefined> => {
  const { name, handle } = volume;
  const share = handle['share'] ?? (await parts.listing.find(name, c))?.handle['share'];
  if (share === undefined) return undefined;
  if (await parts.notes.forgetLocal(share, name)) return undefined;
  const mounted = await parts.shares.look(share, c);
  const record = await readRecord(mounted.files, name, c);
  if (record === undefined) {
    await parts.notes.put(share, name, undefined);
    return undefined;
  }
  // Another host has made a new one of that name since this removal was begun.
  if (volume.resumed === true && handle['uuid'] !== undefined && record.uuid !== handle['uuid']) return undefined;
  await refuseWhenUsed(mounted.files, name, parts.host, c);
  const remove = async (): Promise<MountedShare | undefined> => {
    const emptied = record.damage === undefined && (await moveAway(parts, mounted, record, c));
    await removeRecord(mounted.files, record, c);
    await parts.notes.put(mounted.share.id, name, undefined);
    return emptied ? mounted : undefined;
  };
  if (record.options['access'] !== 'single-writer') return await remove();
  return await parts.writers.alone(name, mounted, remove, c);
};

/** Answers whether something is in the trash now. */
const moveAway = async (parts: NfsParts, mounted: MountedShare, record: ShareRecord, c: Context): Promise<boolean> => {
  const { onRemove } = record;
  if (onRemove === undefined) return false;
  const { files, share } = mounted;
  const { size } = readNfsOptions(record);
  const limit = async (bytes: number): Promise<void> =>
    size === undefined ? undefined : await parts.provider.limit?.(share, `/${folderOf(record)}`, bytes, c);
  await limit(0);
  if (onRemove === 'retain') {
    await createIn(files, RETAINED, `${record.name}.${record.uuid}.json`, recordText(record), c);
  }
  const to = onRemove === 'delete' ? TRASH : RETAINED;
  try {
    const moved = await takeFolder(files, record, to, () => refuseWhenUsed(files, record.name, parts.host, c), c);
    return moved && onRemove === 'delete';
  } catch (error) {
    if (asPluginError(error).code === 'VOLUME_BUSY') await limit(size ?? 0);
    throw error;
  }
};
