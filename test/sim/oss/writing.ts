/** What comes with a new object. */
import type { StoredObject } from '../objects/bucket.ts';
import { hashOf } from '../objects/checksums.ts';
import { type Describable, type Described, describe as described } from '../objects/describing.ts';
import type { ObjectCall } from '../objects/service.ts';
import { sumsOf } from './checksums.ts';
import { refuse } from './errors.ts';

/** Of OSS's headers. */
export const PREFIX = 'x-oss-';

const TAKES: Describable = {
  prefix: PREFIX,
  metaMax: 8192,
  classes: ['Standard', 'IA', 'Archive', 'ColdArchive', 'DeepColdArchive'],
  encryptions: ['AES256', 'KMS', 'SM4'],
  keyHeader: 'x-oss-server-side-encryption-key-id',
  tooMuchMeta: () => refuse('InvalidArgument', 'The user metadata is too large.'),
  noSuchClass: () => refuse('InvalidArgument', 'The storage class is not valid.'),
  noSuchEncryption: () => refuse('InvalidEncryptionAlgorithmError'),
};
const TYPES: Readonly<Record<string, string>> = {
  txt: 'text/plain',
  html: 'text/html',
  jpg: 'image/jpeg',
  png: 'image/png',
};

/** Metadata and headers of a new object. Throws Refusal. */
export function describe(call: ObjectCall): Described {
  const made = described(call.request.headers, TAKES);
  const wrong = Object.keys(made.meta).find((name) => !/^[a-z0-9_.-]*$/.test(name));
  if (wrong !== undefined) throw refuse('InvalidArgument', `The metadata ${wrong} is not valid.`);
  // Where nothing is said, the name's ending says it.
  made.headers['content-type'] ??= TYPES[/\.(\w+)$/.exec(call.key)?.[1] ?? ''] ?? 'application/octet-stream';
  return made;
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

/** Checks the digest that came with a body; answers the checksum that OSS keeps. */
export function sums(call: ObjectCall): Record<string, string> {
  checkDigest(call);
  return sumsOf(call.body);
}

/** `x-oss-forbid-overwrite`; OSS has no other condition for writes, and overlooks If-Match. */
export function checkOverwrite({ request, key }: ObjectCall, there: StoredObject | undefined): void {
  const forbid = request.headers['x-oss-forbid-overwrite'] === 'true';
  if (forbid && there !== undefined) throw refuse('FileAlreadyExists', undefined, { ObjectKey: key });
}
