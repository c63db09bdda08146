import { md5Of } from './body.ts';
import type { BucketOptions } from './bucket.ts';
import { BucketStore } from './bucket-store.ts';
import type { Dialect } from './dialect.ts';
import { complete } from './s3-completion.ts';
import { refused } from './s3-failure.ts';
import { crc32Of, isIntact, isSame } from './s3-guard.ts';
import { S3Removal } from './s3-removal.ts';
import type { ObjectStore } from './store.ts';
import type { Vendor } from './vendors.ts';
import { childOf } from './xml.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

export interface S3Options extends BucketOptions {
  readonly vendor: Vendor;
}

/** A bucket of S3, or of whoever speaks it. */
export const s3Store = (options: S3Options): ObjectStore => new BucketStore(options, dialectOf(options.vendor));

const dialectOf = (vendor: Vendor): Dialect => {
  const { copyMax, metaMax, conditions, copyPart, equalParts, guard } = vendor;
  const removal = new S3Removal(vendor.deleteMany);
  return {
    scheme: 's3',
    prefix: 'x-amz-',
    keyHeader: 'x-amz-server-side-encryption-aws-kms-key-id',
    actions: { list: 's3:ListBucket', uploads: 's3:ListBucketMultipartUploads', create: 's3:CreateBucket' },
    limits: {
      ...{ partMin: 5 * MIB, partMax: 5 * GIB, parts: 10_000, putMax: 5 * GIB, copyMax, metaMax },
      ...{ conditionalPut: conditions.put, conditionalCopy: conditions.copy, conditionalComplete: conditions.complete },
      ...{ copyPart, equalParts },
    },
    heedsAbsence: false,
    isCurt: true,
    namespace: ` ${NAMESPACE}`,
    sumElement: 'ChecksumCRC32',
    summed: guard === 'crc32' ? { 'x-amz-checksum-mode': 'ENABLED' } : {},
    ranged: {},
    beginning: guard === 'crc32' ? { 'x-amz-checksum-algorithm': 'CRC32' } : {},
    // Ceph encodes keys when it is asked to, and does not say so.
    uploadsQuery: [],
    refused,
    conditions: ({ ifMatch, ifAbsent = false } = {}, isCopy = false) => {
      const prefix = isCopy ? vendor.copyConditionPrefix : '';
      return {
        ...(ifMatch !== undefined && { [`${prefix}if-match`]: vendor.bareEtags ? ifMatch : `"${ifMatch}"` }),
        ...(ifAbsent && { [`${prefix}if-none-match`]: '*' }),
      };
    },
    guard: (body) => {
      const checksum = guard === 'crc32' ? crc32Of(body) : undefined;
      return {
        checksum,
        headers:
          checksum === undefined ? { 'content-md5': md5Of(body, 'base64') } : { 'x-amz-checksum-crc32': checksum },
        // It has refused what is not.
        isIntact: () => true,
        isOf: (headers) => isSame(headers, { crc32: crc32Of(body), etag: md5Of(body, 'hex') }),
      };
    },
    isIntact: (data, { etag }, headers) => isIntact([data], { headers, etag, md5Etags: vendor.md5Etags }) !== false,
    copiedSum: (document) => childOf(document, 'ChecksumCRC32')?.text,
    removeMany: (bucket, keys, c) => removal.many(bucket, keys, c),
    complete: (bucket, completion, c) => complete(bucket, completion, vendor.unknownUploadsFail, c),
    creation: (region) => {
      if (vendor.locationUnless === undefined || vendor.locationUnless === region) return {};
      const text = `<CreateBucketConfiguration ${NAMESPACE}><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
      return { headers: { 'content-type': 'application/xml' }, body: [Buffer.from(text)] };
    },
    ownerOf: ({ code, status }) => {
      if (code === 'BucketAlreadyOwnedByYou') return 'us';
      return status !== 409 || vendor.tellsOwner ? 'others' : 'unsaid';
    },
  };
};
