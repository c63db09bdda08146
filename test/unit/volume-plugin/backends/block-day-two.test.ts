import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import { KeyedMutex } from '../../../../shared/keyed-mutex.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import type { OnRemove } from '../../../../volume-plugin/backends/block-options.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { codeOf, context, inOwnMounts, MIB, messageOf, run, scratch } from '../block/scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

interface Change {
  readonly onRemove?: OnRemove;
  /** Stands before the provider. */
  readonly wrap?: (provider: DiskProvider) => DiskProvider;
}

/** Two hosts (of one machine) that share a folder of disks. */
const cluster = async (t: Test, change: Change = {}) => {
  const folder = scratch(t);
  const disks = join(folder, 'disks');
  const host = async (n: number, { onRemove = 'delete', wrap = (one) => one }: Change = change) => {
    const self = { id: `host-id-${n}`, name: `host-${n}` };
    const provider = new LoopProvider({ folder: disks, self, quota: undefined });
    const backend = new BlockBackend(wrap(provider), { locks: new KeyedMutex(), onRemove });
    await backend.start(context());
    const target = (name: string): string => join(folder, `mounts-${n}`, name);
    const { dayTwo } = backend;
    return {
      ...{ backend, provider, dayTwo, target },
      create: (name: string, options: Record<string, string> = { size: '16m' }, making = 'once') =>
        backend.create({ name, options, making }, context()),
      mount: (volume: Volume) => {
        mkdirSync(target(volume.name), { recursive: true });
        return backend.mount(volume, target(volume.name), context());
      },
      leave: async (volume: Volume) => {
        await backend.unmount(volume, target(volume.name), context());
        await backend.leave(volume, context());
      },
      resize: (volume: Volume, size: string, ms?: number) => dayTwo.resize(volume, size, context(ms)),
      snapshot: (volume: Volume, token = 'token') => dayTwo.snapshot(volume, token, context()),
      snapshots: (volume?: string) => dayTwo.snapshots(volume, context()),
      import: (disk: string, volume: string, inside?: string) =>
        dayTwo.import({ disk, volume, ...(inside !== undefined && { inside }) }, context()),
      remove: (volume: Volume) => backend.remove(volume, context()),
      find: (name: string) => backend.find(name, context()),
      inside: (name: string, file = '') => join(target(name), 'data', file),
    };
  };
  const [a, b] = [await host(0), await host(1)];
  return { folder, disks, a, b, again: host };
};

/** Bytes of the file system at a path, as df shows them. */
const space = (path: string): number => {
  const { blocks, bsize } = statfsSync(path);
  return blocks * bsize;
};

/** The kernel resizes a mounted ext4 for nobody without CAP_SYS_RESOURCE, which a container may not have. */
const online =
  (BigInt(`0x${/^CapEff:\t(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`) & (1n << 24n)) !== 0n;

const uuidOf = (source: string): string => run('blkid', '-p', '-o', 'value', '-s', 'UUID', source).trim();

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
  t.match(await messageOf(b.resize(volume, '64m')), /^VOLUME_BUSY: Volume data is in use on host host-0, where it can/);
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

/** The file behind what is mounted there. */
const imageOf = (target: string): string =>
  run('losetup', '--noheadings', '--output', 'BACK-FILE', mountAt(readMountTable(), target)?.source ?? '').trim();

t.test('a snapshot has what was written before it, and nothing that came later', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data', { size: '24m' });
  await a.mount(volume);
  // Not written out: that is the snapshot's business.
  writeFileSync(a.inside('data', 'row'), 'before');
  const taken = await a.snapshot(volume);
  t.match(taken, { volume: 'data', state: 'ready', size: 24 * MIB, reason: 'user', progress: 100 });
  writeFileSync(a.inside('data', 'row'), 'after');
  t.equal((await a.snapshot(volume)).id, taken.id, 'once for each token');
  t.match(await b.snapshots('data'), [{ id: taken.id }]);
  t.same(await b.snapshots('other'), []);
  const copy = await b.create('copy', { from: taken.id });
  await b.mount(copy);
  t.equal(readFileSync(b.inside('copy', 'row'), 'utf8'), 'before');
  t.equal(readFileSync(a.inside('data', 'row'), 'utf8'), 'after');
  t.match(b.backend.status(copy, b.target('copy')), {
    from: taken.id,
    fromSnapshot: taken.id,
    size: 24 * MIB,
    fs: 'ext4',
  });
  await a.leave(volume);
  await b.leave(copy);
  t.equal((await b.dayTwo.removeSnapshot(taken.id, context())).id, taken.id);
  t.match(
    await messageOf(b.dayTwo.removeSnapshot(taken.id, context())),
    /^SNAPSHOT_UNKNOWN: There is no snapshot snap-/,
  );
});

t.test('nobody can write while a snapshot is begun, and everybody can afterwards, whatever became of it', async (t) => {
  const state = { fails: false, wrote: 'nothing' };
  let folder = '';
  const wrap = (provider: DiskProvider): DiskProvider =>
    Object.assign(Object.create(provider) as DiskProvider, {
      ...boundTo(provider),
      snapshot: async (...args: Parameters<DiskProvider['snapshot']>) => {
        const writer = spawn('sh', ['-c', `echo here > ${folder}/during; sync ${folder}/during`]);
        const ended = once(writer, 'exit').then(() => 'wrote');
        state.wrote = await Promise.race([ended, pause(300).then(() => 'waits')]);
        if (state.fails) throw new Error('lost');
        return provider.snapshot(...args);
      },
    });
  const { a } = await cluster(t, { wrap });
  const volume = await a.create('data');
  await a.mount(volume);
  folder = a.inside('data');
  await a.snapshot(volume);
  t.equal(state.wrote, 'waits');
  writeFileSync(join(folder, 'row'), 'after', { flush: true });
  state.fails = true;
  await t.rejects(a.snapshot(volume, 'second'), { message: 'lost' });
  t.equal(state.wrote, 'waits');
  writeFileSync(join(folder, 'row'), 'after the failure', { flush: true });
  await a.leave(volume);
});

/** Methods of a class, for a wrapper that changes one of them. */
const boundTo = (provider: DiskProvider): DiskProvider => {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(provider)).filter((name) => name !== 'constructor');
  const methods = names.map((name) => [name, (Reflect.get(provider, name) as () => unknown).bind(provider)]);
  return { name: provider.name, ...Object.fromEntries(methods) };
};

t.test('a volume that a crash left frozen is thawed; one that is not is left alone', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  run('fsfreeze', '--freeze', a.target('data'));
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), true);
  writeFileSync(a.inside('data', 'row'), 'written', { flush: true });
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), false);
  // What an operator has frozen for his own backup is not thawed by a snapshot that is refused.
  run('fsfreeze', '--freeze', a.target('data'));
  t.match(await messageOf(a.snapshot(volume)), /^EXEC_FAILED: .*fsfreeze/);
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), true);
  await a.leave(volume);
});

t.test('of a volume that was never mounted there is nothing to copy', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  t.match(await messageOf(a.snapshot(volume)), /^BACKEND_REFUSED: .* nothing is on it yet: it was never mounted/);
  t.match(
    await messageOf(a.create('copy', { from: 'data' })),
    /^BACKEND_REFUSED: .* a copy of volume data: nothing is on/,
  );
  t.match(
    await messageOf(a.create('copy', { from: 'nobody' })),
    /^SNAPSHOT_UNKNOWN: There is no snapshot nobody and no/,
  );
  t.equal(await a.find('copy'), undefined);
});

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

t.test('a volume whose making was cut off half way is made by the same call', async (t) => {
  const { a, b, disks } = await cluster(t);
  const volume = await a.create('data');
  rmSync(imageNamed(disks, volume));
  t.match(await a.find('data'), { whereabouts: 'creating' });
  t.equal(await codeOf(b.create('data', { size: '32m' })), 'VOLUME_EXISTS');
  t.same((await b.create('data')).handle, volume.handle);
  await b.mount(volume);
  await b.leave(volume);
});

t.test('removing keeps what on-remove says, by the option, the setting, or as ever', async (t) => {
  const { a, b, disks, again } = await cluster(t);
  const write = async (volume: Volume): Promise<void> => {
    await a.mount(volume);
    writeFileSync(a.inside(volume.name, 'row'), volume.name);
    await a.backend.unmount(volume, a.target(volume.name), context());
  };
  const deleted = await a.create('deleted');
  await write(deleted);
  await a.remove(deleted);
  t.same(readdirSync(disks), []);

  const kept = await a.create('kept', { size: '16m', 'on-remove': 'snapshot' });
  await write(kept);
  await a.remove(kept);
  await a.remove(kept);
  t.equal(await b.find('kept'), undefined);
  const [snapshot] = await b.snapshots('kept');
  t.match(snapshot, { reason: 'on-remove', state: 'ready' });
  const back = await b.create('back', { from: snapshot?.id ?? '' });
  await b.mount(back);
  t.equal(readFileSync(b.inside('back', 'row'), 'utf8'), 'kept');
  await b.leave(back);

  const strict = await again(0, { onRemove: 'retain' });
  const retained = await strict.create('retained');
  await write(retained);
  await strict.remove(retained);
  t.equal(await b.find('retained'), undefined);
  t.match(await b.import('retained', 'again'), { name: 'again', options: { size: '16m' } });
  const found = await b.find('again');
  if (found === undefined) return;
  await b.mount(found);
  t.equal(readFileSync(b.inside('again', 'row'), 'utf8'), 'retained');
  await b.leave(found);
  // The name is free again, and its first disk's token burned.
  const second = await strict.create('retained');
  t.not(second.handle.disk, retained.handle.disk);
  const unused = await strict.create('unused', { size: '16m', 'on-remove': 'snapshot' });
  await strict.remove(unused);
  t.same(await b.snapshots('unused'), [], 'what was never written to is not worth a snapshot');
});

t.test('a removal that a crash cut off after its snapshot takes no second one', async (t) => {
  const { a, again } = await cluster(t);
  const volume = await a.create('data', { size: '16m', 'on-remove': 'snapshot' });
  await a.mount(volume);
  await a.leave(volume);
  const dying = await again(0, {
    wrap: (provider) => ({ ...boundTo(provider), remove: () => Promise.reject(new Error('killed')) }),
  });
  await t.rejects(dying.remove(volume), { message: 'killed' });
  t.ok(await a.find('data'));
  await a.remove(volume);
  t.equal((await a.snapshots('data')).length, 1);
});

t.test('an image that lies in the folder becomes a volume as it is, as REX-Ray keeps it or otherwise', async (t) => {
  const { a, b, disks, folder } = await cluster(t);
  const image = (name: string, path: string, text: string): void => {
    const root = join(folder, name);
    mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, path, 'row'), text);
    execFileSync('mkfs.ext4', ['-q', '-F', '-d', root, join(disks, name), '16M'], { stdio: 'ignore' });
  };
  image('rexray.img', 'data', 'from REX-Ray');
  image('flat.raw', '', 'at the root');
  image('deep.img', 'srv/www', 'deep');
  const volume = await a.import('rexray', 'pgdata');
  t.match(volume, { name: 'pgdata', options: { size: '16m' }, whereabouts: 'available' });
  t.same((await b.import('rexray', 'pgdata')).handle, volume.handle, 'once');
  await b.mount(volume);
  t.equal(readFileSync(b.inside('pgdata', 'row'), 'utf8'), 'from REX-Ray');
  t.match(b.backend.status(volume), { imported: 'rexray', fs: 'ext4' });
  await b.leave(volume);
  const flat = await a.import('flat.raw', 'flat', '');
  t.equal((await a.mount(flat)).inside, '');
  t.equal(readFileSync(join(a.target('flat'), 'row'), 'utf8'), 'at the root');
  await a.leave(flat);
  const deep = await a.import('deep', 'deep', 'srv/www');
  t.equal((await a.mount(deep)).inside, 'srv/www');
  // Copies of it have their data in the same place.
  const clone = await a.create('deeper', { from: 'deep' });
  t.equal((await a.mount(clone)).inside, 'srv/www');
  t.equal(readFileSync(join(a.target('deeper'), 'srv/www/row'), 'utf8'), 'deep');
  await a.leave(clone);
  await a.leave(deep);
});

t.test('what cannot be imported is refused in words, and nothing that is imported is ever formatted', async (t) => {
  const { a, b, disks } = await cluster(t);
  const refused = async (disk: string, volume: string, inside?: string) => messageOf(a.import(disk, volume, inside));
  t.match(
    await refused('nothing', 'data'),
    /^IMPORT_REFUSED: nothing cannot become volume data: there is no disk with this/,
  );
  const mine = await a.create('mine');
  t.match(await refused('mine', 'data'), /: it is the disk of volume mine\./);
  t.match(await refused('other', 'mine'), /^VOLUME_EXISTS/);
  for (const name of ['same.img', 'same.raw', 'blank.img']) {
    writeFileSync(join(disks, name), '');
    run('truncate', '-s', '16M', join(disks, name));
  }
  t.match(
    await refused('same', 'data'),
    /: there are several with this name: same\.img, same\.raw; give one by its id/,
  );
  for (const inside of ['..', 'a/../b', '/x', 'a//b'])
    t.match(await refused('blank', 'data', inside), /is not a folder of/);
  const blank = await a.import('blank', 'blank');
  t.match(await messageOf(a.mount(blank)), /^FORMAT_REFUSED: .* it was imported, and nothing is found there/);
  await a.backend.leave(blank, context());
  run('mkfs.ext4', '-q', '-F', imageNamed(disks, blank));
  t.match(await messageOf(a.mount(blank)), /^VOLUME_NOT_MOUNTED: .* was imported, and has no folder data/);
  await a.leave(blank);
  await a.mount(mine);
  await a.leave(mine);
  await b.provider.attach(mine.handle.disk ?? '', context());
  t.match(await messageOf(a.remove(mine)), /^VOLUME_BUSY: .* host-1/);
});

const imageNamed = (disks: string, volume: Volume): string => join(disks, `${volume.handle.disk}.img`);

t.test('options that files have not are refused before there is a disk; tags of one’s own are kept', async (t) => {
  const { a, disks } = await cluster(t);
  for (const options of [
    { kind: 'gp3' },
    { iops: '3000' },
    { throughput: '125' },
    { encrypted: 'true' },
    { 'kms-key': 'k' },
  ]) {
    t.match(await messageOf(a.create('data', options)), /^OPTION_INVALID: .* disks in files \(PROVIDER=loop\) have no/);
  }
  for (const tags of ['x', 'a=1,a=2', 'Name=x', 'aws:x=1', 'drayage:volume=x', '=1', 'a=1,']) {
    t.equal(await codeOf(a.create('data', { tags })), 'OPTION_INVALID', tags);
  }
  t.same(readdirSync(disks), []);
  await a.create('data', { size: '16m', tags: 'team=web,stage=a=b', encrypted: 'false' });
  const [description] = readdirSync(disks).filter((name) => name.endsWith('.json'));
  t.match(JSON.parse(readFileSync(join(disks, description ?? ''), 'utf8')), { labels: { team: 'web', stage: 'a=b' } });
});

t.test('how full a volume is shows a moment after it is mounted, and looking waits for nothing', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data', { size: '32m' });
  await a.mount(volume);
  const file = openSync(a.inside('data', 'file'), 'w');
  writeFileSync(file, Buffer.alloc(4 * MIB));
  fsyncSync(file);
  closeSync(file);
  for (let n = 0; n < 100 && a.backend.status(volume, a.target('data')).used === undefined; n += 1) await pause(10);
  const { used, free } = a.backend.status(volume, a.target('data'));
  t.ok(Number(used) > 0 && Number(free) > 10 * MIB, `${used} used, ${free} free`);
  t.equal(a.backend.status(volume).used, undefined, 'mounted nowhere, nothing is known');
  await a.leave(volume);
});

t.test('a disk that a later generation has replaced is never mounted again', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  await a.leave(volume);
  const tags = { options: '{"size":"16m"}', generation: '2' };
  const next = await a.provider.create({ volume: 'data', size: 16 * MIB, tags }, 'second', context());
  t.equal((await b.find('data'))?.handle.disk, next.id);
  t.equal((await b.backend.list(context())).length, 1, 'it is one volume');
  // By a handle from before, too.
  const mounted = await a.mount(volume);
  t.match(imageOf(a.target('data')), new RegExp(`${next.id}`));
  t.equal(mounted.inside, 'data');
  await a.leave(volume);
  await a.remove(volume);
  t.equal(await b.find('data'), undefined, 'with the volume go all of them');
  t.same(await a.provider.list(context()), []);
});

t.test('hosts that make a volume at once make one, also when the first tokens are burned', async (t) => {
  const { a, b } = await cluster(t);
  const first = await a.create('data');
  await a.provider.release(first.handle.disk ?? '', context());
  const made = await Promise.all([a.create('data', { size: '16m' }, 'one'), b.create('data', { size: '16m' }, 'two')]);
  t.equal(new Set(made.map(({ handle }) => handle.disk)).size, 1);
  t.equal((await a.provider.list(context())).length, 1);
});
