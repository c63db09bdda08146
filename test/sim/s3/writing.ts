/** What comes with a new object: metadata, checksums, limits. */
import type { StoredUpload } from '../objects/bucket.ts';
import { CHECKSUM_NAMES, CHECKSUMS, type ChecksumName, hashOf } from '../objects/checksums.ts';
import { type Describable, type Described, describe as described } from '../objects/describing.ts';
import type { ObjectCall } from '../objects/service.ts';
import { badChecksum } from './chunked.ts';
import { refuse } from './errors.ts';

/** Of S3's headers. */
export const PREFIX = 'x-amz-';

const TAKES: Describable = {
  prefix: PREFIX,
  metaMax: 2048,
  classes: [
    ...['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER', 'GLACIER_IR'],
    ...['DEEP_ARCHIVE', 'EXPRESS_ONEZONE'],
  ],
  encryptions: ['AES256', 'aws:kms', 'aws:kms:dsse'],
  keyHeader: 'x-amz-server-side-encryption-aws-kms-key-id',
  tooMuchMeta: (size) => refuse('MetadataTooLarge', undefined, { Size: String(size), MaxSizeAllowed: '2048' }),
  noSuchClass: (name) => refuse('InvalidStorageClass', undefined, { StorageClassRequested: name }),
  noSuchEncryption: (name) =>
    refuse('InvalidArgument', 'The encryption method specified is not supported', {
      ArgumentName: 'x-amz-server-side-encryption',
      ArgumentValue: name,
    }),
};

/** Metadata and headers of a new object. Refusals: MetadataTooLarge, InvalidStorageClass. */
export function describe({ request }: ObjectCall): Described {
  // The coding of the request is none of the object.
  const encoding = (request.headers['content-encoding'] ?? '').replace(/^aws-chunked,? */, '');
  return described({ ...request.headers, 'content-encoding': encoding }, TAKES);
}

/** Checks the key's length: bytes of UTF-8. */
export function checkKey(key: string): void {
  const size = Buffer.byteLength(key);
  if (size > 1024) throw refuse('KeyTooLongError', undefined, { Size: String(size), MaxSizeAllowed: '1024' });
}

/** Checks the sums that came with a body; answers those of S3's own algorithms. A part of an upload must have the upload's. */
export function sums(call: ObjectCall, upload?: StoredUpload): Record<string, string> {
  const { headers } = call.request;
  const md5 = headers['content-md5'];
  if (md5 !== undefined) {
    if (Buffer.from(md5, 'base64').length !== 16) throw refuse('InvalidDigest', undefined, { 'Content-MD5': md5 });
    const computed = hashOf('md5', call.body).toString('base64');
    if (computed !== md5) throw refuse('BadDigest', undefined, { ExpectedDigest: md5, CalculatedDigest: computed });
  }
  const checked: Record<string, string> = {};
  for (const name of CHECKSUM_NAMES) {
    const given = headers[`x-amz-checksum-${name}`];
    const trailer = headers['x-amz-trailer']?.toLowerCase() === `x-amz-checksum-${name}`;
    if (given === undefined && !trailer) continue;
    // What a trailer says was checked when the body was read.
    const computed = CHECKSUMS[name](call.body);
    if (given !== undefined && given !== computed) throw badChecksum(name);
    checked[name] = computed;
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
  const wanted = upload?.checksum?.name;
  const [given = 'null'] = Object.keys(checked);
  if (wanted !== undefined && given !== wanted) {
    throw refuse(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${wanted}, actual checksum Type: ${given}`,
    );
  }
  return checked;
}
