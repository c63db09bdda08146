import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { policy } from '../../../../bin/cli/policy.ts';
import {
  bucketPolicyDocument as aliyun,
  BUCKET_PERMISSIONS as aliyunPermissions,
} from '../../../../shared/cloud/aliyun/bucket-policy.ts';
import {
  bucketPolicyDocument as aws,
  BUCKET_PERMISSIONS as awsPermissions,
} from '../../../../shared/cloud/aws/bucket-policy.ts';

const STORES = join(import.meta.dirname, '../../../../volume-plugin/object');

/** Permissions that the stores name when one is missing: in full where vendors differ, else without the service. */
const named = (service: string): string[] => {
  const text = readdirSync(STORES)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(STORES, name), 'utf8'))
    .join('\n');
  const own = [...text.matchAll(new RegExp(`'${service}:([A-Z]\\w+)'`, 'g'))];
  const common = [...text.matchAll(/\.action\('(\w+)'\)/g)];
  return [...new Set([...own, ...common].map(([, name]) => `${service}:${name}`))];
};

t.test('the policy has what the store for S3 calls, and nothing else', async (t) => {
  t.same(awsPermissions.map(({ action }) => action).sort(), named('s3').sort());
});

t.test('the policy has what the store for OSS calls, and nothing else', async (t) => {
  t.same(aliyunPermissions.map(({ action }) => action).sort(), named('oss').sort());
});

t.test('it holds for the buckets that were named, and in the region’s partition', async (t) => {
  const { Statement } = aws({ region: 'cn-north-1', buckets: ['assets', 'media'] });
  t.same(
    Statement.map(({ Resource }) => Resource),
    [
      ['arn:aws-cn:s3:::assets', 'arn:aws-cn:s3:::media'],
      ['arn:aws-cn:s3:::assets/*', 'arn:aws-cn:s3:::media/*'],
    ],
  );
  t.same(
    aliyun({ account: '1234567890123456', buckets: ['media'] }).Statement.map(({ Resource }) => Resource),
    [['acs:oss:*:1234567890123456:media'], ['acs:oss:*:1234567890123456:media/*']],
  );
  const printed = JSON.stringify(policy('aws', { plugin: 'volume', buckets: 'assets' }));
  t.match(printed, /arn:aws:s3:::assets\/\*/);
  t.match(JSON.stringify(policy('aliyun', { plugin: 'volume' })), /acs:oss:\*:\*:\*\/\*/);
  t.throws(() => policy('aws', { buckets: 'assets' }), /--buckets does not go with policy aws/);
});

t.test('it can be limited to what begins with a prefix; the plugin’s own records are there, too', async (t) => {
  const { Statement } = aws({ buckets: ['assets/uploads', 'media', '/assets/films/2026/'] });
  const actions = (i: number): readonly string[] => Statement[i]?.Action ?? [];
  t.same(
    Statement.map(({ Sid }) => Sid.replace('DrayageBuckets', '')),
    ['List', 'Objects', 'List1', 'Uploads1', 'Objects1'],
  );
  t.same(Statement[0]?.Resource, ['arn:aws:s3:::media']);
  t.same(actions(2), ['s3:ListBucket']);
  t.same(Statement[2]?.Resource, ['arn:aws:s3:::assets']);
  t.same(Statement[2]?.Condition, { StringLike: { 's3:prefix': ['uploads/*', 'films/2026/*', '.drayage/*'] } });
  t.same(actions(3), ['s3:ListBucketMultipartUploads'], 'of which nobody can limit the prefix');
  t.equal(Statement[3]?.Condition, undefined);
  t.same(actions(4), actions(1), 'as of whole buckets');
  const files = ['uploads/*', 'films/2026/*', '.drayage/*'].map((path) => `arn:aws:s3:::assets/${path}`);
  t.same(Statement[4]?.Resource, files);
  const of = aliyun({ buckets: ['media/films'] }).Statement;
  t.same(of[0]?.Condition, { StringLike: { 'oss:Prefix': ['films/*', '.drayage/*'] } });
  t.same(of[2]?.Resource, ['acs:oss:*:*:media/films/*', 'acs:oss:*:*:media/.drayage/*']);
  t.notMatch(JSON.stringify(of), /PutBucket|DeleteBucket/, 'it is others who make it');
  t.equal(aws({ buckets: ['assets/uploads', 'assets'] }).Statement.length, 2, 'all of a bucket has its parts');
  t.match(JSON.stringify(policy('aws', { plugin: 'volume', buckets: 'assets/uploads' })), /"uploads\/\*"/);
});
