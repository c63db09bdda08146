/** What OSS alone says in listings. */
import type { StoredObject } from '../objects/bucket.ts';
import type { Coder, ListWords } from '../objects/dialect.ts';
import { queried } from '../objects/message.ts';
import { iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element } from '../objects/xml.ts';
import { refuse } from './errors.ts';

const OWNER = '<Owner><ID>0022012****</ID><DisplayName>user_example</DisplayName></Owner>';

const argument = (name: string, value: string) =>
  refuse('InvalidArgument', `The argument ${name} is not valid.`, { ArgumentName: name, ArgumentValue: value });

/** OSS answers 100 where nothing is asked for, and refuses more than 1000. */
const limitOf = (call: ObjectCall, name: string, usual = 100): number => {
  const text = queried(call.request, name);
  if (text === undefined || text === '') return usual;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 1000) throw argument(name, text);
  return number;
};

/** As keys are written in the answer. */
export const coderOf = (call: ObjectCall): Coder => {
  const type = queried(call.request, 'encoding-type');
  if (type !== undefined && type !== 'url' && type !== '') throw argument('encoding-type', type);
  return type === 'url' ? { encode: encodeURIComponent, type } : { encode: (text) => text, type: undefined };
};

const contents = (object: StoredObject, encode: Coder['encode'], owner: boolean): string =>
  `<Contents>${element('Key', encode(object.key))}${element('LastModified', iso(object.modified))}${element('ETag', `"${object.etag}"`)}${element('Type', 'Normal')}${element('Size', object.size)}${element('StorageClass', object.storageClass)}${owner ? OWNER : ''}</Contents>`;

const tokenOf = (last: string): string => Buffer.from(`t${last}`).toString('base64');

export const ossLists: ListWords = {
  isCurt: false,
  byAge: false,
  limitOf,
  coderOf,
  contents,
  upload: () => '',
  part: ({ checksums }) => element('HashCrc64ecma', checksums['crc64']),
  tokenOf,
  lastOf: (token = '') => {
    if (token === '') return undefined;
    const last = Buffer.from(token, 'base64').toString('utf8').slice(1);
    if (tokenOf(last) !== token) throw argument('continuation-token', token);
    return last;
  },
};
