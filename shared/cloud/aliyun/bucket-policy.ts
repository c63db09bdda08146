import { bucketPermissions, bucketStatements } from '../bucket-permissions.ts';
import type { PolicyDocument } from './policy.ts';

/** What volumes in buckets of OSS need, for `drayage policy aliyun --plugin volume`. */
export const BUCKET_PERMISSIONS = bucketPermissions('oss', {
  list: 'ListObjects',
  uploads: 'ListMultipartUploads',
  create: 'PutBucket',
});

/** Where the policy shall hold; what is left out holds anywhere. */
export interface BucketPolicyScope {
  readonly account?: string;
  /** Buckets, or `BUCKET/PREFIX` for a part of one, which is then not made or removed. */
  readonly buckets?: readonly string[];
}

/** The least-privilege policy for the RAM role of the hosts, as RAM takes it. OSS' resources name no region. */
export const bucketPolicyDocument = ({ account = '*', buckets = ['*'] }: BucketPolicyScope = {}): PolicyDocument => {
  const nameOf = (path: string): string => `acs:oss:*:${account}:${path}`;
  const statements = bucketStatements(BUCKET_PERMISSIONS, buckets, nameOf, 'oss:Prefix');
  return { Version: '1', Statement: statements.map(({ name: _, ...statement }) => statement) };
};
