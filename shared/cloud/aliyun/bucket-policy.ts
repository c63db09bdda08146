import type { PolicyDocument } from './policy.ts';

/** What volumes in buckets of OSS need, for `drayage policy aliyun --plugin volume`: what is called, and no more. */

interface Permission {
  /** As RAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to. */
  readonly on: 'bucket' | 'object';
}

export const BUCKET_PERMISSIONS: readonly Permission[] = [
  {
    action: 'oss:ListObjects',
    why: 'Lists folders and volumes, and tells what is not there from what is.',
    on: 'bucket',
  },
  {
    action: 'oss:ListMultipartUploads',
    why: 'Finds uploads that were not ended, of a volume that is removed.',
    on: 'bucket',
  },
  { action: 'oss:PutBucket', why: 'Makes a bucket that a volume names and that is not there.', on: 'bucket' },
  { action: 'oss:DeleteBucket', why: 'Removes a bucket that was made so, when it is empty.', on: 'bucket' },
  { action: 'oss:GetObject', why: 'Reads files, and copies them on the side of the server.', on: 'object' },
  { action: 'oss:PutObject', why: 'Writes files, and the records of volumes.', on: 'object' },
  { action: 'oss:DeleteObject', why: 'Removes files.', on: 'object' },
  { action: 'oss:AbortMultipartUpload', why: 'Gives up an upload that is not needed any more.', on: 'object' },
];

/** Where the policy shall hold; what is left out holds anywhere. */
export interface BucketPolicyScope {
  readonly account?: string;
  /** Names of buckets. */
  readonly buckets?: readonly string[];
}

/** The least-privilege policy for the RAM role of the hosts, as RAM takes it. OSS' resources name no region. */
export const bucketPolicyDocument = ({ account = '*', buckets = ['*'] }: BucketPolicyScope = {}): PolicyDocument => {
  const statement = (kind: Permission['on'], ending: string) => ({
    ...({ Effect: 'Allow' } as const),
    Action: BUCKET_PERMISSIONS.filter(({ on }) => on === kind).map(({ action }) => action),
    Resource: buckets.map((bucket) => `acs:oss:*:${account}:${bucket}${ending}`),
  });
  return { Version: '1', Statement: [statement('bucket', ''), statement('object', '/*')] };
};
