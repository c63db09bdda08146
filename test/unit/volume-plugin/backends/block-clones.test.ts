import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { codeOf, context, inOwnMounts, MIB, messageOf, run } from '../block/scratch.ts';
import { boundTo, cluster, space, uuidOf } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('a clone is mounted beside its original, each with a UUID of its own, and may be larger', async (t) => {
  const { a, disks } = await cluster(t);
  for (const [fs, size, larger] of [
    ['ext4', '16m', '64m'],
    ['xfs', '320m', '400m'],
    ['btrfs', '256m', '320m'],
  ] as const) {
    const volume = await a.create(fs, { size, fs });
    await a.mount(volume);
    writeFileSync(a.inside(fs, 'row'), fs);
    const clone = await a.create(`${fs}-clone`, { from: fs, size: larger });
    writeFileSync(a.inside(fs, 'row'), 'later');
    const mounted = await a.mount(clone);
    t.equal(readFileSync(a.inside(clone.name, 'row'), 'utf8'), fs);
    t.equal(mountAt(readMountTable(), a.target(clone.name))?.type, fs);
    const original = mountAt(readMountTable(), a.target(fs))?.source ?? '';
    t.not(uuidOf(mounted.source), uuidOf(original));
    t.ok(space(a.target(clone.name)) > space(a.target(fs)) + 30 * MIB, 'its file system has its size');
    t.equal(readFileSync(a.inside(fs, 'row'), 'utf8'), 'later', 'the original goes on');
    await a.leave(clone);
    t.same(await a.mount(clone).then(({ inside }) => inside), 'data', 'and again');
    await a.leave(clone);
    await a.leave(volume);
  }
  t.same(await a.snapshots(), [], 'the snapshots in between are gone');
  t.same(
    readdirSync(disks).filter((name) => name.startsWith('snap')),
    [],
  );
});

t.test('a clone of what was not written out in order has what its users had synced', async (t) => {
  const { a } = await cluster(t);
  for (const [fs, size] of [
    ['ext4', '32m'],
    ['xfs', '320m'],
    ['btrfs', '256m'],
  ] as const) {
    const volume = await a.create(fs, { size, fs });
    await a.mount(volume);
    run('sync', '--file-system', a.target(fs));
    const file = openSync(a.inside(fs, 'row'), 'w');
    writeFileSync(file, fs);
    fsyncSync(file);
    // As a cloud takes it of a disk that another host has: in the middle of everything.
    const disk = volume.handle.disk ?? '';
    const taken = await a.provider.snapshot(disk, { formatted: fs }, `torn-${fs}`, context());
    closeSync(file);
    await a.leave(volume);
    const clone = await a.create(`${fs}-clone`, { from: taken.id });
    const mounted = await a.mount(clone);
    t.equal(readFileSync(a.inside(clone.name, 'row'), 'utf8'), fs);
    t.equal(uuidOf(mounted.source), (await a.provider.describe(clone.handle.disk ?? '', context()))?.tags.uuid);
    await a.leave(clone);
  }
});

t.test('a clone is as large as its original unless it says otherwise, and never smaller', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data', { size: '32m' });
  await a.mount(volume);
  await a.leave(volume);
  const clone = await a.create('copy', { from: 'data' });
  t.match(a.backend.status(clone), { size: 32 * MIB, from: 'data' });
  t.match(
    await messageOf(a.create('small', { from: 'data', size: '16m' })),
    /^OPTION_INVALID: .* volume data is larger\.$/,
  );
  t.same((await a.create('copy', { from: 'data' })).handle, clone.handle, 'the same again is the same');
  t.equal(await codeOf(a.create('copy', { from: 'copy' })), 'VOLUME_EXISTS');
  t.equal(await codeOf(a.create('self', { from: 'self' })), 'SNAPSHOT_UNKNOWN');
});

t.test('a clone that a crash cut off is finished with the snapshot that was taken for it', async (t) => {
  const { a, again } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  writeFileSync(a.inside('data', 'row'), 'first');
  const dying = await again(0, {
    wrap: (provider) => ({ ...boundTo(provider), create: () => Promise.reject(new Error('killed')) }),
  });
  await t.rejects(dying.create('copy', { from: 'data' }, 'making-1'), { message: 'killed' });
  t.match(await a.snapshots(), [{ volume: 'data', reason: 'clone' }]);
  writeFileSync(a.inside('data', 'row'), 'second');
  const clone = await a.create('copy', { from: 'data' }, 'making-1');
  await a.mount(clone);
  t.equal(readFileSync(a.inside('copy', 'row'), 'utf8'), 'first');
  t.same(await a.snapshots(), []);
  await a.leave(clone);
  const late = await again(0, {
    wrap: (provider) => ({ ...boundTo(provider), removeSnapshot: () => Promise.reject(new Error('killed')) }),
  });
  await late.create('left', { from: 'data' }, 'making-3');
  t.match(await a.snapshots(), [{ reason: 'clone' }]);
  await a.create('left', { from: 'data' }, 'making-3');
  t.same(await a.snapshots(), [], 'nor does a crash when the disk was made already');
  const refusing = await again(0, {
    wrap: (provider) => ({
      ...boundTo(provider),
      create: () => Promise.reject(new PluginError('DISK_QUOTA', { volume: 'x', size: 1, limit: 0, what: 'left' })),
    }),
  });
  t.equal(await codeOf(refusing.create('refused', { from: 'data' })), 'DISK_QUOTA');
  t.same(await a.snapshots(), [], 'what is refused leaves no snapshot');
  // Another making does not get old data.
  await t.rejects(dying.create('third', { from: 'data' }, 'making-1'), { message: 'killed' });
  const third = await a.create('third', { from: 'data' }, 'making-2');
  await a.mount(third);
  t.equal(readFileSync(a.inside('third', 'row'), 'utf8'), 'second');
  for (const one of [third, volume]) await a.leave(one);
});
