/** OSS's calls: what they need to be allowed, and how requests name them. */
import type { Routes } from '../objects/actions.ts';
import { refuse } from './errors.ts';

/** Permissions by call. */
export const PERMISSIONS = {
  ListBuckets: 'ListBuckets',
  PutBucket: 'PutBucket',
  DeleteBucket: 'DeleteBucket',
  GetBucketInfo: 'GetBucketInfo',
  GetBucketLocation: 'GetBucketLocation',
  ListObjects: 'ListObjects',
  ListObjectsV2: 'ListObjects',
  ListMultipartUploads: 'ListMultipartUploads',
  DeleteMultipleObjects: 'DeleteObject',
  GetObject: 'GetObject',
  HeadObject: 'GetObject',
  GetObjectMeta: 'GetObject',
  PutObject: 'PutObject',
  CopyObject: 'PutObject',
  DeleteObject: 'DeleteObject',
  InitiateMultipartUpload: 'PutObject',
  UploadPart: 'PutObject',
  UploadPartCopy: 'PutObject',
  CompleteMultipartUpload: 'PutObject',
  AbortMultipartUpload: 'AbortMultipartUpload',
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
    GET: 'ListObjects',
    'GET list-type': 'ListObjectsV2',
    'GET bucketInfo': 'GetBucketInfo',
    'GET location': 'GetBucketLocation',
    'GET uploads': 'ListMultipartUploads',
    'POST delete': 'DeleteMultipleObjects',
    PUT: 'PutBucket',
    DELETE: 'DeleteBucket',
  },
  object: {
    GET: 'GetObject',
    HEAD: 'HeadObject',
    'HEAD objectMeta': 'GetObjectMeta',
    PUT: 'PutObject',
    DELETE: 'DeleteObject',
    'POST uploads': 'InitiateMultipartUpload',
    'PUT uploadId': 'UploadPart',
    'POST uploadId': 'CompleteMultipartUpload',
    'DELETE uploadId': 'AbortMultipartUpload',
    'GET uploadId': 'ListParts',
  },
  copySource: 'x-oss-copy-source',
  copies: { PutObject: 'CopyObject', UploadPart: 'UploadPartCopy' },
  words: WORDS,
  wrongMethod: 'NotImplemented',
  wrongPath: 'InvalidObjectName',
  refuse,
  // Only where the host is an address.
  isInPath: (host) => /^(\d+\.){3}\d+$|^\[/.test(host),
};
