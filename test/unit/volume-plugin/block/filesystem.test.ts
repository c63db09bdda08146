import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt, readMountTable } from '../../../../shared/kernel/mount-table.ts';
import {
  checkFilesystem,
  FILESYSTEMS,
  type Filesystem,
  growFilesystem,
  leastSize,
  makeFilesystem,
  mountFilesystem,
  unmountFilesystem,
} from '../../../../volume-plugin/block/filesystem.ts';
import { codeOf, context, inOwnMounts, loopDisk, MIB, messageOf, run, scratch } from './scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const made = async (t: Test, kind: Filesystem, size = 320 * MIB) => {
  const folder = scratch(t);
  const disk = loopDisk(folder, size);
  const target = join(folder, 'a target');
  mkdirSync(target);
  await makeFilesystem(kind, disk.device, randomUUID(), context());
  const mount = () => mountFilesystem(kind, disk.device, target, [], context());
  const unmount = () => unmountFilesystem(target, context());
  const check = () => checkFilesystem(kind, disk.device, context());
  return { ...disk, target, mount, unmount, check };
};

/** Overwrites a part of the disk with what nobody has made. */
const spoil = (device: string, from: number, length: number): void => {
  const opened = openSync(device, 'r+');
  writeSync(opened, Buffer.alloc(length, 0xa5), 0, length, from);
  closeSync(opened);
};

/** CAP_SYS_RESOURCE, bit 24 of the effective capabilities. */
const mayResize =
  ((BigInt(`0x${/CapEff:\s+(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`) >> 24n) & 1n) === 1n;

for (const kind of FILESYSTEMS) {
  t.test(`${kind} is made, checked, mounted, and keeps its data`, async (t) => {
    const { target, device, mount, unmount, check } = await made(t, kind);
    await check();
    await mount();
    const entry = mountAt(readMountTable(), target);
    t.match(entry, { type: kind, source: device });
    for (const wanted of ['rw', 'nodev', 'noatime']) t.ok(entry?.options.includes(wanted), wanted);
    writeFileSync(join(target, 'file'), 'kept');
    t.equal(await unmount(), true);
    t.notOk(existsSync(join(target, 'file')));
    await check();
    await mount();
    t.equal(readFileSync(join(target, 'file'), 'utf8'), 'kept');
  });

  t.test(`${kind} grows with its disk, while it is used`, async (t) => {
    if (kind === 'ext4' && !mayResize) {
      t.comment('this machine has no CAP_SYS_RESOURCE, which ext4 wants for it: only that it is refused is shown');
    }
    const { target, device, file, mount } = await made(t, kind);
    await mount();
    writeFileSync(join(target, 'file'), 'kept');
    const before = statfsSync(target);
    run('truncate', '--size', String(640 * MIB), file);
    run('losetup', '--set-capacity', device);
    const grown = growFilesystem(kind, device, target, context());
    if (kind === 'ext4' && !mayResize) {
      t.match(await messageOf(grown), /^EXEC_FAILED: resize2fs failed/);
      return;
    }
    await grown;
    const after = statfsSync(target);
    t.ok(after.blocks * after.bsize - before.blocks * before.bsize > 250 * MIB);
    t.equal(readFileSync(join(target, 'file'), 'utf8'), 'kept');
  });

  t.test(`${kind} fits on the smallest disk that it says it needs`, async (t) => {
    const { mount } = await made(t, kind, Math.max(leastSize(kind), 16 * MIB));
    t.equal(await codeOf(mount()), 'none');
  });

  t.test(`${kind} whose superblock is overwritten is not mounted`, async (t) => {
    const { target, device, mount, check } = await made(t, kind);
    spoil(device, 0, 256 * 1024);
    if (kind === 'ext4') t.equal(await codeOf(check()), 'FILESYSTEM_DAMAGED');
    t.equal(await codeOf(mount()), 'FILESYSTEM_DAMAGED');
    t.equal(mountAt(readMountTable(), target), undefined);
  });

  t.test(`${kind} that can only be read is not mounted, not even for reading`, async (t) => {
    const { target, device, file } = await made(t, kind);
    run('losetup', '--detach', device);
    const readOnly = run('losetup', '--find', '--show', '--read-only', file).trim();
    t.not(await codeOf(mountFilesystem(kind, readOnly, target, [], context())), 'none');
    t.equal(mountAt(readMountTable(), target), undefined);
  });
}

t.test('a full disk says so, and is mounted again full', async (t) => {
  const { target, mount, unmount, check } = await made(t, 'ext4', 32 * MIB);
  await mount();
  t.throws(() => writeFileSync(join(target, 'big'), Buffer.alloc(64 * MIB)), { code: 'ENOSPC' });
  t.equal(await unmount(), true);
  await check();
  await mount();
  t.throws(() => writeFileSync(join(target, 'more'), Buffer.alloc(MIB)), { code: 'ENOSPC' });
});

/** First byte of the table of inodes. */
const inodeTable = (device: string): number => {
  const [, block = '0'] = /Inode table at (\d+)/.exec(run('dumpe2fs', device)) ?? [];
  const [, size = '0'] = /Block size: +(\d+)/.exec(run('dumpe2fs', '-h', device)) ?? [];
  return Number(block) * Number(size);
};

t.test('ext4 whose inodes are overwritten is not mounted', async (t) => {
  const { target, device, mount } = await made(t, 'ext4');
  spoil(device, inodeTable(device), 64 * 1024);
  t.equal(await codeOf(mount()), 'FILESYSTEM_DAMAGED');
  t.equal(mountAt(readMountTable(), target), undefined);
});

t.test('ext4 that is known to be damaged beyond what is safe to repair is refused, with what it says', async (t) => {
  const { device, mount, unmount, target, check } = await made(t, 'ext4');
  await mount();
  for (let n = 0; n < 200; n += 1) writeFileSync(join(target, `file-${n}`), 'x'.repeat(5_000));
  await unmount();
  spoil(device, inodeTable(device) + 256 * 13, 20 * 256);
  run('debugfs', '-w', '-R', 'ssv state 2', device);
  t.match(
    await messageOf(check()),
    /^FILESYSTEM_DAMAGED: The ext4 file system on .* is damaged: \/dev\/loop\d+: Inode \d+ seems to contain garbage/,
  );
});

t.test('ext4 that was not unmounted is made good, and mounted with its synced data', async (t) => {
  const { device, file, target, mount } = await made(t, 'ext4');
  await mount();
  writeFileSync(join(target, 'file'), 'kept', { flush: true });
  run('sync', '-f', target);
  // The disk as the machine's sudden end leaves it.
  const copy = `${file}.copy`;
  run('cp', '--sparse=always', file, copy);
  const other = run('losetup', '--find', '--show', copy).trim();
  t.match(run('dumpe2fs', '-h', other), 'needs_recovery');
  await checkFilesystem('ext4', other, context());
  t.notMatch(run('dumpe2fs', '-h', other), 'needs_recovery');
  const second = `${target}-2`;
  mkdirSync(second);
  await mountFilesystem('ext4', other, second, [], context());
  t.equal(readFileSync(join(second, 'file'), 'utf8'), 'kept');
  t.not(other, device);
});

t.test('what is open keeps a file system from being unmounted', async (t) => {
  const { target, mount, unmount } = await made(t, 'ext4');
  await mount();
  const opened = openSync(join(target, 'file'), 'w');
  t.equal(await unmount(), false);
  t.ok(mountAt(readMountTable(), target));
  closeSync(opened);
  t.equal(await unmount(), true);
  t.match(await messageOf(unmount()), /^EXEC_FAILED: .*not mounted/);
});
