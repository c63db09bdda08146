/** The calls that all vendors have under one name. */
import { listObjects, listObjectsV2, listParts, listUploads } from './listing.ts';
import { getObject } from './reading.ts';
import { abortUpload, uploadPart } from './uploads.ts';
import { putObject } from './writing.ts';

/** How requests name them; each vendor has more. */
export const COMMON_ROUTES = {
  bucket: {
    GET: 'ListObjects',
    'GET list-type': 'ListObjectsV2',
    'GET location': 'GetBucketLocation',
    'GET uploads': 'ListMultipartUploads',
    DELETE: 'DeleteBucket',
  },
  object: {
    GET: 'GetObject',
    HEAD: 'HeadObject',
    PUT: 'PutObject',
    DELETE: 'DeleteObject',
    'PUT uploadId': 'UploadPart',
    'POST uploadId': 'CompleteMultipartUpload',
    'DELETE uploadId': 'AbortMultipartUpload',
    'GET uploadId': 'ListParts',
  },
  copies: { PutObject: 'CopyObject', UploadPart: 'UploadPartCopy' },
} as const;

/** What they need to be allowed, of those whose permissions have the same names too. */
export const COMMON_PERMISSIONS = {
  DeleteBucket: 'DeleteBucket',
  GetBucketLocation: 'GetBucketLocation',
  GetObject: 'GetObject',
  HeadObject: 'GetObject',
  PutObject: 'PutObject',
  CopyObject: 'PutObject',
  DeleteObject: 'DeleteObject',
  UploadPart: 'PutObject',
  UploadPartCopy: 'PutObject',
  CompleteMultipartUpload: 'PutObject',
  AbortMultipartUpload: 'AbortMultipartUpload',
} as const;

/** What does them, where that is the same but for the vendor's words. */
export const COMMON_PERFORM = {
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListMultipartUploads: listUploads,
  ListParts: listParts,
  GetObject: getObject,
  HeadObject: getObject,
  PutObject: putObject,
  UploadPart: uploadPart,
  AbortMultipartUpload: abortUpload,
} as const;
