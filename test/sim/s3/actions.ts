/** S3's calls: what they need to be allowed, and how requests name them. */
import type { Routes } from '../objects/actions.ts';
import { COMMON_PERMISSIONS, COMMON_ROUTES } from '../objects/common-calls.ts';
import { refuse } from './errors.ts';

/** Permissions by call: on the bucket or on the object. */
export const PERMISSIONS = {
  ...COMMON_PERMISSIONS,
  ListBuckets: 'ListAllMyBuckets',
  CreateBucket: 'CreateBucket',
  HeadBucket: 'ListBucket',
  GetBucketVersioning: 'GetBucketVersioning',
  ListObjects: 'ListBucket',
  ListObjectsV2: 'ListBucket',
  ListMultipartUploads: 'ListBucketMultipartUploads',
  DeleteObjects: 'DeleteObject',
  CreateMultipartUpload: 'PutObject',
  ListParts: 'ListMultipartUploadParts',
} as const;

export type S3Action = keyof typeof PERMISSIONS;

/** Words of the query that name a call. Most are not simulated. */
const WORDS = [
  ...[
    'accelerate',
    'acl',
    'analytics',
    'attributes',
    'cors',
    'delete',
    'encryption',
    'inventory',
    'legal-hold',
    'lifecycle',
  ],
  ...['location', 'logging', 'metrics', 'notification', 'object-lock', 'ownershipControls', 'policy', 'policyStatus'],
  ...['publicAccessBlock', 'replication', 'requestPayment', 'restore', 'retention', 'select', 'session', 'tagging'],
  ...['torrent', 'uploads', 'versioning', 'versions', 'website'],
];

export const S3_ROUTES: Routes<S3Action> = {
  bucket: {
    ...COMMON_ROUTES.bucket,
    'GET versioning': 'GetBucketVersioning',
    'POST delete': 'DeleteObjects',
    HEAD: 'HeadBucket',
    PUT: 'CreateBucket',
  },
  object: {
    ...COMMON_ROUTES.object,
    'POST uploads': 'CreateMultipartUpload',
  },
  copySource: 'x-amz-copy-source',
  copies: COMMON_ROUTES.copies,
  words: WORDS,
  wrongMethod: 'MethodNotAllowed',
  wrongPath: 'InvalidURI',
  refuse,
  isInPath: () => true,
};
