/** Which call a request is, and what it needs to be allowed. */
import { type ObjectRequest, queried } from '../objects/message.ts';
import { Refusal } from '../objects/refusal.ts';
import type { ObjectCall } from '../objects/service.ts';

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

export const isWrite = (action: S3Action): boolean => /^(Put|Copy|Delete|Create|Upload|Complete)/.test(action);

/** Words of the query that name a call. Others of this kind are not simulated. */
const BUCKET_CALLS: Readonly<Record<string, S3Action>> = {
  'GET location': 'GetBucketLocation',
  'GET versioning': 'GetBucketVersioning',
  'GET uploads': 'ListMultipartUploads',
  'POST delete': 'DeleteObjects',
};
const SUBRESOURCES = [
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

const notImplemented = (): Refusal =>
  new Refusal(501, 'NotImplemented', 'A header or query you provided implies functionality that is not implemented');

const bucketAction = (request: ObjectRequest, word: string | undefined): S3Action => {
  const { method } = request;
  if (word !== undefined) {
    const named = BUCKET_CALLS[`${method} ${word}`];
    if (named === undefined) throw notImplemented();
    return named;
  }
  if (method === 'GET') return queried(request, 'list-type') === '2' ? 'ListObjectsV2' : 'ListObjects';
  if (method === 'HEAD') return 'HeadBucket';
  if (method === 'PUT') return 'CreateBucket';
  if (method === 'DELETE') return 'DeleteBucket';
  throw new Refusal(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
};

const objectAction = (request: ObjectRequest, word: string | undefined): S3Action => {
  const { method, headers } = request;
  const upload = queried(request, 'uploadId');
  const copies = headers['x-amz-copy-source'] !== undefined;
  if (method === 'POST' && word === 'uploads') return 'CreateMultipartUpload';
  if (word !== undefined) throw notImplemented();
  if (upload !== undefined) {
    if (method === 'PUT' && queried(request, 'partNumber') !== undefined)
      return copies ? 'UploadPartCopy' : 'UploadPart';
    if (method === 'POST') return 'CompleteMultipartUpload';
    if (method === 'DELETE') return 'AbortMultipartUpload';
    if (method === 'GET') return 'ListParts';
  }
  if (method === 'GET') return 'GetObject';
  if (method === 'HEAD') return 'HeadObject';
  if (method === 'PUT') return copies ? 'CopyObject' : 'PutObject';
  if (method === 'DELETE') return 'DeleteObject';
  throw new Refusal(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
};

/** The bucket of a virtual-host style request; undefined: the path has it. */
const hostedBucket = (host: string, domains: readonly string[]): string | undefined => {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  const domain = domains.find((each) => name.endsWith(`.${each}`));
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1);
};

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(400, 'InvalidURI', "Couldn't parse the specified URI.");
  }
};

/** `domains`: hosts below these name a bucket. Throws Refusal. */
export function decodeCall(request: ObjectRequest, requestId: string, domains: readonly string[]): ObjectCall {
  const hosted = hostedBucket(request.headers['host'] ?? '', domains);
  const path = request.path.slice(1);
  const slash = path.indexOf('/');
  const bucket = hosted ?? decode(slash < 0 ? path : path.slice(0, slash));
  const key = decode(hosted !== undefined ? path : slash < 0 ? '' : path.slice(slash + 1));
  const word = request.query.map(([name]) => name).find((name) => SUBRESOURCES.includes(name));
  const action = bucket === '' ? 'ListBuckets' : key === '' ? bucketAction(request, word) : objectAction(request, word);
  return { action, bucket, key, requestId, request, body: request.body };
}
