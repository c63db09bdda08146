import {
  AttachVolumeCommand,
  CreateSnapshotCommand,
  CreateTagsCommand,
  CreateVolumeCommand,
  type CreateVolumeCommandInput,
  DeleteSnapshotCommand,
  DeleteTagsCommand,
  DeleteVolumeCommand,
  DescribeInstancesCommand,
  DescribeInstanceTypesCommand,
  DescribeSnapshotsCommand,
  DescribeVolumesCommand,
  DescribeVolumesModificationsCommand,
  DetachVolumeCommand,
  ModifyVolumeCommand,
} from '@aws-sdk/client-ec2';
import t from 'tap';
import type { AwsSimConfig } from '../../sim/aws/sim.ts';
import { noMedia } from '../../sim/core/media.ts';
import { refusal } from './aws-sdk.ts';
import { awsSite } from './aws-site.ts';

t.setTimeout(60_000);

const ZONE = 'eu-central-1a';
const SECOND = 1_000;

const site = async (t: Parameters<typeof awsSite>[0], config: AwsSimConfig = {}) => {
  const made = await awsSite(t, { rates: {}, ...config });
  const { ec2, clock } = made;
  const volume = async (more: Partial<CreateVolumeCommandInput> = {}) => {
    const { VolumeId = '' } = await ec2.send(new CreateVolumeCommand({ AvailabilityZone: ZONE, Size: 10, ...more }));
    return VolumeId;
  };
  const show = async (id: string) => (await ec2.send(new DescribeVolumesCommand({ VolumeIds: [id] }))).Volumes?.[0];
  /** Lets time pass, and what it brings about happen. */
  const pass = async (ms: number) => {
    clock.advance(ms);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const attach = (VolumeId: string, InstanceId: string, Device = '/dev/sdf') =>
    ec2.send(new AttachVolumeCommand({ VolumeId, InstanceId, Device }));
  const detach = (VolumeId: string, InstanceId?: string, Force?: boolean) =>
    ec2.send(new DetachVolumeCommand({ VolumeId, InstanceId, Force }));
  return { ...made, volume, show, pass, attach, detach };
};

t.test('a volume is creating, available, attaching, in use, detaching and deleting, each for its time', async (t) => {
  const times = { createMs: SECOND, attachMs: SECOND, detachMs: SECOND, deleteMs: SECOND };
  const { ec2, a, volume, show, pass, attach, detach } = await site(t, { times });
  const id = await volume({
    VolumeType: 'gp3',
    TagSpecifications: [{ ResourceType: 'volume', Tags: [{ Key: 'k', Value: 'v' }] }],
  });
  t.match(await show(id), {
    State: 'creating',
    Size: 10,
    VolumeType: 'gp3',
    Iops: 3000,
    Throughput: 125,
    Attachments: [],
    Tags: [{ Key: 'k', Value: 'v' }],
  });
  await t.rejects(attach(id, a.id), refusal('IncorrectState', 400));
  await pass(SECOND);
  t.equal((await show(id))?.State, 'available');
  t.match(await attach(id, a.id), { State: 'attaching', Device: '/dev/sdf', InstanceId: a.id });
  t.match(await show(id), { State: 'in-use', Attachments: [{ State: 'attaching', InstanceId: a.id }] });
  await pass(SECOND);
  t.match(await show(id), { State: 'in-use', Attachments: [{ State: 'attached', DeleteOnTermination: false }] });
  const { Reservations } = await ec2.send(new DescribeInstancesCommand({ InstanceIds: [a.id] }));
  t.match(Reservations?.[0]?.Instances?.[0]?.BlockDeviceMappings, [{ DeviceName: '/dev/sdf', Ebs: { VolumeId: id } }]);
  await t.rejects(ec2.send(new DeleteVolumeCommand({ VolumeId: id })), refusal('VolumeInUse', 400));
  t.match(await detach(id, a.id), { State: 'detaching' });
  await t.rejects(detach(id, a.id), refusal('IncorrectState', 400), 'it is under way already');
  t.match(await show(id), { State: 'in-use', Attachments: [{ State: 'detaching' }] });
  await pass(SECOND);
  t.match(await show(id), { State: 'available', Attachments: [] });
  await ec2.send(new DeleteVolumeCommand({ VolumeId: id }));
  t.equal((await show(id))?.State, 'deleting');
  await pass(SECOND);
  await t.rejects(show(id), refusal('InvalidVolume.NotFound', 400));
  await t.rejects(ec2.send(new DeleteVolumeCommand({ VolumeId: id })), refusal('InvalidVolume.NotFound', 400));
});

t.test('what EBS has not is not made', async (t) => {
  const { volume } = await site(t, { quotas: { volumes: 1 } });
  const refused: [Partial<CreateVolumeCommandInput>, string][] = [
    [{ AvailabilityZone: 'eu-central-1z' }, 'InvalidZone.NotFound'],
    [{ Size: undefined }, 'MissingParameter'],
    [{ Size: 20_000, VolumeType: 'gp2' }, 'InvalidParameterValue'],
    [{ VolumeType: 'gp3', Iops: 100_000 }, 'InvalidParameterValue'],
    [{ VolumeType: 'gp3', Size: 1, Iops: 3_500 }, 'InvalidParameterValue'],
    [{ VolumeType: 'gp3', Throughput: 1_000 }, 'InvalidParameterValue'],
    [{ VolumeType: 'gp2', Throughput: 200 }, 'InvalidParameterCombination'],
    [{ VolumeType: 'io2' }, 'MissingParameter'],
    [{ KmsKeyId: 'alias/x' }, 'InvalidParameterDependency'],
    [{ SnapshotId: 'snap-0123456789abcdef0' }, 'InvalidSnapshot.NotFound'],
    [{ TagSpecifications: [{ ResourceType: 'volume', Tags: [{ Key: 'aws:x', Value: '' }] }] }, 'InvalidParameterValue'],
    [
      { TagSpecifications: [{ ResourceType: 'volume', Tags: [{ Key: 'x', Value: 'x'.repeat(257) }] }] },
      'InvalidParameterValue',
    ],
    [{ TagSpecifications: [{ ResourceType: 'snapshot', Tags: [{ Key: 'x', Value: '' }] }] }, 'InvalidParameterValue'],
    [{ ClientToken: 'x'.repeat(65) }, 'InvalidParameterValue'],
  ];
  for (const [more, code] of refused) await t.rejects(volume(more), refusal(code, 400), JSON.stringify(more));
  await volume();
  await t.rejects(volume(), refusal('VolumeLimitExceeded', 400));
});

t.test('a token makes one volume; it is burned by other parameters, and by a failure that comes later', async (t) => {
  const { aws, volume, show, pass } = await site(t, { times: { createMs: SECOND } });
  const id = await volume({ ClientToken: 'one' });
  t.equal(await volume({ ClientToken: 'one' }), id);
  await t.rejects(volume({ ClientToken: 'one', Size: 11 }), refusal('IdempotentParameterMismatch', 400));
  const encrypted = { Encrypted: true, KmsKeyId: 'arn:aws:kms:eu-central-1:123456789012:key/none', ClientToken: 'two' };
  const failing = await volume(encrypted);
  t.equal((await show(failing))?.State, 'creating', 'it looks well at first');
  await pass(SECOND);
  await t.rejects(show(failing), refusal('InvalidVolume.NotFound', 400));
  await t.rejects(volume(encrypted), refusal('IdempotentParameterMismatch', 400));
  const good = await volume({ Encrypted: true, KmsKeyId: aws.disks.key() });
  await pass(SECOND);
  t.match(await show(good), { State: 'available', Encrypted: true });
});

t.test(
  'a volume is attached once, in its zone, by a name of its own, and to no more than there is room for',
  async (t) => {
    const { aws, a, b, vpc, volume, attach } = await site(t);
    const id = await volume();
    const away = aws.subnet({ vpc: vpc.id, cidr: '10.0.9.0/24', zone: 'eu-central-1b' });
    const far = aws.instance({ name: 'far', subnet: away.id });
    await t.rejects(attach(id, far.id), refusal('InvalidVolume.ZoneMismatch', 400));
    await t.rejects(attach(id, a.id, '/dev/nvme1n1'), refusal('InvalidParameterValue', 400));
    await t.rejects(attach(id, 'i-0123456789abcdef0'), refusal('InvalidInstanceID.NotFound', 400));
    await attach(id, a.id);
    for (const host of [a, b]) await t.rejects(attach(id, host.id), refusal('VolumeInUse', 400));
    const second = await volume();
    await t.rejects(attach(second, a.id), { name: 'InvalidParameterValue', message: /\/dev\/sdf is already in use/ });
    for (let n = 0; n < 25; n += 1)
      await attach(await volume({ Size: 1 }), a.id, `/dev/xvdb${String.fromCharCode(97 + n)}`);
    await t.rejects(attach(second, a.id, '/dev/sdz'), refusal('AttachmentLimitExceeded', 400));
    aws.stop(b.id);
    await attach(second, b.id);
  },
);

t.test('what is mounted is not let go, unless by force', async (t) => {
  const { aws, a, b, volume, show, pass, attach, detach } = await site(t, { times: { busyMs: SECOND } });
  const id = await volume();
  await t.rejects(detach(id), refusal('IncorrectState', 400));
  await attach(id, a.id);
  await t.rejects(detach(id, b.id), refusal('InvalidAttachment.NotFound', 400));
  aws.disks.mounted(id, true);
  await detach(id, a.id);
  for (let n = 0; n < 3; n += 1) {
    await pass(SECOND);
    t.match(await show(id), { State: 'in-use', Attachments: [{ State: 'busy', InstanceId: a.id }] });
  }
  await detach(id, a.id, true);
  await pass(0);
  t.equal((await show(id))?.State, 'available');
});

t.test('a stopped instance keeps its volumes, which can be taken from it; a terminated one lets them go', async (t) => {
  const { aws, a, b, volume, show, pass, attach, detach } = await site(t, {
    times: { stopMs: SECOND, detachMs: SECOND },
  });
  const [one, two] = [await volume(), await volume()];
  await attach(one, a.id);
  await attach(two, b.id);
  aws.disks.mounted(one, true);
  aws.stop(a.id);
  t.equal(aws.world.instance(a.id).state, 'stopping');
  await pass(SECOND);
  t.equal(aws.world.instance(a.id).state, 'stopped');
  t.match(await show(one), { State: 'in-use', Attachments: [{ State: 'attached' }] });
  await detach(one, a.id);
  await pass(SECOND);
  t.equal((await show(one))?.State, 'available', 'nobody is there to have it mounted');
  aws.terminate(b.id);
  await pass(SECOND);
  t.equal((await show(two))?.State, 'in-use');
  await pass(SECOND);
  t.equal((await show(two))?.State, 'available');
  aws.resume(a.id);
  t.equal(aws.world.instance(a.id).state, 'running');
});

t.test('a change is modifying, optimizing and completed, and comes once in six hours', async (t) => {
  const { ec2, volume, show, pass } = await site(t, { times: { resizeMs: SECOND, optimizeMs: SECOND } });
  const id = await volume();
  const modify = (Size: number) => ec2.send(new ModifyVolumeCommand({ VolumeId: id, Size }));
  const state = async () =>
    (await ec2.send(new DescribeVolumesModificationsCommand({ VolumeIds: [id] }))).VolumesModifications?.[0]
      ?.ModificationState;
  await t.rejects(state(), refusal('InvalidVolumeModification.NotFound', 400));
  await t.rejects(modify(9), refusal('InvalidParameterValue', 400));
  t.match(await modify(20), {
    VolumeModification: { ModificationState: 'modifying', OriginalSize: 10, TargetSize: 20 },
  });
  t.equal((await show(id))?.Size, 10);
  await pass(SECOND);
  t.equal(await state(), 'optimizing');
  t.equal((await show(id))?.Size, 20);
  await t.rejects(modify(30), refusal('IncorrectModificationState', 400));
  await pass(SECOND);
  t.equal(await state(), 'completed');
  await t.rejects(modify(30), refusal('VolumeModificationRateExceeded', 400));
});

t.test('a snapshot is pending with its progress, then a volume can be made of it', async (t) => {
  const { aws, ec2, volume, show, pass } = await site(t, { times: { snapshotMs: 10 * SECOND } });
  const id = await volume();
  const take = () => ec2.send(new CreateSnapshotCommand({ VolumeId: id, Description: 'x' }));
  const { SnapshotId = '' } = await take();
  await t.rejects(take(), refusal('SnapshotCreationPerVolumeRateExceeded', 400));
  await pass(5 * SECOND);
  const describe = async () =>
    (await ec2.send(new DescribeSnapshotsCommand({ SnapshotIds: [SnapshotId], OwnerIds: ['self'] }))).Snapshots?.[0];
  t.match(await describe(), { State: 'pending', Progress: '50%', VolumeSize: 10, VolumeId: id });
  await t.rejects(volume({ SnapshotId }), refusal('IncorrectState', 400));
  await pass(5 * SECOND);
  t.match(await describe(), { State: 'completed', Progress: '100%' });
  await t.rejects(volume({ SnapshotId, Size: 9 }), { name: 'InvalidParameterValue', message: /smaller than snapshot/ });
  const copy = await volume({ SnapshotId, Size: undefined });
  t.match(await show(copy), { SnapshotId, Size: 10 });
  aws.disks.image(SnapshotId);
  await t.rejects(ec2.send(new DeleteSnapshotCommand({ SnapshotId })), refusal('InvalidSnapshot.InUse', 400));
  await t.rejects(
    ec2.send(new DeleteSnapshotCommand({ SnapshotId: 'snap-0123456789abcdef0' })),
    refusal('InvalidSnapshot.NotFound', 400),
  );
});

t.test('volumes are found by tags, in pages, and as late as everything', async (t) => {
  const { aws, ec2, volume, pass } = await site(t, { pageSize: 2 });
  const ids = [];
  for (let n = 0; n < 5; n += 1) ids.push(await volume());
  await ec2.send(new CreateTagsCommand({ Resources: ids.slice(0, 3), Tags: [{ Key: 'of', Value: 'a*' }] }));
  const find = async (Value: string) => {
    const Filters = [{ Name: 'tag:of', Values: [Value] }];
    const first = await ec2.send(new DescribeVolumesCommand({ Filters }));
    const rest =
      first.NextToken === undefined
        ? undefined
        : await ec2.send(new DescribeVolumesCommand({ Filters, NextToken: first.NextToken }));
    return [...(first.Volumes ?? []), ...(rest?.Volumes ?? [])].map(({ VolumeId }) => VolumeId);
  };
  t.same(await find('a\\*'), ids.slice(0, 3));
  t.same(await find('a'), []);
  await ec2.send(new DeleteTagsCommand({ Resources: [ids[0] ?? ''], Tags: [{ Key: 'of', Value: 'other' }] }));
  t.equal((await find('a*')).length, 3, 'the value is another one');
  await pass(SECOND);
  aws.lagMs = SECOND;
  await ec2.send(new DeleteTagsCommand({ Resources: [ids[0] ?? ''], Tags: [{ Key: 'of' }] }));
  t.equal((await find('a*')).length, 3);
  await pass(SECOND);
  t.equal((await find('a*')).length, 2);
  await t.rejects(
    ec2.send(new CreateTagsCommand({ Resources: ['vol-0123456789abcdef0'], Tags: [{ Key: 'a', Value: '' }] })),
    refusal('InvalidVolume.NotFound', 400),
  );
  await t.rejects(
    ec2.send(new DescribeVolumesCommand({ VolumeIds: ['vol-1'] })),
    refusal('InvalidParameterValue', 400),
  );
  const { InstanceTypes } = await ec2.send(new DescribeInstanceTypesCommand({ InstanceTypes: ['m7i.large'] }));
  t.match(InstanceTypes?.[0]?.EbsInfo, { AttachmentLimitType: 'dedicated', MaximumEbsAttachments: 32 });
});

t.test('machines are given disks and asked for them; what they cannot do is told at the end', async (t) => {
  const said: string[] = [];
  let busy = true;
  const media = {
    ...noMedia,
    create: async ({ id, serial, bytes }: { id: string; serial: string; bytes: number }) => {
      said.push(`create ${serial === id.replace('-', '')} ${bytes}`);
    },
    attach: async (_: unknown, instance: string) => {
      said.push(`attach ${instance}`);
    },
    detach: async (_: string, instance: string, force: boolean) => {
      said.push(`detach ${instance} ${force}`);
      return busy ? ('busy' as const) : ('done' as const);
    },
    stop: async (instance: string, how: string) => {
      said.push(`${how} ${instance}`);
    },
    start: async (instance: string, disks: readonly unknown[]) => {
      said.push(`start ${instance} ${disks.length}`);
    },
    remove: () => Promise.reject(new Error('no room')),
  };
  const { aws, ec2, a, b, volume, show, pass, attach, detach } = await site(t, { media, times: { busyMs: SECOND } });
  const id = await volume();
  await attach(id, a.id);
  await detach(id, a.id);
  busy = false;
  await pass(SECOND);
  t.equal((await show(id))?.State, 'available');
  aws.stop(b.id);
  await pass(0);
  await attach(id, b.id);
  aws.resume(b.id);
  await pass(0);
  const gib = 10 * 2 ** 30;
  t.same(said, [
    ...[`create true ${gib}`, `attach ${a.id}`, `detach ${a.id} false`, `detach ${a.id} false`],
    ...[`stop ${b.id}`, `start ${b.id} 1`],
  ]);
  await detach(id, b.id);
  await pass(0);
  await ec2.send(new DeleteVolumeCommand({ VolumeId: id }));
  await t.rejects(aws.close(), { errors: [{ message: 'no room' }] });
});
