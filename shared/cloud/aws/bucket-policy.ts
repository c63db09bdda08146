import { type PolicyDocument, partitionOf, type Statement } from './policy.ts';

/** What volumes in buckets of S3 need, for `drayage policy aws --plugin volume`: what is called, and no more. */

interface Permission {
  /** As IAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What it can be limited to. */
  readonly on: 'bucket' | 'object';
}

export const BUCKET_PERMISSIONS: readonly Permission[] = [
  {
    action: 's3:ListBucket',
    why: 'Lists folders and volumes, and tells what is not there from what is.',
    on: 'bucket',
  },
  {
    action: 's3:ListBucketMultipartUploads',
    why: 'Finds uploads that were not ended, of a volume that is removed.',
    on: 'bucket',
  },
  { action: 's3:CreateBucket', why: 'Makes a bucket that a volume names and that is not there.', on: 'bucket' },
  { action: 's3:DeleteBucket', why: 'Removes a bucket that was made so, when it is empty.', on: 'bucket' },
  { action: 's3:GetObject', why: 'Reads files, and copies them on the side of the server.', on: 'object' },
  { action: 's3:PutObject', why: 'Writes files, and the records of volumes.', on: 'object' },
  { action: 's3:DeleteObject', why: 'Removes files.', on: 'object' },
  { action: 's3:AbortMultipartUpload', why: 'Gives up an upload that is not needed any more.', on: 'object' },
];

/** Where the policy shall hold; what is left out holds anywhere. */
export interface BucketPolicyScope {
  /** `aws`, `aws-cn` or `aws-us-gov`. */
  readonly partition?: string;
  readonly region?: string;
  /** Names of buckets. */
  readonly buckets?: readonly string[];
}

/** The least-privilege policy for the role of the hosts, as IAM takes it. Keys of KMS have policies of their own. */
export const bucketPolicyDocument = (scope: BucketPolicyScope = {}): PolicyDocument => {
  const { region, buckets = ['*'] } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  const actions = (kind: Permission['on']): string[] =>
    BUCKET_PERMISSIONS.filter(({ on }) => on === kind).map(({ action }) => action);
  const statement = (name: string, kind: Permission['on'], ending: string): Statement => ({
    ...{ Sid: `DrayageBuckets${name}`, Effect: 'Allow', Action: actions(kind) },
    Resource: buckets.map((bucket) => `arn:${partition}:s3:::${bucket}${ending}`),
  });
  return { Version: '2012-10-17', Statement: [statement('List', 'bucket', ''), statement('Objects', 'object', '/*')] };
};
