// Names, attributes and folders of object volumes over a store, without a kernel.
import t from 'tap';
import { PREFIX, ROOT, refused, World } from './namespace-world.ts';

t.test('a file that was closed is in the bucket under its path, with what it has as metadata', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.mkdir('docs');
  const opened = await a.create('docs/report.pdf', 0o640, 0, { uid: 33, gid: 34 });
  await a.writeOpen(opened, 'hello');
  t.same(await w.names(), ['docs/'], 'not before it is closed');
  await a.close(opened);
  t.same(await w.names(), ['docs/', 'docs/report.pdf']);
  t.equal(await w.text('docs/report.pdf'), 'hello');
  const details = await w.store.head(`${PREFIX}docs/report.pdf`, w.context);
  t.match(details, {
    contentType: 'application/pdf',
    meta: { mode: '33184', uid: '33', gid: '34', mtime: /^\d+\.\d{9}$/ },
  });
  const marker = await w.store.head(`${PREFIX}docs/`, w.context);
  t.match(marker, { size: 0, contentType: 'application/x-directory', meta: { mode: '16877' } });
});

t.test('what one host has closed the other one opens', async (t) => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.write('f', 'one');
  t.equal(await b.read('f'), 'one');
  await a.write('f', 'two!');
  t.equal(await b.read('f'), 'two!', 'though its attributes may be relied on for a second');
  t.equal((await b.stat('f')).size, 4);
});

t.test('a folder lists what is in the store and what is being written here', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.mkdir('d');
  await a.write('d/stored', 'x');
  await a.mkdir('d/sub');
  const opened = await a.create('d/new');
  t.same((await a.list('d')).sort(), ['new', 'stored', 'sub']);
  await a.close(opened);
  t.same((await a.list('d')).sort(), ['new', 'stored', 'sub']);
  await a.unlink('d/stored');
  t.same((await a.list('d')).sort(), ['new', 'sub']);
  t.same(await a.list('d/sub'), []);
});

t.test('unlink, rmdir and mkdir answer what POSIX says', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.mkdir('d');
  await a.write('d/f', 'x');
  t.equal(await refused(() => a.rmdir('d')), 'ENOTEMPTY');
  t.equal(await refused(() => a.unlink('d')), 'EISDIR');
  t.equal(await refused(() => a.rmdir('d/f')), 'ENOTDIR');
  t.equal(await refused(() => a.mkdir('d')), 'EEXIST');
  t.equal(await refused(() => a.mkdir('d/f')), 'EEXIST');
  t.equal(await refused(() => a.unlink('d/g')), 'ENOENT');
  t.equal(await refused(() => a.create('d/f', 0o644, 0o200)), 'EEXIST');
  t.equal(await refused(() => a.fs.link(ROOT, ROOT, 'l', a.caller())), 'EPERM');
  await a.unlink('d/f');
  await a.rmdir('d');
  t.same(await w.names(), []);
});

t.test('rename moves, replaces, and refuses where it is told to', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.write('a', 'A');
  await a.write('b', 'B');
  await a.mkdir('d');
  t.equal(await refused(() => a.rename('a', 'b', 1)), 'EEXIST', 'RENAME_NOREPLACE');
  t.equal(await refused(() => a.rename('a', 'b', 2)), 'EINVAL', 'RENAME_EXCHANGE');
  t.equal(await refused(() => a.rename('a', 'd')), 'EISDIR');
  await a.rename('a', 'd/c');
  t.same(await w.names(), ['b', 'd/', 'd/c']);
  await a.rename('b', 'd/c');
  t.same(await w.names(), ['d/', 'd/c']);
  t.equal(await a.read('d/c'), 'B');
  t.equal(await a.exists('b'), false);
});

t.test('mode, owner and times that were set are what other hosts see', async (t) => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.write('f', 'x');
  const node = await a.node('f');
  await a.fs.setattr(node, { mode: 0o755 }, a.caller());
  await a.fs.setattr(node, { uid: 5, gid: 6 }, a.caller());
  await a.fs.setattr(node, { mtime: 1_000_000_000_123_456_789n, atime: 7n }, a.caller());
  await a.fs.syncfs(a.caller());
  t.match(await b.stat('f'), { mode: 0o100755, uid: 5, gid: 6, mtime: 1_000_000_000_123_456_789n, atime: 7n, size: 1 });
  t.equal(a.count('copy'), 1, 'three changes are one copy');
});

t.test('symbolic links, FIFOs and devices are what they were made', async (t) => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.symlink('l', 'some/where');
  await a.fs.mknod(ROOT, 'pipe', 0o010600, 0, a.caller());
  await a.fs.mknod(ROOT, 'dev', 0o020600, 0x103, a.caller());
  t.equal(await b.fs.readlink(await b.node('l'), b.caller()), 'some/where');
  t.match(await b.stat('l'), { mode: 0o120777, size: 10 });
  t.equal((await b.stat('pipe')).mode, 0o010600);
  t.match(await b.stat('dev'), { mode: 0o020600, rdev: 0x103 });
});

t.test('a file that is renamed while it is new, open and dirty is stored under its new name alone', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.write('target', 'old');
  const opened = await a.create('tmp');
  await a.writeOpen(opened, 'new');
  await a.rename('tmp', 'target');
  t.equal(await w.text('target'), 'old', 'others see the old file until it is closed');
  t.equal(await a.read('target'), 'new');
  await a.close(opened);
  t.equal(await w.text('target'), 'new');
  t.same(await w.names(), ['target']);
});

t.test('a file that is unlinked while it is open can be read until it is closed', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.write('f', 'content');
  const opened = await a.open('f');
  await a.unlink('f');
  t.same(await w.names(), []);
  t.equal(await a.readOpen(opened), 'content');
  t.equal((await a.fs.getattr(opened.node, undefined, a.caller())).attributes.nlink, 0);
  await a.close(opened);
  t.same(await w.keys(), []);
});
