/** What comes with a new object: metadata, checksums, limits. */
import type { Bucket } from '../objects/bucket.ts';
import { CHECKSUM_NAMES, CHECKSUMS, type ChecksumName, hashOf } from '../objects/checksums.ts';
import { sizeOf } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
import { badChecksum } from './chunked.ts';
import { refuse } from './errors.ts';

const KEPT = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];
const CLASSES = [
  ...['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'DEEP_ARCHIVE'],
  ...['GLACIER_IR', 'EXPRESS_ONEZONE'],
];
const META = 'x-amz-meta-';
const META_LIMIT = 2048;

export interface Described {
  readonly meta: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly storageClass: string;
}

/** Metadata and headers of a new object. Refusals: MetadataTooLarge, InvalidStorageClass. */
export function describe(call: ObjectCall): Described {
  const sent = call.request.headers;
  const meta: Record<string, string> = {};
  let size = 0;
  for (const [name, value] of Object.entries(sent)) {
    if (!name.startsWith(META)) continue;
    meta[name.slice(META.length)] = value;
    size += Buffer.byteLength(name) - META.length + Buffer.byteLength(value);
  }
  if (size > META_LIMIT) {
    throw refuse('MetadataTooLarge', undefined, { Size: String(size), MaxSizeAllowed: String(META_LIMIT) });
  }
  const headers: Record<string, string> = {};
  for (const name of KEPT) {
    const value = name === 'content-encoding' ? sent[name]?.replace(/^aws-chunked,? */, '') : sent[name];
    if (value !== undefined && value !== '') headers[name] = value;
  }
  const storageClass = sent['x-amz-storage-class'] ?? 'STANDARD';
  if (!CLASSES.includes(storageClass))
    throw refuse('InvalidStorageClass', undefined, { StorageClassRequested: storageClass });
  const sse = sent['x-amz-server-side-encryption'];
  if (sse !== undefined && !['AES256', 'aws:kms', 'aws:kms:dsse'].includes(sse)) {
    throw refuse('InvalidArgument', 'The encryption method specified is not supported', {
      ArgumentName: 'x-amz-server-side-encryption',
      ArgumentValue: sse,
    });
  }
  if (sse !== undefined) headers['x-amz-server-side-encryption'] = sse;
  const kms = sent['x-amz-server-side-encryption-aws-kms-key-id'];
  if (kms !== undefined) headers['x-amz-server-side-encryption-aws-kms-key-id'] = kms;
  return { meta, headers, storageClass };
}

/** Checks the key's length: bytes of UTF-8. */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key);
  if (size > 1024) throw refuse('KeyTooLongError', undefined, { Size: String(size), MaxSizeAllowed: '1024' });
}

/** Checks the sums that came with a body; answers those of S3's own algorithms. */
export function checkSums(call: ObjectCall): Record<string, string> {
  const { headers } = call.request;
  const md5 = headers['content-md5'];
  if (md5 !== undefined) {
    if (Buffer.from(md5, 'base64').length !== 16) throw refuse('InvalidDigest', undefined, { 'Content-MD5': md5 });
    const computed = hashOf('md5', call.body).toString('base64');
    if (computed !== md5) throw refuse('BadDigest', undefined, { ExpectedDigest: md5, CalculatedDigest: computed });
  }
  const sums: Record<string, string> = {};
  for (const name of CHECKSUM_NAMES) {
    const given = headers[`x-amz-checksum-${name}`];
    const trailer = headers['x-amz-trailer']?.toLowerCase() === `x-amz-checksum-${name}`;
    if (given === undefined && !trailer) continue;
    // What a trailer says was checked when the body was read.
    const computed = CHECKSUMS[name](call.body);
    if (given !== undefined && given !== computed) throw badChecksum(name);
    sums[name] = computed;
  }
  const named = Object.keys(headers).filter((name) => /^x-amz-checksum-/.test(name));
  const algorithms = named.filter((name) => !/-(algorithm|type|mode)$/.test(name));
  if (algorithms.length > 1)
    throw refuse(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  for (const name of algorithms) {
    if (CHECKSUM_NAMES.includes(name.slice('x-amz-checksum-'.length) as ChecksumName)) continue;
    throw refuse('InvalidRequest', 'The algorithm type you specified in x-amz-checksum- header is invalid.');
  }
  return sums;
}

/** The bucket takes so many bytes more, under that key. Refusals: QuotaExceeded. */
export function checkRoom(bucket: Bucket, key: string | undefined, body: readonly Buffer[] | number): void {
  if (bucket.isFull(key, typeof body === 'number' ? body : sizeOf(body))) {
    throw refuse('QuotaExceeded', undefined, { BucketName: bucket.name });
  }
}
