import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { shareNameProblem } from '../nfs/records.ts';
import type { NewVolume, Volume } from './backend.ts';
import { listedVolume } from './listing.ts';
import { bucketId, readBucket } from './object-bucket.ts';
import type { OpenBucket } from './object-buckets.ts';
import { asked } from './object-errors.ts';
import { checkObjectOptions, differences, type ObjectOptions, prefixOf, wayOf } from './object-options.ts';
import type { ObjectParts } from './object-parts.ts';
import { preflight } from './object-preflight.ts';
import { findRecord, makeRecord, type ObjectRecord, soundRecord } from './object-records.ts';
import { uuidOf } from './volume-uuid.ts';

/** Where a volume is to be, and how. */
export interface ObjectPlace {
  readonly on: OpenBucket;
  readonly options: ObjectOptions;
}

/** Looks whether the bucket is there and can be used; makes it when it is missing. Errors: VOLUME_NAME, OPTION_*, BUCKET_*. */
export const findBucket = async (parts: ObjectParts, spec: NewVolume, c: Context): Promise<ObjectPlace> => {
  const { name } = spec;
  const reason = shareNameProblem(name);
  if (reason !== undefined) throw new PluginError('VOLUME_NAME', { volume: name, reason });
  const options = checkObjectOptions(spec);
  const { buckets } = parts;
  const on = await buckets.open(idOf(parts, options), c);
  if (options.access === 'single-writer' && !on.store.limits.conditionalPut) {
    throw new PluginError('OPTION_INVALID', {
      ...{ where: 'The volume option', option: 'access', value: options.access },
      reason: `of the store of ${on.store.name} it is not known that it heeds conditional writes, by which one host has it alone`,
      allowed: 'many, or this where OBJECT_VENDOR or -o vendor= names a vendor whose store does',
    });
  }
  await preflight(on, options.readonly, prefixOf(spec), c);
  return { on, options };
};

const idOf = ({ buckets }: ObjectParts, options: ObjectOptions): string => {
  const { settings } = buckets;
  const way = wayOf(options);
  if (options.bucket !== undefined) return bucketId(readBucket(options.bucket, settings, way));
  const usual = buckets.usual();
  const said = Object.keys(way)[0];
  if (usual !== undefined && said === undefined) return bucketId(usual);
  throw new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'bucket', value: '', allowed: 'the name of a bucket', example: 'assets' },
    reason:
      said === undefined ? 'the setting OBJECT_BUCKET names none' : `${said} is said of it, and not which bucket it is`,
  });
};

/**
 * Makes a volume: its record, by which it exists. Of hosts that make the same one at once one writes the record, and the
 * others join it. Errors: VOLUME_EXISTS, VOLUME_REMOVING, BUCKET_*.
 */
export const makeObjectVolume = async (
  parts: ObjectParts,
  spec: NewVolume,
  { on, options }: ObjectPlace,
  c: Context,
): Promise<Volume> => {
  const found = (await findRecord(on.files, spec.name, c))?.record;
  if (found !== undefined) return listedVolume('bucket', on.id, await join(parts, on, found, spec));
  const local = parts.listing.localOf(on.id, spec.name);
  if (local !== undefined) return listedVolume('bucket', on.id, checkSame(on, local, spec));
  await parts.listing.refuseElsewhere(spec.name, on.id, c);
  const record: ObjectRecord = {
    ...{ name: spec.name, options: spec.options, created: new Date().toISOString() },
    ...{ making: spec.making ?? '', uuid: uuidOf(parts.host.id, spec) },
    onRemove: await onRemoveOf(parts, spec, { on, options }, c),
  };
  // Known at the next start, too, though only volumes may name the bucket.
  if (parts.notes.get(on.id) === undefined) await parts.notes.change(on.id, {});
  return listedVolume('bucket', on.id, await writeRecord(parts, on, record, options, c));
};

/** What was there before the volume stays when it goes, unless its maker says otherwise. */
const onRemoveOf = async (
  { onRemove }: ObjectParts,
  spec: NewVolume,
  { on, options }: ObjectPlace,
  c: Context,
): Promise<'delete' | 'retain'> => {
  if (options['on-remove'] !== undefined) return options['on-remove'];
  if (options.prefix !== undefined || options.readonly || onRemove === 'retain') return 'retain';
  const { objects } = await asked(on.store.name, 'to list objects', () =>
    on.store.list(prefixOf(spec), { limit: 1 }, c),
  );
  return objects.length === 0 ? 'delete' : 'retain';
};

/** One that another host has made. Its bucket is looked at from now on, though only volumes may name it. */
const join = async (
  { notes }: ObjectParts,
  on: OpenBucket,
  found: ObjectRecord,
  spec: Pick<NewVolume, 'name' | 'options'>,
): Promise<ObjectRecord> => {
  const same = checkSame(on, found, spec);
  await notes.put(on.id, same.name, same);
  return same;
};

const writeRecord = async (
  parts: ObjectParts,
  on: OpenBucket,
  record: ObjectRecord,
  options: ObjectOptions,
  c: Context,
): Promise<ObjectRecord> => {
  const { notes } = parts;
  try {
    if (await makeRecord(on.files, record, c)) {
      await notes.put(on.id, record.name, record);
      return record;
    }
  } catch (error) {
    if (!options.readonly || !isReadOnly(error)) throw error;
    const { local = [] } = notes.get(on.id) ?? {};
    await notes.change(on.id, { local: [...local.filter(({ name }) => name !== record.name), record] });
    return record;
  }
  const winner = (await findRecord(on.files, record.name, c))?.record;
  // Made and removed again in this moment.
  if (winner === undefined) throw new PluginError('VOLUME_REMOVING', { volume: record.name });
  return await join(parts, on, winner, record);
};

/** Nobody can write there, or not this host. */
const isReadOnly = (error: unknown): boolean =>
  ['BUCKET_READONLY', 'BUCKET_DENIED'].includes(asPluginError(error).code);

const checkSame = (on: OpenBucket, existing: ObjectRecord, spec: Pick<NewVolume, 'name' | 'options'>): ObjectRecord => {
  if (existing.removing !== undefined) {
    throw new PluginError('VOLUME_REMOVING', { volume: spec.name, holder: existing.removing.host });
  }
  const other = differences(soundRecord(on.store.name, existing), spec);
  if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: spec.name, differences: other });
  return existing;
};
