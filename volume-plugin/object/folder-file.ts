import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { codeOf } from '../../shared/error-code.ts';
import { type NewObject, StoreError } from './store.ts';

export type Description = Omit<NewObject, 'condition'>;

/**
 * The file of an object: its bytes, then what is known of it as JSON, then the JSON's length (4 bytes) and a mark, so that one
 * rename replaces all of it.
 */

export interface ObjectRecord extends Description {
  readonly size: number;
  readonly etag: string;
  readonly modified: number;
}

/** What describes the bytes, and nothing else of `object`. */
export const descriptionOf = ({ meta, contentType, web }: Description): Description => ({
  meta,
  ...(contentType !== undefined && { contentType }),
  ...(web !== undefined && { web }),
});

const MARK = Buffer.from('drayage1');
const FOOT = 4 + MARK.length;
/** Most records are shorter. */
const USUAL = 2048;

export const footOf = (record: ObjectRecord): Buffer => {
  const text = Buffer.from(JSON.stringify(record));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return Buffer.concat([text, length, MARK]);
};

/** Of an open file. Throws DAMAGED when it is none of ours. */
export const readRecord = (fd: number, path: string): ObjectRecord => {
  const { size } = fstatSync(fd);
  let tail = readEnd(fd, size, USUAL);
  if (tail.length < FOOT || !tail.subarray(-MARK.length).equals(MARK)) {
    throw new StoreError('DAMAGED', `${path} is not the file of an object`);
  }
  const length = tail.readUInt32BE(tail.length - FOOT);
  if (length + FOOT > tail.length) tail = readEnd(fd, size, length + FOOT);
  const end = tail.length - FOOT;
  const record: ObjectRecord = JSON.parse(tail.toString('utf8', end - length, end));
  return record;
};

const readEnd = (fd: number, size: number, length: number): Buffer => {
  const bytes = Buffer.alloc(Math.min(size, length));
  return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, size - bytes.length));
};

/** Undefined: there is no object. Throws DAMAGED. */
export const recordAt = (path: string): ObjectRecord | undefined => {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    return readRecord(fd, path);
  } finally {
    closeSync(fd);
  }
};

/** The same for whoever asks what is there: what is damaged is there, and no version of anything. */
export const listedAt = (path: string): ObjectRecord | undefined => {
  try {
    return recordAt(path);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { size: 0, etag: 'damaged', modified: 0, meta: {} };
  }
};
