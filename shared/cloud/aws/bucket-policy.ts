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
  /** Names of buckets. */
  readonly buckets?: readonly string[];
}

/** The least-privilege policy for the role of the hosts, as IAM takes it. Keys of KMS have policies of their own. */
export const bucketPolicyDocument = (scope: BucketPolicyScope = {}): PolicyDocument => {
  const { region, buckets = ['*'] } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  const nameOf = (path: string): string => `arn:${partition}:s3:::${path}`;
  const { ofBuckets, ofObjects } = bucketStatements(BUCKET_PERMISSIONS, buckets, nameOf);
  return {
    Version: '2012-10-17',
    Statement: [
      { Sid: 'DrayageBucketsList', ...ofBuckets },
      { Sid: 'DrayageBucketsObjects', ...ofObjects },
    ],
  };
};
