import type { Test } from 'tap';
import type { ObjectStore, Part } from '../../volume-plugin/object/store.ts';
import { bytesOf, context, failureOf, lacks, type MakeStores, read, text } from './object-store-tools.ts';

/** A part that is not the last must be this large at least, to be one anywhere. */
const sizeOf = (store: ObjectStore): number => Math.max(store.limits.partMin, 64 * 1024);

/** What uploads in parts of every store must be. */
export const storeUploadConformance = async (t: Test, make: MakeStores): Promise<void> => {
  await t.test('an upload in parts becomes one object, at its completion and not before', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    const size = sizeOf(store);
    const bodies = [bytesOf('1', size), bytesOf('2', size), bytesOf('3', 1000)];
    const id = await store.beginUpload('up/ä +%', { meta: { mode: '33188' }, contentType: 'text/plain' }, context());
    const part = (number: number, body: Buffer): Promise<Part> =>
      store.uploadPart('up/ä +%', id, number, [body.subarray(0, 10), body.subarray(10)], context());
    await part(2, bytesOf('wrong', size));
    const parts = await Promise.all([3, 1, 2].map((number) => part(number, bodies[number - 1] ?? Buffer.alloc(0))));
    t.same(
      parts.map(({ number, size }) => [number, size]),
      [
        [3, 1000],
        [1, size],
        [2, size],
      ],
    );
    t.equal(await other.head('up/ä +%', context()), undefined, 'nothing is there yet');
    if (!gaps.includes('unfinished')) {
      const [found, ...more] = await other.unfinished('up/', context());
      t.match(found, { key: 'up/ä +%', id });
      const age = Date.now() - (found?.begun ?? 0);
      t.ok(gaps.includes('begun') || Math.abs(age) < 120_000);
      t.same([more.length, (await other.unfinished('none/', context())).length], [0, 0]);
    }
    const ordered = [...parts].sort((a, b) => a.number - b.number);
    const done = await store.completeUpload('up/ä +%', id, ordered, undefined, context());
    t.match(done, { key: 'up/ä +%', size: 2 * size + 1000 });
    const { details, data } = await other.get('up/ä +%', {}, context());
    t.match(details, { etag: done.etag, size: done.size, meta: { mode: '33188' }, contentType: 'text/plain' });
    t.ok(Buffer.concat(data).equals(Buffer.concat(bodies)), 'the part that was sent again counts');
    const across = await other.get('up/ä +%', { range: { offset: size - 3, length: 6 } }, context());
    t.same(Buffer.concat(across.data), Buffer.concat(bodies).subarray(size - 3, size + 3));
    if (!gaps.includes('unfinished')) t.same(await other.unfinished('', context()), []);
    if (gaps.includes('part-checks')) return;
    const again = await failureOf(store.completeUpload('up/ä +%', id, ordered, undefined, context()));
    t.match(again, /^(none|NOT_FOUND)$/, 'completed twice');
    t.equal((await other.head('up/ä +%', context()))?.size, done.size, 'and it is still there');
  });

  await t.test('an upload that is given up leaves nothing, and may be given up again', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    await store.put('kept', text('old'), { meta: {} }, context());
    const id = await store.beginUpload('kept', { meta: {} }, context());
    const part = await store.uploadPart('kept', id, 1, text('new'), context());
    if (gaps.includes('abort')) {
      lacks(t, 'this server does not give uploads up');
      return;
    }
    await store.abortUpload('kept', id, context());
    t.equal(read((await other.get('kept', {}, context())).data), 'old');
    if (!gaps.includes('unfinished')) t.same(await other.unfinished('', context()), []);
    t.equal(await failureOf(store.abortUpload('kept', id, context())), 'none');
    if (gaps.includes('unknown-uploads')) return;
    t.equal(await failureOf(store.completeUpload('kept', id, [part], undefined, context())), 'NOT_FOUND');
    t.equal(await failureOf(store.uploadPart('kept', id, 2, text('x'), context())), 'NOT_FOUND');
  });

  await t.test('a completion that names what is not there is refused, and changes nothing', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    if (gaps.includes('part-checks')) {
      lacks(t, 'this server does not look at the parts that are named');
      return;
    }
    const id = await store.beginUpload('bad', { meta: {} }, context());
    const part = await store.uploadPart('bad', id, 1, text('x'), context());
    const complete = (parts: Part[]) => failureOf(store.completeUpload('bad', id, parts, undefined, context()));
    t.equal(await complete([part, { ...part, number: 2 }]), 'INVALID');
    t.equal(await complete([{ ...part, etag: '0'.repeat(32) }]), 'INVALID');
    t.equal(await complete([]), 'INVALID');
    t.equal(await other.head('bad', context()), undefined);
    t.equal(await complete([part]), 'none');
  });

  await t.test('ranges of objects become parts on the server', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    if (!store.limits.copyPart || gaps.includes('copy-part')) {
      lacks(t, 'this server does not copy ranges into parts');
      return;
    }
    const size = sizeOf(store);
    const source = bytesOf('source', 2 * size + 500);
    const { etag } = await store.put('s/ü + %', [source], { meta: {} }, context());
    const id = await store.beginUpload('target', { meta: {} }, context());
    const copy = (number: number, offset: number, length: number, ifMatch = etag): Promise<Part> =>
      store.copyPart('target', id, number, { key: 's/ü + %', range: { offset, length }, ifMatch }, context());
    const first = await copy(1, 7, size);
    const second = await store.uploadPart('target', id, 2, [bytesOf('between', size)], context());
    const third = await copy(3, 2 * size, 500);
    t.same([first.size, third.size, third.number], [size, 500, 3]);
    if (!gaps.includes('source-conditions')) t.equal(await failureOf(copy(4, 0, size, 'f'.repeat(32))), 'CONFLICT');
    await store.completeUpload('target', id, [first, second, third], undefined, context());
    const { data } = await other.get('target', {}, context());
    const expected = [source.subarray(7, 7 + size), bytesOf('between', size), source.subarray(2 * size)];
    t.ok(Buffer.concat(data).equals(Buffer.concat(expected)));
  });

  await t.test('a completion under a condition loses against who was quicker', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    if (!store.limits.conditionalComplete) {
      lacks(t, 'this server has no conditions at the completion');
      return;
    }
    const upload = async (body: string) => {
      const id = await store.beginUpload('c', { meta: {} }, context());
      return { id, parts: [await store.uploadPart('c', id, 1, text(body), context())] };
    };
    const [one, two] = [await upload('one'), await upload('two')];
    const absent = { ifAbsent: true } as const;
    const made = await store.completeUpload('c', one.id, one.parts, absent, context());
    t.equal(await failureOf(store.completeUpload('c', two.id, two.parts, absent, context())), 'CONFLICT');
    t.equal(read((await other.get('c', {}, context())).data), 'one');
    t.equal(await failureOf(store.abortUpload('c', two.id, context())), 'none');
    const three = await upload('three');
    await store.completeUpload('c', three.id, three.parts, { ifMatch: made.etag }, context());
    t.equal(read((await other.get('c', {}, context())).data), 'three');
    if (gaps.includes('complete-match')) return;
    const four = await upload('four');
    const lost = store.completeUpload('c', four.id, four.parts, { ifMatch: made.etag }, context());
    t.equal(await failureOf(lost), 'CONFLICT');
  });
};
