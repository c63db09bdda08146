/** Calls about one object. */
import type { StoredObject } from '../objects/bucket.ts';
import { type ObjectReply, queried, sizeOf, sliceOf } from '../objects/message.ts';
import { Refusal } from '../objects/refusal.ts';
import type { ObjectCall } from '../objects/service.ts';
import { childrenOf, element, readXml, textOf } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import { crcHeader, crcOf, empty, etagOf, iso, type OssWorld, unquoted, xmlReply } from './world.ts';
import { checkDigest, checkKey, checkOverwrite, checkRoom, describe } from './writing.ts';

/** The permission for an action on a resource; throws AccessDenied. */
export type Allow = (action: string, resource: string) => void;

const ARCHIVED = ['Archive', 'ColdArchive', 'DeepColdArchive'];

const names = (value: string, etag: string): boolean =>
  value.split(',').some((each) => each.trim() === '*' || unquoted(each) === etag);

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

const headersOf = (object: StoredObject): Record<string, string> => ({
  ...object.headers,
  'Last-Modified': new Date(object.modified).toUTCString(),
  ETag: `"${object.etag}"`,
  'Accept-Ranges': 'bytes',
  'x-oss-object-type': object.etag.includes('-') ? 'Multipart' : 'Normal',
  'x-oss-storage-class': object.storageClass,
  ...crcHeader(object),
  ...Object.fromEntries(Object.entries(object.meta).map(([name, value]) => [`x-oss-meta-${name}`, value])),
});

/** Undefined: all of it, as OSS answers to ranges that it cannot serve, unless it is told to keep to the standard. */
const rangeOf = (call: ObjectCall, size: number): { offset: number; length: number } | undefined => {
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

const find = (world: OssWorld, call: ObjectCall, allow: Allow): StoredObject => {
  const found = world.bucket(call).find(call.key);
  if (found !== undefined) return found;
  allow('ListObjects', call.bucket);
  throw refuse('NoSuchKey', undefined, { Key: call.key });
};

export function getObject(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const object = find(world, call, allow);
  checkRead(call, object);
  if (call.request.method === 'GET' && ARCHIVED.includes(object.storageClass)) throw refuse('InvalidObjectState');
  const range = rangeOf(call, object.size);
  const { offset, length } = range ?? { offset: 0, length: object.size };
  const headers = headersOf(object);
  if (range !== undefined) headers['Content-Range'] = `bytes ${offset}-${offset + length - 1}/${object.size}`;
  const body = call.request.method === 'HEAD' ? [] : sliceOf(object.body, offset, length);
  return { status: range === undefined ? 200 : 206, headers, body, promised: length };
}

export function putObject(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { key, body } = call;
  const size = sizeOf(body);
  checkKey(key);
  const { headers } = call.request;
  if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined)
    throw refuse('MissingContentLength');
  if (size > world.limits.putMax) throw refuse('EntityTooLarge');
  const described = describe(call);
  checkDigest(call);
  checkOverwrite(call, bucket);
  checkRoom(bucket, key, size);
  const object = {
    key,
    body,
    size,
    etag: etagOf(body),
    modified: world.now(),
    checksums: { crc64: crcOf(body) },
    ...described,
  };
  bucket.put(object);
  return empty(200, {
    ETag: `"${object.etag}"`,
    'Content-MD5': Buffer.from(object.etag, 'hex').toString('base64'),
    ...world.stored(object.checksums.crc64),
  });
}

/** The source that a copy names. */
export function sourceOf(world: OssWorld, call: ObjectCall, allow: Allow): StoredObject {
  const text = call.request.headers['x-oss-copy-source'] ?? '';
  const [, bucket = '', encoded = ''] = /^\/([^/]+)\/([^?]+)/.exec(text) ?? [];
  let key: string;
  try {
    key = decodeURIComponent(encoded);
  } catch {
    key = '';
  }
  if (key === '')
    throw refuse('InvalidArgument', 'Copy Source must mention the source bucket and key: /sourcebucket/sourcekey.');
  allow('GetObject', `${bucket}/${key}`);
  const source = world.bucket({ ...call, bucket }).find(key);
  if (source === undefined) throw refuse('NoSuchKey', undefined, { Key: key });
  if (ARCHIVED.includes(source.storageClass)) throw refuse('InvalidObjectState');
  checkRead(call, source, 'x-oss-copy-source-');
  return source;
}

export function copyObject(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  checkKey(key);
  const source = sourceOf(world, call, allow);
  const directive = call.request.headers['x-oss-metadata-directive'] ?? 'COPY';
  if (directive !== 'COPY' && directive !== 'REPLACE') throw refuse('InvalidArgument', 'Unknown metadata directive.');
  if (source.size > world.limits.copyMax) throw refuse('EntityTooLarge');
  const described = describe(call);
  checkOverwrite(call, bucket);
  checkRoom(bucket, key, source.size);
  const { meta, headers } = directive === 'REPLACE' ? described : source;
  const copy: StoredObject = {
    ...source,
    key,
    meta,
    headers,
    storageClass: described.storageClass,
    modified: world.now(),
  };
  bucket.put(copy);
  const content = element('ETag', `"${copy.etag}"`) + element('LastModified', iso(copy.modified));
  return xmlReply('CopyObjectResult', content, crcHeader(copy));
}

export function deleteObject(world: OssWorld, call: ObjectCall): ObjectReply {
  world.bucket(call).remove(call.key);
  return empty(204);
}

export function deleteObjects(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  if (call.request.headers['content-md5'] === undefined)
    throw refuse('MissingArgument', 'Missing Some Required Arguments.', { ArgumentName: 'Content-MD5' });
  checkDigest(call);
  const root = readXml(call.body);
  const keys = childrenOf(root, 'Object').map((each) => textOf(each, 'Key') ?? '');
  if (root.name !== 'Delete' || keys.length === 0 || keys.length > 1000 || keys.includes(''))
    throw refuse('MalformedXML');
  const type = queried(call.request, 'encoding-type');
  const encode = type === 'url' ? encodeURIComponent : (text: string) => text;
  const gone: string[] = [];
  for (const key of keys) {
    try {
      allow('DeleteObject', `${call.bucket}/${key}`);
    } catch {
      continue;
    }
    bucket.remove(key);
    gone.push(key);
  }
  if (gone.length === 0) throw refuse('AccessDenied');
  if (textOf(root, 'Quiet') === 'true') return empty(200);
  const deleted = gone.map((key) => `<Deleted>${element('Key', encode(key))}</Deleted>`).join('');
  return xmlReply('DeleteResult', element('EncodingType', type) + deleted);
}
