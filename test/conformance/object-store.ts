import { createHash } from 'node:crypto';
import type { Test } from 'tap';
import { cancellable } from '../../shared/context.ts';
import { storeListingConformance } from './object-store-listing.ts';
import { bytesOf, context, failureOf, lacks, type MakeStores, read, text } from './object-store-tools.ts';
import { storeUploadConformance } from './object-store-uploads.ts';

export type { Gap, MakeStores, StoreWorld } from './object-store-tools.ts';

const md5 = (body: string): string => createHash('md5').update(body).digest('hex');
const SLASHES = ['a', 'a/b', 'a//b', '/a', 'a/', './a', '../a', 'a/../b'];
const ODD = [
  'with space',
  'a+b',
  'a%2Fb',
  '100%',
  'a&b=c?d#e',
  "it's",
  '"q"',
  'a\\b',
  '*!()',
  'ä/ö',
  '日本語',
  '🙂',
  '~',
  'a:b;c,d',
  '<&>',
];

/** What every object store must do. `make` answers stores of a bucket that is empty, and gone when the test ends. */
export const objectStoreConformance = async (t: Test, make: MakeStores): Promise<void> => {
  await t.test('what is put comes back: bytes, metadata, type, time and ETag', async (t) => {
    const { store, other } = await make(t);
    const meta = {
      mode: '33188',
      mtime: '1700000000.123456789',
      xattr: '%7B%22user.a%22%3A%22Yg==%22%7D',
      note: 'a, b; c="d"',
      'with-dash': 'x',
    };
    const put = await store.put(
      'f/data.bin',
      text('hello ', '', 'world'),
      { meta, contentType: 'text/x-try; charset=utf-8' },
      context(),
    );
    t.match(put, { key: 'f/data.bin', size: 11 });
    t.ok(Math.abs(put.modified - Date.now()) < 120_000, 'its age is known');
    const head = await other.head('f/data.bin', context());
    t.match(head, { key: 'f/data.bin', size: 11, etag: put.etag, meta, contentType: 'text/x-try; charset=utf-8' });
    t.same(head?.meta, meta, 'and no other metadata');
    const got = await other.get('f/data.bin', {}, context());
    t.same(got.details, head);
    t.equal(read(got.data), 'hello world');
    const [there] = (await other.list('f/', {}, context())).objects;
    t.match(there, { key: 'f/data.bin', size: 11, etag: put.etag });
    t.ok(Math.abs((there?.modified ?? 0) - put.modified) < 120_000);
    await store.put('f/data.bin', text('new'), { meta: {} }, context());
    t.same((await other.get('f/data.bin', {}, context())).details.meta, {}, 'nothing is left of what was replaced');
    t.not((await other.head('f/data.bin', context()))?.etag, put.etag);
  });

  await t.test('an empty object is one, and a large one comes back whole', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    const empty = await store.put('empty', [], { meta: { a: '1' } }, context());
    t.match(await other.head('empty', context()), { size: 0, etag: empty.etag, meta: { a: '1' } });
    t.same(read((await other.get('empty', {}, context())).data), '');
    if (!gaps.includes('ranges')) {
      t.same((await other.get('empty', { range: { offset: 0, length: 10 } }, context())).data, []);
    }
    const large = bytesOf('large', 3 * 2 ** 20 + 17);
    await store.put(
      'large',
      [large.subarray(0, 1), large.subarray(1, 1_000_000), large.subarray(1_000_000)],
      { meta: {} },
      context(),
    );
    t.ok(Buffer.concat((await other.get('large', {}, context())).data).equals(large));
  });

  await t.test('ranges, also beyond the end, and into memory of the caller', async (t) => {
    const { store, gaps = [] } = await make(t);
    const { etag } = await store.put('r', text('0123456789'), { meta: { m: 'x' } }, context());
    const range = async (offset: number, length: number) => store.get('r', { range: { offset, length } }, context());
    for (const [offset, length, expected] of [
      [0, 1, '0'],
      [3, 4, '3456'],
      [8, 100, '89'],
      [9, 1, '9'],
      [0, 10, '0123456789'],
      [10, 5, ''],
      [4000, 5, ''],
      [3, 0, ''],
    ] as const) {
      if (gaps.includes('ranges') && (offset + length > 10 || offset + length === 1)) continue;
      const got = await range(offset, length);
      t.equal(read(got.data), expected, `${offset}+${length}`);
      t.match(got.details, { key: 'r', size: 10, etag, meta: { m: 'x' } }, 'the whole object is described');
    }
    const into = Buffer.alloc(8, '.');
    const behind = gaps.includes('ranges') ? 4 : 8;
    const got = await store.get('r', { range: { offset: 6, length: behind }, into }, context());
    t.equal(read(got.data), '6789');
    if (got.data[0]?.buffer === into.buffer) t.equal(into.toString(), '6789....', 'nothing is written behind it');
    t.equal(await failureOf(store.get('none', { range: { offset: 0, length: 1 } }, context())), 'NOT_FOUND');
  });

  await t.test('a read of one version fails when there is another', async (t) => {
    const { store, other } = await make(t);
    const { etag } = await store.put('v', text('one'), { meta: {} }, context());
    t.equal(read((await store.get('v', { ifMatch: etag }, context())).data), 'one');
    await other.put('v', text('two'), { meta: {} }, context());
    t.equal(await failureOf(store.get('v', { ifMatch: etag }, context())), 'CONFLICT');
    t.equal(await failureOf(store.get('v', { ifMatch: etag, range: { offset: 1, length: 1 } }, context())), 'CONFLICT');
    await other.remove('v', context());
    t.equal(await failureOf(store.get('v', { ifMatch: etag }, context())), 'NOT_FOUND');
  });

  await t.test('what is not there is said to be missing, and may be removed', async (t) => {
    const { store } = await make(t);
    t.equal(await failureOf(store.get('none', {}, context())), 'NOT_FOUND');
    t.equal(await store.head('none', context()), undefined);
    t.equal(await failureOf(store.copy('none', 'b', {}, context())), 'NOT_FOUND');
    t.equal(await failureOf(store.remove('none', context())), 'none');
    await store.put('a', text('x'), { meta: {} }, context());
    await store.remove('a', context());
    t.equal(await store.head('a', context()), undefined);
    t.same((await store.list('', {}, context())).objects, []);
  });

  await t.test('readers see the old object or the new one, never a mixture', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    if (gaps.includes('whole')) {
      lacks(t, 'this server mixes them');
      return;
    }
    const versions = ['a', 'b'].map((seed) => bytesOf(seed, 300_000));
    const put = (n: number) => store.put('whole', versions.slice(n, n + 1), { meta: { n: String(n) } }, context());
    await put(0);
    let wrong = 0;
    const reader = async (): Promise<void> => {
      for (let i = 0; i < 10; i += 1) {
        const { details, data } = await other.get('whole', {}, context());
        const expected = versions[Number(details.meta['n'])];
        if (expected === undefined || !Buffer.concat(data).equals(expected)) wrong += 1;
      }
    };
    const writer = async (): Promise<void> => {
      for (let i = 0; i < 10; i += 1) await put(i % 2);
    };
    await Promise.all([writer(), reader(), reader()]);
    t.equal(wrong, 0);
  });

  await t.test('of twenty that make an object one succeeds; of twenty that replace it, one', async (t) => {
    const { store, other } = await make(t);
    if (!store.limits.conditionalPut) {
      lacks(t, 'this server has no conditional writes');
      return;
    }
    const race = async (condition: { ifAbsent: true } | { ifMatch: string }) => {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const host = i % 2 === 0 ? store : other;
          return failureOf(
            host.put('race', text(`${Object.keys(condition)} writer ${i}`), { meta: {}, condition }, context()),
          );
        }),
      );
      const winners = outcomes.flatMap((outcome, i) => (outcome === 'none' ? [i] : []));
      t.equal(winners.length, 1, 'one has won');
      t.ok(
        outcomes.every((outcome) => outcome === 'none' || outcome === 'CONFLICT'),
        'the others know that they have not',
      );
      const { data, details } = await other.get('race', {}, context());
      t.equal(read(data), `${Object.keys(condition)} writer ${winners[0]}`);
      return details.etag;
    };
    const etag = await race({ ifAbsent: true });
    t.equal(etag.length > 0, true);
    await race({ ifMatch: etag });
    t.equal(
      await failureOf(store.put('gone', text('x'), { meta: {}, condition: { ifMatch: etag } }, context())),
      'CONFLICT',
    );
    t.equal(await store.head('gone', context()), undefined);
  });

  await t.test('copies keep what describes the object, or take what is given instead', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    const from = gaps.includes('copy-keys') ? 'from/plain' : 'from/ä b+c%';
    const source = await store.put(
      from,
      text('content'),
      { meta: { mode: '33188', k: 'v' }, contentType: 'text/plain' },
      context(),
    );
    const kept = await store.copy(from, 'to/kept', {}, context());
    t.match(kept, { key: 'to/kept', size: 7 });
    const { data, details } = await other.get('to/kept', {}, context());
    t.equal(read(data), 'content');
    t.match(details, { etag: kept.etag, meta: { mode: '33188', k: 'v' }, contentType: 'text/plain' });
    const replace = { meta: { mode: '33261' }, contentType: 'image/png' };
    await store.copy(from, 'to/replaced', { replace }, context());
    t.match(await other.head('to/replaced', context()), { ...replace, size: 7 });
    t.same((await other.head('to/replaced', context()))?.meta, replace.meta);
    await store.copy(from, from, { replace: { meta: { touched: '1' } } }, context());
    t.same((await other.head(from, context()))?.meta, { touched: '1' }, 'also onto itself');
    if (!gaps.includes('source-conditions')) {
      await store.put(from, text('other'), { meta: {} }, context());
      t.equal(await failureOf(store.copy(from, 'to/kept', { ifSourceMatch: source.etag }, context())), 'CONFLICT');
      t.equal(read((await other.get('to/kept', {}, context())).data), 'content', 'nothing was changed');
    }
    if (!store.limits.conditionalCopy || gaps.includes('source-conditions')) return;
    const absent = { condition: { ifAbsent: true } } as const;
    t.equal(await failureOf(store.copy(from, 'to/kept', absent, context())), 'CONFLICT');
    t.equal(await failureOf(store.copy(from, 'to/new', absent, context())), 'none');
    t.equal(await failureOf(store.copy(from, 'to/new', { condition: { ifMatch: 'ffff' } }, context())), 'CONFLICT');
  });

  await t.test('what others have said for browsers is told, and can be handed on', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    if (gaps.includes('web')) {
      lacks(t, 'this server does not keep headers of the web');
      return;
    }
    const web = {
      'cache-control': 'max-age=60',
      'content-disposition': 'attachment; filename="a b"',
      'content-encoding': 'x-try',
    };
    await store.put('web', text('x'), { meta: {}, contentType: 'text/css', web }, context());
    t.same((await other.head('web', context()))?.web, web);
    t.same((await other.get('web', {}, context())).details.web, web);
    await store.copy('web', 'kept', {}, context());
    t.same((await other.head('kept', context()))?.web, web);
    await store.copy('web', 'replaced', { replace: { meta: {}, web: { 'cache-control': 'no-cache' } } }, context());
    t.same((await other.head('replaced', context()))?.web, { 'cache-control': 'no-cache' });
    await store.put('bare', text('x'), { meta: {} }, context());
    t.equal((await other.head('bare', context()))?.web, undefined);
  });

  await t.test('keys of all kinds are different objects', async (t) => {
    const { store, other, gaps = [] } = await make(t);
    const slashes = SLASHES.filter((key) => !gaps.includes('leading-slash') || !key.startsWith('/'));
    const keys = [...ODD, ...(gaps.includes('slashes') ? [] : slashes)];
    if (!gaps.includes('long-keys')) keys.push('k'.repeat(1024), `${'ü'.repeat(300)}/${'z'.repeat(200)}`);
    for (const key of keys) await store.put(key, text(`this is ${key}`), { meta: {} }, context());
    for (const key of keys) {
      t.equal(read((await other.get(key, {}, context())).data), `this is ${key}`, key.slice(0, 40));
      t.same(
        (await other.list(key, { limit: 1 }, context())).objects.map(({ key }) => key),
        [key],
      );
    }
    const all = (await other.list('', {}, context())).objects.map(({ key }) => key);
    t.same([...all].sort(), [...keys].sort());
    t.same(await other.removeAll(keys, context()), []);
    t.same((await store.list('', {}, context())).objects, []);
    for (const bad of ['', 'k'.repeat(1025), 'ü'.repeat(513), '\ud800']) {
      t.equal(await failureOf(store.put(bad, text('x'), { meta: {} }, context())), 'INVALID');
    }
  });

  await t.test('metadata that a header cannot carry are refused', async (t) => {
    const { store } = await make(t);
    const put = (meta: Record<string, string>) => failureOf(store.put('m', text('x'), { meta }, context()));
    for (const meta of [{ k: 'ü' }, { k: ' x' }, { k: 'a\r\nb: c' }, { 'k k': '' }, { K: 'x' }])
      t.equal(await put(meta), 'INVALID');
    t.equal(await put({ k: 'x'.repeat(store.limits.metaMax) }), 'INVALID');
    t.equal(await store.head('m', context()), undefined);
    t.equal(await put({ k: 'x'.repeat(store.limits.metaMax - 1) }), 'none');
  });

  await t.test('a bucket that is not there is named as the reason', async (t) => {
    const { missing } = await make(t);
    const source = { key: 'a', range: { offset: 0, length: 1 }, ifMatch: md5('') };
    const calls: Record<string, () => Promise<unknown>> = {
      check: () => missing.check(context()),
      get: () => missing.get('a', {}, context()),
      put: () => missing.put('a', text('x'), { meta: {} }, context()),
      copy: () => missing.copy('a', 'b', {}, context()),
      remove: () => missing.remove('a', context()),
      removeAll: () => missing.removeAll(['a', 'b'], context()),
      list: () => missing.list('', {}, context()),
      beginUpload: () => missing.beginUpload('a', { meta: {} }, context()),
      unfinished: () => missing.unfinished('', context()),
      removeBucket: () => missing.removeBucket(context()),
      ...(missing.limits.copyPart && { copyPart: () => missing.copyPart('b', '0'.repeat(24), 1, source, context()) }),
    };
    for (const [name, call] of Object.entries(calls)) t.equal(await failureOf(call()), 'NO_BUCKET', name);
  });

  await t.test('a bucket is made once or twice, and removed when it is empty', async (t) => {
    const { missing: store, gaps = [] } = await make(t);
    await store.createBucket(context());
    t.equal(await failureOf(store.createBucket(context())), 'none', 'it is ours already');
    t.equal(await failureOf(store.check(context())), 'none');
    await store.put('a/b', text('x'), { meta: {} }, context());
    if (gaps.includes('delete-bucket')) return;
    t.equal(await failureOf(store.removeBucket(context())), 'INVALID');
    t.ok(await store.head('a/b', context()), 'nothing was lost');
    await store.remove('a/b', context());
    t.equal(await failureOf(store.removeBucket(context())), 'none');
    t.equal(await failureOf(store.check(context())), 'NO_BUCKET');
  });

  await t.test('a call whose context has ended does nothing', async (t) => {
    const { store, other } = await make(t);
    const { context: ended, cancel } = cancellable(context());
    cancel(new Error('enough'));
    t.equal(await failureOf(store.put('late', text('x'), { meta: {} }, ended)), 'DEADLINE');
    t.equal(await failureOf(store.get('late', {}, ended)), 'DEADLINE');
    t.equal(await failureOf(store.list('', {}, ended)), 'DEADLINE');
    t.equal(await other.head('late', context()), undefined);
  });

  await storeListingConformance(t, make);
  await storeUploadConformance(t, make);
};
