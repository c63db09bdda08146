import type { Test } from 'tap';
import type { ObjectStore } from '../../volume-plugin/object/store.ts';
import { context, lacks, listed, type MakeStores, text } from './object-store-tools.ts';

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const fill = async (store: ObjectStore, keys: readonly string[]): Promise<void> => {
  const queue = [...keys];
  const work = async (): Promise<void> => {
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      await store.put(key, text('x'), { meta: {} }, context());
    }
  };
  await Promise.all(Array.from({ length: 32 }, work));
};

/** What listings of every store must be. */
export const storeListingConformance = async (t: Test, make: MakeStores): Promise<void> => {
  await t.test('a listing is in the order of bytes, whatever the characters', async (t) => {
    const { store, gaps = [] } = await make(t);
    if (gaps.includes('byte-order')) {
      lacks(t, 'this server has an order of its own');
      return;
    }
    const keys = [
      'a',
      'a-',
      'a/',
      'a/b',
      'a/b/c',
      'a0',
      'aa',
      'B',
      'b',
      'é',
      'z',
      '～',
      '🙂',
      'Z/1',
      'a b',
      'a!',
      'a//x',
      'a/~',
    ];
    await fill(store, gaps.includes('slashes') ? keys.filter((key) => !/\/$|\/\/|^a$|^a\/b$/.test(key)) : keys);
    const expected = (gaps.includes('slashes') ? keys.filter((key) => !/\/$|\/\/|^a$|^a\/b$/.test(key)) : keys).sort(
      byBytes,
    );
    t.same((await listed(t, store, '')).keys, expected);
    for (const limit of [1, 2, 5]) t.same((await listed(t, store, '', { limit })).keys, expected, `${limit} a page`);
    for (const after of ['a', 'a-', 'a.', 'a/b', 'a0', 'z', '🙂', '🙃']) {
      const behind = expected.filter((key) => byBytes(key, after) > 0);
      t.same((await listed(t, store, '', { after })).keys, behind, `behind ${after}`);
    }
  });

  await t.test('a folder is listed without what is below its folders', async (t) => {
    const { store, gaps = [] } = await make(t);
    if (gaps.includes('folders')) {
      lacks(t, 'this server leaves some out');
      return;
    }
    const keys = [
      'top',
      'd/1',
      'd/2',
      'd/e/1',
      'd/e/2',
      'd/e/f/1',
      'd-x/1',
      'd0',
      'other/deep/er/1',
      'd/z',
      'd/é/x',
      'd/a b/+',
    ];
    if (!gaps.includes('slashes')) keys.push('d/', 'd/marked/');
    await fill(store, keys);
    const folder = async (prefix: string, limit?: number) => {
      const { keys, prefixes } = await listed(t, store, prefix, {
        delimiter: '/',
        ...(limit !== undefined && { limit }),
      });
      return { keys, prefixes };
    };
    const expectedOf = (prefix: string) => {
      const found = keys.filter((key) => key.startsWith(prefix)).sort(byBytes);
      const cut = (key: string): number => key.indexOf('/', prefix.length) + 1;
      return {
        keys: found.filter((key) => cut(key) === 0),
        prefixes: [...new Set(found.filter((key) => cut(key) > 0).map((key) => key.slice(0, cut(key))))],
      };
    };
    for (const prefix of ['', 'd', 'd/', 'd/e', 'd/e/', 'd/e/f/', 'other/', 'other/deep', 'none/', 'd/é/', 'd/a b/']) {
      const expected = expectedOf(prefix);
      t.same(await folder(prefix), expected, `all of ${JSON.stringify(prefix)}`);
      for (const limit of [1, 2, 3]) t.same(await folder(prefix, limit), expected, `${limit} a page`);
    }
  });

  await t.test('more than a page of keys, and as many and more removed in one call', async (t) => {
    const { store, other, isSlow = false } = await make(t);
    const [page, more, none] = isSlow ? [50, 10, 20] : [1000, 50, 1450];
    const keys = Array.from({ length: page + more }, (_, i) => `many/${String(i).padStart(5, '0')}`);
    await fill(store, keys);
    const all = await listed(t, other, 'many/', isSlow ? { limit: page } : {});
    t.same(all.keys, keys);
    t.equal(all.pages, 2);
    t.same((await listed(t, other, '', { delimiter: '/' })).prefixes, ['many/']);
    t.equal((await listed(t, other, 'many/', { after: keys[page - 1] ?? '' })).keys.length, more);
    await fill(store, ['stays']);
    const missing = Array.from({ length: none }, (_, i) => `none/${i}`);
    const half = none / 2;
    t.same(await store.removeAll([...missing.slice(0, half), ...keys, ...missing.slice(half)], context()), []);
    t.same((await listed(t, other, '')).keys, ['stays']);
    t.same(await store.removeAll([], context()), []);
  });
};
