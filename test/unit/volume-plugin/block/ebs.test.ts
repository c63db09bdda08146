import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { attachDisk, detachDisk } from '../../../../volume-plugin/block/attach.ts';
import { DeviceNames, deviceOf } from '../../../../volume-plugin/block/ebs-devices.ts';
import type { DiskRequest } from '../../../../volume-plugin/block/provider.ts';
import { ManualClock } from '../../../sim/core/clock.ts';
import { noMedia } from '../../../sim/core/media.ts';
import { ebsWorld, GIB, request, started } from './ebs-world.ts';
import { codeOf, context, messageOf } from './scratch.ts';

t.setTimeout(120_000);

const attached = (id: string, aws: Awaited<ReturnType<typeof ebsWorld>>['aws']) =>
  aws.disks.volumes().find((one) => one.id === id)?.attachment?.instance;

t.test('an answer that is lost after a disk was made, attached, grown or copied changes nothing', async (t) => {
  const { aws, a, b, selfA, make } = await started(t);
  for (const action of [
    'CreateVolume',
    'AttachVolume',
    'ModifyVolume',
    'CreateSnapshot',
    'DetachVolume',
    'DeleteVolume',
  ]) {
    aws.faults.loseReply(action);
  }
  const { id } = await make();
  t.equal(aws.disks.volumes().length, 1);
  await a.attach(id, context());
  t.equal(attached(id, aws), selfA.id);
  t.equal(await codeOf(b.attach(id, context())), 'VOLUME_BUSY');
  await a.resize(id, 2 * GIB, context());
  t.equal((await a.describe(id, context()))?.size, 2 * GIB);
  const snapshot = await a.snapshot(id, { reason: 'user' }, 'one', context());
  t.same(
    aws.disks.snapshots().map((one) => one.id),
    [snapshot.id],
  );
  await a.detach(id, selfA.id, context());
  await a.remove(id, context());
  t.same(aws.disks.volumes(), []);
});

t.test('questions of one moment are one call', async (t) => {
  const { aws, a, make } = await started(t);
  const ids = (await Promise.all(['one', 'two', 'three'].map((name) => make(name)))).map(({ id }) => id);
  aws.clearCalls();
  await Promise.all(Array.from({ length: 60 }, (_, n) => a.describe(ids[n % 3] ?? '', context())));
  t.equal(aws.count({ action: 'DescribeVolumes' }), 1);
});

t.test('throttled calls are made again; where that does not end it is said', async (t) => {
  const { aws, a, make } = await started(t, { pace: 'usual' });
  await make();
  aws.faults.throttle('DescribeVolumes');
  t.equal((await a.list(context())).length, 1);
  aws.faults.throttle('*', { times: Number.POSITIVE_INFINITY });
  t.match(await messageOf(a.list(context(1_500))), /^BACKEND_THROTTLED: The storage provider ebs /);
});

t.test('keys of a role that end in the middle of the work are renewed', async (t) => {
  const { aws, a, make } = await started(t);
  aws.faults.expireCredentials('CreateVolume');
  const { id } = await make();
  aws.faults.expireCredentials('AttachVolume');
  await a.attach(id, context());
  t.equal((await a.describe(id, context()))?.state, 'attached');
});

t.test('a clock that is twenty minutes off is made up for; what is kept bears the cloud’s time', async (t) => {
  const clock = new ManualClock(Date.now() + 20 * 60_000);
  const { aws, a, selfA, make } = await started(t, { clock });
  const disk = await make();
  await a.attach(disk.id, context());
  t.equal(attached(disk.id, aws), selfA.id);
  const age = Math.abs(Date.parse((await a.describe(disk.id, context()))?.created ?? '') - clock.now());
  t.ok(age < 60_000, `made ${age} ms ago`);
});

t.test('a permission that is missing is named', async (t) => {
  const all = ['Describe*', 'CreateVolume', 'CreateTags', 'DeleteTags', 'AttachVolume', 'DetachVolume'];
  const { aws, a, make } = await started(t, { actions: all });
  const { id } = await make();
  const missing: [string, () => Promise<unknown>][] = [
    ['ec2:ModifyVolume', () => a.resize(id, 2 * GIB, context())],
    ['ec2:CreateSnapshot', () => a.snapshot(id, {}, 'x', context())],
    ['ec2:DeleteVolume', () => a.remove(id, context())],
  ];
  for (const [permission, work] of missing) {
    t.match(await messageOf(work()), `BACKEND_PERMISSION: The storage provider ebs lacks the permission ${permission}`);
  }
  t.equal(aws.disks.volumes().length, 1);
  const poor = await ebsWorld(t, { actions: ['DescribeVolumes'] });
  t.match(await messageOf(poor.host(0).start(context())), /BACKEND_PERMISSION: .* ec2:DescribeInstances/);
});

t.test('that a disk may be made but not be tagged is told as what it is', async (t) => {
  const Statement = [{ Effect: 'Allow', Action: ['ec2:Describe*', 'ec2:CreateVolume'], Resource: '*' }];
  const { make } = await started(t, { policy: { Statement } });
  t.match(await messageOf(make()), /BACKEND_PERMISSION: .* ec2:CreateTags/);
});

t.test('an attachment that never ends is still worked at, and joined when it is asked for again', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { aws, a, selfA, make } = await started(t, { media: { ...noMedia, attach: () => promise } });
  const disk = await make();
  const attach = () => messageOf(attachDisk(a, selfA, disk, context(700)));
  t.match(await attach(), /^STILL_WORKING: .*it is attaching/);
  t.match(await attach(), /^STILL_WORKING: .*it is attaching/);
  resolve();
  t.match(await attach(), /^STILL_WORKING: .*its device has not appeared/);
  t.equal(aws.count({ action: 'AttachVolume' }), 1);
});

t.test('a machine that does not let a disk go keeps it, and nobody pulls it out', async (t) => {
  const { aws, a, b, selfA, make } = await started(t, { times: { busyMs: 30 } });
  const { id } = await make();
  await a.attach(id, context());
  aws.disks.mounted(id, true);
  t.match(await messageOf(detachDisk(a, selfA, id, context(600))), /^STILL_WORKING: .*it is detaching/);
  t.match(await messageOf(detachDisk(a, selfA, id, context(300))), /^STILL_WORKING/);
  t.match(await messageOf(b.attach(id, context())), /^VOLUME_BUSY: .* in use on host host-0/);
  aws.disks.mounted(id, false);
  await detachDisk(a, selfA, id, context());
  await b.attach(id, context());
  t.equal(aws.count({ action: 'DetachVolume', code: 'OK' }), 1);
  t.same(
    aws.calls({ action: 'DetachVolume' }).filter(({ parameters }) => parameters.Force !== undefined),
    [],
  );
});

t.test('a disk of a host that is stopped or terminated is taken over; of one that runs it is not', async (t) => {
  const { aws, a, b, selfB, hosts, make } = await started(t);
  const [hostA = ''] = hosts;
  const disk = await make();
  await a.attach(disk.id, context());
  const take = () => messageOf(attachDisk(b, selfB, disk, context(900)));
  t.match(await take(), /^VOLUME_BUSY: Volume data is in use on host host-0/);
  t.equal(attached(disk.id, aws), hostA);
  aws.stop(hostA);
  t.match(await take(), /its device has not appeared/);
  t.equal(attached(disk.id, aws), selfB.id, 'taken from the stopped one');
  await b.detach(disk.id, selfB.id, context());
  aws.resume(hostA);
  await a.attach(disk.id, context());
  aws.terminate(hostA);
  t.match(await take(), /its device has not appeared/);
  t.equal(attached(disk.id, aws), selfB.id, 'taken from the terminated one');
});

t.test('a host that EC2 does not know is gone only when it was unknown for a while', async (t) => {
  const { aws, b, hosts } = await started(t);
  const [hostA = ''] = hosts;
  t.equal(await b.fate(hostA, context()), 'alive');
  aws.forget(hostA);
  t.equal(await b.fate(hostA, context()), 'unknown');
  await pause(350);
  t.equal(await b.fate(hostA, context()), 'gone');
  t.equal(await b.fate('nonsense', context()), 'unknown');
});

t.test('limits of the account and of the instance are said with their numbers', async (t) => {
  const { aws, a, make } = await started(t, { quotas: { volumes: 27 } });
  await Promise.all(Array.from({ length: 27 }, (_, n) => make(`data-${n}`)));
  t.match(await messageOf(make('more')), /^DISK_QUOTA: .*VolumeLimitExceeded/);
  const disks = await a.list(context());
  const answers = [];
  for (const { id } of disks) answers.push(await messageOf(a.attach(id, context())));
  const [refused, ...others] = answers.filter((one) => one !== 'none');
  t.same(others, []);
  t.match(refused, /^ATTACH_LIMIT: .* it is a m6i\.large, which takes 28 of them, network interfaces included/);
  const devices = aws.disks.volumes().flatMap(({ attachment }) => attachment?.device ?? []);
  t.equal(new Set(devices).size, 26, 'each by a name of its own');
});

t.test('disks that are attached at once get names of their own, also beside what somebody else attaches', async (t) => {
  const { aws, a, hosts, make } = await started(t, { lagMs: 200 });
  const stranger = aws.disks.volume();
  // Not shown yet when the first name is chosen.
  aws.disks.attach(stranger.id, hosts[0] ?? '', '/dev/sdf');
  const ids = [];
  for (const name of ['one', 'two', 'three', 'four']) ids.push((await make(name)).id);
  t.same(await Promise.all(ids.map((id) => messageOf(a.attach(id, context())))), ['none', 'none', 'none', 'none']);
  const devices = aws.disks.volumes().flatMap(({ attachment }) => attachment?.device ?? []);
  t.equal(new Set(devices).size, 5);
});

t.test('a name is not given twice, whatever Xen calls it', async (t) => {
  const names = new DeviceNames();
  t.equal(names.take('one', ['/dev/xvda', '/dev/xvdf', '/dev/sdg1']), '/dev/sdh');
  t.equal(names.take('two', ['/dev/xvda', '/dev/xvdf', '/dev/sdg1']), '/dev/sdi');
  t.equal(names.take('one', []), '/dev/sdf');
  const all = new Set(Array.from({ length: 200 }, (_, n) => names.take(`disk ${n}`, [])));
  t.ok(all.has(undefined), 'there is an end of them');
});

t.test('what a host has written on a disk it can take back before EC2 shows it', async (t) => {
  const { aws, a, make } = await started(t, { lagMs: 400 });
  const { id } = await make();
  const written = (): string | undefined => aws.disks.volumes()[0]?.tags['drayage:leaving-a'];
  t.equal(await codeOf(a.tag(id, { 'leaving-a': 'to zone b' }, context(200))), 'DEADLINE');
  t.equal(written(), 'to zone b');
  await a.tag(id, { 'leaving-a': undefined }, context());
  t.equal(written(), undefined);
});

t.test('disks of another zone, and changes that come too soon, are refused in EC2’s words', async (t) => {
  const { a, b, make } = await started(t, { zones: ['a', 'b'], quotas: { 'hours-between-modifications': 6 } });
  const { id } = await make();
  t.match(await messageOf(b.attach(id, context())), /^BACKEND_REFUSED: .*InvalidVolume\.ZoneMismatch/);
  await a.resize(id, 2 * GIB, context());
  await a.resize(id, 2 * GIB, context());
  t.match(await messageOf(a.resize(id, 3 * GIB, context())), /^BACKEND_REFUSED: .*Wait at least 6 hours/);
});

t.test('a disk that grows is asked for once, however long it takes', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const times = { optimizeMs: Number.POSITIVE_INFINITY };
  const { aws, a, make } = await started(t, { times, media: { ...noMedia, resize: () => promise } });
  const { id } = await make();
  await Promise.all([a.resize(id, 2 * GIB, context()), a.resize(id, 2 * GIB, context())]);
  t.equal((await a.describe(id, context()))?.size, GIB);
  await a.resize(id, 2 * GIB, context());
  resolve();
  await pause(20);
  t.equal((await a.describe(id, context()))?.size, 2 * GIB, 'before it has come to rest');
  await a.resize(id, 2 * GIB, context());
  t.equal(aws.count({ action: 'ModifyVolume', code: 'OK' }), 1);
});

t.test('a disk that has failed says so; what EBS has not is refused before it is asked', async (t) => {
  const { aws, a, make } = await started(t);
  const { id } = await make();
  aws.disks.breakDown(id);
  t.equal((await a.describe(id, context()))?.state, 'failed');
  const refused: [Partial<DiskRequest>, RegExp][] = [
    [{ kind: 'cloud_essd' }, /option kind/],
    [{ size: 65_537 * GIB }, /option size/],
    [{ kind: 'gp2', iops: 4_000 }, /option iops/],
    [{ kind: 'io2', size: 4 * GIB }, /option iops/],
    [{ throughput: 5_000 }, /option throughput/],
    [{ kind: 'st1' }, /option size/],
    [{ encrypted: false, key: 'alias/mine' }, /option kms-key/],
    [{ labels: { 'aws:mine': '1' } }, /option tags/],
    [{ labels: { 'drayage:volume': '1' } }, /option tags/],
    [{ labels: Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`t${n}`, ''])) }, /option tags/],
  ];
  aws.clearCalls();
  for (const [more, which] of refused) {
    t.match(await messageOf(a.create(request('other', more), 'x', context())), which);
  }
  t.equal(aws.count({}), 0);
  t.doesNotThrow(() => a.check(request('other', { kind: 'io2', iops: 500, size: 4 * GIB, labels: { team: 'web' } })));
});

t.test('disks of another cluster are nobody’s here; long tags come back whole', async (t) => {
  const { aws, a, make } = await started(t);
  aws.disks.volume({ tags: { 'drayage:volume': 'theirs', 'drayage:cluster': 'other' } });
  const options = JSON.stringify({ tags: 'x=y,'.repeat(150) });
  const { id } = await a.create(request('mine', { tags: { options } }), 'token', context());
  t.match(await a.list(context()), [{ id, volume: 'mine', tags: { options } }]);
  await a.tag(id, { options: '{}' }, context());
  t.same((await a.describe(id, context()))?.tags, { options: '{}' });
  const names = Object.keys(aws.disks.volumes().find((one) => one.id === id)?.tags ?? {});
  t.same(
    names.filter((name) => /\.\d$/.test(name)),
    [],
    'no pieces are left',
  );
  const { id: second } = await make('data');
  const theirs = aws.disks.volumes().find((one) => one.id !== id && one.id !== second)?.id ?? '';
  t.equal(await codeOf(a.adopt(theirs, 'mine', {}, context())), 'VOLUME_EXISTS');
});

t.test('when nobody answers it is said soon, and a host that starts then says the same', async (t) => {
  const { aws, a, host, make } = await started(t);
  const { id } = await make();
  await aws.close();
  t.equal(await codeOf(a.describe(id, context())), 'BACKEND_UNREACHABLE');
  t.equal(await codeOf(a.attach(id, context())), 'BACKEND_UNREACHABLE');
  t.equal(await codeOf(host(1).start(context())), 'BACKEND_UNREACHABLE');
});

t.test('a device is found by what the kernel shows; links are not trusted against that', async (t) => {
  const root = t.testdir({ sys: {}, dev: { disk: { 'by-id': {} } } });
  const folders = { sys: join(root, 'sys'), dev: join(root, 'dev') };
  const add = (name: string, serial?: string, where = 'device/serial') => {
    mkdirSync(join(folders.sys, name, 'device'), { recursive: true });
    if (serial !== undefined) writeFileSync(join(folders.sys, name, where), `${serial.padEnd(20)}\n`);
  };
  const link = (name: string, device: string) =>
    symlinkSync(`../../${device}`, join(folders.dev, 'disk', 'by-id', name));
  const find = (serial: string, as?: string) => deviceOf(serial, as, folders);
  add('nvme0n1', 'vol00000000000000001');
  add('nvme1n1', 'vol00000000000000002');
  link('nvme-Amazon_Elastic_Block_Store_vol00000000000000003', 'nvme1n1');
  t.equal(await find('vol00000000000000002'), join(folders.dev, 'nvme1n1'), 'udev has made no link');
  t.equal(await find('vol00000000000000003', '/dev/sdf'), undefined, 'the link is stale');
  add('vdb', 'vol00000000000000003', 'serial');
  t.equal(await find('vol00000000000000003'), join(folders.dev, 'vdb'));
  add('xvdf');
  t.equal(await find('vol00000000000000004', '/dev/sdf'), join(folders.dev, 'xvdf'), 'as Xen names it');
  t.equal(await find('vol00000000000000004', '/dev/sdg'), undefined);
  t.equal(await find('vol00000000000000004'), undefined);
});

t.test('what was let go, or is another cluster’s, is not removed', async (t) => {
  const { aws, a, b, make, host } = await started(t);
  const other = host(1, {}, undefined, 'other');
  t.teardown(() => other.close());
  await other.start(context());
  const { id } = await make();
  const snapshot = await a.snapshot(id, { reason: 'user' }, 'one', context());
  await other.remove(id, context());
  await other.removeSnapshot(snapshot.id, context());
  await b.release(id, context());
  await a.remove(id, context());
  t.match(aws.disks.volumes(), [{ id, state: 'available' }]);
  t.match(aws.disks.snapshots(), [{ id: snapshot.id }]);
});
