/** OSS's calls: what they need to be allowed, and how requests name them. */
import type { Routes } from '../objects/actions.ts';
import { COMMON_PERMISSIONS, COMMON_ROUTES } from '../objects/common-calls.ts';
import { refuse } from './errors.ts';

/** Permissions by call. */
export const PERMISSIONS = {
  ...COMMON_PERMISSIONS,
  ListBuckets: 'ListBuckets',
  PutBucket: 'PutBucket',
  GetBucketInfo: 'GetBucketInfo',
  ListObjects: 'ListObjects',
  ListObjectsV2: 'ListObjects',
  ListMultipartUploads: 'ListMultipartUploads',
  DeleteMultipleObjects: 'DeleteObject',
  GetObjectMeta: 'GetObject',
  InitiateMultipartUpload: 'PutObject',
  ListParts: 'ListParts',
} as const;

export type OssAction = keyof typeof PERMISSIONS;

/** Words of the query that name a call. Most are not simulated. */
const WORDS = [
  ...['acl', 'bucketInfo', 'cors', 'delete', 'encryption', 'lifecycle', 'location', 'logging', 'objectMeta', 'policy'],
  ...[
    'referer',
    'restore',
    'select/object',
    'stat',
    'symlink',
    'tagging',
    'uploads',
    'versioning',
    'versions',
    'website',
  ],
  ...['worm', 'append', 'inventory', 'requestPayment', 'x-oss-process'],
];

export const OSS_ROUTES: Routes<OssAction> = {
  bucket: {
    ...COMMON_ROUTES.bucket,
    'GET bucketInfo': 'GetBucketInfo',
    'POST delete': 'DeleteMultipleObjects',
    PUT: 'PutBucket',
  },
  object: {
    ...COMMON_ROUTES.object,
    'HEAD objectMeta': 'GetObjectMeta',
    'POST uploads': 'InitiateMultipartUpload',
  },
  copySource: 'x-oss-copy-source',
  copies: COMMON_ROUTES.copies,
  words: WORDS,
  wrongMethod: 'NotImplemented',
  wrongPath: 'InvalidObjectName',
  refuse,
  // Only where the host is an address.
  isInPath: (host) => /^(\d+\.){3}\d+$|^\[/.test(host),
};
