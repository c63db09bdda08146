// Folders of object volumes: long listings, foreign keys, and the renaming of whole trees.
import t, { type Test } from 'tap';
import { PREFIX, refused, World } from './namespace-world.ts';

t.setTimeout(120_000);

/** Time stands still in it. */
const world = async (t: Test): Promise<World> => {
  const made = await World.of(t);
  made.stopped = performance.now();
  return made;
};

const many = async (w: World, folder: string, count: number): Promise<string[]> => {
  const names = Array.from({ length: count }, (_, n) => `f${String(n).padStart(6, '0')}`);
  for (let at = 0; at < count; at += 100)
    await Promise.all(names.slice(at, at + 100).map((name) => w.put(`${folder}/${name}`)));
  return names;
};

t.test(
  'a folder of 2,500 objects is listed whole by three requests, and no object is asked for its metadata',
  async (t) => {
    const w = await world(t);
    const names = await many(w, 'd', 2_500);
    const a = await w.host();
    await a.node('d');
    const [lists, heads] = [a.count('list'), a.count('head')];
    const entries = await a.entries('d');
    t.same(
      entries.map(({ name }) => name),
      names,
    );
    t.ok(
      entries.every(({ entry }) => entry?.attributes.mode === 0o100644),
      'with their attributes',
    );
    t.equal(a.count('head') - heads, 0, 'no HEAD');
    t.equal(a.count('list') - lists, 4, 'three pages, and one look for notes');
    await a.list('d');
    t.equal(a.count('list') - lists, 4, 'within a second it is known');
    w.later();
    t.same(await a.list('d'), names);
    t.equal(a.count('get'), 0);
  },
);

t.test('a listing that is read again sees what others have done meanwhile, at the ends of pages too', async (t) => {
  const w = await world(t);
  await many(w, 'd', 2_100);
  const a = await w.host();
  await a.list('d');
  for (const name of ['f000999', 'f001000', 'f002099']) await w.store.remove(`${PREFIX}d/${name}`, w.context);
  for (const name of ['a', 'f000998x', 'f000999x', 'f001000/deep', 'z']) await w.put(`d/${name}`);
  w.later();
  const names = await a.list('d');
  t.equal(new Set(names).size, names.length, 'nothing twice');
  t.equal(names.length, 2_100 - 3 + 5);
  for (const name of ['a', 'f000998x', 'f000999x', 'f001000', 'z']) t.ok(names.includes(name), name);
  for (const name of ['f000999', 'f002099']) t.notOk(names.includes(name), name);
});

t.test('files that are made and removed while a folder is read: those that stay are listed once', async (t) => {
  const w = await world(t);
  const stay = await many(w, 'd', 1_200);
  const a = await w.host();
  const node = await a.node('d');
  const fresh = await a.create('d/new');
  const { handle } = await a.fs.opendir(node, a.caller());
  const names: string[] = [];
  let cookie = 0;
  for (let round = 0; ; round += 1) {
    const given = (await a.fs.readdir(node, handle, cookie, false, a.caller())).slice(0, 100);
    if (given.length === 0) break;
    names.push(...given.map(({ name }) => name));
    cookie = given.at(-1)?.cookie ?? 0;
    if (round === 0) await a.close(fresh);
    await a.unlink(`d/${stay[1_199 - round]}`);
    await a.write(`d/x${round}`, 'x');
  }
  t.equal(names.filter((name) => name === 'new').length, 1);
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  t.same(
    stay.slice(0, 1_100).filter((name) => counts.get(name) !== 1),
    [],
  );
});

t.test('folders without a marker are folders, and stay when their last file goes', async (t) => {
  const w = await world(t);
  await w.put('deep/er/file', 'x');
  const a = await w.host();
  t.equal((await a.stat('deep')).mode, 0o040755);
  t.same(await a.list(''), ['deep']);
  await a.unlink('deep/er/file');
  t.same(await w.names(), ['deep/er/']);
  t.same(await a.list('deep/er'), []);
  await a.rmdir('deep/er');
  t.same(await w.names(), ['deep/']);
});

t.test(
  'keys that are no paths are hidden and counted; of a file and a folder of one name the folder is shown',
  async (t) => {
    const w = await world(t);
    for (const key of ['d//x', 'd/./y', 'd/../z', 'd/ok', 'both', 'both/inside', `d/${'n'.repeat(256)}`])
      await w.put(key, 'x');
    const a = await w.host();
    t.same((await a.list('')).sort(), ['both', 'd']);
    t.same(await a.list('d'), ['ok']);
    t.equal((await a.stat('both')).mode & 0o170000, 0o040000);
    t.same(await a.list('both'), ['inside']);
    t.ok(Number(a.fs.status()['hiddenObjects']) >= 5);
    t.equal(await refused(() => a.rmdir('d')), 'ENOTEMPTY');
  },
);

t.test('what is ours in the bucket is neither seen nor made through the volume', async (t) => {
  const w = await world(t);
  const a = await w.host();
  await a.symlink('l', 'x');
  await a.fs.syncfs(a.caller());
  t.ok((await w.keys()).some((key) => key.startsWith(`${PREFIX}.drayage/notes/`)));
  t.same(await a.list(''), ['l']);
  t.equal(await a.exists('.drayage'), false);
  t.equal(await refused(() => a.mkdir('.drayage')), 'EPERM');
  t.equal(await refused(() => a.create('.drayage')), 'EPERM');
  t.equal(await refused(() => a.rename('l', '.drayage')), 'EPERM');
});

t.test('names that cannot be keys are refused', async (t) => {
  const w = await world(t);
  const a = await w.host();
  t.equal(await refused(() => a.mkdir('n'.repeat(256))), 'ENAMETOOLONG');
  t.equal(await refused(() => a.mkdir('\ud800')), 'EILSEQ');
  let path = '';
  for (let n = 0; n < 3; n += 1) {
    path += `${path === '' ? '' : '/'}${'ä'.repeat(127)}`;
    await a.mkdir(path);
  }
  t.equal(await refused(() => a.mkdir(`${path}/${'ä'.repeat(127)}`)), 'ENAMETOOLONG', 'keys have 1,023 bytes');
});

t.test('the other host lists what was noted: modes, owners, times and links, without a HEAD', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.mkdir('d');
  await a.write('d/run.sh', '#!/bin/sh', 0o755);
  await a.symlink('d/l', 'run.sh');
  await a.write('d/old', 'x');
  await a.fs.setattr(await a.node('d/old'), { mtime: 5_000_000_001n, uid: 9 }, a.caller());
  await a.fs.syncfs(a.caller());
  await b.node('d');
  const heads = b.count('head');
  const entries = new Map((await b.entries('d')).map(({ name, entry }) => [name, entry?.attributes]));
  t.match(entries.get('run.sh'), { mode: 0o100755 });
  t.match(entries.get('l'), { mode: 0o120777 });
  t.match(entries.get('old'), { mtime: 5_000_000_001n, uid: 9 });
  t.equal(b.count('head'), heads);
  await a.write('d/run.sh', 'changed', 0o755);
  w.later();
  t.match(
    (await b.entries('d')).find(({ name }) => name === 'run.sh')?.entry?.attributes.size,
    7,
    'a note counts for the object that it was made for',
  );
});

t.test('with attributes=objects a listing asks each object that is not known', async (t) => {
  const w = await world(t);
  await w.put('d/s3fs', 'x', { mode: '33261', uid: '7', gid: '8', mtime: '1000000000' });
  await w.put('d/rclone', 'x', { mode: '0100600', mtime: '2001-09-09T01:46:40.5Z' });
  const a = await w.host('a', { semantics: { attributes: 'objects' } });
  const entries = new Map((await a.entries('d')).map(({ name, entry }) => [name, entry?.attributes]));
  t.match(entries.get('s3fs'), { mode: 0o100755, uid: 7, gid: 8, mtime: 1_000_000_000_000_000_000n });
  t.match(entries.get('rclone'), { mode: 0o100600, mtime: 1_000_000_000_500_000_000n });
});

t.test('a folder is renamed with all that is in it, and open files follow', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.mkdir('old', 0o700);
  await a.mkdir('old/sub');
  await a.write('old/f', 'F');
  await a.write('old/sub/g', 'G', 0o755);
  const reading = await a.open('old/f');
  const writing = await a.create('old/sub/new');
  await a.writeOpen(writing, 'N');
  await a.rename('old', 'fresh');
  t.same(await w.names(), ['fresh/', 'fresh/f', 'fresh/sub/', 'fresh/sub/g']);
  t.equal(await a.readOpen(reading), 'F');
  await a.writeOpen(reading, '!', 1);
  await a.close(reading);
  await a.close(writing);
  t.same(await w.names(), ['fresh/', 'fresh/f', 'fresh/sub/', 'fresh/sub/g', 'fresh/sub/new']);
  t.equal(await b.read('fresh/f'), 'F!');
  t.equal(await b.read('fresh/sub/new'), 'N');
  t.equal((await b.stat('fresh')).mode, 0o040700);
  t.equal((await b.stat('fresh/sub/g')).mode, 0o100755);
  t.equal(await a.exists('old'), false);
  t.notOk(
    (await w.keys()).some((key) => key.includes('/renames/')),
    'nothing is left of it',
  );
});

t.test('a folder takes the place of an empty one, and of no other', async (t) => {
  const w = await world(t);
  const a = await w.host();
  await a.mkdir('from');
  await a.write('from/f', 'x');
  await a.mkdir('empty');
  await a.mkdir('full');
  await a.write('full/g', 'y');
  t.equal(await refused(() => a.rename('from', 'full')), 'ENOTEMPTY');
  await a.rename('from', 'empty');
  t.same(await w.names(), ['empty/', 'empty/f', 'full/', 'full/g']);
  t.equal(await refused(() => a.rename('empty', 'full/g')), 'ENOTDIR');
});

t.test('a tree of 2,300 objects is renamed', async (t) => {
  const w = await world(t);
  await many(w, 'old/d', 2_300);
  const a = await w.host();
  await a.rename('old', 'new');
  const names = await w.names();
  t.equal(names.length, 2_300);
  t.ok(names.every((name) => name.startsWith('new/d/')));
  t.equal((await a.list('new/d')).length, 2_300);
});
