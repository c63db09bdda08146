// @timeout 2m
// What few programs ask a file system for, by real system calls on a real mount.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  linkSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import t from 'tap';
import { deviceControl } from '../../../../shared/kernel/syscalls.ts';
import { MemoryMount } from '../../../rig/memory-mount.ts';
import {
  copyRange,
  fallocate,
  getAttribute,
  listAttributes,
  lock,
  removeAttribute,
  seek,
  setAttribute,
} from '../../../suites/libc.ts';
import { inOwnMounts } from '../block/scratch.ts';
import { refusal } from './refusal.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

const one = await MemoryMount.make(t);

t.test('extended attributes', async (t) => {
  const path = one.path('xattrs');
  writeFileSync(path, '');
  setAttribute(path, 'user.one', Buffer.from('first'));
  setAttribute(path, 'user.two', Buffer.alloc(60_000, 'x'));
  t.equal(getAttribute(path, 'user.one').toString(), 'first');
  t.equal(getAttribute(path, 'user.two').length, 60_000);
  t.same([...listAttributes(path)].sort(), ['user.one', 'user.two']);
  t.equal(
    refusal(() => setAttribute(path, 'user.one', Buffer.from('again'), 1)),
    'EEXIST',
    'XATTR_CREATE',
  );
  t.equal(
    refusal(() => setAttribute(path, 'user.three', Buffer.from('new'), 2)),
    'ENODATA',
    'XATTR_REPLACE',
  );
  removeAttribute(path, 'user.one');
  t.equal(
    refusal(() => getAttribute(path, 'user.one')),
    'ENODATA',
  );
  t.equal(
    refusal(() => setAttribute(path, 'security.selinux', Buffer.from('x'))),
    'ENOTSUP',
  );
  t.equal(
    refusal(() => getAttribute(path, 'security.selinux')),
    'ENODATA',
  );
});

t.test('room is told, allocated, and found', async (t) => {
  const { bsize, blocks, bfree, files } = statfsSync(one.target);
  t.same([bsize, blocks, bfree, files], [4096, 1 << 30, 1 << 29, 1 << 20]);
  const fd = openSync(one.path('room'), 'w+');
  fallocate(fd, 0, 0, 6_000_000_000);
  t.equal(fstatSync(fd).size, 6_000_000_000);
  t.equal(
    refusal(() => fallocate(fd, 3, 0, 4096)),
    'ENOTSUP',
    'a hole',
  );
  t.equal(seek(fd, 5_000_000_000, 3), 5_000_000_000, 'SEEK_DATA');
  t.equal(seek(fd, 5_000_000_000, 4), 6_000_000_000, 'SEEK_HOLE');
  t.equal(
    refusal(() => seek(fd, 6_000_000_000, 3)),
    'ENXIO',
  );
  closeSync(fd);
});

t.test('ranges are copied by the file system itself', async (t) => {
  const bytes = Buffer.alloc(3 << 20, 'abcdefg');
  writeFileSync(one.path('source'), bytes);
  const from = openSync(one.path('source'), 'r');
  const to = openSync(one.path('copied'), 'w+');
  t.equal(copyRange(from, 3, to, 5, 2_500_000), 2_500_000);
  closeSync(from);
  closeSync(to);
  t.ok(readFileSync(one.path('copied')).equals(Buffer.concat([Buffer.alloc(5), bytes.subarray(3, 2_500_003)])));
  copyFileSync(one.path('source'), one.path('copied too'));
  t.ok(readFileSync(one.path('copied too')).equals(bytes));
  execFileSync('cp', ['-a', one.path('source'), one.path('copied again')]);
  t.equal(statSync(one.path('copied again')).mtimeMs, statSync(one.path('source')).mtimeMs);
});

t.test('what no file system of ours has is refused in the usual way', async (t) => {
  const O_TMPFILE = 0o20_200_000;
  t.equal(
    refusal(() => openSync(one.target, O_TMPFILE | constants.O_RDWR)),
    'ENOTSUP',
  );
  const FS_IOC_GETFLAGS = 0x8008_6601;
  const fd = openSync(one.target, 'r');
  t.match(
    refusal(() => deviceControl(fd, FS_IOC_GETFLAGS, Buffer.alloc(8))),
    /ENOTTY/,
  );
  closeSync(fd);
  t.equal(
    refusal(() => linkSync(one.target, one.path('loop'))),
    'EPERM',
    'a hard link to a folder',
  );
});

t.test('locks are the kernel’s, for this host', async (t) => {
  writeFileSync(one.path('locked'), '');
  const [first, second] = [openSync(one.path('locked'), 'r+'), openSync(one.path('locked'), 'r+')];
  t.equal(lock(first, 'exclusive'), true);
  t.equal(lock(second, 'exclusive'), false);
  closeSync(first);
  t.equal(lock(second, 'exclusive'), true);
  closeSync(second);
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
