import t from 'tap';
import { classify, SHARE_ERROR_KINDS } from '../../../../shared/cloud/aws/errors.ts';
import { efsEndpoint } from '../../../../shared/cloud/aws/sdk-shares.ts';
import { SHARE_PERMISSIONS, sharePolicyDocument } from '../../../../shared/cloud/aws/share-policy.ts';
import { kindOfShareError } from '../../../../shared/cloud/aws/shares.ts';
import { volumePolicyDocument } from '../../../../shared/cloud/aws/volume-policy.ts';
import { allows } from '../../../sim/aws/iam.ts';

const kind = (name: string, status: number): string =>
  classify(
    'CreateMountTarget',
    Object.assign(new Error('x'), { name, $metadata: { httpStatusCode: status } }),
    kindOfShareError,
  ).kind;

t.test('EFS’s codes mean what they mean for file systems; the general ones mean what they always do', async (t) => {
  const codes = [
    ['FileSystemNotFound', 404, 'share-missing'],
    ['IncorrectFileSystemLifeCycleState', 409, 'share-state'],
    ['MountTargetConflict', 409, 'target-exists'],
    ['SubnetNotFound', 400, 'refused'],
    ['SecurityGroupNotFound', 400, 'refused'],
    ['FileSystemLimitExceeded', 403, 'refused'],
    ['NoFreeAddressesInSubnet', 409, 'refused'],
    ['BadRequest', 400, 'refused'],
    ['TooManyRequests', 429, 'throttled'],
    ['ThrottlingException', 429, 'throttled'],
    ['InternalServerError', 500, 'unavailable'],
    ['DependencyTimeout', 504, 'unavailable'],
    ['InsufficientThroughputCapacity', 503, 'unavailable'],
    ['AccessDeniedException', 403, 'permission'],
    ['UnrecognizedClientException', 403, 'credentials'],
    ['ExpiredTokenException', 403, 'expired'],
  ] as const;
  for (const [code, status, expected] of codes) t.equal(kind(code, status), expected, code);
  const met = new Set<string>(codes.map(([, , expected]) => expected));
  t.same(
    SHARE_ERROR_KINDS.filter((one) => !met.has(one)),
    [],
    'each of them is met',
  );
});

t.test('an endpoint that was set for EC2 is that of EFS beside it; any other one is taken as it is', async (t) => {
  for (const [given, expected] of [
    ['https://ec2.eu-central-1.amazonaws.com', 'https://elasticfilesystem.eu-central-1.amazonaws.com'],
    ['https://ec2.eu-central-1.api.aws', 'https://efs.eu-central-1.api.aws'],
    ['https://ec2-fips.us-gov-east-1.api.aws', 'https://efs-fips.us-gov-east-1.api.aws'],
    ['https://ec2.cn-north-1.amazonaws.com.cn', 'https://elasticfilesystem.cn-north-1.amazonaws.com.cn'],
    ['https://ec2.cn-north-1.api.amazonwebservices.com.cn', 'https://efs.cn-north-1.api.amazonwebservices.com.cn'],
    ['http://127.0.0.1:4566', 'http://127.0.0.1:4566'],
    ['https://vpce-1-2.elasticfilesystem.eu-central-1.vpce.amazonaws.com', undefined],
  ] as const) {
    t.equal(efsEndpoint(given), expected ?? given, given);
  }
});

t.test('a role may make and reach what is its cluster’s, and nothing of another cluster or nobody’s', async (t) => {
  const policy = sharePolicyDocument({ cluster: 'web', region: 'eu-central-1', account: '123456789012' });
  const may = (action: string, resource: string, context: Record<string, string | string[]>, region = 'eu-central-1') =>
    allows(policy, { action, resource, context: { 'aws:RequestedRegion': region, ...context } });
  const fs = 'arn:aws:elasticfilesystem:eu-central-1:123456789012:file-system/fs-1';
  const [ours, theirs] = ['web', 'db'].map((cluster) => ({ 'aws:ResourceTag/drayage:cluster': cluster }));
  t.ok(may('elasticfilesystem:CreateMountTarget', fs, ours ?? {}));
  t.notOk(may('elasticfilesystem:CreateMountTarget', fs, theirs ?? {}));
  t.notOk(may('elasticfilesystem:CreateMountTarget', fs, {}));
  t.ok(may('elasticfilesystem:CreateFileSystem', fs, { 'aws:RequestTag/drayage:cluster': 'web' }));
  t.notOk(may('elasticfilesystem:CreateFileSystem', fs, {}));
  t.ok(may('elasticfilesystem:TagResource', fs, { 'elasticfilesystem:CreateAction': 'CreateFileSystem' }));
  t.notOk(may('elasticfilesystem:TagResource', fs, ours ?? {}), 'no tag of what is there already');
  t.ok(may('elasticfilesystem:DescribeFileSystems', '*', {}));
  t.notOk(may('elasticfilesystem:DescribeFileSystems', '*', {}, 'us-east-1'));
  for (const action of ['DeleteFileSystem', 'DeleteMountTarget', 'PutFileSystemPolicy', 'CreateAccessPoint']) {
    t.notOk(may(`elasticfilesystem:${action}`, fs, ours ?? {}), action);
  }
  t.ok(may('ec2:CreateNetworkInterface', 'arn:aws:ec2:eu-central-1:123456789012:subnet/subnet-1', {}));
  t.notOk(may('ec2:CreateNetworkInterface', 'arn:aws:ec2:eu-central-1:210987654321:subnet/subnet-1', {}));
});

t.test('one policy for disks and file systems is short enough for a managed one', async (t) => {
  const scope = {
    cluster: 'a-name-that-is-as-long-as-they-get-which-is-sixty-three-letters',
    region: 'ap-southeast-2',
  };
  const { Statement } = volumePolicyDocument({ ...scope, account: '123456789012' });
  const all = [...Statement, ...sharePolicyDocument({ ...scope, account: '123456789012' }).Statement];
  t.ok(JSON.stringify({ Version: '2012-10-17', Statement: all }).length < 6_144);
  t.equal(new Set(all.map(({ Sid }) => Sid)).size, all.length);
  for (const { action, why } of Object.values(SHARE_PERMISSIONS)) {
    t.match(action, /^elasticfilesystem:[A-Z]\w+$/);
    t.match(why, /^[A-Z].{10,}\.$/);
  }
  t.match(JSON.stringify(sharePolicyDocument({ region: 'cn-north-1' })), /arn:aws-cn:elasticfilesystem:cn-north-1:\*/);
});
