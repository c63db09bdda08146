import { type Context, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { recordPath, recordText } from '../nfs/records.ts';
import { refuseWhenUsed } from '../nfs/users.ts';
import type { VolumeRemoval } from './backend.ts';
import type { OpenBucket } from './object-buckets.ts';
import { asked, bucketError } from './object-errors.ts';
import { prefixOf } from './object-options.ts';
import type { ObjectParts } from './object-parts.ts';
import {
  allRecords,
  BUCKET_NOTE,
  dropRecord,
  type FoundRecord,
  findRecord,
  markRemoving,
  type ObjectRecord,
  OWN,
} from './object-records.ts';

/** What a host that died has left of a removal is carried on by another one after so long. */
const ABANDONED_MS = 15 * 60_000;

/**
 * Removes a volume. Its record says so first: other hosts know of it no more, and nobody makes a new one of that name while
 * objects of the old one are there. Then the objects go, and the record as the last. Errors: VOLUME_BUSY, BUCKET_*.
 */
export const removeObjectVolume = async (parts: ObjectParts, volume: VolumeRemoval, c: Context): Promise<void> => {
  const { name, handle } = volume;
  const id = handle['bucket'] ?? (await parts.listing.find(name, c))?.handle['bucket'];
  if (id === undefined) return;
  const on = await parts.buckets.open(id, c);
  if (!(await parts.notes.forgetLocal(id, name))) {
    const found = await findRecord(on.files, name, c);
    // Another host has made a new one of that name since this removal was begun.
    const isOther = volume.resumed === true && handle['uuid'] !== undefined && found?.record.uuid !== handle['uuid'];
    if (found !== undefined && !isOther) await removeFound(parts, on, found, c);
    await parts.notes.put(id, name, undefined);
  }
  if (handle['uuid'] !== undefined) await parts.engines.forget(handle['uuid'], c);
};

const removeFound = async (parts: ObjectParts, on: OpenBucket, found: FoundRecord, c: Context): Promise<void> => {
  const { name, options } = found.record;
  if (found.record.removing === undefined) await refuseWhenUsed(on.files, name, parts.host, c);
  const remove = (): Promise<void> => carryOn(parts, on, found, c);
  if (options['access'] !== 'single-writer') return await remove();
  await parts.writers.alone(name, { share: { id: on.id }, files: on.files }, remove, c);
};

const carryOn = async (parts: ObjectParts, on: OpenBucket, found: FoundRecord, c: Context): Promise<void> => {
  const { record } = found;
  const { name, onRemove, damage } = record;
  const { files } = on;
  if (onRemove === 'delete' && damage === undefined) {
    if (record.removing === undefined) {
      if (!(await markRemoving(files, found, parts.host.name, c))) {
        const reason = 'its record was changed meanwhile';
        throw new PluginError('VOLUME_REMOVING', { volume: name, reason });
      }
      // Whoever mounts it from now on is told that there is no such volume; who was faster is seen here.
      await refuseWhenUsed(on.files, name, parts.host, c).catch(async (error: unknown) => {
        await files.replaceFile(recordPath(name), recordText(record), c);
        throw error;
      });
    }
    await removeObjects(on, record, c);
    if (!(await goesOn(on, record, c))) return;
  }
  await dropRecord(files, name, c);
  await removeEmptyBucket(on, c);
};

/** Is it still that volume which has the name? Another host may have ended the removal, and somebody made a new one. */
const goesOn = async ({ files }: OpenBucket, { name, uuid }: ObjectRecord, c: Context): Promise<boolean> =>
  (await findRecord(files, name, c))?.record.uuid === uuid;

/** A removal that another host has begun, and does not carry on. Of hosts that find it at once one goes on. */
export const adoptRemoval = async (
  parts: ObjectParts,
  on: OpenBucket,
  found: FoundRecord,
  c: Context,
): Promise<void> => {
  if (Date.now() - found.modified < ABANDONED_MS) return;
  if (!(await markRemoving(on.files, found, parts.host.name, c))) return;
  c.log.warn('a removal that was given up is carried on', { volume: found.record.name, bucket: on.id });
  await carryOn(parts, on, found, c);
};

/** Everything whose key begins with the volume's prefix, but for what belongs to others; uploads that were not ended, too. */
const removeObjects = async (on: OpenBucket, record: ObjectRecord, c: Context): Promise<void> => {
  const { store } = on;
  const prefix = prefixOf(record);
  const others = (await allRecords(on.files, c)).flatMap((one) =>
    one.record.name === record.name ? [] : [prefixOf(one.record)],
  );
  const owner = others.find((other) => prefix.startsWith(other));
  if (prefix === '' || owner !== undefined) {
    c.log.warn('objects are kept, for another volume has them, too', { volume: record.name, prefix, owner });
    return;
  }
  const isOthers = (key: string): boolean => key.startsWith(OWN) || others.some((other) => key.startsWith(other));
  for (const { key, id } of await asked(store.name, 'to list uploads', () => store.unfinished(prefix, c))) {
    if (!isOthers(key)) await asked(store.name, 'to abort an upload', () => store.abortUpload(key, id, c));
  }
  let after: string | undefined;
  for (;;) {
    throwIfDone(c);
    if (!(await goesOn(on, record, c))) return;
    const at = after;
    const page = await asked(store.name, 'to list objects', () =>
      store.list(prefix, at === undefined ? {} : { after: at }, c),
    );
    const keys = page.objects.map(({ key }) => key).filter((key) => !isOthers(key));
    const [left] =
      keys.length === 0 ? [] : await asked(store.name, 'to remove objects', () => store.removeAll(keys, c));
    if (left !== undefined) throw bucketError(left.reason, store.name, `to remove ${left.key}`);
    after = page.objects.at(-1)?.key;
    if (page.next === undefined || after === undefined) return;
  }
};

/** A bucket that was made for volumes goes with the last one, when there is nothing in it but our own notes. */
const removeEmptyBucket = async (on: OpenBucket, c: Context): Promise<void> => {
  const { store, files } = on;
  try {
    if ((await files.readFile(BUCKET_NOTE, c)) === undefined) return;
    const { objects } = await store.list('', { limit: 100 }, c);
    const isOurs = (key: string): boolean => key.startsWith(OWN) && !key.startsWith(`${OWN}volumes/`);
    if (objects.length === 100 || objects.some(({ key }) => !isOurs(key))) return;
    const note = await files.readFile(BUCKET_NOTE, c);
    await store.removeAll(
      objects.map(({ key }) => key),
      c,
    );
    try {
      await store.removeBucket(c);
      c.log.info('a bucket that was made for volumes was removed', { bucket: on.id });
    } catch (error) {
      // Somebody has put something in meanwhile.
      if (note !== undefined) await files.createFile(BUCKET_NOTE, note, c);
      throw error;
    }
  } catch (error) {
    c.log.warn('an empty bucket stays', { bucket: on.id, error: asPluginError(error) });
  }
};
