// Attributes of object volumes: what others have written, extended attributes, large objects, and renames that others have left.
import t from 'tap';
import { bound } from './namespace-mortal.ts';
import { PREFIX, refused, World } from './namespace-world.ts';

const until = async (isSo: () => Promise<boolean> | boolean): Promise<void> => {
  const end = performance.now() + 10_000;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error('it did not become so');
    await new Promise((resolve) => setImmediate(resolve));
  }
};

t.test('what s3fs and rclone have written has the attributes that they gave it', async (t) => {
  const w = await World.of(t);
  await w.put('s3fs', 'x', { mode: '33261', uid: '7', gid: '8', mtime: '1000000000.25', atime: '5', ctime: '6' });
  await w.put('link', 'some/where', { mode: '41471', mtime: '1' });
  await w.put('dir/', '', { mode: '16832', uid: '7' });
  await w.put('rclone', 'x', { mode: '0100600', mtime: '2001-09-09T01:46:40.5Z' });
  await w.put('bare', 'x');
  const a = await w.host('a', { semantics: { defaults: { uid: 1, gid: 2, fileMode: 0o640, dirMode: 0o750 } } });
  t.match(await a.stat('s3fs'), {
    mode: 0o100755,
    uid: 7,
    gid: 8,
    mtime: 1_000_000_000_250_000_000n,
    atime: 5_000_000_000n,
  });
  t.match(await a.stat('link'), { mode: 0o120777, uid: 1 });
  t.equal(await a.fs.readlink(await a.node('link'), a.caller()), 'some/where');
  t.match(await a.stat('dir'), { mode: 0o040700, uid: 7, gid: 2 });
  t.match(await a.stat('rclone'), { mode: 0o100600, mtime: 1_000_000_000_500_000_000n });
  t.match(await a.stat('bare'), { mode: 0o100640, uid: 1, gid: 2 });
});

t.test('metadata of others, and their content type, stay when attributes are changed', async (t) => {
  const w = await World.of(t);
  await w.store.put(
    `${PREFIX}f`,
    [Buffer.from('x')],
    { meta: { 'x-team': 'blue', mtime: '2001-09-09T01:46:40Z' }, contentType: 'text/x-special' },
    w.context,
  );
  const a = await w.host();
  await a.fs.setattr(await a.node('f'), { mode: 0o600 }, a.caller());
  await a.fs.syncfs(a.caller());
  t.match(await w.store.head(`${PREFIX}f`, w.context), {
    contentType: 'text/x-special',
    meta: { 'x-team': 'blue', mode: '33152', mtime: '1000000000.000000000' },
  });
});

t.test('extended attributes are kept in s3fs’ form, and other hosts read them', async (t) => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.write('f', 'x');
  const node = await a.node('f');
  await a.fs.setxattr(node, 'user.color', Buffer.from('blue'), 0, a.caller());
  await a.fs.setxattr(node, 'security.capability', Buffer.from([1, 0, 255]), 1, a.caller());
  await a.fs.syncfs(a.caller());
  const meta = (await w.store.head(`${PREFIX}f`, w.context))?.meta ?? {};
  t.equal(decodeURIComponent(meta['xattr'] ?? ''), '{"user.color":"Ymx1ZQ==","security.capability":"AQD/"}');
  const theirs = await b.node('f');
  t.equal(String(await b.fs.getxattr(theirs, 'user.color', b.caller())), 'blue');
  t.same(await b.fs.listxattr(theirs, b.caller()), ['user.color', 'security.capability']);
  await a.fs.removexattr(node, 'user.color', a.caller());
  t.equal(await refused(() => a.fs.getxattr(node, 'user.color', a.caller())), 'ENODATA');
});

t.test('extended attributes that cannot be kept are refused', async (t) => {
  const w = await World.of(t);
  const a = await w.host();
  await a.write('f', 'x');
  const node = await a.node('f');
  const set = (name: string, value: string, flags = 0): Promise<string> =>
    refused(() => a.fs.setxattr(node, name, Buffer.from(value), flags, a.caller()));
  t.equal(await set('user.long', 'x'.repeat(2_000)), 'ENOSPC');
  t.equal(await set('system.posix_acl_access', 'x'), 'ENOTSUP');
  t.equal(await set('trusted.x', 'x'), 'ENOTSUP');
  t.equal(await set('user.a', 'x', 2), 'ENODATA', 'XATTR_REPLACE');
  t.equal(await set('user.a', 'x'), 'nothing was refused');
  t.equal(await set('user.a', 'x', 1), 'EEXIST', 'XATTR_CREATE');
  t.equal(await refused(() => a.fs.removexattr(node, 'user.none', a.caller())), 'ENODATA');
  t.equal(await refused(() => a.fs.getxattr(node, 'security.selinux', a.caller())), 'ENODATA');
});

t.test('attributes and names of objects that are too large for one copy change by parts', async (t) => {
  const w = await World.of(t, { copyMax: 1_000, partMin: 300, partMax: 400 });
  const text = 'large'.repeat(500);
  await w.put('f', text, { mode: '33188' });
  const a = await w.host();
  await a.fs.setattr(await a.node('f'), { mode: 0o600 }, a.caller());
  await a.fs.syncfs(a.caller());
  t.equal((await w.store.head(`${PREFIX}f`, w.context))?.meta['mode'], '33152');
  await a.rename('f', 'g');
  t.same(await w.names(), ['g']);
  t.equal(await w.text('g'), text);
  t.equal((await a.stat('g')).mode, 0o100600);
  t.ok(a.count('copyPart') >= 14);
  t.equal(a.count('copy'), 0);
  t.same(await w.store.unfinished(PREFIX, w.context), []);
});

t.test(
  'a large file that is unlinked while it is open is read from a copy, which goes when it is closed',
  async (t) => {
    const w = await World.of(t);
    const body = Buffer.alloc(9 * 2 ** 20, 'x');
    await w.store.put(`${PREFIX}f`, [body], { meta: {} }, w.context);
    const a = await w.host();
    const opened = await a.open('f', 0);
    await a.unlink('f');
    t.same(await w.names(), []);
    const orphan = (await w.keys()).find((key) => key.startsWith(`${PREFIX}.drayage/orphans/`));
    t.ok(orphan);
    t.equal((await a.readOpen(opened)).length, 2 ** 20);
    a.kill();
    const next = await w.host('a', { survived: true });
    t.equal((await next.readOpen(opened)).length, 2 ** 20, 'also after the engine has died');
    await next.close(opened);
    await until(async () => (await w.keys()).length === 0);
  },
);

t.test(
  'a folder’s rename that a host has left is ended by another one, after it has been silent for two minutes',
  async (t) => {
    const w = await World.of(t);
    const a = await w.host('a');
    await a.mkdir('old');
    for (const name of ['f', 'g', 'h']) await a.write(`old/${name}`, name);
    // Dies in the middle of the copies.
    const copies = a.count('copy');
    const renaming = a.rename('old', 'new');
    renaming.catch(() => undefined);
    await until(() => a.count('copy') > copies);
    a.kill();
    t.ok((await w.keys()).some((key) => key.includes('.drayage/renames/')));
    const b = await w.host('b', { adoptMs: 20 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.ok((await w.names()).includes('old/f'), 'not before');
    w.later(121_000);
    await until(async () => !(await w.keys()).some((key) => key.includes('.drayage/renames/')));
    t.same(await w.names(), ['new/', 'new/f', 'new/g', 'new/h']);
    t.equal(await b.read('new/g'), 'g');
  },
);

t.test('what another host writes into a folder that is being renamed goes along', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a');
  const names = Array.from({ length: 100 }, (_, n) => `f${n}`);
  for (const name of names) await w.put(`old/${name}`, 'old');
  await a.node('old');
  const renaming = a.rename('old', 'new');
  await until(() => a.count('copy') > 10);
  await w.put('old/f3', 'changed');
  await w.put('old/late', 'late');
  await renaming;
  t.equal(await w.text('new/f3'), 'changed');
  t.equal(await w.text('new/late'), 'late');
  t.same(
    (await w.names()).filter((name) => name.startsWith('old/')),
    [],
  );
  t.equal((await w.names()).filter((name) => name.startsWith('new/')).length, 101);
});

t.test('what another host writes into a folder after it was renamed goes along, too', async (t) => {
  const w = await World.of(t);
  for (const name of ['f', 'g']) await w.put(`old/${name}`, 'old');
  const plain = w.store;
  w.wrap((store) => ({
    ...bound(store),
    put: async (key, body, object, c) => {
      const facts = await store.put(key, body, object, c);
      if (key.includes('/renames/') && Buffer.concat(body).includes('"remove"')) {
        for (const path of ['old/f', 'old/late']) {
          await plain.put(`${PREFIX}${path}`, [Buffer.from('theirs')], { meta: {} }, c);
        }
      }
      return facts;
    },
  }));
  const a = await w.host('a');
  await a.rename('old', 'new');
  t.equal(await w.text('new/late'), 'theirs');
  t.equal(await w.text('new/f'), 'old');
  const kept = (await w.names()).find((name) => name.startsWith('new/f.conflict-')) ?? '';
  t.equal(await w.text(kept), 'theirs', 'beside what was there already');
  t.same(
    (await w.names()).filter((name) => name.startsWith('old/')),
    [],
  );
});

t.test('an answer of the store that was overtaken by a change of this host is not believed', async (t) => {
  const w = await World.of(t);
  await w.put('f', 'x');
  const go = Promise.withResolvers<void>();
  w.wrap((store) => ({
    ...bound(store),
    get: async (key, options, c) => {
      const found = await store.get(key, options, c);
      await go.promise;
      return found;
    },
  }));
  const a = await w.host('a');
  const node = await a.node('f');
  const opening = Promise.resolve(a.fs.open(node, 0, a.caller()));
  opening.catch(() => undefined);
  await until(() => a.count('get') > 0);
  await a.unlink('f');
  go.resolve();
  t.equal(await refused(() => opening), 'ESTALE', 'not the file that was there when it was asked for');
  t.equal(await a.exists('f'), false);
});

t.test('a disk that is full lets a volume be read', async (t) => {
  const w = await World.of(t);
  await w.put('d/f', 'x');
  const a = await w.host();
  a.isFull = true;
  t.same(await a.list('d'), ['f']);
  t.equal(await a.read('d/f'), 'x');
  t.equal(await refused(() => a.create('d/g')), 'ENOSPC');
  a.isFull = false;
  await a.write('d/g', 'y');
  t.same(await w.names(), ['d/f', 'd/g']);
});
