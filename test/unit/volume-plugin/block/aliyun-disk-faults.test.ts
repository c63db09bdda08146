import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { VOLUME_PERMISSIONS, volumePolicyDocument } from '../../../../shared/cloud/aliyun/volume-policy.ts';
import { detachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { DiskHost, DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ask, context, diskSite, GIB, ROLE, settled, site, thrown } from './aliyun-disk-world.ts';
import { holdDisk } from './hold-disk.ts';

t.setTimeout(90_000);

t.test('lost answers make no second disk, no second snapshot and no error', async (t) => {
  const { sim, a, selfA } = await site(t);
  for (const action of ['CreateDisk', 'AttachDisk', 'CreateSnapshot', 'DetachDisk', 'TagResources', 'ResizeDisk']) {
    sim.faults.loseReply(action);
  }
  sim.faults.loseReply('DeleteSnapshot');
  sim.faults.loseReply('DeleteDisk');
  const { id } = await ask(a);
  await a.attach(id, context());
  await settled(a, id, 'attached');
  const snapshot = await a.snapshot(id, {}, 'snapshot', context());
  await a.tag(id, { formatted: 'ext4' }, context());
  await a.resize(id, 30 * GIB, context());
  await a.detach(id, selfA.id, context());
  const disk = await settled(a, id, 'available');
  t.match(disk, { size: 30 * GIB, tags: { formatted: 'ext4' } });
  t.equal(sim.disks().length, 1);
  t.equal(sim.snapshots().length, 1);
  await a.removeSnapshot(snapshot.id, context());
  await a.remove(id, context());
  t.same([sim.disks(), sim.snapshots()], [[], []]);
});

t.test('throttling, and an API that fails for a while, are waited out', async (t) => {
  const { sim, a } = await site(t);
  for (const action of ['CreateDisk', 'AttachDisk', 'DescribeDisks']) sim.faults.throttle(action, { times: 2 });
  sim.faults.fail('AttachDisk', 'ServiceUnavailable', { nth: 3 });
  const { id } = await ask(a);
  await a.attach(id, context());
  t.equal((await settled(a, id, 'attached')).id, id);
  t.ok(sim.count({ action: 'AttachDisk' }) > 3, 'it was refused three times');
});

t.test('an API that does not answer is said so, whatever was asked', async (t) => {
  const { sim, a } = await site(t);
  const { id } = await ask(a);
  sim.faults.drop('*', { times: 1_000 });
  for (const work of [() => a.list(context(3_000)), () => a.attach(id, context(3_000)), () => ask(a, {}, 'other')]) {
    const error = await thrown(work());
    t.match(error.message, /BACKEND_UNREACHABLE: The storage provider aliyun-disk cannot be reached/);
  }
  sim.faults.clear();
  await a.attach(id, context());
});

t.test('keys that expire in the middle are replaced', async (t) => {
  const { sim, a, selfA, instance } = await site(t);
  const { id } = await ask(a);
  const key = (): string => sim.roleCredentials(instance(0).id)?.id ?? '';
  const first = key();
  sim.expire(first);
  await a.attach(id, context());
  t.equal((await settled(a, id, 'attached')).holder?.id, selfA.id);
  const second = key();
  t.not(second, first);
  sim.expire(second);
  await a.detach(id, selfA.id, context());
  t.equal((await settled(a, id, 'available')).holder, undefined);
});

t.test('a clock that is off is named as what it is, and changes no disk', async (t) => {
  const { sim, a } = await site(t);
  const { id } = await ask(a);
  sim.clock.advance(20 * 60_000);
  const error = await thrown(a.attach(id, context(3_000)));
  t.match(error.message, /^BACKEND_AUTH: .*clock of this host is more than 15/);
  t.match(sim.disks(), [{ id, status: 'Available' }]);
});

/** Each thing that a provider does, once. */
const everything = async (a: DiskProvider, self: DiskHost, round = ''): Promise<void> => {
  await a.start(context());
  const { id } = await ask(a, {}, `token ${round}`);
  await settled(a, id, 'available');
  await a.attach(id, context());
  await settled(a, id, 'attached');
  await a.resize(id, 25 * GIB, context());
  await a.tag(id, { formatted: 'ext4', formatting: undefined }, context());
  const snapshot = await a.snapshot(id, {}, `snapshot ${round}`, context());
  await a.snapshots(context(), 'data');
  await a.fate(self.id, context());
  await a.detach(id, self.id, context());
  await settled(a, id, 'available');
  const copy = await ask(a, { volume: 'copy', size: 25 * GIB, snapshot: snapshot.id }, `copy ${round}`);
  await settled(a, copy.id, 'available');
  await a.removeSnapshot(snapshot.id, context());
  await a.release(copy.id, context());
  await a.search('copy', context());
  await a.adopt(copy.id, 'other', {}, context());
  for (const disk of await a.list(context())) await a.remove(disk.id, context());
};

t.test('the printed policy is enough for all that the provider does, and none of it is too much', async (t) => {
  const { sim, a, selfA } = await site(t);
  const actions = [...new Set(volumePolicyDocument().Statement.flatMap(({ Action }) => Action))];
  sim.role({ name: ROLE, actions });
  sim.clearCalls();
  await everything(a, selfA);
  const made = new Set(
    sim
      .calls()
      .filter(({ service }) => service === 'ecs')
      .map(({ action }) => `ecs:${action}`),
  );
  t.same([...made].sort(), [...actions].sort());
});

t.test('a right that is missing is named, and what it was needed for', async (t) => {
  const { sim, a, selfA } = await site(t);
  for (const { action } of VOLUME_PERMISSIONS) {
    if (action === 'ecs:DescribeInstances') continue;
    sim.role({ name: ROLE, actions: VOLUME_PERMISSIONS.map((one) => one.action).filter((one) => one !== action) });
    const error = await thrown(everything(a, selfA, action));
    t.equal(error.code, 'BACKEND_PERMISSION', action);
    t.match(error.message, `lacks the permission ${action}`);
    sim.role({ name: ROLE });
    for (const { id, volume } of await a.search('copy', context()))
      if (volume === undefined) await a.adopt(id, 'x', {}, context());
    for (const { id, holder } of await a.list(context())) {
      if (holder !== undefined) await detachDisk(a, selfA, id, context());
      await a.remove(id, context());
    }
    for (const { id } of await a.snapshots(context())) await a.removeSnapshot(id, context());
  }
});

t.test('a host that may not look at instances does not start, and says why', async (t) => {
  const { sim, host } = await diskSite(t);
  sim.role({ name: ROLE, actions: ['ecs:DescribeDisks'] });
  t.match((await thrown(host(0).start(context()))).message, /BACKEND_PERMISSION: .*ecs:DescribeInstances/);
});

t.test('of two hosts that make one volume with other tags the first one’s disk is the answer', async (t) => {
  const { sim, a, b } = await site(t, 'aa', { lagMs: 100 });
  const made = await Promise.all([
    ask(a, { tags: { options: '{}', uuid: 'a' } }),
    ask(b, { tags: { options: '{"size":"20g"}', uuid: 'b' } }),
  ]);
  t.equal(made[0]?.id, made[1]?.id);
  t.same(made[0]?.tags, made[1]?.tags);
  t.equal(sim.disks().length, 1);
});

t.test('the making of a disk that comes to nothing burns its token, and another one goes on', async (t) => {
  const { sim, a } = await site(t, 'aa', { times: { createMs: 50 } }, { appearMs: 200 });
  sim.failDisks(1);
  const first = await ask(a);
  t.equal(first.state, 'creating');
  await pause(80);
  t.equal(await a.describe(first.id, context()), undefined);
  const error = await thrown(ask(a));
  t.match(error.message, /TOKEN_BURNED: .*aliyun-disk remembers .*a disk for volume data/);
  await settled(a, (await ask(a, {}, 'token-2')).id, 'available');
});

t.test('a volume that is made again under the name of one that was removed is there soon', async (t) => {
  const { a, b } = await site(t, 'aa', {}, { appearMs: 300 });
  const first = await ask(a, { tags: { uuid: '1' } });
  await a.remove(first.id, context());
  const begun = performance.now();
  t.match(await thrown(ask(a, { tags: { uuid: '2' } })), { code: 'TOKEN_BURNED' });
  t.ok(performance.now() - begun < 200, 'who removed it knows what its token is worth');
  t.match(await thrown(ask(b, { tags: { uuid: '3' } })), { code: 'TOKEN_BURNED' }, 'another host finds out');
  t.not((await ask(b, { tags: { uuid: '3' } }, 'token-2')).id, first.id);
});

t.test('a detach that takes a minute is waited for, by who gives the disk up and by who wants it', async (t) => {
  const { a, b, selfA, selfB } = await site(t, 'aa', { times: { attachMs: 50, detachMs: 1_500 } });
  const disk = await ask(a);
  await holdDisk(a, selfA, disk, context());
  const begun = performance.now();
  const [, taken] = await Promise.all([
    detachDisk(a, selfA, disk.id, context()),
    pause(100).then(() => holdDisk(b, selfB, disk, context())),
  ]);
  t.equal(taken.holder?.id, selfB.id);
  t.ok(performance.now() - begun > 1_500);
  t.match(await thrown(holdDisk(a, selfA, disk, context(3_000))), { code: 'VOLUME_BUSY' });
});

t.test('a machine that does not let a disk go keeps it; the wait for it says what it waits for', async (t) => {
  const { sim, a, b, selfA, selfB } = await site(t);
  const disk = await ask(a);
  await holdDisk(a, selfA, disk, context());
  sim.mountDisk({ id: disk.id });
  const error = await thrown(detachDisk(a, selfA, disk.id, context(600)));
  t.match(error.message, /STILL_WORKING: .*because it is detaching/);
  t.match(await thrown(holdDisk(b, selfB, disk, context(600))), { code: 'STILL_WORKING' });
  sim.mountDisk({ id: disk.id, mounted: false });
  t.equal((await holdDisk(b, selfB, disk, context())).holder?.id, selfB.id);
});

t.test('a disk in arrears or locked is said to be that, with Aliyun’s reason', async (t) => {
  const { sim, a } = await site(t);
  const { id } = await ask(a);
  for (const [reason, code] of [
    ['financial', 'DiskInArrears'],
    ['security', 'InstanceLockedForSecurity'],
  ] as const) {
    sim.lockDisk({ id, reasons: [reason] });
    for (const work of [() => a.attach(id, context()), () => a.remove(id, context())]) {
      const error = await thrown(work());
      t.match(error.message, new RegExp(`DISK_FAILED: Disk ${id} of volume data is locked by Aliyun: ${code}`));
    }
  }
  sim.lockDisk({ id, reasons: [] });
  await a.attach(id, context());
});

t.test('what a zone has not, a quota, and an instance that is full are told as what they are', async (t) => {
  const { sim, a, selfA } = await site(t);
  sim.categories({ zone: `${sim.region}-a`, names: ['cloud_auto'] });
  const unfit = await thrown(ask(a));
  t.match(unfit.message, /BACKEND_REFUSED: .*20 GiB and kind cloud_essd in cn-hangzhou-a.*not supported in this zone/);
  const { id } = await ask(a, { kind: 'cloud_auto' });
  sim.quotas.set('ecs_disks', 1);
  t.match((await thrown(ask(a, { kind: 'cloud_auto' }, 'two'))).message, /DISK_QUOTA: .*volume data: QuotaExceed/);
  sim.quotas.set('ecs_disks_per_instance', 0);
  const full = await thrown(a.attach(id, context()));
  t.match(full.message, /ATTACH_LIMIT: Disk .* of volume data cannot be attached to this host/);
  sim.quotas.set('ecs_disks_per_instance', 1);
  await holdDisk(a, selfA, await settled(a, id, 'available'), context());
  sim.quotas.set('ecs_snapshots_per_disk', 0);
  t.match((await thrown(a.snapshot(id, {}, 'x', context()))).message, /DISK_QUOTA/);
});

t.test('a disk in another zone is not attached, and said to be there', async (t) => {
  const { a, b } = await site(t, 'ab');
  const { id, zone } = await ask(a);
  t.equal(zone, 'cn-hangzhou-a');
  t.match((await thrown(b.attach(id, context()))).message, /BACKEND_REFUSED: .*ResourcesNotInSameZone/);
});

t.test('while a snapshot is taken the disk is neither removed nor grown, and both are told why', async (t) => {
  const { a, selfA } = await site(t, 'aa', { times: { snapshotMs: 700 } });
  const disk = await ask(a);
  await holdDisk(a, selfA, disk, context());
  await a.snapshot(disk.id, {}, 'one', context());
  await detachDisk(a, selfA, disk.id, context());
  const copying = /BACKEND_REFUSED: .* a snapshot of the disk is being taken/;
  t.match((await thrown(a.remove(disk.id, context(200)))).message, copying);
  t.match((await thrown(a.resize(disk.id, 40 * GIB, context(200)))).message, copying);
  await a.remove(disk.id, context());
});

t.test('a running holder is refused by name; a stopped or released one is not in the way', async (t) => {
  const { sim, a, b, selfA, selfB, instance } = await site(t, 'aa', { times: { stopMs: 100, detachMs: 100 } });
  for (const fate of ['stopped', 'gone'] as const) {
    const disk = await ask(a, { volume: fate }, fate);
    await holdDisk(a, selfA, disk, context());
    const busy = await thrown(holdDisk(b, selfB, disk, context()));
    t.match(busy.message, new RegExp(`VOLUME_BUSY: Volume ${fate} is in use on host ${selfA.name}`));
    if (fate === 'stopped') sim.stop(instance(0).id);
    else sim.release(instance(0).id);
    while ((await b.fate(selfA.id, context())) !== fate) await pause(20);
    t.equal((await holdDisk(b, selfB, disk, context())).holder?.id, selfB.id);
    if (fate === 'stopped') sim.resume(instance(0).id);
  }
});
