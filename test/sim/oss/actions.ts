/** Which call a request is, and what it needs to be allowed. */
import { type ObjectRequest, queried } from '../objects/message.ts';
import type { ObjectCall } from '../objects/service.ts';
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

export const isWrite = (action: OssAction): boolean => /^(Put|Copy|Delete|Initiate|Upload|Complete)/.test(action);

const BUCKET_CALLS: Readonly<Record<string, OssAction>> = {
  'GET bucketInfo': 'GetBucketInfo',
  'GET location': 'GetBucketLocation',
  'GET uploads': 'ListMultipartUploads',
  'POST delete': 'DeleteMultipleObjects',
};
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

const notImplemented = () => refuse('NotImplemented');

const bucketAction = (request: ObjectRequest, word: string | undefined): OssAction => {
  const { method } = request;
  if (word !== undefined) {
    const named = BUCKET_CALLS[`${method} ${word}`];
    if (named === undefined) throw notImplemented();
    return named;
  }
  if (method === 'GET') return queried(request, 'list-type') === '2' ? 'ListObjectsV2' : 'ListObjects';
  if (method === 'PUT') return 'PutBucket';
  if (method === 'DELETE') return 'DeleteBucket';
  throw notImplemented();
};

const objectAction = (request: ObjectRequest, word: string | undefined): OssAction => {
  const { method, headers } = request;
  const upload = queried(request, 'uploadId');
  const copies = headers['x-oss-copy-source'] !== undefined;
  if (method === 'POST' && word === 'uploads') return 'InitiateMultipartUpload';
  if (method === 'HEAD' && word === 'objectMeta') return 'GetObjectMeta';
  if (word !== undefined) throw notImplemented();
  if (upload !== undefined) {
    if (method === 'PUT') return copies ? 'UploadPartCopy' : 'UploadPart';
    if (method === 'POST') return 'CompleteMultipartUpload';
    if (method === 'DELETE') return 'AbortMultipartUpload';
    if (method === 'GET') return 'ListParts';
  }
  if (method === 'GET') return 'GetObject';
  if (method === 'HEAD') return 'HeadObject';
  if (method === 'PUT') return copies ? 'CopyObject' : 'PutObject';
  if (method === 'DELETE') return 'DeleteObject';
  throw notImplemented();
};

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse('InvalidObjectName');
  }
};

/** Buckets are named by hosts below `domains`; in the path only where the host is an address. Throws Refusal. */
export function decodeCall(request: ObjectRequest, requestId: string, domains: readonly string[]): ObjectCall {
  const host = (request.headers['host'] ?? '').replace(/:\d+$/, '').toLowerCase();
  const domain = domains.find((each) => host.endsWith(`.${each}`));
  const path = request.path.slice(1);
  const isAddress = /^(\d+\.){3}\d+$|^\[/.test(host);
  const slash = isAddress ? path.indexOf('/') : -1;
  const inPath = isAddress ? (slash < 0 ? path : path.slice(0, slash)) : '';
  const bucket = domain === undefined ? decode(inPath) : host.slice(0, -domain.length - 1);
  const key = decode(domain === undefined && isAddress ? (slash < 0 ? '' : path.slice(slash + 1)) : path);
  const word = request.query.map(([name]) => name).find((name) => WORDS.includes(name));
  const action = bucket === '' ? 'ListBuckets' : key === '' ? bucketAction(request, word) : objectAction(request, word);
  return { action, bucket, key, requestId, request, body: request.body };
}
