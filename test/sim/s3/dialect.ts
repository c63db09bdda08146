/** S3's words. */
import type { StoredObject } from '../objects/bucket.ts';
import type { Dialect, Span } from '../objects/dialect.ts';
import { httpDate } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { sumHeaders } from './checksums.ts';
import { checkRead, checkSource, checkWrite } from './conditions.ts';
import { refuse } from './errors.ts';
import { s3Lists } from './listing.ts';
import type { Lacking } from './world.ts';
import { checkKey, describe, PREFIX, sums } from './writing.ts';

/** As S3 tells metadata that is not ASCII. */
const encodedWord = (value: string): string =>
  /^[\0-\x7f]*$/.test(value) ? value : `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`;

const headersOf = (call: ObjectCall, object: StoredObject): Record<string, string> => ({
  'Last-Modified': httpDate(object.modified),
  ETag: `"${object.etag}"`,
  'Accept-Ranges': 'bytes',
  'Content-Type': 'binary/octet-stream',
  ...Object.fromEntries(
    Object.entries(object.headers).map(([name, value]) => [name === 'content-type' ? 'Content-Type' : name, value]),
  ),
  ...(object.storageClass === 'STANDARD' ? {} : { 'x-amz-storage-class': object.storageClass }),
  ...Object.fromEntries(Object.entries(object.meta).map(([name, value]) => [`x-amz-meta-${name}`, encodedWord(value)])),
  ...(call.request.headers['x-amz-checksum-mode'] === 'ENABLED' && call.request.headers['range'] === undefined
    ? sumHeaders(object.checksums)
    : {}),
});

/** Undefined: no range, or one that is overlooked. */
export const rangeOf = (text: string | undefined, size: number): Span | undefined => {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(text ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (offset >= size)
    throw refuse('InvalidRange', undefined, { RangeRequested: text ?? '', ActualObjectSize: String(size) });
  return { offset, length: end - offset };
};

export const s3Dialect = (lacking: Lacking): Dialect => ({
  name: 's3',
  prefix: PREFIX,
  namespace: 'http://s3.amazonaws.com/doc/2006-03-01/',
  listing: 'ListBucket',
  archived: ['GLACIER', 'DEEP_ARCHIVE'],
  lengths: ['content-length', 'x-amz-decoded-content-length'],
  list: s3Lists,
  refuse,
  checkKey,
  describe,
  sums,
  checkRead,
  checkSource,
  checkWrite: (call, there, kind) => checkWrite(call, there, lacking[kind]),
  sourceOf: ({ request }) => {
    const text = (request.headers['x-amz-copy-source'] ?? '').replace(/^\//, '');
    const slash = text.indexOf('/');
    return slash < 1 ? undefined : [text.slice(0, slash), text.slice(slash + 1).replace(/\?versionId=.*$/, '')];
  },
  rangeOf: ({ request }, size) => rangeOf(request.headers['range'], size),
  headersOf,
  written: ({ checksums }) => sumHeaders(checksums),
});
