/** Listings, of both versions, and of uploads. */
import type { Listed, StoredObject } from '../objects/bucket.ts';
import { type ObjectReply, queried } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import { iso, type S3World, xmlReply } from './world.ts';

const OWNER = '<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>';

const argument = (name: string, value: string, message: string) =>
  refuse('InvalidArgument', message, { ArgumentName: name, ArgumentValue: value });

export const limitOf = (call: ObjectCall, name: string): number => {
  const text = queried(call.request, name);
  if (text === undefined) return 1000;
  if (!/^\d{1,10}$/.test(text)) throw argument(name, text, `Provided ${name} not an integer or within integer range`);
  return Math.min(1000, Number(text));
};

/** As keys are written in the answer. S3 leaves `/` and `*` as they are. */
const coderOf = (call: ObjectCall): { encode: (text: string) => string; type: string | undefined } => {
  const type = queried(call.request, 'encoding-type');
  if (type !== undefined && type !== 'url')
    throw argument('encoding-type', type, 'Invalid Encoding Method specified in Request');
  const encode = (text: string): string =>
    encodeURIComponent(text)
      .replaceAll('%2F', '/')
      .replaceAll('%20', '+')
      .replace(/[!'()]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
  return { encode: type === undefined ? (text) => text : encode, type };
};

const contents = (object: StoredObject, encode: (text: string) => string, owner: boolean): string =>
  `<Contents>${element('Key', encode(object.key))}${element('LastModified', iso(object.modified))}${element('ETag', `"${object.etag}"`)}${element('Size', object.size)}${owner ? OWNER : ''}${element('StorageClass', object.storageClass)}</Contents>`;

const prefixesOf = (listed: Listed, encode: (text: string) => string): string =>
  listed.prefixes.map((each) => `<CommonPrefixes>${element('Prefix', encode(each))}</CommonPrefixes>`).join('');

/** Tokens are opaque: nobody shall build one. */
const tokenOf = (last: string): string => `1${Buffer.from(`${last.length}:${last}`).toString('base64')}`;

const lastOf = (token: string): string => {
  const text = Buffer.from(token.slice(1), 'base64').toString('utf8');
  const last = text.slice(text.indexOf(':') + 1);
  if (tokenOf(last) !== token) {
    throw argument('continuation-token', token, 'The continuation token provided is incorrect');
  }
  return last;
};

export function listObjectsV2(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { request } = call;
  const { encode, type } = coderOf(call);
  const [prefix = '', delimiter = '', token, start] = ['prefix', 'delimiter', 'continuation-token', 'start-after'].map(
    (name) => queried(request, name),
  );
  const limit = limitOf(call, 'max-keys');
  if (token === '') throw argument('continuation-token', '', 'The continuation token provided is incorrect');
  const after = token === undefined ? (start ?? '') : lastOf(token);
  const listed = bucket.list(prefix, delimiter, after, token !== undefined, limit);
  const owner = queried(request, 'fetch-owner') === 'true';
  const truncated = listed.truncated && limit > 0;
  return xmlReply(
    'ListBucketResult',
    [
      element('Name', call.bucket),
      element('Prefix', encode(prefix)),
      delimiter === '' ? '' : element('Delimiter', encode(delimiter)),
      element('MaxKeys', limit),
      element('EncodingType', type),
      element('KeyCount', listed.objects.length + listed.prefixes.length),
      element('IsTruncated', truncated),
      element('ContinuationToken', token),
      truncated ? element('NextContinuationToken', tokenOf(listed.last)) : '',
      start === undefined ? '' : element('StartAfter', encode(start)),
      ...listed.objects.map((object) => contents(object, encode, owner)),
      prefixesOf(listed, encode),
    ].join(''),
  );
}

export function listObjects(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { encode, type } = coderOf(call);
  const [prefix = '', delimiter = '', marker = ''] = ['prefix', 'delimiter', 'marker'].map((name) =>
    queried(call.request, name),
  );
  const limit = limitOf(call, 'max-keys');
  const listed = bucket.list(prefix, delimiter, marker, true, limit);
  const truncated = listed.truncated && limit > 0;
  return xmlReply(
    'ListBucketResult',
    [
      element('Name', call.bucket),
      element('Prefix', encode(prefix)),
      element('Marker', encode(marker)),
      // Without a delimiter S3 does not tell it: the last key is the next marker.
      truncated && delimiter !== '' ? element('NextMarker', encode(listed.last)) : '',
      element('MaxKeys', limit),
      delimiter === '' ? '' : element('Delimiter', encode(delimiter)),
      element('EncodingType', type),
      element('IsTruncated', truncated),
      ...listed.objects.map((object) => contents(object, encode, true)),
      prefixesOf(listed, encode),
    ].join(''),
  );
}

export function listUploads(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { encode, type } = coderOf(call);
  const [prefix = '', keyMarker = '', idMarker = ''] = ['prefix', 'key-marker', 'upload-id-marker'].map((name) =>
    queried(call.request, name),
  );
  const limit = limitOf(call, 'max-uploads');
  const behind = [...bucket.uploads.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .sort(
      (a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || a.begun - b.begun || (a.id < b.id ? -1 : 1),
    );
  const from = behind.findIndex(
    ({ key, id }) => key > keyMarker || (key === keyMarker && idMarker !== '' && id === idMarker),
  );
  // An upload id marks itself, and what follows comes.
  const begin = keyMarker === '' ? 0 : from < 0 ? behind.length : behind[from]?.key === keyMarker ? from + 1 : from;
  const page = behind.slice(begin, begin + limit);
  const last = page.at(-1);
  const truncated = begin + page.length < behind.length;
  return xmlReply(
    'ListMultipartUploadsResult',
    [
      element('Bucket', call.bucket),
      element('KeyMarker', encode(keyMarker)),
      element('UploadIdMarker', idMarker),
      truncated
        ? element('NextKeyMarker', encode(last?.key ?? '')) + element('NextUploadIdMarker', last?.id ?? '')
        : '',
      element('Prefix', encode(prefix)),
      element('MaxUploads', limit),
      element('EncodingType', type),
      element('IsTruncated', truncated),
      ...page.map(
        ({ key, id, begun, storageClass }) =>
          `<Upload>${element('Key', encode(key))}${element('UploadId', id)}${OWNER}${element('StorageClass', storageClass)}${element('Initiated', iso(begun))}</Upload>`,
      ),
    ].join(''),
  );
}
