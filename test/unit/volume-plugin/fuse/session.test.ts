// @timeout 2m
// Every operation that the kernel asks a file system for, by real system calls on a real mount.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
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
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import t from 'tap';
import { codeOf } from '../../../../shared/error-code.ts';
import { MemoryMount } from '../../../rig/memory-mount.ts';
import { inOwnMounts } from '../block/scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const one = await MemoryMount.make(t);

const refusal = (call: () => unknown): string => {
  try {
    call();
    return 'none';
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
};

/** For what Node has no function for; Python's has the system call's name. */
const python = (script: string, ...args: readonly string[]): string =>
  execFileSync('python3', ['-c', `import os, sys\n${script}`, ...args], { encoding: 'utf8' }).trim();
const hasPython = spawnSync('python3', ['-c', '']).status === 0;

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

t.test('times have all their nanoseconds, before 1970 too', { skip: !hasPython && 'no python3' }, async (t) => {
  writeFileSync(one.path('nano'), '');
  python('os.utime(sys.argv[1], ns=(-1000250000001, 1763827200999999999))', one.path('nano'));
  const { atimeNs, mtimeNs } = statSync(one.path('nano'), { bigint: true });
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
  const folder = one.path('many');
  mkdirSync(folder);
  const began = performance.now();
  for (let at = 0; at < 20_000; at += 1) closeSync(openSync(`${folder}/entry-${at}`, 'w'));
  const made = performance.now();
  const names = readdirSync(folder);
  const listed = performance.now();
  t.equal(new Set(names).size, 20_000);
  t.equal(names.length, 20_000);
  const lines = execFileSync('ls', ['-lU', folder], { encoding: 'utf8', maxBuffer: 1 << 24 })
    .trim()
    .split('\n');
  const long = performance.now();
  t.equal(lines.length, 20_001);
  t.comment(
    `made in ${Math.round(made - began)} ms, listed in ${Math.round(listed - made)} ms, ls -l ${Math.round(long - listed)} ms`,
  );
  // Removed while it is listed.
  rmSync(folder, { recursive: true });
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
  // mv -n asks for RENAME_NOREPLACE, --exchange (coreutils 9.5) for RENAME_EXCHANGE.
  spawnSync('mv', ['-n', one.path('to'), one.path('kept')]);
  t.equal(readFileSync(one.path('kept'), 'utf8'), 'kept');
  if (!hasPython) return;
  const exchange =
    'import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n' +
    'r = libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), int(sys.argv[3]))\nprint(r, ctypes.get_errno())';
  t.equal(python(exchange, one.path('to'), one.path('kept'), '1'), '-1 17');
  t.equal(python(exchange, one.path('to'), one.path('kept'), '2'), '0 0');
  t.equal(readFileSync(one.path('kept'), 'utf8'), 'from');
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

t.test('extended attributes', { skip: !hasPython && 'no python3' }, async (t) => {
  const path = one.path('xattrs');
  writeFileSync(path, '');
  const set = 'os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode(), int(sys.argv[4]))';
  python(set, path, 'user.one', 'first', '0');
  python(set, path, 'user.two', 'x'.repeat(60_000), '0');
  t.equal(python('print(os.getxattr(sys.argv[1], "user.one").decode())', path), 'first');
  t.equal(python('print(len(os.getxattr(sys.argv[1], "user.two")))', path), '60000');
  t.equal(python('print(sorted(os.listxattr(sys.argv[1])))', path), "['user.one', 'user.two']");
  const code = (script: string, ...args: readonly string[]): string =>
    python(`try:\n  ${script}\n  print(0)\nexcept OSError as e:\n  print(e.errno)`, path, ...args);
  t.equal(code(set, 'user.one', 'again', '1'), '17', 'XATTR_CREATE');
  t.equal(code(set, 'user.three', 'new', '2'), '61', 'XATTR_REPLACE');
  t.equal(code('os.removexattr(sys.argv[1], "user.one")'), '0');
  t.equal(code('os.getxattr(sys.argv[1], "user.one")'), '61');
});

t.test('room is told, allocated, and found', async (t) => {
  const { bsize, blocks, bfree, files } = statfsSync(one.target);
  t.same([bsize, blocks, bfree, files], [4096, 1 << 30, 1 << 29, 1 << 20]);
  const path = one.path('room');
  execFileSync('fallocate', ['-l', '6000000000', path]);
  t.equal(statSync(path).size, 6_000_000_000);
  t.match(spawnSync('fallocate', ['-p', '-l', '4096', path], { encoding: 'utf8' }).stderr, /unsupported|not supported/);
  if (!hasPython) return;
  const seek = 'fd = os.open(sys.argv[1], os.O_RDONLY)\nprint(os.lseek(fd, 5000000000, int(sys.argv[2])))';
  t.equal(python(seek, path, '3'), '5000000000');
  t.equal(python(seek, path, '4'), '6000000000');
});

t.test('ranges are copied by the file system itself', { skip: !hasPython && 'no python3' }, async (t) => {
  writeFileSync(one.path('source'), Buffer.alloc(3 << 20, 'abcdefg'));
  const script =
    'a = os.open(sys.argv[1], os.O_RDONLY)\nb = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)\n' +
    'print(os.copy_file_range(a, b, 2500000, 3, 5))';
  t.equal(python(script, one.path('source'), one.path('copied')), '2500000');
  const wanted = Buffer.concat([Buffer.alloc(5), Buffer.alloc(3 << 20, 'abcdefg').subarray(3, 2_500_003)]);
  t.ok(readFileSync(one.path('copied')).equals(wanted));
  copyFileSync(one.path('source'), one.path('copied too'));
  t.ok(readFileSync(one.path('copied too')).equals(readFileSync(one.path('source'))));
  execFileSync('cp', ['-a', one.path('source'), one.path('copied again')]);
  t.equal(statSync(one.path('copied again')).mtimeMs, statSync(one.path('source')).mtimeMs);
});

t.test(
  'what no file system of ours has is refused in the usual way',
  { skip: !hasPython && 'no python3' },
  async (t) => {
    const code = (script: string): string =>
      python(`import fcntl\ntry:\n  ${script}\n  print(0)\nexcept OSError as e:\n  print(e.errno)`, one.target);
    t.equal(code('os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR)'), '95', 'O_TMPFILE');
    t.equal(code('fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x80086601, bytes(8))'), '25', 'FS_IOC_GETFLAGS');
    t.equal(code('os.link(sys.argv[1], sys.argv[1] + "/loop")'), '1', 'a hard link to a folder');
  },
);

t.test('locks are the kernel’s, for this host', { skip: !hasPython && 'no python3' }, async (t) => {
  writeFileSync(one.path('locked'), '');
  const script =
    'import fcntl\nfd = os.open(sys.argv[1], os.O_RDWR)\nfcntl.flock(fd, fcntl.LOCK_EX)\nfcntl.lockf(fd, fcntl.LOCK_EX)\n' +
    'other = os.open(sys.argv[1], os.O_RDWR)\ntry:\n  fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept BlockingIOError:\n  print("locked")';
  t.equal(python(script, one.path('locked')), 'locked');
});

t.test('a file that was removed is read on by whoever has it open', async (t) => {
  writeFileSync(one.path('open'), 'still here');
  const fd = openSync(one.path('open'), 'r');
  unlinkSync(one.path('open'));
  t.equal(readFileSync(fd, 'utf8'), 'still here');
  t.equal(fstatSync(fd).nlink, 0);
  closeSync(fd);
});

t.test('permissions are the kernel’s to check', async (t) => {
  writeFileSync(one.path('private'), 'secret', { mode: 0o600 });
  const script = 'process.setgid(1234); process.setuid(1234); require("fs").readFileSync(process.argv[1])';
  const { status, stderr } = spawnSync(process.execPath, ['-e', script, one.path('private')], { encoding: 'utf8' });
  t.not(status, 0);
  t.match(stderr, /EACCES/);
});

t.test('when it is unmounted, engine and keeper end by themselves', async (t) => {
  t.type(one.keeper, 'number');
  await one.unmount();
  t.equal(one.keeper, undefined);
});
