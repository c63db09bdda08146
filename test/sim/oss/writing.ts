/** What comes with a new object. */
import type { Bucket } from '../objects/bucket.ts';
import { hashOf } from '../objects/checksums.ts';
import type { ObjectCall } from '../objects/service.ts';
import { refuse } from './errors.ts';

const KEPT = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
];
const CLASSES = ['Standard', 'IA', 'Archive', 'ColdArchive', 'DeepColdArchive'];
const META = 'x-oss-meta-';
const META_LIMIT = 8192;
const TYPES: Readonly<Record<string, string>> = {
  txt: 'text/plain',
  html: 'text/html',
  jpg: 'image/jpeg',
  png: 'image/png',
};

export interface Described {
  readonly meta: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly storageClass: string;
}

/** Metadata and headers of a new object. Throws Refusal. */
export function describe(call: ObjectCall): Described {
  const sent = call.request.headers;
  const meta: Record<string, string> = {};
  let size = 0;
  for (const [name, value] of Object.entries(sent)) {
    if (!name.startsWith(META)) continue;
    if (!/^[a-z0-9_.-]+$/.test(name)) throw refuse('InvalidArgument', `The metadata ${name} is not valid.`);
    meta[name.slice(META.length)] = value;
    size += Buffer.byteLength(name) - META.length + Buffer.byteLength(value);
  }
  if (size > META_LIMIT) throw refuse('InvalidArgument', 'The user metadata is too large.');
  const headers: Record<string, string> = {};
  for (const name of KEPT) {
    const value = sent[name];
    if (value !== undefined && value !== '') headers[name] = value;
  }
  // Where nothing is said, the name's ending says it.
  headers['content-type'] ??= TYPES[/\.(\w+)$/.exec(call.key)?.[1] ?? ''] ?? 'application/octet-stream';
  const storageClass = sent['x-oss-storage-class'] ?? 'Standard';
  if (!CLASSES.includes(storageClass)) throw refuse('InvalidArgument', 'The storage class is not valid.');
  const sse = sent['x-oss-server-side-encryption'];
  if (sse !== undefined && !['AES256', 'KMS', 'SM4'].includes(sse)) throw refuse('InvalidEncryptionAlgorithmError');
  if (sse !== undefined) headers['x-oss-server-side-encryption'] = sse;
  const key = sent['x-oss-server-side-encryption-key-id'];
  if (key !== undefined) headers['x-oss-server-side-encryption-key-id'] = key;
  return { meta, headers, storageClass };
}

/** 1 to 1023 bytes of UTF-8, and not beginning with a slash or a backslash. */
export function checkKey(key: string): void {
  if (Buffer.byteLength(key) > 1023 || /^[/\\]/.test(key))
    throw refuse('InvalidObjectName', undefined, { ObjectName: key });
}

export function checkDigest(call: ObjectCall): void {
  const md5 = call.request.headers['content-md5'];
  if (md5 === undefined) return;
  if (hashOf('md5', call.body).toString('base64') !== md5)
    throw refuse('InvalidDigest', undefined, { ContentMD5: md5 });
}

/** `x-oss-forbid-overwrite`; OSS has no other condition for writes, and overlooks If-Match. */
export function checkOverwrite(call: ObjectCall, bucket: Bucket): void {
  const forbid = call.request.headers['x-oss-forbid-overwrite'] === 'true';
  if (forbid && bucket.find(call.key) !== undefined)
    throw refuse('FileAlreadyExists', undefined, { ObjectKey: call.key });
}

export function checkRoom(bucket: Bucket, key: string | undefined, size: number): void {
  if (bucket.isFull(key, size)) throw refuse('QuotaExceeded', undefined, { BucketName: bucket.name });
}
