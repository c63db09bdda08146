/** OSS's words. */
import type { StoredObject } from '../objects/bucket.ts';
import type { Dialect, Span } from '../objects/dialect.ts';
import { Refusal } from '../objects/refusal.ts';
import { httpDate, names } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { crcHeader } from './checksums.ts';
import { refuse } from './errors.ts';
import { ossLists } from './listing.ts';
import { checkKey, checkOverwrite, describe, PREFIX, sums } from './writing.ts';

/** If-Match and its kin, of reads and (with a prefix) of the sources of copies. */
const checkRead = (call: ObjectCall, object: StoredObject, prefix = ''): void => {
  const header = (name: string) => call.request.headers[`${prefix}${name}`];
  const failed = refuse('PreconditionFailed', undefined, { Condition: 'If-Match' });
  const [match, none] = [header('if-match'), header('if-none-match')];
  if (match !== undefined && !names(match, object.etag)) throw failed;
  if (object.modified > Date.parse(header('if-unmodified-since') ?? '')) throw failed;
  const isSame = none !== undefined && names(none, object.etag);
  if (isSame || object.modified <= Date.parse(header('if-modified-since') ?? '')) {
    throw prefix === '' ? new Refusal(304, 'NotModified', 'Not Modified') : failed;
  }
};

const headersOf = (_call: ObjectCall, object: StoredObject): Record<string, string> => ({
  ...object.headers,
  'Last-Modified': httpDate(object.modified),
  ETag: `"${object.etag}"`,
  'Accept-Ranges': 'bytes',
  'x-oss-object-type': object.etag.includes('-') ? 'Multipart' : 'Normal',
  'x-oss-storage-class': object.storageClass,
  ...crcHeader(object),
  ...Object.fromEntries(Object.entries(object.meta).map(([name, value]) => [`x-oss-meta-${name}`, value])),
});

/** Undefined: all of it, as OSS answers to ranges that it cannot serve, unless it is told to keep to the standard. */
const rangeOf = (call: ObjectCall, size: number): Span | undefined => {
  const { headers } = call.request;
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(headers['range'] ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  const isStandard = headers['x-oss-range-behavior'] === 'standard';
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Number(last) + 1;
  if (offset >= size && isStandard) {
    throw refuse('InvalidRange', undefined, { RangeRequested: headers['range'] ?? '', ActualObjectSize: String(size) });
  }
  if (offset >= size || end <= offset || (end > size && !isStandard)) return undefined;
  return { offset, length: Math.min(end, size) - offset };
};

/** `crcOf`: the header of an answer to a write. */
export const ossDialect = (crcOf: typeof crcHeader): Dialect => ({
  name: 'oss',
  prefix: PREFIX,
  listing: 'ListObjects',
  archived: ['Archive', 'ColdArchive', 'DeepColdArchive'],
  lengths: ['content-length', 'transfer-encoding'],
  list: ossLists,
  refuse,
  checkKey,
  describe,
  sums,
  checkRead,
  checkSource: (call, source) => checkRead(call, source, `${PREFIX}copy-source-`),
  checkWrite: checkOverwrite,
  sourceOf: ({ request }) => {
    const [, bucket, key] = /^\/([^/]+)\/([^?]+)/.exec(request.headers['x-oss-copy-source'] ?? '') ?? [];
    return bucket === undefined || key === undefined ? undefined : [bucket, key];
  },
  rangeOf,
  headersOf,
  written: (stored) => ({
    'Content-MD5': Buffer.from(stored.etag, 'hex').toString('base64'),
    ...crcOf(stored),
  }),
});
