/** Listings, of both versions. */
import type { Listed } from '../objects/bucket.ts';
import { type ObjectReply, queried } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import { iso, type OssWorld, xmlReply } from './world.ts';

const OWNER = '<Owner><ID>0022012****</ID><DisplayName>user_example</DisplayName></Owner>';

const argument = (name: string, value: string) =>
  refuse('InvalidArgument', `The argument ${name} is not valid.`, { ArgumentName: name, ArgumentValue: value });

/** OSS answers 100 where nothing is asked for, and refuses more than 1000. */
export const limitOf = (call: ObjectCall, name: string, usual = 100): number => {
  const text = queried(call.request, name);
  if (text === undefined || text === '') return usual;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 1000) throw argument(name, text);
  return number;
};

/** As keys are written in the answer. */
export const coderOf = (call: ObjectCall): { encode: (text: string) => string; type: string | undefined } => {
  const type = queried(call.request, 'encoding-type');
  if (type !== undefined && type !== 'url' && type !== '') throw argument('encoding-type', type);
  return type === 'url' ? { encode: encodeURIComponent, type } : { encode: (text) => text, type: undefined };
};

const content = (listed: Listed, encode: (text: string) => string, owner: boolean): string =>
  [
    ...listed.objects.map(
      (object) =>
        `<Contents>${element('Key', encode(object.key))}${element('LastModified', iso(object.modified))}${element('ETag', `"${object.etag}"`)}${element('Type', 'Normal')}${element('Size', object.size)}${element('StorageClass', object.storageClass)}${owner ? OWNER : ''}</Contents>`,
    ),
    ...listed.prefixes.map((each) => `<CommonPrefixes>${element('Prefix', encode(each))}</CommonPrefixes>`),
  ].join('');

const tokenOf = (last: string): string => Buffer.from(`t${last}`).toString('base64');

export function listObjectsV2(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { request } = call;
  const { encode, type } = coderOf(call);
  const [prefix = '', delimiter = '', token = '', start = ''] = [
    'prefix',
    'delimiter',
    'continuation-token',
    'start-after',
  ].map((name) => queried(request, name));
  const limit = limitOf(call, 'max-keys');
  const after = token === '' ? start : Buffer.from(token, 'base64').toString('utf8').slice(1);
  if (token !== '' && tokenOf(after) !== token) throw argument('continuation-token', token);
  const listed = bucket.list(prefix, delimiter, after, token !== '', limit);
  return xmlReply(
    'ListBucketResult',
    [
      element('Name', call.bucket),
      element('Prefix', encode(prefix)),
      element('StartAfter', encode(start)),
      element('MaxKeys', limit),
      element('Delimiter', encode(delimiter)),
      element('EncodingType', type),
      element('IsTruncated', listed.truncated),
      listed.truncated ? element('NextContinuationToken', tokenOf(listed.last)) : '',
      element('KeyCount', listed.objects.length + listed.prefixes.length),
      content(listed, encode, queried(request, 'fetch-owner') === 'true'),
    ].join(''),
  );
}

export function listObjects(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { encode, type } = coderOf(call);
  const [prefix = '', delimiter = '', marker = ''] = ['prefix', 'delimiter', 'marker'].map((name) =>
    queried(call.request, name),
  );
  const limit = limitOf(call, 'max-keys');
  const listed = bucket.list(prefix, delimiter, marker, true, limit);
  return xmlReply(
    'ListBucketResult',
    [
      element('Name', call.bucket),
      element('Prefix', encode(prefix)),
      element('Marker', encode(marker)),
      element('MaxKeys', limit),
      element('Delimiter', encode(delimiter)),
      element('EncodingType', type),
      element('IsTruncated', listed.truncated),
      listed.truncated ? element('NextMarker', encode(listed.last)) : '',
      content(listed, encode, true),
    ].join(''),
  );
}
