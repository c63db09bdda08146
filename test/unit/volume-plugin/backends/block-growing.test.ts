import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { codeOf, inOwnMounts, MIB, messageOf, run } from '../block/scratch.ts';
import { cluster, imageOf, online, space } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('a volume grows while it is written to, and a repeated creation agrees with its new size', async (t) => {
  const { a, b } = await cluster(t);
  for (const [fs, size, larger] of [
    ['ext4', '16m', '48m'],
    ['xfs', '320m', '400m'],
    ['btrfs', '256m', '320m'],
  ] as const) {
    const volume = await a.create(fs, { size, fs });
    await a.mount(volume);
    writeFileSync(a.inside(fs, 'before'), 'kept');
    const before = space(a.target(fs));
    if (fs === 'ext4' && !online) {
      t.match(await messageOf(a.resize(volume, larger)), /^EXEC_FAILED: resize2fs .*: Permission denied/);
      await a.leave(volume);
      await a.mount(volume);
    }
    const grown = await a.resize(volume, larger);
    t.match(grown, { name: fs, options: { size: larger, fs } });
    t.ok(space(a.target(fs)) > before + 20 * MIB, `${fs} has ${space(a.target(fs)) - before} bytes more`);
    t.equal(readFileSync(a.inside(fs, 'before'), 'utf8'), 'kept');
    t.match(await b.find(fs), { options: { size: larger, fs } });
    t.same((await b.create(fs, { size: larger, fs })).handle, volume.handle);
    t.match(await messageOf(b.create(fs, { size, fs })), /^VOLUME_EXISTS: .*: size=/);
    t.match(a.backend.status(grown), { size: Number.parseInt(larger, 10) * MIB });
    await a.leave(grown);
    await b.mount(grown);
    t.equal(readFileSync(b.inside(fs, 'before'), 'utf8'), 'kept');
    await b.leave(grown);
  }
});

t.test('a volume that is mounted nowhere grows at its next mount', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data');
  const first = await a.resize(volume, '20m');
  await a.mount(first);
  const before = space(a.target('data'));
  await a.leave(first);
  const grown = await a.resize(first, '64m');
  await b.mount(grown);
  t.ok(space(b.target('data')) > before + 30 * MIB);
  await b.leave(grown);
});

t.test('a volume never becomes smaller, and one on another host is resized there', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data', { size: '32m' });
  t.match(
    await messageOf(a.resize(volume, '31m')),
    /^OPTION_INVALID: The volume option size=31m is not valid: volumes only become larger\.$/,
  );
  t.equal(await codeOf(a.resize(volume, 'much')), 'OPTION_INVALID');
  t.same((await a.resize(volume, '32m')).options, { size: '32m' });
  await a.mount(volume);
  t.match(await messageOf(b.resize(volume, '64m')), /^VOLUME_ELSEWHERE: Volume data is in use on host host-0, where/);
  t.match((await b.find('data'))?.options, { size: '32m' });
  t.equal(await codeOf(a.resize(volume, '100t')), 'OPTION_INVALID');
  t.equal(await codeOf(a.resize(volume, '64t')), 'DISK_QUOTA');
  await a.leave(volume);
});

t.test('a growth that a crash cut off, at whatever step, is finished by the same call', async (t) => {
  const dies = { at: '' };
  const wrap = (provider: DiskProvider): DiskProvider =>
    new Proxy(provider, {
      get(target, name) {
        const method: unknown = Reflect.get(target, name);
        if (typeof method !== 'function') return method;
        return async (...args: readonly unknown[]) => {
          if (dies.at === `before ${String(name)}`) throw new Error('killed');
          const result: unknown = await Reflect.apply(method, target, args);
          if (dies.at === `after ${String(name)}`) throw new Error('killed');
          return result;
        };
      },
    });
  const { a, again } = await cluster(t, { wrap });
  let volume: Volume = await a.create('data', { size: '320m', fs: 'xfs' });
  await a.mount(volume);
  for (const [n, step] of ['before resize', 'after resize', 'before tag', 'after tag'].entries()) {
    const size = `${360 + 40 * n}m`;
    dies.at = step;
    await t.rejects(a.resize(volume, size), { message: 'killed' }, step);
    dies.at = '';
    const restarted = await again(0);
    volume = await restarted.resize(volume, size);
    t.match(await a.find('data'), { options: { size } }, step);
    t.ok(space(a.target('data')) > (280 + 40 * n) * MIB, `${step}: ${space(a.target('data'))}`);
  }
  // Cut off between the image and its description.
  run('truncate', '-s', '520M', imageOf(a.target('data')));
  run('losetup', '--set-capacity', mountAt(readMountTable(), a.target('data'))?.source ?? '');
  await a.leave(volume);
  await a.mount(volume);
  const { handle } = volume;
  t.match(await a.resize(volume, '520m'), { handle, options: { size: '520m' } });
  await a.leave(volume);
});
