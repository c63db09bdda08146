/** Calls about one object. */
import type { StoredObject } from '../objects/bucket.ts';
import { type ChecksumName, checksumElement } from '../objects/checksums.ts';
import { type ObjectReply, sizeOf, sliceOf } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { childrenOf, element, readXml, textOf } from '../objects/xml.ts';
import { checkRead, checkSource, checkWrite } from './conditions.ts';
import { refuse } from './errors.ts';
import { empty, httpDate, iso, type S3World, xmlReply } from './world.ts';
import { checkKey, checkRoom, checkSums, describe } from './writing.ts';

/** The permission for an action on a resource; throws AccessDenied. */
export type Allow = (action: string, resource: string) => void;

const ARCHIVED = ['GLACIER', 'DEEP_ARCHIVE'];

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

export const sumHeaders = (checksums: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(checksums).flatMap(([name, value]) => [
      [`x-amz-checksum-${name}`, value],
      ['x-amz-checksum-type', value.includes('-') ? 'COMPOSITE' : 'FULL_OBJECT'],
    ]),
  );

export const sumElements = (checksums: Readonly<Record<string, string>>): string =>
  Object.entries(checksums)
    .map(([name, value]) => element(checksumElement(name as ChecksumName), value))
    .join('');

/** Undefined: no range, or one that is overlooked. */
export const rangeOf = (text: string | undefined, size: number): { offset: number; length: number } | undefined => {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(text ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  const offset = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  if (offset >= size)
    throw refuse('InvalidRange', undefined, { RangeRequested: text ?? '', ActualObjectSize: String(size) });
  return { offset, length: end - offset };
};

/** The object; without the permission to list, whether it exists is not told either. */
const find = (world: S3World, call: ObjectCall, allow: Allow): StoredObject => {
  const found = world.bucket(call).find(call.key);
  if (found !== undefined) return found;
  allow('ListBucket', call.bucket);
  throw refuse('NoSuchKey', undefined, { Key: call.key });
};

export function getObject(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const object = find(world, call, allow);
  const { method, headers } = call.request;
  checkRead(call, object);
  if (method === 'GET' && ARCHIVED.includes(object.storageClass)) {
    throw refuse('InvalidObjectState', undefined, { StorageClass: object.storageClass });
  }
  const range = rangeOf(headers['range'], object.size);
  const { offset, length } = range ?? { offset: 0, length: object.size };
  const told = headersOf(call, object);
  if (range !== undefined) told['Content-Range'] = `bytes ${offset}-${offset + length - 1}/${object.size}`;
  const body = method === 'HEAD' ? [] : sliceOf(object.body, offset, length);
  return { status: range === undefined ? 200 : 206, headers: told, body, promised: length };
}

export function putObject(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { key, body } = call;
  const size = sizeOf(body);
  checkKey(key);
  if (
    call.request.headers['content-length'] === undefined &&
    call.request.headers['x-amz-decoded-content-length'] === undefined
  ) {
    throw refuse('MissingContentLength');
  }
  if (size > world.limits.putMax) {
    throw refuse('EntityTooLarge', undefined, {
      ProposedSize: String(size),
      MaxSizeAllowed: String(world.limits.putMax),
    });
  }
  const described = describe(call);
  const checksums = checkSums(call);
  checkWrite(call, bucket.find(key), world.lacking.put);
  checkRoom(bucket, key, size);
  const etag = world.etagOf(body, size);
  bucket.put({ key, body, size, etag, modified: world.now(), checksums, ...described });
  return empty(200, { ETag: `"${etag}"`, ...sumHeaders(checksums) });
}

/** The source that a copy names. */
export function sourceOf(world: S3World, call: ObjectCall, allow: Allow): StoredObject {
  const text = (call.request.headers['x-amz-copy-source'] ?? '').replace(/^\//, '');
  const slash = text.indexOf('/');
  let named: string[];
  try {
    named = [text.slice(0, slash), text.slice(slash + 1).replace(/\?versionId=.*$/, '')].map(decodeURIComponent);
  } catch {
    named = [];
  }
  const [bucket = '', key = ''] = named;
  if (slash < 1 || key === '') {
    throw refuse('InvalidArgument', 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey', {
      ArgumentName: 'x-amz-copy-source',
      ArgumentValue: text,
    });
  }
  allow('GetObject', `${bucket}/${key}`);
  const source = world.bucket({ ...call, bucket }).find(key);
  if (source === undefined) {
    allow('ListBucket', bucket);
    throw refuse('NoSuchKey', undefined, { Key: key });
  }
  if (ARCHIVED.includes(source.storageClass)) throw refuse('InvalidObjectState');
  checkSource(call, source);
  return source;
}

export function copyObject(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  checkKey(key);
  const source = sourceOf(world, call, allow);
  const directive = call.request.headers['x-amz-metadata-directive'] ?? 'COPY';
  if (directive !== 'COPY' && directive !== 'REPLACE') {
    throw refuse('InvalidArgument', 'Unknown metadata directive.', {
      ArgumentName: 'x-amz-metadata-directive',
      ArgumentValue: directive,
    });
  }
  if (source.size > world.limits.copyMax) {
    throw refuse(
      'InvalidRequest',
      'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120',
    );
  }
  const there = bucket.find(key);
  const described = describe(call);
  if (there === source && directive === 'COPY' && described.storageClass === source.storageClass) {
    throw refuse(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  checkWrite(call, there, world.lacking.copy);
  checkRoom(bucket, key, source.size);
  const { meta, headers } = directive === 'REPLACE' ? described : source;
  const { storageClass } = described;
  // Copies of what was uploaded in parts are one piece.
  const etag = source.etag.includes('-') ? world.etagOf(source.body, source.size) : source.etag;
  const copy: StoredObject = { ...source, key, etag, meta, headers, storageClass, modified: world.now() };
  bucket.put(copy);
  const content =
    element('LastModified', iso(copy.modified)) + element('ETag', `"${etag}"`) + sumElements(source.checksums);
  return xmlReply('CopyObjectResult', content);
}

export function deleteObject(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const match = call.request.headers['if-match'];
  if (match !== undefined) checkWrite(call, bucket.find(call.key), world.lacking.put);
  bucket.remove(call.key);
  return empty(204);
}

export function deleteObjects(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { headers } = call.request;
  const summed = Object.keys(headers).some(
    (name) => /^x-amz-checksum-(crc|sha)/.test(name) || name === 'x-amz-trailer',
  );
  if (headers['content-md5'] === undefined && !summed) {
    throw refuse('InvalidRequest', 'Missing required header for this request: Content-MD5');
  }
  checkSums(call);
  const root = readXml(call.body);
  const listed = childrenOf(root, 'Object').map((each) => textOf(each, 'Key'));
  const keys = listed.filter((key) => key !== undefined && key !== '') as string[];
  if (root.name !== 'Delete' || keys.length === 0 || keys.length > 1000 || keys.length < listed.length)
    throw refuse('MalformedXML');
  const quiet = textOf(root, 'Quiet') === 'true';
  const results = keys.map((key) => {
    try {
      allow('DeleteObject', `${call.bucket}/${key}`);
    } catch {
      return `<Error>${element('Key', key)}${element('Code', 'AccessDenied')}${element('Message', 'Access Denied')}</Error>`;
    }
    bucket.remove(key);
    return quiet ? '' : `<Deleted>${element('Key', key)}</Deleted>`;
  });
  return xmlReply('DeleteResult', results.join(''));
}
