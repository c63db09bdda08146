// @timeout 2m
// Every operation that the kernel asks a file system for, by real system calls on a real mount.
import { execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import t from 'tap';
import { MemoryMount } from '../../../rig/memory-mount.ts';
import { seed } from '../../../rig/memory-nodes.ts';
import { renameWith } from '../../../suites/libc.ts';
import { inOwnMounts } from '../block/scratch.ts';
import { refusal } from './refusal.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const one = await MemoryMount.make(t);

t.test('files are made, written, read, changed in place, appended to and cut off', async (t) => {
  const path = one.path('file');
  writeFileSync(path, 'hello world');
  t.equal(readFileSync(path, 'utf8'), 'hello world');
  const fd = openSync(path, 'r+');
  writeSync(fd, 'HELLO', 0);
  fsyncSync(fd);
  fdatasyncSync(fd);
  t.equal(fstatSync(fd).size, 11);
  ftruncateSync(fd, 5);
  closeSync(fd);
  t.equal(readFileSync(path, 'utf8'), 'HELLO');
  appendFileSync(path, '!');
  t.equal(readFileSync(path, 'utf8'), 'HELLO!');
  truncateSync(path, 8);
  t.equal(readFileSync(path, 'latin1'), 'HELLO!\0\0');
  writeFileSync(path, '');
  t.equal(statSync(path).size, 0, 'opened with O_TRUNC');
  t.equal(
    refusal(() => openSync(path, 'wx')),
    'EEXIST',
  );
  t.equal(
    refusal(() => readFileSync(one.path('none'))),
    'ENOENT',
  );
});

t.test('pieces of 1 MiB, and odd ones, come back as they were', async (t) => {
  const path = one.path('large');
  const data = Buffer.alloc((3 << 20) + 12_345);
  for (let at = 0; at < data.length; at += 1) data[at] = (at * 31 + (at >> 9)) & 0xff;
  writeFileSync(path, data);
  t.ok(readFileSync(path).equals(data));
  const fd = openSync(path, constants.O_RDWR | constants.O_DIRECT);
  const piece = Buffer.alloc(1 << 20, 7);
  t.equal(writeSync(fd, piece, 0, piece.length, 1 << 20), 1 << 20);
  const got = Buffer.alloc(1 << 20);
  t.equal(readSync(fd, got, 0, got.length, 1 << 20), 1 << 20);
  t.ok(got.equals(piece));
  closeSync(fd);
  const whole = readFileSync(path);
  t.ok(whole.subarray(0, 1 << 20).equals(data.subarray(0, 1 << 20)), 'before it');
  t.ok(whole.subarray(2 << 20).equals(data.subarray(2 << 20)), 'behind it');
});

t.test('a file of 5 GiB has its end where it is', async (t) => {
  const path = one.path('sparse');
  const end = 5 * 2 ** 30;
  const fd = openSync(path, 'w+');
  writeSync(fd, Buffer.from('end'), 0, 3, end);
  const got = Buffer.alloc(10);
  t.equal(readSync(fd, got, 0, 10, end - 1), 4);
  t.equal(got.toString('latin1', 0, 4), '\0end');
  closeSync(fd);
  t.equal(statSync(path).size, end + 3);
  unlinkSync(path);
});

t.test('modes, owners and times are what they were set to', async (t) => {
  const path = one.path('attributes');
  writeFileSync(path, '', { mode: 0o640 });
  t.equal(statSync(path).mode, 0o100640);
  chmodSync(path, 0o751);
  chownSync(path, 4_000_000_000, 5);
  t.match(statSync(path), { mode: 0o100751, uid: 4_000_000_000, gid: 5 });
  const fd = openSync(path, 'r+');
  fchmodSync(fd, 0o600);
  closeSync(fd);
  t.equal(statSync(path).mode, 0o100600);
  utimesSync(path, 1_000_000_000.5, 1_000.25);
  const { atimeNs, mtimeNs } = statSync(path, { bigint: true });
  t.equal(atimeNs, 1_000_000_000_500_000_000n);
  t.equal(mtimeNs, 1_000_250_000_000n);
  symlinkSync('nowhere', one.path('dated'));
  lutimesSync(one.path('dated'), 7, 8);
  t.equal(lstatSync(one.path('dated')).mtimeMs, 8_000);
});

t.test('times have all their nanoseconds, before 1970 too', async (t) => {
  const path = one.path('nano');
  execFileSync('touch', ['-a', '-d', '@-1000.250000001', path]);
  execFileSync('touch', ['-m', '-d', '@1763827200.999999999', path]);
  const { atimeNs, mtimeNs } = statSync(path, { bigint: true });
  t.same([atimeNs, mtimeNs], [-1_000_250_000_001n, 1_763_827_200_999_999_999n]);
});

t.test('setuid goes when the file is written to by others or given away', async (t) => {
  const path = one.path('setuid');
  writeFileSync(path, 'x');
  chmodSync(path, 0o106777 & 0o7777);
  t.equal(statSync(path).mode & 0o7000, 0o6000);
  const script =
    'const fs = require("fs"); process.setgid(1234); process.setuid(1234); fs.appendFileSync(process.argv[1], "y")';
  execFileSync(process.execPath, ['-e', script, path]);
  t.equal(statSync(path).mode & 0o7000, 0);
  chmodSync(path, 0o4777);
  chownSync(path, 1, 1);
  t.equal(statSync(path).mode & 0o7000, 0);
});

t.test('folders are made, listed and removed', async (t) => {
  mkdirSync(one.path('folder', 'in', 'folder'), { recursive: true, mode: 0o750 });
  writeFileSync(one.path('folder', 'in', 'ä file'), '');
  t.same(readdirSync(one.path('folder', 'in')).sort(), ['folder', 'ä file']);
  const [entry] = readdirSync(one.path('folder', 'in'), { withFileTypes: true }).filter(
    ({ name }) => name === 'folder',
  );
  t.equal(entry?.isDirectory(), true);
  t.equal(
    refusal(() => rmdirSync(one.path('folder', 'in'))),
    'ENOTEMPTY',
  );
  t.equal(
    refusal(() => mkdirSync(one.path('folder'))),
    'EEXIST',
  );
  t.equal(
    refusal(() => unlinkSync(one.path('folder'))),
    'EISDIR',
  );
  rmSync(one.path('folder'), { recursive: true });
  t.equal(existsSync(one.path('folder')), false);
});

t.test('a name that is no UTF-8, or is too long, is refused', async (t) => {
  const bad = Buffer.concat([Buffer.from(one.path('bad-')), Buffer.from([0xff, 0xfe])]);
  t.equal(
    refusal(() => writeFileSync(bad, '')),
    'EILSEQ',
  );
  t.equal(
    refusal(() => writeFileSync(one.path('a'.repeat(256)), '')),
    'ENAMETOOLONG',
  );
  writeFileSync(one.path('€'.repeat(85)), '');
  t.equal(
    refusal(() => writeFileSync(one.path('€'.repeat(86)), '')),
    'ENAMETOOLONG',
  );
});

t.test('a folder of 20,000 entries is listed whole, each with its attributes', async (t) => {
  const many = await MemoryMount.folders(t, { validMs: 60_000 });
  seed(many.folder, 20_000);
  await many.start();
  const began = performance.now();
  const names = readdirSync(many.target);
  const listed = performance.now();
  t.equal(new Set(names).size, 20_000);
  t.equal(names.length, 20_000);
  const lines = execFileSync('ls', ['-lU', many.target], { encoding: 'utf8', maxBuffer: 1 << 24 }).split('\n');
  t.equal(lines.filter((line) => / entry-\d+$/.test(line)).length, 20_000);
  t.comment(`listed in ${Math.round(listed - began)} ms, by ls -l in ${Math.round(performance.now() - listed)} ms`);
});

t.test('a folder is removed while it is listed', async (t) => {
  const folder = one.path('many');
  mkdirSync(folder);
  for (let at = 0; at < 1_500; at += 1) closeSync(openSync(`${folder}/entry-${at}`, 'w'));
  execFileSync('rm', ['-r', folder]);
  t.equal(existsSync(folder), false);
});

t.test('links: symbolic ones of any length, hard ones with one count', async (t) => {
  const target = `${'x/'.repeat(2000)}é`;
  symlinkSync(target, one.path('link'));
  t.equal(readlinkSync(one.path('link')), target);
  t.equal(lstatSync(one.path('link')).isSymbolicLink(), true);
  writeFileSync(one.path('first'), 'same');
  linkSync(one.path('first'), one.path('second'));
  t.equal(statSync(one.path('second')).nlink, 2);
  t.equal(statSync(one.path('second')).ino, statSync(one.path('first')).ino);
  unlinkSync(one.path('first'));
  t.equal(readFileSync(one.path('second'), 'utf8'), 'same');
});

t.test('a name takes the place of another, of none only, or changes places with it', async (t) => {
  writeFileSync(one.path('from'), 'from');
  writeFileSync(one.path('to'), 'to');
  renameSync(one.path('from'), one.path('to'));
  t.equal(readFileSync(one.path('to'), 'utf8'), 'from');
  t.equal(existsSync(one.path('from')), false);
  mkdirSync(one.path('full'));
  writeFileSync(one.path('full', 'x'), '');
  mkdirSync(one.path('empty'));
  t.equal(
    refusal(() => renameSync(one.path('empty'), one.path('full'))),
    'ENOTEMPTY',
  );
  renameSync(one.path('full'), one.path('empty'));
  t.same(readdirSync(one.path('empty')), ['x']);
  writeFileSync(one.path('kept'), 'kept');
  t.equal(
    refusal(() => renameWith(one.path('to'), one.path('kept'), 1)),
    'EEXIST',
    'RENAME_NOREPLACE',
  );
  renameWith(one.path('to'), one.path('kept'), 2);
  t.equal(readFileSync(one.path('kept'), 'utf8'), 'from', 'RENAME_EXCHANGE');
  t.equal(readFileSync(one.path('to'), 'utf8'), 'kept');
});

t.test('pipes, sockets and devices keep their kind', async (t) => {
  execFileSync('mknod', [one.path('fifo'), 'p']);
  execFileSync('mknod', [one.path('null'), 'c', '1', '3']);
  t.equal(statSync(one.path('fifo')).isFIFO(), true);
  t.equal(statSync(one.path('null')).isCharacterDevice(), true);
  t.equal(statSync(one.path('null')).rdev, (1 << 8) | 3);
  const reader = spawn('cat', [one.path('fifo')]);
  const said = new Promise<string>((resolve) => reader.stdout.once('data', (data) => resolve(String(data))));
  writeFileSync(one.path('fifo'), 'through');
  t.equal(await said, 'through');
});

t.test('when it is unmounted, engine and keeper end by themselves', async (t) => {
  t.type(one.keeper, 'number');
  await one.unmount();
  t.equal(one.keeper, undefined);
});
