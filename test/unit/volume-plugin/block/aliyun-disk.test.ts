import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { attachDisk } from '../../../../volume-plugin/block/attach.ts';
import type { DiskRequest } from '../../../../volume-plugin/block/provider.ts';
import { ask, context, GIB, site, thrown } from './aliyun-disk-world.ts';
import { holdDisk } from './hold-disk.ts';

t.test('who this host is comes from the metadata service, its name from ECS', async (t) => {
  const { selfA, instance, sim, host } = await site(t);
  t.same(selfA, { id: instance(0).id, zone: `${sim.region}-a`, name: instance(0).hostName });
  const elsewhere = host(0, { settings: { region: 'cn-beijing' } });
  t.match((await thrown(elsewhere.start(context()))).message, /SETTING_INVALID: REGION=cn-beijing .*cn-hangzhou/);
  const half = host(0, { settings: { accessKeyId: 'LTAI12345678' } });
  t.match((await thrown(half.start(context()))).message, /SETTING_INVALID: ACCESS_KEY_SECRET/);
});

t.test('Aliyun copies no disk that was never attached, and that is said', async (t) => {
  const { a } = await site(t);
  const { id } = await ask(a);
  t.match((await thrown(a.snapshot(id, {}, 'x', context()))).message, /BACKEND_REFUSED: .*never attached/);
});

t.test('what cannot be known of a host is not guessed', async (t) => {
  const { sim, b, instance } = await site(t);
  t.equal(await b.fate('host-7', context()), 'unknown');
  t.equal(await b.fate(instance(0).id, context()), 'alive');
  t.equal(await b.fate('i-new', context()), 'unknown', 'one that was just made may not show yet');
  await pause(150);
  t.equal(await b.fate('i-new', context()), 'gone');
  // A policy for some instances hides the others, and this host's own with them.
  sim.release(instance(1).id);
  t.equal(await b.fate('i-new', context()), 'unknown');
});

t.test('hosts of another cluster see none of its disks, and cannot take one over', async (t) => {
  const { a, host } = await site(t);
  const { id } = await ask(a);
  const other = host(1, { cluster: 'other' });
  await other.start(context());
  t.same(await other.list(context()), []);
  t.equal(await other.describe(id, context()), undefined);
  await other.remove(id, context());
  t.match(await other.search(id, context()), [{ id, volume: 'data of cluster default' }]);
  t.match((await thrown(other.adopt(id, 'data', {}, context()))).message, /VOLUME_EXISTS: .*in cluster default/);
  t.ok(await a.describe(id, context()));
});

t.test('tags of any kind and length come back as they were; labels stand beside them', async (t) => {
  const { sim, a } = await site(t);
  const options = JSON.stringify({ url: 'https://a.example/%3A', arn: 'acs:ecs:*', text: 'ü"\\'.repeat(60) });
  const { id, tags } = await ask(a, { tags: { options, moving: '' }, labels: { team: 'web' } });
  t.same(tags, { options, moving: '' });
  const kept = sim.disks()[0]?.tags ?? {};
  t.equal(kept.team, 'web');
  t.ok(Object.values(kept).every((value) => value.length <= 128 && !/https?:\/\/|^acs:/i.test(value)));
  await a.tag(id, { options: '{}' }, context());
  t.same((await a.describe(id, context()))?.tags, { options: '{}', moving: '' });
  t.notOk(
    Object.keys(sim.disks()[0]?.tags ?? {}).some((name) => /options\.\d/.test(name)),
    'no piece is left over',
  );
});

t.test('what Aliyun has not is refused before anything is made', async (t) => {
  const { sim, a } = await site(t);
  const refused: readonly (readonly [Partial<DiskRequest>, RegExp])[] = [
    [{ kind: 'gp3' }, /kind=gp3 .*cloud_essd/],
    [{ kind: 'cloud_essd_pl2' }, /size=20g .*461g to 65536g/],
    [{ size: 100_000 * GIB }, /size=100000g/],
    [{ throughput: 125 }, /throughput=125/],
    [{ iops: 3_000 }, /iops=3000 .*cloud_auto/],
    [{ kind: 'cloud_auto', iops: 60_000 }, /iops=60000 .*17200/],
    [{ encrypted: false, key: 'key-1' }, /kms-key=key-1/],
    [{ labels: { 'acs:x': '1' } }, /tags=acs:x/],
    [{ labels: { a: 'http://x' } }, /tags=a=http:\/\/x/],
    [{ labels: Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`label-${n}`, 'x'])) }, /tags=12 tags/],
  ];
  for (const [request, text] of refused) {
    const error = await thrown(ask(a, request));
    t.equal(error.code, 'OPTION_INVALID');
    t.match(error.message + error.fix, text);
  }
  t.equal(sim.count({ action: 'CreateDisk' }), 0);
  const key = sim.kmsKey();
  const asked: readonly (readonly [Partial<DiskRequest>, object])[] = [
    [{ size: 5 * GIB }, { category: 'cloud_essd', level: 'PL0', size: 5 }],
    [{ size: 20 * GIB + 1 }, { category: 'cloud_essd', level: 'PL1', size: 21 }],
    [{ kind: 'cloud_essd_pl2', size: 461 * GIB }, { level: 'PL2' }],
    [
      { kind: 'cloud_auto', iops: 5_000 },
      { category: 'cloud_auto', iops: 5_000 },
    ],
    [{ key }, { encrypted: true, key }],
    [{ volume: '9lives' }, { name: 'v-9lives' }],
  ];
  for (const [n, [request, made]] of asked.entries()) {
    const { id } = await ask(a, request, `token-${n}`);
    t.match(
      sim.disks().find((one) => one.id === id),
      made,
    );
  }
});

t.test('many that look at their disks at the same time are one request', async (t) => {
  const { sim, a } = await site(t);
  const ids: string[] = [];
  for (let n = 0; n < 30; n += 1) ids.push((await ask(a, { volume: `data-${n}` }, `token-${n}`)).id);
  sim.clearCalls();
  const found = await Promise.all(ids.map((id) => a.describe(id, context())));
  t.same(
    found.map((one) => one?.id),
    ids,
  );
  t.equal(sim.count({ action: 'DescribeDisks' }), 1);
  for (let n = 30; n < 105; n += 1) sim.disk({ tags: { 'drayage:volume': `data-${n}`, 'drayage:cluster': 'default' } });
  t.equal((await a.list(context())).length, 105, 'and pages are read to the end');
});

t.test('a disk is attached for longer than its instance lives', async (t) => {
  const { sim, a, selfA, instance } = await site(t);
  const disk = await ask(a);
  await holdDisk(a, selfA, disk, context());
  sim.release(instance(0).id);
  t.match(sim.disks(), [{ id: disk.id, status: 'Available' }]);
});

t.test('of disks that Aliyun knows no serial number of none is guessed', async (t) => {
  const { a, selfA } = await site(t, 'aa', {}, { folders: { sys: '/nonexistent', dev: '/nonexistent' } });
  const disk = await holdDisk(a, selfA, await ask(a), context());
  t.equal(await a.device(disk, context()), undefined);
  t.match((await thrown(a.device({ ...disk, serial: '' }, context()))).message, /DISK_FAILED: .*no serial number/);
  t.match(await thrown(attachDisk(a, selfA, disk, context(300))), { code: 'STILL_WORKING' });
});
