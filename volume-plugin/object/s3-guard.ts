import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { bareEtag } from './answers.ts';
import { md5Of, sizeOf } from './body.ts';
import type { AnswerHeaders } from './dialect.ts';

/** Checksums of bodies, as S3 takes and tells them. */

/** CRC-32 in the form of `x-amz-checksum-crc32`. */
export const crc32Of = (body: readonly Buffer[]): string => {
  let sum = 0;
  for (const bytes of body) sum = crc32(bytes, sum);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
};

/** The ETag of an object that was completed from these parts, where ETags of parts are their MD5; else undefined. */
export const etagOfParts = (etags: readonly string[]): string | undefined => {
  if (!etags.every((etag) => /^[0-9a-f]{32}$/i.test(etag))) return undefined;
  const hash = createHash('md5');
  for (const etag of etags) hash.update(etag, 'hex');
  return `${hash.digest('hex')}-${etags.length}`;
};

/** The same of their CRC-32s, as `x-amz-checksum-crc32` has it. */
export const crc32OfParts = (sums: readonly (string | undefined)[]): string | undefined => {
  const bytes = sums.map((sum) => Buffer.from(sum ?? '', 'base64'));
  return bytes.every(({ length }) => length === 4) ? `${crc32Of(bytes)}-${sums.length}` : undefined;
};

export interface Told {
  readonly headers: AnswerHeaders;
  readonly etag: string;
  readonly md5Etags: boolean;
}

/** MD5 takes 1.3 ms a MiB: where the store has nothing better, larger ones are not checked so. */
const MOST_MD5 = 8 * 2 ** 20;

/**
 * Do the bytes of a whole object have the checksum that the store tells? Undefined: it tells none that can be checked, such as
 * for objects that were uploaded in parts.
 */
export const isIntact = (body: readonly Buffer[], { headers, etag, md5Etags }: Told): boolean | undefined => {
  const sum = headers.get('x-amz-checksum-crc32');
  if (sum !== undefined && /^[A-Za-z0-9+/]{6}==$/.test(sum) && headers.get('x-amz-checksum-type') !== 'COMPOSITE') {
    return crc32Of(body) === sum;
  }
  const isEncrypted =
    headers.get('x-amz-server-side-encryption')?.startsWith('aws:kms') === true ||
    headers.has('x-amz-server-side-encryption-customer-algorithm');
  if (!md5Etags || isEncrypted || !/^[0-9a-f]{32}$/i.test(etag)) return undefined;
  if (sizeOf(body) > MOST_MD5) return undefined;
  return md5Of(body, 'hex') === etag.toLowerCase();
};

/** Has the object that is described so this checksum or this ETag? What was written may be told by the one or the other. */
export const isSame = (
  headers: AnswerHeaders,
  { crc32: sum, etag }: { readonly crc32: string | undefined; readonly etag: string | undefined },
): boolean => {
  const told = headers.get('x-amz-checksum-crc32');
  if (told !== undefined && sum !== undefined) return told === sum;
  return bareEtag(headers.get('etag') ?? '').toLowerCase() === etag;
};
