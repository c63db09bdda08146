import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { parseRecord, recordPath, recordText, type ShareRecord, VOLUMES } from '../nfs/records.ts';
import type { BucketFiles, RecordText } from './object-files.ts';

/**
 * What stands in a bucket beside the volumes' objects, so that every host lists the same volumes:
 *
 *     .drayage/volumes/NAME.json      the record of a volume: it exists when this does
 *     .drayage/users/NAME@HOST.json   a host that has it mounted
 *     .drayage/leases/                who may write to volumes of one writer
 *     .drayage/bucket.json            the bucket was made for volumes, and goes with the last one when it is empty
 *
 * What is below `.drayage/` of a volume's own prefix is its file system's.
 */

export const OWN = '.drayage/';
export const BUCKET_NOTE = '.drayage/bucket.json';
const ENDING = '.json';

/** A removal that goes on; what a host that died has left of it is carried on by others. */
export interface RemovalNote {
  /** The host's name, for people. */
  readonly host: string;
}

/** A volume as its bucket has it. */
export interface ObjectRecord extends ShareRecord {
  readonly removing?: RemovalNote;
}

/** One that was read, and what a conditional write of it needs. */
export interface FoundRecord {
  readonly record: ObjectRecord;
  readonly etag: string;
  /** Epoch milliseconds by the store's clock. */
  readonly modified: number;
}

const removalIn = (text: string): RemovalNote | undefined => {
  const { removing } = JSON.parse(text) as { readonly removing?: unknown };
  if (typeof removing !== 'object' || removing === null) return undefined;
  return { host: 'host' in removing && typeof removing.host === 'string' ? removing.host : 'unknown' };
};

const parse = (name: string, { text, etag, modified }: RecordText): FoundRecord => {
  const record = parseRecord(name, text);
  // One that is damaged may not even be JSON.
  const removing = record.damage === undefined ? removalIn(text) : undefined;
  return { record: { ...record, ...(removing !== undefined && { removing }) }, etag, modified };
};

/** Undefined: there is no such volume in the bucket. */
export const findRecord = async (files: BucketFiles, name: string, c: Context): Promise<FoundRecord | undefined> => {
  const found = await files.read(recordPath(name), c);
  return found === undefined ? undefined : parse(name, found);
};

export const allRecords = async (files: BucketFiles, c: Context): Promise<readonly FoundRecord[]> => {
  const found = await files.readAll(VOLUMES, ENDING, c);
  return found.map(({ name, ...text }) => parse(name.slice(0, -ENDING.length), text));
};

/** False: some host has made one of that name before. */
export const makeRecord = (files: BucketFiles, record: ObjectRecord, c: Context): Promise<boolean> =>
  files.createFile(recordPath(record.name), recordText(record), c);

/** Writes down that a volume is being removed. False: somebody has changed its record meanwhile. */
export const markRemoving = (files: BucketFiles, { record, etag }: FoundRecord, host: string, c: Context) =>
  files.replaceIf(recordPath(record.name), recordText({ ...record, removing: { host } } as ShareRecord), etag, c);

export const dropRecord = (files: BucketFiles, name: string, c: Context): Promise<void> =>
  files.removeFile(recordPath(name), c);

/** A volume whose record is in order. Errors: BUCKET_REFUSED. */
export const soundRecord = (bucket: string, record: ObjectRecord): ObjectRecord => {
  if (record.damage === undefined) return record;
  const reason = `${record.damage} (${recordPath(record.name)})`;
  throw new PluginError('BUCKET_REFUSED', { bucket, what: `volume ${record.name}`, reason });
};
