import { bucketPermissions, bucketStatements } from '../bucket-permissions.ts';
import { type PolicyDocument, partitionOf } from './policy.ts';

/** What volumes in buckets of S3 need, for `drayage policy aws --plugin volume`. */
export const BUCKET_PERMISSIONS = bucketPermissions('s3', {
  list: 'ListBucket',
  uploads: 'ListBucketMultipartUploads',
  create: 'CreateBucket',
});

/** Where the policy shall hold; what is left out holds anywhere. */
export interface BucketPolicyScope {
  /** `aws`, `aws-cn` or `aws-us-gov`. */
  readonly partition?: string;
  readonly region?: string;
  /** Buckets, or `BUCKET/PREFIX` for a part of one, which is then not made or removed. */
  readonly buckets?: readonly string[];
}

/** The least-privilege policy for the role of the hosts, as IAM takes it. Keys of KMS have policies of their own. */
export const bucketPolicyDocument = (scope: BucketPolicyScope = {}): PolicyDocument => {
  const { region, buckets = ['*'] } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  const nameOf = (path: string): string => `arn:${partition}:s3:::${path}`;
  const statements = bucketStatements(BUCKET_PERMISSIONS, buckets, nameOf, 's3:prefix');
  return {
    Version: '2012-10-17',
    Statement: statements.map(({ name, ...statement }) => ({ Sid: `DrayageBuckets${name}`, ...statement })),
  };
};
