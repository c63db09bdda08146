/** What S3 alone says in listings. */
import type { StoredObject } from '../objects/bucket.ts';
import type { Coder, ListWords } from '../objects/dialect.ts';
import { queried } from '../objects/message.ts';
import { iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element } from '../objects/xml.ts';
import { sumElements } from './checksums.ts';
import { refuse } from './errors.ts';

const OWNER = '<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>';

const argument = (name: string, value: string, message: string) =>
  refuse('InvalidArgument', message, { ArgumentName: name, ArgumentValue: value });

const limitOf = (call: ObjectCall, name: string): number => {
  const text = queried(call.request, name);
  if (text === undefined) return 1000;
  if (!/^\d{1,10}$/.test(text)) throw argument(name, text, `Provided ${name} not an integer or within integer range`);
  return Math.min(1000, Number(text));
};

/** As keys are written in the answer. S3 leaves `/` and `*` as they are. */
const coderOf = ({ action, request }: ObjectCall): Coder => {
  // Listings of parts have no such thing.
  const type = action === 'ListParts' ? undefined : queried(request, 'encoding-type');
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

/** Tokens are opaque: nobody shall build one. */
const tokenOf = (last: string): string => `1${Buffer.from(`${last.length}:${last}`).toString('base64')}`;

const lastOf = (token: string | undefined): string | undefined => {
  if (token === undefined) return undefined;
  const text = Buffer.from(token.slice(1), 'base64').toString('utf8');
  const last = text.slice(text.indexOf(':') + 1);
  if (tokenOf(last) !== token) {
    throw argument('continuation-token', token, 'The continuation token provided is incorrect');
  }
  return last;
};

export const s3Lists: ListWords = {
  isCurt: true,
  byAge: true,
  limitOf,
  coderOf,
  contents,
  upload: ({ storageClass }) => OWNER + element('StorageClass', storageClass),
  part: ({ checksums }) => sumElements(checksums),
  tokenOf,
  lastOf,
};
