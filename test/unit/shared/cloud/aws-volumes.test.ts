import t from 'tap';
import { classify, VOLUME_ERROR_KINDS } from '../../../../shared/cloud/aws/errors.ts';
import { VOLUME_PERMISSIONS, volumePolicyDocument } from '../../../../shared/cloud/aws/volume-policy.ts';
import { kindOfVolumeError } from '../../../../shared/cloud/aws/volumes.ts';
import { allows } from '../../../sim/aws/iam.ts';

const thrown = (name: string, message = 'x', status = 400) =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });

const kind = (action: string, name: string, message?: string) =>
  classify(action, thrown(name, message), kindOfVolumeError).kind;

t.test('EC2’s codes mean what they mean for volumes; the general ones mean what they always do', async (t) => {
  const codes: readonly (readonly [string, string, string?])[] = [
    ['InvalidVolume.NotFound', 'disk-missing'],
    ['InvalidSnapshot.NotFound', 'disk-missing'],
    ['VolumeInUse', 'disk-in-use'],
    ['IncorrectState', 'disk-state'],
    ['InvalidAttachment.NotFound', 'not-attached'],
    ['AttachmentLimitExceeded', 'attach-limit'],
    ['InvalidVolume.ZoneMismatch', 'zone-mismatch'],
    ['VolumeLimitExceeded', 'disk-quota'],
    ['SnapshotLimitExceeded', 'disk-quota'],
    ['VolumeModificationSizeLimitExceeded', 'disk-quota'],
    ['IdempotentParameterMismatch', 'token-burned'],
    ['IncorrectModificationState', 'modifying'],
    ['VolumeModificationRateExceeded', 'modifying'],
    ['InvalidInstanceID.NotFound', 'instance-missing'],
    ['InvalidParameterValue', 'device-taken', "Invalid value '/dev/sdf' for unixDevice. … is already in use"],
    ['InvalidParameterValue', 'refused', 'the size is no number'],
    ['SnapshotCreationPerVolumeRateExceeded', 'throttled'],
    ['RequestLimitExceeded', 'throttled'],
    ['UnauthorizedOperation', 'permission'],
    ['ExpiredToken', 'expired'],
  ];
  for (const [code, expected, message] of codes) t.equal(kind('AttachVolume', code, message), expected, code);
  const met = new Set<string>(codes.map(([, expected]) => expected));
  t.same(
    VOLUME_ERROR_KINDS.filter((one) => !met.has(one)),
    [],
    'each of them is met',
  );
  t.equal(classify('CreateRoute', thrown('InvalidInstanceID.NotFound')).kind, 'target-missing', 'not for routes');
});

t.test('the policy can be limited to a region, an account and a cluster', async (t) => {
  const { Statement } = volumePolicyDocument({ region: 'cn-north-1', account: '123456789012', cluster: 'web' });
  const of = (sid: string) => Statement.find(({ Sid }) => Sid === `DrayageVolumes${sid}`);
  t.match(of('Use'), {
    Resource: 'arn:aws-cn:ec2:cn-north-1:123456789012:volume/*',
    Condition: { StringLike: { 'ec2:ResourceTag/drayage:cluster': 'web' } },
  });
  t.match(of('Create'), { Condition: { StringLike: { 'aws:RequestTag/drayage:cluster': 'web' } } });
  t.match(of('Copies')?.Resource, 'arn:aws-cn:ec2:cn-north-1:*:snapshot/*', 'snapshots bear no account');
  const wide = JSON.stringify(volumePolicyDocument());
  t.match(wide, /"ec2:ResourceTag\/drayage:cluster":"\*"/, 'a cluster’s tag is asked for in any case');
  // Without a limit only what describes, and instances, which have no tag of ours.
  const free = volumePolicyDocument().Statement.filter(({ Condition }) => Condition === undefined);
  t.same(
    free.map(({ Sid }) => Sid),
    ['DrayageVolumesRead', 'DrayageVolumesHosts'],
  );
  for (const { action, why } of Object.values(VOLUME_PERMISSIONS)) {
    t.match(action, /^ec2:[A-Z]\w+$/);
    t.match(why, /^[A-Z].{10,}\.$/);
  }
});

t.test('to import lets a role take what is no cluster’s, and nothing of another cluster', (t) => {
  const policy = volumePolicyDocument({ cluster: 'web' });
  const resource = 'arn:aws:ec2:eu-central-1:123456789012:volume/vol-1';
  const may = (action: string, context: Record<string, string | string[]>) =>
    allows(policy, { action, resource, context });
  const tagging = { 'aws:RequestTag/drayage:cluster': 'web', 'aws:TagKeys': ['drayage:cluster', 'drayage:volume'] };
  const [ours, theirs] = [{ 'ec2:ResourceTag/drayage:cluster': 'web' }, { 'ec2:ResourceTag/drayage:cluster': 'db' }];
  t.ok(may('ec2:CreateTags', tagging));
  t.ok(may('ec2:CreateTags', { ...tagging, ...ours }));
  t.notOk(may('ec2:CreateTags', { ...tagging, ...theirs }));
  t.ok(may('ec2:DeleteVolume', ours));
  t.notOk(may('ec2:DeleteVolume', theirs));
  t.notOk(may('ec2:DeleteVolume', {}));
  t.end();
});
