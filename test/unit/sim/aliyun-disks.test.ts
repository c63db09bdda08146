/** Disks and snapshots, by the vendor's own client. */
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { AliyunConfig } from '../../sim/aliyun/sim.ts';
import { ManualClock } from '../../sim/core/clock.ts';
import { SimControl } from '../../sim/core/control-client.ts';
import { type Media, noMedia } from '../../sim/core/media.ts';
import { type Caller, cloudFor, codeOf, type Query } from './aliyun-client.ts';

interface DiskRow {
  readonly DiskId: string;
  readonly Status: string;
  readonly SerialNumber: string;
  readonly Size: number;
}

type Ecs = <R = Query>(action: string, query?: Query) => Promise<R>;

const site = async (t: Parameters<typeof cloudFor>[0], config: AliyunConfig = {}) => {
  const cloud = await cloudFor(t, config);
  const { call, sim, hosts } = cloud;
  const ecs: Ecs = (action, query = {}) => (call as Caller)(action, query, 'ecs');
  const create = async (query: Query = {}): Promise<string> => {
    const zone = { ZoneId: `${sim.region}-a`, Size: 20, DiskCategory: 'cloud_essd' };
    return (await ecs<{ DiskId: string }>('CreateDisk', { ...zone, ...query })).DiskId;
  };
  const disks = async (query: Query = {}): Promise<readonly DiskRow[]> =>
    (await ecs<{ Disks: { Disk: readonly DiskRow[] } }>('DescribeDisks', query)).Disks.Disk;
  const disk = async (id: string): Promise<DiskRow | undefined> => (await disks({ DiskIds: JSON.stringify([id]) }))[0];
  const [first, second] = hosts;
  if (first === undefined || second === undefined) throw new Error('no hosts');
  return { ...cloud, ecs, create, disks, disk, one: first.id, two: second.id };
};

t.test('a disk goes to one instance, and through states that last', async (t) => {
  const times = { createMs: 60_000, attachMs: 60_000, detachMs: 60_000 };
  const { ecs, create, disk, one, two, sim } = await site(t, { clock: new ManualClock(), times });
  const id = await create();
  const until = async (status: string): Promise<void> => {
    sim.clock.advance(60_000);
    t.equal((await disk(id))?.Status, status);
  };
  t.match(await disk(id), { DiskId: id, Status: 'Creating', InstanceId: '', Size: 20 });
  const attach = (InstanceId: string) => codeOf(ecs('AttachDisk', { DiskId: id, InstanceId }));
  t.equal(await attach(one), 'IncorrectDiskStatus.Initializing');
  await until('Available');
  t.same(await Promise.all([attach(one), attach(two)]).then((codes) => codes.sort()), ['IncorrectDiskStatus', 'none']);
  t.match(await disk(id), { Status: 'Attaching', InstanceId: '' }, 'whose it will be is not told yet');
  await until('In_use');
  const [holder, other] = sim.disks()[0]?.instance === one ? [one, two] : [two, one];
  t.match(await disk(id), { InstanceId: holder, Attachments: { Attachment: [{ InstanceId: holder }] } });
  const detach = (InstanceId: string) => codeOf(ecs('DetachDisk', { DiskId: id, InstanceId }));
  t.equal(await codeOf(ecs('DeleteDisk', { DiskId: id })), 'IncorrectDiskStatus');
  t.equal(await detach(other), 'IncorrectDiskStatus', 'who has it is looked at');
  t.equal(await detach(holder), 'none');
  t.match(await disk(id), { Status: 'Detaching', InstanceId: holder });
  t.equal(await detach(holder), 'IncorrectDiskStatus');
  await until('Available');
  t.equal(await codeOf(ecs('DeleteDisk', { DiskId: id })), 'none');
  t.equal(await codeOf(ecs('DeleteDisk', { DiskId: id })), 'none', 'a disk that does not exist is ignored');
  t.equal(await attach(one), 'InvalidDiskId.NotFound');
  const all = ['Creating', 'Available', 'Attaching', 'In_use', 'Detaching', 'Available', 'gone'];
  t.same(
    sim.historyOf(id).map(({ status }) => status),
    all,
  );
});

t.test('what the vendor refuses is refused, with its codes', async (t) => {
  const { ecs, create, one, sim } = await site(t);
  const refused: readonly (readonly [Query, string])[] = [
    [{ ZoneId: 'cn-beijing-a' }, 'InvalidZoneId.NotFound'],
    [{ DiskCategory: 'gp3' }, 'InvalidDataDiskCategory.NotSupported'],
    [{ Size: 10, DiskCategory: 'cloud_ssd' }, 'InvalidDiskSize.NotSupported'],
    [{ Size: 10 }, 'OperationDenied.PerformanceLevelNotMatch'],
    [{ PerformanceLevel: 'PL9' }, 'InvalidPerformanceLevel.Malformed'],
    [{ DiskCategory: 'cloud_auto', ProvisionedIops: 60_000 }, 'InvalidProvisionedIops.LimitExceed'],
    [{ KMSKeyId: 'key-1', Encrypted: true }, 'InvalidParameter.KMSKeyId.CMKNotFound'],
    [{ KMSKeyId: 'key-1' }, 'InvalidParameter.EncryptedIllegal'],
    [{ DiskName: '9lives' }, 'InvalidDiskName.Malformed'],
    [{ ClientToken: 'x'.repeat(65) }, 'InvalidClientToken'],
    [{ SnapshotId: 's-none' }, 'InvalidSnapshotId.NotFound'],
    [{ Tag: [{ Key: 'a', Value: 'http://x' }] }, 'InvalidTagValue.Malformed'],
    [{ Tag: [{ Key: 'acs:a', Value: 'x' }] }, 'InvalidTagKey.Malformed'],
    [{ Tag: Array.from({ length: 21 }, (_, n) => ({ Key: `k${n}`, Value: '' })) }, 'NumberExceed.Tags'],
    [{ Sizes: 1 }, 'InvalidParameter'],
  ];
  for (const [query, code] of refused) t.equal(await codeOf(create(query)), code, JSON.stringify(query));
  t.same(sim.disks(), []);
  const key = sim.kmsKey();
  await create({ Encrypted: true, KMSKeyId: key });
  sim.quotas.set('ecs_disks', 1);
  t.equal(await codeOf(create()), 'QuotaExceed.PostPaidDisk');
  sim.quotas.set('ecs_disks', 100);
  const attach = (id: string, InstanceId = one) => codeOf(ecs('AttachDisk', { DiskId: id, InstanceId }));
  t.equal(await attach(await create({ ZoneId: `${sim.region}-b` })), 'ResourcesNotInSameZone');
  t.equal(await attach(sim.disk({ portable: false }).id), 'DiskNotPortable');
  t.equal(await attach(await create(), 'i-none'), 'InvalidInstanceId.NotFound');
  sim.quotas.set('ecs_disks_per_instance', 0);
  t.equal(await attach(await create()), 'InstanceDiskLimitExceeded');
  const locked = await create();
  sim.lockDisk({ id: locked, reasons: ['financial'] });
  t.equal(await attach(locked), 'DiskInArrears');
});

t.test('a token makes one disk, for the whole account, and no other with other parameters', async (t) => {
  const { create, ecs } = await site(t);
  const id = await create({ ClientToken: 'one' });
  t.equal(await create({ ClientToken: 'one' }), id);
  t.equal(await codeOf(create({ ClientToken: 'one', Size: 21 })), 'IdempotentParameterMismatch');
  await ecs('DeleteDisk', { DiskId: id });
  t.equal(await create({ ClientToken: 'one' }), id, 'also when it is gone');
});

t.test('disks are listed by id, tags and name, page by page, with serial numbers of their own', async (t) => {
  const { create, disks, ecs, sim } = await site(t);
  const ids: string[] = [];
  for (const n of [1, 2, 3]) {
    ids.push(
      await create({
        DiskName: `disk-${n}`,
        Tag: [
          { Key: 'n', Value: String(n) },
          { Key: 'all', Value: '' },
        ],
      }),
    );
  }
  t.match(await disks({ DiskIds: JSON.stringify([ids[1], 'd-none']) }), [{ DiskId: ids[1] }]);
  t.match(await disks({ Tag: [{ Key: 'n', Value: '3' }] }), [{ DiskId: ids[2] }]);
  t.match(await disks({ DiskName: 'disk-1' }), [
    { DiskId: ids[0], Tags: { Tag: [{ TagKey: 'n', TagValue: '1' }, {}] } },
  ]);
  t.equal((await disks({ Tag: [{ Key: 'all' }] })).length, 3);
  const first = await ecs<{ NextToken: string }>('DescribeDisks', { MaxResults: 2 });
  const second = await ecs<{ NextToken: string }>('DescribeDisks', { MaxResults: 2, NextToken: first.NextToken });
  t.match([first, second], [{ Disks: { Disk: { length: 2 } } }, { Disks: { Disk: { length: 1 } }, NextToken: '' }]);
  const rows = await disks();
  t.notOk(rows.some(({ DiskId, SerialNumber }) => SerialNumber.includes(DiskId.slice(2)) || SerialNumber === ''));
  t.equal(new Set(rows.map(({ SerialNumber }) => SerialNumber)).size, 3);
  t.equal(await codeOf(disks({ DiskIds: '["../x"]' })), 'InvalidDiskIds.Malformed');
  const [id = ''] = ids;
  const tag = { ResourceType: 'disk', ResourceId: [id] };
  await ecs('TagResources', { ...tag, Tag: [{ Key: 'n', Value: 'changed' }] });
  await ecs('UntagResources', { ...tag, TagKey: ['all', 'none'] });
  t.same(sim.disks()[0]?.tags, { n: 'changed' });
  const more = Array.from({ length: 20 }, (_, n) => ({ Key: `k${n}`, Value: '' }));
  t.equal(await codeOf(ecs('TagResources', { ...tag, Tag: more })), 'QuotaExceed.Tags');
  t.equal(
    await codeOf(ecs('TagResources', { ...tag, ResourceId: ['d-none'], Tag: more })),
    'InvalidResourceId.NotFound',
  );
});

t.test('what was written shows when the lag is over', async (t) => {
  const { create, disk, sim } = await site(t, { lagMs: 5_000, clock: new ManualClock() });
  const id = await create();
  t.equal(await disk(id), undefined);
  sim.clock.advance(5_000);
  t.match(await disk(id), { Status: 'Available' });
});

t.test('snapshots are taken of disks that were used, one at a time, and disks are made of them', async (t) => {
  const { ecs, create, disk, one, sim } = await site(t, { clock: new ManualClock(), times: { snapshotMs: 60_000 } });
  const id = await create();
  const take = (query: Query = {}) => ecs<{ SnapshotId: string }>('CreateSnapshot', { DiskId: id, ...query });
  t.equal(await codeOf(take()), 'IncorrectDiskStatus.NeverAttached');
  await ecs('AttachDisk', { DiskId: id, InstanceId: one });
  t.equal(await codeOf(take({ SnapshotName: 'auto-1' })), 'InvalidSnapshotName.Malformed');
  const { SnapshotId } = await take({ ClientToken: 'one' });
  t.equal((await take({ ClientToken: 'one' })).SnapshotId, SnapshotId);
  t.equal(await codeOf(take()), 'DiskCreatingSnapshot');
  t.equal(await codeOf(ecs('ResizeDisk', { DiskId: id, NewSize: 30, Type: 'online' })), 'DiskCreatingSnapshot');
  t.equal(await codeOf(create({ SnapshotId })), 'InvalidSnapshotId.NotReady');
  const shown = () => ecs('DescribeSnapshots', { SnapshotIds: JSON.stringify([SnapshotId]) });
  sim.clock.advance(15_000);
  t.match(await shown(), {
    Snapshots: { Snapshot: [{ Status: 'progressing', Progress: '25%', Available: false }] },
  });
  sim.clock.advance(45_000);
  t.match(await shown(), { Snapshots: { Snapshot: [{ Status: 'accomplished', Progress: '100%', SourceDiskId: id }] } });
  t.equal(await codeOf(create({ SnapshotId, Size: 10, DiskCategory: 'cloud_auto' })), 'InvalidDiskSize.TooSmall');
  const copy = await create({ SnapshotId, Size: 30 });
  t.match(await disk(copy), { SourceSnapshotId: SnapshotId, Size: 30 });
  t.equal(await codeOf(ecs('DeleteSnapshot', { SnapshotId })), 'SnapshotCreatedDisk');
  t.equal(await codeOf(ecs('DeleteSnapshot', { SnapshotId, Force: true })), 'none');
  t.equal(await codeOf(ecs('DeleteSnapshot', { SnapshotId })), 'InvalidSnapshotId.NotFound');
  sim.quotas.set('ecs_snapshots_per_disk', 0);
  t.equal(await codeOf(take()), 'QuotaExceed.Snapshot');
});

t.test('a disk grows online where it is in use, offline where it is not', async (t) => {
  const { ecs, create, disk, one } = await site(t);
  const id = await create();
  const resize = (NewSize: number, Type: string) => codeOf(ecs('ResizeDisk', { DiskId: id, NewSize, Type }));
  t.equal(await resize(30, 'online'), 'IncorrectDiskStatus');
  t.equal(await resize(30, 'offline'), 'none');
  await ecs('AttachDisk', { DiskId: id, InstanceId: one });
  t.equal(await resize(40, 'online'), 'none');
  t.match(await disk(id), { Size: 40 });
  t.equal(await resize(40, 'online'), 'InvalidDiskSize.TooSmall');
  t.equal(await resize(70_000, 'online'), 'InvalidNewSize');
});

/** Media that write down what is done to them; a machine may be busy with a disk. */
const recording = () => {
  const did: string[] = [];
  const busy = new Set<string>();
  const media: Media = {
    ...noMedia,
    create: async ({ bytes, bus }, snapshot) =>
      void did.push(`create ${bytes / 2 ** 30} ${bus} ${snapshot ?? 'blank'}`),
    resize: async ({ bytes }) => void did.push(`resize ${bytes / 2 ** 30}`),
    remove: async () => void did.push('remove'),
    snapshot: async () => void did.push('snapshot'),
    attach: async (_, instance) => void did.push(`attach ${instance}`),
    detach: async (disk, instance) => {
      did.push(`detach ${instance}`);
      return busy.has(disk) ? 'busy' : 'done';
    },
    stop: async (instance, how) => void did.push(`${how} ${instance}`),
    start: async (instance, disks) => void did.push(`start ${instance} with ${disks.length}`),
  };
  return { did, busy, media };
};

t.test('machines get their disks, keep those that they are busy with, and lose all when they stop', async (t) => {
  const { did, busy, media } = recording();
  const { ecs, create, disk, one, sim } = await site(t, { media, times: { busyMs: 10 } });
  const until = async (fits: () => Promise<boolean>): Promise<void> => {
    while (!(await fits())) await pause(5);
  };
  const is = (status: string) => async () => (await disk(id))?.Status === status;
  const id = await create();
  await until(is('Available'));
  await ecs('AttachDisk', { DiskId: id, InstanceId: one });
  await until(is('In_use'));
  busy.add(id);
  await ecs('DetachDisk', { DiskId: id, InstanceId: one });
  await pause(40);
  t.ok(await is('Detaching')(), 'as long as the machine does not let it go');
  busy.clear();
  await until(is('Available'));
  t.same([...new Set(did.splice(0))], ['create 20 virtio blank', `attach ${one}`, `detach ${one}`]);
  await ecs('AttachDisk', { DiskId: id, InstanceId: one });
  await until(is('In_use'));
  sim.stop(one);
  await until(async () => sim.world.instances.get(one)?.status === 'Stopped');
  t.ok(await is('In_use')(), 'a stopped machine still has its disks');
  sim.resume(one);
  await until(async () => sim.world.instances.get(one)?.status === 'Running');
  sim.release(one);
  await until(is('Available'));
  t.same(did, [`attach ${one}`, `stop ${one}`, `start ${one} with 1`, `terminate ${one}`]);
});

t.test('all of it can be worked from another process', async (t) => {
  const { sim, create } = await site(t);
  const control = new SimControl(sim.control);
  await control.do('diskTimes', { detachMs: 60_000 });
  const id = await create();
  await control.do('lockDisk', { id, reasons: ['security'] });
  await control.do('tagDisk', { id, tags: { a: 'b' } });
  t.match(await control.do('disks'), [{ id, locks: ['security'], tags: { a: 'b' } }]);
  t.match(await control.do('historyOf', { id }), [{ status: 'Creating' }, { status: 'Available' }]);
  t.match(await control.ask('GET', 'state'), { disks: [{ id }], snapshots: [] });
});
