import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import type { Volume } from '../../../../volume-plugin/backends/backend.ts';
import { BlockBackend } from '../../../../volume-plugin/backends/block.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import { changedDisk } from '../../../../volume-plugin/block/loop-changes.ts';
import { descriptionOfId } from '../../../../volume-plugin/block/loop-files.ts';
import { codeOf, context, inOwnMounts, MIB, messageOf, run, scratch } from '../block/scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

/** Two hosts (of one machine) that share a folder of disks. */
const cluster = async (t: Test, count = 2) => {
  const folder = scratch(t);
  const disks = join(folder, 'disks');
  const host = async (n: number) => {
    const self = { id: `host-id-${n}`, name: `host-${n}` };
    const backend = new BlockBackend(new LoopProvider({ folder: disks, self, quota: undefined }));
    await backend.start(context());
    const target = (name: string): string => join(folder, `mounts-${n}`, name);
    return {
      backend,
      create: (name: string, options: Record<string, string> = { size: '16m' }) =>
        backend.create({ name, options }, context()),
      mount: (volume: Volume) => {
        mkdirSync(target(volume.name), { recursive: true });
        return backend.mount(volume, target(volume.name), context());
      },
      unmount: (volume: Volume) => backend.unmount(volume, target(volume.name), context()),
      leave: (volume: Volume, ms?: number) => backend.leave(volume, context(ms)),
      remove: (volume: Volume) => backend.remove(volume, context()),
      inside: (name: string, file = '') => join(target(name), 'data', file),
      target,
    };
  };
  const hosts = await Promise.all(Array.from({ length: count }, (_, n) => host(n)));
  const [a, b] = hosts;
  if (a === undefined || b === undefined) throw new Error('no hosts');
  const image = (volume: Volume): string => join(disks, `${volume.handle['disk']}.img`);
  const devices = (): string => run('losetup', '--list', '--noheadings', '--output', 'BACK-FILE');
  return { folder, disks, a, b, image, again: host, hasDevices: () => devices().includes(disks) };
};

t.test('a volume goes from host to host with its data, and leaves nothing behind', async (t) => {
  const { a, b, disks, hasDevices } = await cluster(t);
  const made = await a.create('pgdata');
  const mounted = await a.mount(made);
  const entry = mountAt(readMountTable(), a.target('pgdata'));
  t.match(entry, { source: mounted.source, device: mounted.device, type: 'ext4' });
  t.same(readdirSync(a.inside('pgdata')), [], 'without lost+found');
  writeFileSync(a.inside('pgdata', 'row'), 'kept');
  const found = await b.backend.find('pgdata', context());
  t.match(found, { name: 'pgdata', options: { size: '16m' }, whereabouts: 'in use on host-0', handle: made.handle });
  if (found === undefined) return;
  t.match(await messageOf(b.mount(found)), /^VOLUME_BUSY: Volume pgdata is in use on host host-0/);
  t.equal(mountAt(readMountTable(), b.target('pgdata')), undefined);
  await a.unmount(made);
  t.equal(mountAt(readMountTable(), a.target('pgdata')), undefined);
  t.equal(await codeOf(b.mount(found)), 'VOLUME_BUSY', 'it has not left yet');
  await a.leave(made);
  await b.mount(found);
  t.equal(readFileSync(b.inside('pgdata', 'row'), 'utf8'), 'kept');
  await b.unmount(found);
  await b.leave(found);
  t.notOk(hasDevices());
  await a.remove(made);
  t.same(readdirSync(disks), []);
  t.equal(await b.backend.find('pgdata', context()), undefined);
  await a.remove(made);
});

t.test('twenty times to and fro lose nothing that was written, and leak nothing', async (t) => {
  const { a, b, hasDevices } = await cluster(t);
  const volume = await a.create('data', { size: '32m' });
  for (let round = 0; round < 20; round += 1) {
    const host = round % 2 === 0 ? a : b;
    await host.mount(volume);
    t.equal(readdirSync(host.inside('data')).length, round);
    writeFileSync(host.inside('data', `${round}`), 'x'.repeat(1000));
    await host.unmount(volume);
    await host.leave(volume);
  }
  t.notOk(hasDevices());
});

t.test('the folder for containers has the owner and mode that were asked for, once', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data', { size: '16m', uid: '999', gid: '998', mode: '0750' });
  t.equal((await a.mount(volume)).inside, 'data');
  const look = () => {
    const { uid, gid, mode } = statSync(a.inside('data'));
    return { uid, gid, mode: mode & 0o7777 };
  };
  t.same(look(), { uid: 999, gid: 998, mode: 0o750 });
  chmodSync(a.inside('data'), 0o700);
  await a.mount(volume);
  t.equal(look().mode, 0o700, 'what containers have made of it is their business');
  // A crash before it was whole.
  rmSync(a.inside('data'), { recursive: true });
  mkdirSync(join(a.target('data'), '.data'), { mode: 0o700 });
  await a.mount(volume);
  t.same(look(), { uid: 999, gid: 998, mode: 0o750 });
});

t.test('damage that the superblock does not tell of is repaired where that needs no decision', async (t) => {
  const { a, image } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  writeFileSync(a.inside('data', 'row'), 'kept');
  await a.unmount(volume);
  await a.leave(volume);
  const file = openSync(image(volume), 'r+');
  // The checksum of the first group descriptor, which lies in the block behind the superblock.
  writeSync(file, Buffer.from([0x12, 0x34]), 0, 2, 2048 + 0x1e);
  closeSync(file);
  await a.mount(volume);
  t.equal(readFileSync(a.inside('data', 'row'), 'utf8'), 'kept');
});

t.test('mounting again changes nothing; nor does a host that begins anew', async (t) => {
  const { a, again } = await cluster(t);
  const volume = await a.create('data');
  const first = await a.mount(volume);
  t.same(await a.mount(volume), first);
  const restarted = await again(0);
  t.same(await restarted.mount(volume), first);
  t.equal(readMountTable().filter(({ target }) => target === a.target('data')).length, 1);
  await restarted.unmount(volume);
  await restarted.unmount(volume);
  await restarted.leave(volume);
  await restarted.leave(volume);
});

t.test('a mount that a crash cut off after attaching is finished by the next', async (t) => {
  const { a, again, disks } = await cluster(t);
  const volume = await a.create('data');
  const provider = new LoopProvider({ folder: disks, self: { id: 'host-id-0', name: 'host-0' }, quota: undefined });
  await provider.attach(volume.handle['disk'] ?? '', context());
  await (await again(0)).mount(volume);
  t.ok(existsSync(a.inside('data')));
});

t.test('a volume with an open file stays, and says so', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  const opened = openSync(a.inside('data', 'file'), 'w');
  t.match(
    await messageOf(a.unmount(volume)),
    /^VOLUME_IN_USE: Volume data is in use on this host by a process that has a file of it open/,
  );
  t.ok(mountAt(readMountTable(), a.target('data')));
  t.equal(await codeOf(a.leave(volume)), 'VOLUME_IN_USE');
  t.equal(await codeOf(a.remove(volume)), 'VOLUME_IN_USE');
  closeSync(opened);
  await a.unmount(volume);
  await a.leave(volume);
});

t.test('a volume that another mount namespace still has does not leave before that has ended', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', 'echo there; read line'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  await once(child.stdout, 'data');
  await a.unmount(volume);
  t.equal(mountAt(readMountTable(), a.target('data')), undefined);
  t.match(await messageOf(a.leave(volume)), /^VOLUME_IN_USE: .* by a mount of \/dev\/loop/);
  t.equal(await codeOf(b.mount(volume)), 'VOLUME_BUSY');
  await a.mount(volume);
  await a.unmount(volume);
  child.stdin.end('\n');
  await once(child, 'exit');
  await a.leave(volume);
  await b.mount(volume);
  await b.unmount(volume);
  await b.leave(volume);
});

t.test(
  'a volume made twice is one volume when both mean the same, and an error that lists the differences otherwise',
  async (t) => {
    const { a, b, disks } = await cluster(t);
    const first = await a.create('data', { size: '16m' });
    t.same((await b.create('data', { fs: 'ext4', size: '16384k', mode: '0755' })).handle, first.handle);
    t.match(
      await messageOf(b.create('data', { size: '32m', uid: '5' })),
      /^VOLUME_EXISTS: .*: size=16m, not 32m; uid=0, not 5/,
    );
    t.equal(readdirSync(disks).filter((name) => changedDisk(name) === undefined).length, 2, 'an image, a description');
  },
);

t.test('what cannot become a volume is refused before there is a disk', async (t) => {
  const { a, disks } = await cluster(t);
  t.match(await messageOf(a.create('data', { size: '64m', fs: 'xfs' })), /^OPTION_INVALID: .* xfs does not fit on it/);
  t.equal(await codeOf(a.create('data', { size: '1k' })), 'OPTION_INVALID');
  t.equal(await codeOf(a.create('data', { colour: 'red' })), 'OPTION_UNKNOWN');
  t.equal(await codeOf(a.create('data', { size: '64t' })), 'DISK_QUOTA');
  t.same(readdirSync(disks), []);
});

t.test('a size that is no whole number of MiB is rounded up, and the volume works', async (t) => {
  const { a, image } = await cluster(t);
  const volume = await a.create('data', { size: String(16 * MIB + 1) });
  t.equal(statSync(image(volume)).size, 17 * MIB);
  await a.mount(volume);
});

t.test('xfs and btrfs are volumes too', async (t) => {
  const { a, b } = await cluster(t);
  for (const fs of ['xfs', 'btrfs']) {
    const volume = await a.create(`data-${fs}`, { size: '320m', fs });
    const mounted = await a.mount(volume);
    writeFileSync(a.inside(volume.name, 'row'), fs);
    const { source, device } = mounted;
    t.match(mountAt(readMountTable(), a.target(volume.name)), { type: fs, source, device });
    t.same(await a.mount(volume), mounted, 'and again');
    t.match(a.backend.status(volume), { fs, size: 320 * MIB, provider: 'loop' });
    await a.unmount(volume);
    await a.leave(volume);
    await b.mount(volume);
    t.equal(readFileSync(b.inside(volume.name, 'row'), 'utf8'), fs);
    await b.unmount(volume);
    await b.leave(volume);
  }
});

t.test('a volume of another host is not removed; one’s own leaves first', async (t) => {
  const { a, b, disks } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  t.match(await messageOf(b.remove(volume)), /^VOLUME_BUSY: Volume data is in use on host host-0/);
  await a.unmount(volume);
  await a.remove(volume);
  t.same(readdirSync(disks), []);
});

t.test('names that the driver lets through are volumes', async (t) => {
  const { a } = await cluster(t);
  for (const name of ['a'.repeat(128), 'Data.json', 'x-_.9', '0.img', 'data.holder']) {
    const volume = await a.create(name);
    await a.mount(volume);
    writeFileSync(a.inside(name, 'row'), name);
    t.equal((await a.backend.find(name, context()))?.name, name);
    await a.unmount(volume);
    await a.remove(volume);
  }
  t.same(await a.backend.list(context()), []);
});

t.test('a disk that is damaged, cut short, lost or foreign is not mounted', async (t) => {
  const { a, image } = await cluster(t);
  const spoilt = async (name: string, spoil: (file: string) => void): Promise<string> => {
    const volume = await a.create(name);
    await a.mount(volume);
    await a.unmount(volume);
    await a.leave(volume);
    spoil(image(volume));
    const told = await messageOf(a.mount(volume));
    t.equal(mountAt(readMountTable(), a.target(name)), undefined);
    await a.leave(volume);
    return told;
  };
  const zero = (file: string): void => {
    const opened = openSync(file, 'r+');
    writeSync(opened, Buffer.alloc(MIB));
    closeSync(opened);
  };
  t.match(await spoilt('zeroed', zero), /^FORMAT_REFUSED: .* it was formatted with ext4 before, and nothing is found/);
  t.match(await spoilt('short', (file) => truncateSync(file, 8 * MIB)), /^DISK_FAILED: .* instead of 16777216/);
  t.match(await spoilt('lost', (file) => rmSync(file)), /^DISK_FAILED: .* is failed/);
  const foreign = await a.create('foreign');
  run('mkfs.ext4', '-q', '-F', image(foreign));
  t.match(await messageOf(a.mount(foreign)), /^FORMAT_REFUSED: .* it has ext4 on it that Drayage did not make/);
  await a.leave(foreign);
});

t.test('a link in place of the folder for containers leads nowhere', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  rmSync(a.inside('data'), { recursive: true });
  symlinkSync('/etc', join(a.target('data'), 'data'));
  t.match(await messageOf(a.mount(volume)), /^VOLUME_NOT_MOUNTED: .* its data is not a folder/);
});

t.test('what is mounted in its place by somebody else is not taken for the volume', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  mkdirSync(a.target('data'), { recursive: true });
  run('mount', '-t', 'tmpfs', 'tmpfs', a.target('data'));
  t.match(await messageOf(a.mount(volume)), /^VOLUME_NOT_MOUNTED: .* tmpfs is mounted there/);
});

t.test('options that somebody has spoilt hide no volume', async (t) => {
  const { a, disks } = await cluster(t);
  const volume = await a.create('data');
  const file = join(disks, descriptionOfId('loop', volume.handle['disk'] ?? '') ?? '');
  const description: unknown = JSON.parse(readFileSync(file, 'utf8'));
  for (const options of ['{', '[]', '{"size":5}', '{"size":"lots"}', '{"colour":"red"}']) {
    writeFileSync(file, JSON.stringify(Object.assign({}, description, { tags: { options } })));
    const [listed] = await a.backend.list(context());
    t.equal(listed?.name, 'data', options);
    t.match(a.backend.status(listed ?? volume), { provider: 'loop', size: 16 * MIB });
  }
});

t.test('before it has started it says so', async (t) => {
  const self = { id: 'x', name: 'x' };
  const backend = new BlockBackend(new LoopProvider({ folder: join(scratch(t), 'disks'), self, quota: undefined }));
  const volume = { name: 'data', options: {}, handle: { disk: 'loop-0123456789ababcdef-data' } };
  t.equal(await codeOf(backend.mount(volume, '/nowhere', context())), 'NOT_READY');
});

t.test('a volume of a dead host is taken on an operator’s word that names the host, and only then', async (t) => {
  const { a, b } = await cluster(t);
  const fence = (volume: Volume, host: string, by = b) => by.backend.fence(volume, host, context());
  const volume = await a.create('data');
  await fence(volume, 'host-0');
  t.equal((await a.mount(volume)).epoch, 0);
  writeFileSync(a.inside('data', 'row'), 'kept', { flush: true });
  t.match(await messageOf(fence(volume, 'host-1')), /^VOLUME_BUSY: .* on host host-0, not on host-1/);
  t.equal(await codeOf(fence(volume, 'host-0', a)), 'VOLUME_IN_USE');
  t.equal(await codeOf(b.mount(volume)), 'VOLUME_BUSY');
  // The host dies: nothing of it is left but its note.
  run('umount', a.target('data'));
  await fence(volume, 'host-0');
  t.match((await b.backend.find('data', context()))?.whereabouts, 'available');
  t.equal((await b.mount(volume)).epoch, 1);
  t.equal(readFileSync(b.inside('data', 'row'), 'utf8'), 'kept');
  // Back again, it lets go of what it had: that is another host's by now.
  await a.leave(volume);
  t.equal((await a.backend.find('data', context()))?.whereabouts, 'in use on host-1');
  await b.unmount(volume);
  await b.leave(volume);
});

t.test(
  'a host that was frozen and wakes up after its volume was taken notices, and can be kept from writing',
  async (t) => {
    const { a, b } = await cluster(t);
    const volume = await a.create('data');
    const { epoch } = await a.mount(volume);
    const mounted = { epoch: epoch ?? 0, since: Date.now() - 60_000 };
    writeFileSync(a.inside('data', 'row'), 'kept', { flush: true });
    await a.backend.list(context());
    t.equal(a.backend.lost('data', mounted), undefined);
    // Frozen: it does nothing while an operator fences it.
    await b.backend.fence(volume, 'host-0', context());
    await a.backend.list(context());
    t.equal(a.backend.lost('data', mounted), 'an operator has taken it from this host with drayage volume fence');
    t.equal(a.backend.lost('data', { ...mounted, epoch: mounted.epoch + 1 }), 'its disk is attached to no host');
    t.equal(
      a.backend.lost('data', { ...mounted, since: Date.now() + 60_000 }),
      undefined,
      'an older list tells nothing',
    );
    t.equal(
      a.backend.lost('data', { ...mounted, since: Date.now() - 1_000 }),
      undefined,
      'nor one from a time when the cloud may still have shown what was before the mount',
    );
    await a.backend.cutOff(a.target('data'), context());
    t.throws(() => writeFileSync(a.inside('data', 'row'), 'late'), { code: 'EIO' });
    await a.unmount(volume);
  },
);
