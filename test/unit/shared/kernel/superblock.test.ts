import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseSuperblock, readSuperblock } from '../../../../shared/kernel/superblock.ts';
import { MIB, run, scratch } from '../../volume-plugin/block/scratch.ts';

const image = (folder: string, size: number): string => {
  const file = join(folder, `disk-${randomUUID()}.img`);
  run('truncate', '-s', String(size), file);
  return file;
};

const ext4 = (folder: string, ...options: string[]) => {
  const [file, uuid] = [image(folder, 16 * MIB), randomUUID()];
  run('mkfs.ext4', '-q', '-F', '-U', uuid, ...options, file);
  return { file, uuid };
};

const change = (file: string, at: number, bytes: Buffer): void => {
  const opened = openSync(file, 'r+');
  writeSync(opened, bytes, 0, bytes.length, at);
  closeSync(opened);
};

t.test('each kind is told with its UUID, as blkid tells it', async (t) => {
  const folder = scratch(t);
  for (const [kind, size, argument] of [
    ['ext4', 16 * MIB, ['-F', '-U']],
    ['xfs', 320 * MIB, ['-f', '-m']],
    ['btrfs', 128 * MIB, ['-f', '-U']],
  ] as const) {
    const [file, uuid] = [image(folder, size), randomUUID()];
    run(`mkfs.${kind}`, '-q', argument[0], argument[1], kind === 'xfs' ? `uuid=${uuid}` : uuid, file);
    t.same(await readSuperblock(file), { type: kind, uuid, clean: kind === 'ext4', size });
    t.match(run('blkid', '-p', file), `UUID="${uuid}"`);
  }
});

t.test('it is clean only where e2fsck -p would end without a look', async (t) => {
  const folder = scratch(t);
  const skips = (file: string): boolean =>
    spawnSync('e2fsck', ['-p', file], { encoding: 'utf8' }).stdout.includes(': clean, ');
  for (const [what, command] of [
    ['as it was made', undefined],
    ['not unmounted in order', 'ssv state 0'],
    ['with an error that the kernel has noted', 'ssv state 3'],
    ['mounted as often as it may be', 'ssv mnt_count 7\nssv max_mnt_count 7'],
    ['mounted once less than that', 'ssv mnt_count 6\nssv max_mnt_count 7'],
    ['last checked too long ago', 'ssv checkinterval 3600\nssv lastcheck 20200101'],
    ['last checked not too long ago', `ssv checkinterval 3600\nssv lastcheck now`],
  ] as const) {
    const { file } = ext4(folder);
    for (const line of command?.split('\n') ?? []) run('debugfs', '-w', '-R', line, file);
    const clean = (await readSuperblock(file))?.clean;
    t.equal(clean, skips(file), what);
  }
  for (const [what, command] of [
    ['with files that were deleted while open', 'ssv last_orphan 12'],
    ['with a count of errors', 'ssv error_count 1'],
    ['with a journal to replay', 'feature needs_recovery'],
  ] as const) {
    const { file } = ext4(folder);
    run('debugfs', '-w', '-R', command, file);
    t.equal((await readSuperblock(file))?.clean, false, what);
  }
});

t.test('what is more or less than one of the three is for others to tell', async (t) => {
  const folder = scratch(t);
  t.equal(await readSuperblock(image(folder, MIB)), undefined, 'zeros');
  t.equal(await readSuperblock(image(folder, 4096)), undefined, 'too short');
  const old = image(folder, 16 * MIB);
  run('mkfs.ext4', '-q', '-F', '-t', 'ext2', old);
  t.equal(await readSuperblock(old), undefined, 'an ext2 has the magic number of ext4');
  const { file, uuid } = ext4(folder);
  change(file, 0x10040, Buffer.from('_BHRfS_M'));
  t.equal(await readSuperblock(file), undefined, 'two at once');
  change(file, 0x10040, Buffer.alloc(8));
  t.equal((await readSuperblock(file))?.uuid, uuid);
  await t.rejects(readSuperblock(join(folder, 'none')), { code: 'ENOENT' });
});

t.test('a head that is cut short says nothing', async (t) => {
  const { file } = ext4(scratch(t));
  const head = Buffer.alloc(0x10000 + 4096);
  const opened = openSync(file, 'r');
  readSync(opened, head);
  closeSync(opened);
  t.equal(parseSuperblock(head)?.type, 'ext4');
  for (const length of [0, 1, 1024, 2048, head.length - 1])
    t.equal(parseSuperblock(head.subarray(0, length)), undefined);
});
