/** Listings: of buckets, of objects in both versions, of uploads and of their parts. */
import type { Bucket, Listed, StoredPart, StoredUpload } from './bucket.ts';
import type { Coder } from './dialect.ts';
import { type ObjectReply, queried } from './message.ts';
import { iso } from './replies.ts';
import type { ObjectCall } from './service.ts';
import { uploadOf } from './uploads.ts';
import type { ObjectWorld } from './world.ts';
import { element } from './xml.ts';

/** All buckets, by name. */
export const sortedBuckets = (world: ObjectWorld): Bucket[] =>
  [...world.buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

const contentOf = ({ dialect }: ObjectWorld, listed: Listed, encode: Coder['encode'], owner: boolean): string =>
  [
    ...listed.objects.map((object) => dialect.list.contents(object, encode, owner)),
    ...listed.prefixes.map((each) => `<CommonPrefixes>${element('Prefix', encode(each))}</CommonPrefixes>`),
  ].join('');

/** What both versions are asked and tell. */
const beginList = (world: ObjectWorld, call: ObjectCall) => {
  const { isCurt, coderOf, limitOf } = world.dialect.list;
  const { encode, type } = coderOf(call);
  const prefix = queried(call.request, 'prefix') ?? '';
  const delimiter = queried(call.request, 'delimiter') ?? '';
  const limit = limitOf(call, 'max-keys');
  const told = [
    element('Name', call.bucket),
    element('Prefix', encode(prefix)),
    isCurt && delimiter === '' ? '' : element('Delimiter', encode(delimiter)),
    element('MaxKeys', limit),
    element('EncodingType', type),
  ].join('');
  return { prefix, delimiter, limit, encode, told };
};

export function listObjectsV2(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { isCurt, lastOf, tokenOf } = world.dialect.list;
  const bucket = world.bucket(call);
  const { prefix, delimiter, limit, encode, told } = beginList(world, call);
  const [token, start = ''] = ['continuation-token', 'start-after'].map((name) => queried(call.request, name));
  const last = lastOf(token);
  const listed = bucket.list(prefix, delimiter, last ?? start, last !== undefined, limit);
  const truncated = listed.truncated && limit > 0;
  return world.xml(
    'ListBucketResult',
    [
      told,
      element('KeyCount', listed.objects.length + listed.prefixes.length),
      element('IsTruncated', truncated),
      last === undefined ? '' : element('ContinuationToken', token),
      truncated ? element('NextContinuationToken', tokenOf(listed.last)) : '',
      isCurt && start === '' ? '' : element('StartAfter', encode(start)),
      contentOf(world, listed, encode, queried(call.request, 'fetch-owner') === 'true'),
    ].join(''),
  );
}

export function listObjects(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { isCurt } = world.dialect.list;
  const bucket = world.bucket(call);
  const { prefix, delimiter, limit, encode, told } = beginList(world, call);
  const marker = queried(call.request, 'marker') ?? '';
  const listed = bucket.list(prefix, delimiter, marker, true, limit);
  const truncated = listed.truncated && limit > 0;
  return world.xml(
    'ListBucketResult',
    [
      told,
      element('Marker', encode(marker)),
      element('IsTruncated', truncated),
      // Without a delimiter the last key is the next marker.
      truncated && !(isCurt && delimiter === '') ? element('NextMarker', encode(listed.last)) : '',
      contentOf(world, listed, encode, true),
    ].join(''),
  );
}

export function listUploads(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { isCurt, byAge, coderOf, limitOf, upload: more } = world.dialect.list;
  const bucket = world.bucket(call);
  const { encode, type } = coderOf(call);
  const [prefix = '', keyMarker = '', idMarker = ''] = ['prefix', 'key-marker', 'upload-id-marker'].map((name) =>
    queried(call.request, name),
  );
  const limit = limitOf(call, 'max-uploads', 1000);
  const compare = (a: Pick<StoredUpload, 'key' | 'id' | 'begun'>, b: typeof a): number =>
    Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) ||
    (byAge ? a.begun - b.begun : 0) ||
    (a.id === b.id ? 0 : a.id < b.id ? -1 : 1);
  // Of an upload that is gone, its age is not known: then the key is done with.
  const begun = bucket.uploads.get(idMarker)?.begun ?? Number.POSITIVE_INFINITY;
  const marker = { key: keyMarker, id: idMarker, begun };
  const isBehind = (upload: StoredUpload): boolean => {
    if (keyMarker === '') return true;
    return (idMarker !== '' || upload.key !== keyMarker) && compare(upload, marker) > 0;
  };
  const behind = [...bucket.uploads.values()]
    .filter((each) => each.key.startsWith(prefix) && isBehind(each))
    .sort(compare);
  const page = behind.slice(0, limit);
  const truncated = page.length < behind.length;
  const { key = '', id = '' } = (truncated ? page.at(-1) : undefined) ?? {};
  return world.xml(
    'ListMultipartUploadsResult',
    [
      element('Bucket', call.bucket),
      element('EncodingType', type),
      element('KeyMarker', encode(keyMarker)),
      element('UploadIdMarker', idMarker),
      isCurt && !truncated ? '' : element('NextKeyMarker', encode(key)) + element('NextUploadIdMarker', id),
      element('Prefix', encode(prefix)),
      element('MaxUploads', limit),
      element('IsTruncated', truncated),
      ...page.map(
        (each) =>
          `<Upload>${element('Key', encode(each.key))}${element('UploadId', each.id)}${more(each)}${element('Initiated', iso(each.begun))}</Upload>`,
      ),
    ].join(''),
  );
}

/** A page of an upload's parts. */
export function listParts(world: ObjectWorld, call: ObjectCall): ObjectReply {
  const { coderOf, limitOf, part: more } = world.dialect.list;
  const upload = uploadOf(world, world.bucket(call), call);
  const { encode, type } = coderOf(call);
  const limit = limitOf(call, 'max-parts', 1000);
  const marker = Number(queried(call.request, 'part-number-marker') || '0');
  const behind = [...upload.parts.values()].filter(({ number }) => number > marker).sort((a, b) => a.number - b.number);
  const page = behind.slice(0, limit);
  const partOf = (part: StoredPart): string =>
    `<Part>${element('PartNumber', part.number)}${element('LastModified', iso(part.modified))}${element('ETag', `"${part.etag}"`)}${element('Size', part.size)}${more(part)}</Part>`;
  return world.xml(
    'ListPartsResult',
    [
      element('Bucket', call.bucket),
      element('EncodingType', type),
      element('Key', encode(call.key)),
      element('UploadId', upload.id),
      element('StorageClass', upload.storageClass),
      element('PartNumberMarker', marker),
      element('NextPartNumberMarker', page.at(-1)?.number ?? 0),
      element('MaxParts', limit),
      element('IsTruncated', page.length < behind.length),
      ...page.map(partOf),
    ].join(''),
  );
}
