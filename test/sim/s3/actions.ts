/** S3's calls: what they need to be allowed, and how requests name them. */
import type { Routes } from '../objects/actions.ts';
import { refuse } from './errors.ts';

/** Permissions by call: on the bucket or on the object. */
export const PERMISSIONS = {
  ListBuckets: 'ListAllMyBuckets',
  CreateBucket: 'CreateBucket',
  DeleteBucket: 'DeleteBucket',
  HeadBucket: 'ListBucket',
  GetBucketLocation: 'GetBucketLocation',
  GetBucketVersioning: 'GetBucketVersioning',
  ListObjects: 'ListBucket',
  ListObjectsV2: 'ListBucket',
  ListMultipartUploads: 'ListBucketMultipartUploads',
  DeleteObjects: 'DeleteObject',
  GetObject: 'GetObject',
  HeadObject: 'GetObject',
  PutObject: 'PutObject',
  CopyObject: 'PutObject',
  DeleteObject: 'DeleteObject',
  CreateMultipartUpload: 'PutObject',
  UploadPart: 'PutObject',
  UploadPartCopy: 'PutObject',
  CompleteMultipartUpload: 'PutObject',
  AbortMultipartUpload: 'AbortMultipartUpload',
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
    GET: 'ListObjects',
    'GET list-type': 'ListObjectsV2',
    'GET location': 'GetBucketLocation',
    'GET versioning': 'GetBucketVersioning',
    'GET uploads': 'ListMultipartUploads',
    'POST delete': 'DeleteObjects',
    HEAD: 'HeadBucket',
    PUT: 'CreateBucket',
    DELETE: 'DeleteBucket',
  },
  object: {
    GET: 'GetObject',
    HEAD: 'HeadObject',
    PUT: 'PutObject',
    DELETE: 'DeleteObject',
    'POST uploads': 'CreateMultipartUpload',
    'PUT uploadId': 'UploadPart',
    'POST uploadId': 'CompleteMultipartUpload',
    'DELETE uploadId': 'AbortMultipartUpload',
    'GET uploadId': 'ListParts',
  },
  copySource: 'x-amz-copy-source',
  copies: { PutObject: 'CopyObject', UploadPart: 'UploadPartCopy' },
  words: WORDS,
  wrongMethod: 'MethodNotAllowed',
  wrongPath: 'InvalidURI',
  refuse,
  isInPath: () => true,
};
