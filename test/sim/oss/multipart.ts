/** Uploads in parts. */
import { type Bucket, bodyOf, type StoredPart, type StoredUpload } from '../objects/bucket.ts';
import { hashOf } from '../objects/checksums.ts';
import { type ObjectReply, queried, sizeOf, sliceOf } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { childrenOf, element, readXml, textOf } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import { coderOf, limitOf } from './listing.ts';
import { type Allow, sourceOf } from './objects.ts';
import { crcOf, empty, etagOf, iso, type OssWorld, unquoted, xmlReply } from './world.ts';
import { checkDigest, checkKey, checkOverwrite, checkRoom, describe } from './writing.ts';

export function initiateUpload(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  checkKey(call.key);
  checkOverwrite(call, bucket);
  const id = world.next();
  bucket.uploads.set(id, { id, key: call.key, begun: world.now(), parts: new Map(), ...describe(call) });
  const { encode, type } = coderOf(call);
  const content = [
    element('EncodingType', type),
    element('Bucket', call.bucket),
    element('Key', encode(call.key)),
    element('UploadId', id),
  ];
  return xmlReply('InitiateMultipartUploadResult', content.join(''));
}

const uploadOf = (bucket: Bucket, call: ObjectCall): StoredUpload => {
  const id = queried(call.request, 'uploadId') ?? '';
  const found = bucket.uploads.get(id);
  if (found === undefined || found.key !== call.key) throw refuse('NoSuchUpload', undefined, { UploadId: id });
  return found;
};

const numberOf = (call: ObjectCall): number => {
  const text = queried(call.request, 'partNumber') ?? '';
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 10_000) {
    throw refuse('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive.');
  }
  return number;
};

const store = (world: OssWorld, upload: StoredUpload, number: number, body: readonly Buffer[]): StoredPart => {
  const checksums = { crc64: crcOf(body) };
  const part = { number, body, size: sizeOf(body), etag: etagOf(body), modified: world.now(), checksums };
  upload.parts.set(number, part);
  return part;
};

export function uploadPart(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const number = numberOf(call);
  const upload = uploadOf(bucket, call);
  checkDigest(call);
  const size = sizeOf(call.body);
  if (size > world.limits.putMax) throw refuse('EntityTooLarge');
  checkRoom(bucket, undefined, size);
  const part = store(world, upload, number, call.body);
  return empty(200, { ETag: `"${part.etag}"`, ...world.stored(part.checksums['crc64'] ?? '') });
}

/** What the copied part's checksum is, OSS does not say. */
export function uploadPartCopy(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const number = numberOf(call);
  const upload = uploadOf(bucket, call);
  const source = sourceOf(world, call, allow);
  const text = call.request.headers['x-oss-copy-source-range'] ?? `bytes=0-${source.size - 1}`;
  const [, first = '', last = ''] = /^bytes=(\d+)-(\d+)$/.exec(text) ?? [];
  const length = Number(last) + 1 - Number(first);
  if (first === '' || length < 1 || Number(last) >= source.size)
    throw refuse('InvalidRange', undefined, { RangeRequested: text });
  checkRoom(bucket, undefined, length);
  const part = store(world, upload, number, sliceOf(source.body, Number(first), length));
  return xmlReply('CopyPartResult', element('LastModified', iso(part.modified)) + element('ETag', `"${part.etag}"`));
}

export function completeUpload(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  const upload = uploadOf(bucket, call);
  const root = readXml(call.body);
  const listed = childrenOf(root, 'Part');
  if (root.name !== 'CompleteMultipartUpload' || listed.length === 0) throw refuse('MalformedXML');
  let before = 0;
  const parts = listed.map((node) => {
    const number = Number(textOf(node, 'PartNumber'));
    const part = upload.parts.get(number);
    if (number <= before) throw refuse('InvalidPartOrder');
    before = number;
    if (part === undefined || part.etag !== unquoted(textOf(node, 'ETag') ?? '')) {
      throw refuse('InvalidPart', undefined, { UploadId: upload.id, PartNumber: String(number) });
    }
    return part;
  });
  if (parts.slice(0, -1).some(({ size }) => size < world.limits.partMin)) throw refuse('EntityTooSmall');
  checkOverwrite(call, bucket);
  const { body, size } = bodyOf(parts);
  const digests = parts.map((part) => Buffer.from(part.etag, 'hex'));
  const etag = `${hashOf('md5', digests).toString('hex').toUpperCase()}-${parts.length}`;
  const { meta, headers, storageClass } = upload;
  const object = {
    key,
    body,
    size,
    etag,
    modified: world.now(),
    meta,
    headers,
    storageClass,
    checksums: { crc64: crcOf(body) },
  };
  bucket.uploads.delete(upload.id);
  bucket.put(object);
  const { encode, type } = coderOf(call);
  const content = [
    element('EncodingType', type),
    element('Location', `http://${call.bucket}.oss-${world.region}.aliyuncs.com/${encode(key)}`),
    element('Bucket', call.bucket),
    element('Key', encode(key)),
    element('ETag', `"${etag}"`),
  ];
  return xmlReply('CompleteMultipartUploadResult', content.join(''), world.stored(object.checksums.crc64));
}

export function abortUpload(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  bucket.uploads.delete(uploadOf(bucket, call).id);
  return empty(204);
}

export function listParts(world: OssWorld, call: ObjectCall): ObjectReply {
  const upload = uploadOf(world.bucket(call), call);
  const limit = limitOf(call, 'max-parts', 1000);
  const marker = Number(queried(call.request, 'part-number-marker') || '0');
  const behind = [...upload.parts.values()].filter(({ number }) => number > marker).sort((a, b) => a.number - b.number);
  const page = behind.slice(0, limit);
  const { encode, type } = coderOf(call);
  return xmlReply(
    'ListPartsResult',
    [
      element('EncodingType', type),
      element('Bucket', call.bucket),
      element('Key', encode(call.key)),
      element('UploadId', upload.id),
      element('NextPartNumberMarker', page.at(-1)?.number ?? 0),
      element('MaxParts', limit),
      element('IsTruncated', page.length < behind.length),
      ...page.map(
        ({ number, etag, size, modified, checksums }) =>
          `<Part>${element('PartNumber', number)}${element('LastModified', iso(modified))}${element('ETag', `"${etag}"`)}${element('HashCrc64ecma', checksums['crc64'])}${element('Size', size)}</Part>`,
      ),
    ].join(''),
  );
}

export function listUploads(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { encode, type } = coderOf(call);
  const [prefix = '', keyMarker = '', idMarker = ''] = ['prefix', 'key-marker', 'upload-id-marker'].map((name) =>
    queried(call.request, name),
  );
  const limit = limitOf(call, 'max-uploads', 1000);
  const order = (a: StoredUpload, b: StoredUpload) =>
    Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || (a.id < b.id ? -1 : 1);
  const isBehind = (upload: StoredUpload): boolean => {
    if (keyMarker === '') return true;
    const compared = Buffer.compare(Buffer.from(upload.key), Buffer.from(keyMarker));
    return compared > 0 || (compared === 0 && idMarker !== '' && upload.id > idMarker);
  };
  const behind = [...bucket.uploads.values()]
    .filter((each) => each.key.startsWith(prefix) && isBehind(each))
    .sort(order);
  const page = behind.slice(0, limit);
  const last = page.at(-1);
  const truncated = page.length < behind.length;
  return xmlReply(
    'ListMultipartUploadsResult',
    [
      element('Bucket', call.bucket),
      element('EncodingType', type),
      element('KeyMarker', encode(keyMarker)),
      element('UploadIdMarker', idMarker),
      element('NextKeyMarker', truncated ? encode(last?.key ?? '') : ''),
      element('NextUploadIdMarker', truncated ? (last?.id ?? '') : ''),
      element('Prefix', encode(prefix)),
      element('MaxUploads', limit),
      element('IsTruncated', truncated),
      ...page.map(
        ({ key, id, begun }) =>
          `<Upload>${element('Key', encode(key))}${element('UploadId', id)}${element('Initiated', iso(begun))}</Upload>`,
      ),
    ].join(''),
  );
}
