import {
  CreateAccessPointCommand,
  CreateFileSystemCommand,
  CreateMountTargetCommand,
  DeleteFileSystemCommand,
  DeleteMountTargetCommand,
  DescribeAccessPointsCommand,
  DescribeFileSystemsCommand,
  DescribeMountTargetsCommand,
  EFSClient,
  ListTagsForResourceCommand,
  TagResourceCommand,
  UntagResourceCommand,
} from '@aws-sdk/client-efs';
import t, { type Test } from 'tap';
import type { AwsSim, AwsSimConfig } from '../../sim/aws/sim.ts';
import type { Credential } from '../../sim/core/credentials.ts';
import { credentialsOf, refusal } from './aws-sdk.ts';
import { awsSite } from './aws-site.ts';

t.setTimeout(60_000);

const client = (aws: AwsSim, key: Credential, region = aws.region): EFSClient =>
  new EFSClient({ region, endpoint: aws.endpoint, maxAttempts: 1, credentials: credentialsOf(key) });

const site = async (t: Test, config: AwsSimConfig = {}) => {
  const made = await awsSite(t, { rates: {}, ...config });
  const efs = client(made.aws, made.aws.key());
  t.teardown(() => efs.destroy());
  const create = async (CreationToken: string, more: object = {}): Promise<string> =>
    (await efs.send(new CreateFileSystemCommand({ CreationToken, ...more }))).FileSystemId ?? '';
  const reach = (FileSystemId: string, SubnetId = made.subnet.id, more: object = {}) =>
    efs.send(new CreateMountTargetCommand({ FileSystemId, SubnetId, ...more }));
  return { ...made, efs, create, reach };
};

t.test('a creation token makes one file system, and tells which to whoever uses it again', async (t) => {
  const { efs, create, aws } = await site(t);
  const id = await create('one');
  await t.rejects(create('one'), { ...refusal('FileSystemAlreadyExists', 409), FileSystemId: id });
  const other = await create('two', { Tags: [{ Key: 'Name', Value: 'data' }], Encrypted: true });
  t.not(other, id);
  const { FileSystems } = await efs.send(new DescribeFileSystemsCommand({ CreationToken: 'two' }));
  t.match(FileSystems, [{ FileSystemId: other, Name: 'data', Encrypted: true, LifeCycleState: 'available' }]);
  t.ok(FileSystems?.[0]?.CreationTime instanceof Date);
  t.same((await efs.send(new DescribeFileSystemsCommand({ CreationToken: 'three' }))).FileSystems, []);
  const unknown = new DescribeFileSystemsCommand({ FileSystemId: 'fs-0123456789abcdef0' });
  await t.rejects(efs.send(unknown), refusal('FileSystemNotFound', 404));
  t.equal(aws.count({ service: 'elasticfilesystem', action: 'CreateFileSystem', code: 'OK' }), 2);
});

t.test('what cannot be is a bad request', async (t) => {
  const { create } = await site(t);
  for (const more of [
    { ThroughputMode: 'provisioned' },
    { ProvisionedThroughputInMibps: 5 },
    { KmsKeyId: 'key' },
    { PerformanceMode: 'maxIO', ThroughputMode: 'elastic' },
    { ThroughputMode: 'fast' },
    { Tags: [{ Key: 'aws:x', Value: '' }] },
    { Tags: [{ Key: 'a', Value: '<>' }] },
  ]) {
    await t.rejects(create('x', more), refusal('BadRequest', 400), JSON.stringify(more));
  }
  await t.rejects(create('x'.repeat(65)), refusal('BadRequest', 400));
  await t.rejects(create('x', { AvailabilityZoneName: 'eu-central-1z' }), refusal('UnsupportedAvailabilityZone', 400));
});

t.test('a zone has one mount target, and all are in one VPC', async (t) => {
  const { aws, efs, create, reach, vpc, subnet } = await site(t);
  const id = await create('one');
  const second = aws.subnet({ vpc: vpc.id, cidr: '10.0.2.0/24' });
  const far = aws.subnet({ vpc: vpc.id, cidr: '10.0.3.0/24', zone: `${aws.region}b` });
  const elsewhere = aws.subnet({
    vpc: aws.vpc({ cidr: '10.9.0.0/16' }).id,
    cidr: '10.9.1.0/24',
    zone: `${aws.region}c`,
  });
  t.match(await reach(id), { AvailabilityZoneName: `${aws.region}a`, VpcId: vpc.id, SubnetId: subnet.id });
  await t.rejects(reach(id, second.id), refusal('MountTargetConflict', 409));
  await t.rejects(reach(id, elsewhere.id), refusal('MountTargetConflict', 409));
  const { IpAddress } = await reach(id, far.id);
  t.match(IpAddress, /^10\.0\.3\./);
  await t.rejects(reach(await create('two'), far.id, { IpAddress }), refusal('IpAddressInUse', 409));
  const { MountTargets = [] } = await efs.send(new DescribeMountTargetsCommand({ FileSystemId: id }));
  t.equal(MountTargets.length, 2);
  t.equal(new Set(MountTargets.map((one) => one.AvailabilityZoneId)).size, 2);
  const { FileSystems = [] } = await efs.send(new DescribeFileSystemsCommand({ FileSystemId: id }));
  t.equal(FileSystems[0]?.NumberOfMountTargets, 2);
});

t.test('a mount target needs a file system that is available, a subnet, and groups of its VPC', async (t) => {
  const { aws, clock, create, reach } = await site(t, { fileTimes: { createMs: 1_000 } });
  const id = await create('one');
  await t.rejects(reach(id), refusal('IncorrectFileSystemLifeCycleState', 409));
  clock.advance(1_000);
  await t.rejects(reach(id, 'subnet-0123456789abcdef0'), refusal('SubnetNotFound', 400));
  await t.rejects(reach('fs-0123456789abcdef0'), refusal('FileSystemNotFound', 404));
  const foreign = aws.world.defaultGroup(aws.vpc({ cidr: '10.9.0.0/16' }).id);
  await t.rejects(reach(id, undefined, { SecurityGroups: [foreign] }), refusal('SecurityGroupNotFound', 400));
  const six = Array.from({ length: 6 }, () => foreign);
  await t.rejects(reach(id, undefined, { SecurityGroups: six }), refusal('SecurityGroupLimitExceeded', 400));
  const zonal = await create('zonal', { AvailabilityZoneName: `${aws.region}b` });
  clock.advance(1_000);
  await t.rejects(reach(zonal), refusal('AvailabilityZonesMismatch', 400));
  t.match(await reach(id), { FileSystemId: id });
});

t.test('things take their time, and what is read is late', async (t) => {
  const { efs, clock, create, reach } = await site(t, { fileTimes: { targetMs: 60_000, deleteMs: 5_000 }, lagMs: 500 });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    // What is due has promises to keep.
    await new Promise((resolve) => setImmediate(resolve));
  };
  const id = await create('one');
  const find = new DescribeFileSystemsCommand({ FileSystemId: id });
  await t.rejects(efs.send(find), refusal('FileSystemNotFound', 404));
  await t.rejects(create('one'), refusal('FileSystemAlreadyExists', 409), 'who writes sees the truth');
  await pass(500);
  await t.resolves(efs.send(find));
  const { MountTargetId = '', LifeCycleState } = await reach(id);
  t.equal(LifeCycleState, 'creating');
  const look = async () => (await efs.send(new DescribeMountTargetsCommand({ FileSystemId: id }))).MountTargets ?? [];
  t.same(await look(), []);
  await pass(59_999);
  t.match(await look(), [{ LifeCycleState: 'creating' }]);
  await pass(1);
  await pass(500);
  t.match(await look(), [{ LifeCycleState: 'available' }]);
  await t.rejects(efs.send(new DeleteFileSystemCommand({ FileSystemId: id })), refusal('FileSystemInUse', 409));
  await efs.send(new DeleteMountTargetCommand({ MountTargetId }));
  await pass(500);
  t.match(await look(), [{ LifeCycleState: 'deleting' }]);
  await pass(4_500);
  await efs.send(new DeleteFileSystemCommand({ FileSystemId: id }));
  await pass(5_000);
  await pass(500);
  await t.rejects(efs.send(find), refusal('FileSystemNotFound', 404));
  t.not(await create('one'), id, 'its token is free again');
});

t.test('access points and tags, by id and by ARN', async (t) => {
  const { efs, create } = await site(t);
  const FileSystemId = await create('one');
  const point = { FileSystemId, ClientToken: 'p', PosixUser: { Uid: 1, Gid: 2 }, RootDirectory: { Path: '/a' } };
  const made = await efs.send(new CreateAccessPointCommand(point));
  t.match(made, { FileSystemId, PosixUser: { Uid: 1, Gid: 2 }, RootDirectory: { Path: '/a' } });
  await t.rejects(efs.send(new CreateAccessPointCommand(point)), {
    ...refusal('AccessPointAlreadyExists', 409),
    AccessPointId: made.AccessPointId,
  });
  t.equal((await efs.send(new DescribeAccessPointsCommand({ FileSystemId }))).AccessPoints?.length, 1);
  const Tags = [
    { Key: 'a b', Value: 'c/d' },
    { Key: 'e', Value: '' },
  ];
  await efs.send(new TagResourceCommand({ ResourceId: FileSystemId, Tags }));
  await efs.send(new TagResourceCommand({ ResourceId: made.AccessPointArn, Tags }));
  await efs.send(new UntagResourceCommand({ ResourceId: made.AccessPointArn, TagKeys: ['e', 'x'] }));
  const list = async (ResourceId = '') => (await efs.send(new ListTagsForResourceCommand({ ResourceId }))).Tags;
  t.same(await list(FileSystemId), Tags);
  t.same(await list(made.AccessPointId), Tags.slice(0, 1));
});

t.test('lists come in pages', async (t) => {
  const { efs, create } = await site(t);
  for (let n = 0; n < 5; n += 1) await create(`t${n}`);
  const first = await efs.send(new DescribeFileSystemsCommand({ MaxItems: 2 }));
  t.equal(first.FileSystems?.length, 2);
  const second = await efs.send(new DescribeFileSystemsCommand({ MaxItems: 4, Marker: first.NextMarker }));
  t.equal(second.FileSystems?.length, 3);
  t.equal(second.NextMarker, undefined);
});

t.test('limits, rates, wrong keys, and rights that are missing', async (t) => {
  const { aws, efs, create } = await site(t, {
    quotas: { 'file-systems': 1 },
    rates: { CreateFileSystem: { burst: 3, perSecond: 1 } },
  });
  await create('one');
  await t.rejects(create('two'), refusal('FileSystemLimitExceeded', 403));
  await t.rejects(create('one'), refusal('FileSystemAlreadyExists', 409));
  await t.rejects(create('three'), refusal('TooManyRequests', 429));
  const list = new DescribeFileSystemsCommand({});
  await t.resolves(efs.send(list));
  const wrong = client(aws, { ...aws.key(), secret: 'not the secret' });
  await t.rejects(wrong.send(list), refusal('InvalidSignatureException', 403));
  await t.rejects(client(aws, aws.key(), 'us-east-1').send(list), { message: /valid region/ });
  const poor = client(aws, aws.key({ name: 'ci', actions: ['ec2:*'] }));
  await t.rejects(poor.send(list), {
    ...refusal('AccessDeniedException', 403),
    message: /user\/ci is not authorized to perform: elasticfilesystem:DescribeFileSystems/,
  });
});
