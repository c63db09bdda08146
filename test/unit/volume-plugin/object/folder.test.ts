import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import { fileOf } from '../../../../volume-plugin/object/folder-paths.ts';
import { context, failureOf, read, text } from '../../../conformance/object-store-tools.ts';

const bucket = async (t: Test) => {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-objects-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const store = new FolderStore({ folder, bucket: 'bucket', durable: false });
  await store.createBucket(context());
  return { folder, root: join(folder, 'bucket'), store };
};

t.test('conditions hold between processes: nobody counts over another', async (t) => {
  const { folder, store } = await bucket(t);
  await store.put('shared/counter', text('0'), { meta: {} }, context());
  const worker = join(import.meta.dirname, 'folder-worker.ts');
  const ends = Array.from({ length: 3 }, () => {
    const child = spawn(process.execPath, [worker, folder, '25'], { stdio: ['ignore', 'ignore', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    return once(child, 'exit');
  });
  for (const [code] of await Promise.all(ends)) t.equal(code, 0);
  t.equal(read((await store.get('shared/counter', {}, context())).data), '75');
  t.same(
    (await store.list('', {}, context())).objects.map(({ key }) => key),
    ['shared/counter'],
  );
});

t.test('a key is a file below the bucket, whatever is in it', async (t) => {
  const root = '/bucket';
  t.equal(fileOf(root, 'a'), '/bucket/a.o');
  t.equal(fileOf(root, 'a/'), '/bucket/a.d/.o');
  t.equal(fileOf(root, 'a/b'), '/bucket/a.d/b.o');
  t.equal(fileOf(root, '/a//b'), '/bucket/.d/a.d/.d/b.o');
  t.equal(fileOf(root, '../../etc/passwd'), '/bucket/...d/...d/etc.d/passwd.o');
  t.equal(fileOf(root, './.'), '/bucket/..d/..o');
  t.equal(fileOf(root, 'a%\0'), '/bucket/a%25%00.o');
  for (const part of fileOf(root, 'ü'.repeat(512)).split('/')) t.ok(Buffer.byteLength(part) < 250);
  t.not(fileOf(root, 'a.d/b'), fileOf(root, 'a/b'));
});

t.test('folders without objects go, and what a crash has left is taken away', async (t) => {
  const { root, store } = await bucket(t);
  await store.put('a/b/c', text('x'), { meta: {} }, context());
  await store.put('a/d', text('x'), { meta: {} }, context());
  await store.remove('a/b/c', context());
  t.same(readdirSync(join(root, 'objects', 'a.d')), ['d.o']);
  await store.remove('a/d', context());
  t.same(readdirSync(join(root, 'objects')), []);
  t.same(readdirSync(join(root, 'being-written')), [], 'nothing is left of what was written');
  const [old, fresh] = ['old', 'fresh'].map((name) => join(root, 'being-written', name));
  for (const file of [old, fresh]) writeFileSync(file ?? '', 'half of it');
  utimesSync(old ?? '', new Date(0), new Date(0));
  await store.createBucket(context());
  t.same(readdirSync(join(root, 'being-written')), ['fresh']);
  await store.removeBucket(context());
  t.notOk(existsSync(root));
});

t.test('a file that was damaged is not taken for an object', async (t) => {
  const { root, store } = await bucket(t);
  await store.put('k', text('0123456789'), { meta: { a: 'x'.repeat(1500) } }, context());
  t.match(await store.head('k', context()), { meta: { a: 'x'.repeat(1500) } });
  truncateSync(fileOf(join(root, 'objects'), 'k'), 40);
  t.equal(await failureOf(store.get('k', {}, context())), 'DAMAGED');
  t.equal(await failureOf(store.head('k', context())), 'DAMAGED');
  t.same(
    (await store.list('', {}, context())).objects.map(({ key }) => key),
    ['k'],
    'it is there, all the same',
  );
  const absent = { meta: {}, condition: { ifAbsent: true } };
  t.equal(await failureOf(store.put('k', text('new'), absent, context())), 'CONFLICT');
  await store.put('k', text('new'), { meta: {} }, context());
  t.equal(read((await store.get('k', {}, context())).data), 'new', 'and can be replaced');
});

t.test('what outlives a loss of power is written like everything else', async (t) => {
  const { folder } = await bucket(t);
  const store = new FolderStore({ folder, bucket: 'bucket', limits: { partMin: 5, copyPart: false } });
  t.match(store.limits, { partMin: 5, copyPart: false, conditionalPut: true });
  await store.put('a/b', text('x'), { meta: {} }, context());
  const id = await store.beginUpload('a/c', { meta: {} }, context());
  const parts = [await store.uploadPart('a/c', id, 1, text('1234'), context())];
  parts.push(await store.uploadPart('a/c', id, 2, text('5'), context()));
  t.equal(
    await failureOf(store.completeUpload('a/c', id, parts, undefined, context())),
    'INVALID',
    'a part is too small',
  );
  await store.remove('a/b', context());
  t.same((await store.list('', {}, context())).objects, []);
});
