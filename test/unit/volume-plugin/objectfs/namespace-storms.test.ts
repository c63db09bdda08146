// Many lookups at once, and many files that are made one after another: how often the store is asked.
import t, { type Test } from 'tap';
import type { ObjectFacts } from '../../../../volume-plugin/object/store.ts';
import { bound } from './namespace-mortal.ts';
import { PREFIX, refused, World } from './namespace-world.ts';

t.setTimeout(120_000);

/** Time stands still in it. */
const world = async (t: Test): Promise<World> => {
  const made = await World.of(t);
  made.stopped = performance.now();
  return made;
};

const asked = (calls: ReadonlyMap<string, number>): number => (calls.get('head') ?? 0) + (calls.get('list') ?? 0);

t.test(
  'of 300 files that are made one after another all but the first few ask the store for nothing but their upload',
  async (t) => {
    const w = await world(t);
    const puts: string[] = [];
    w.wrap((store) => {
      const inner = bound(store);
      return {
        ...inner,
        put: (key, ...asked) => {
          // Notes of them are gathered for half a second of the machine's own clock.
          if (!key.startsWith(`${PREFIX}.drayage/`)) puts.push(key);
          return inner.put(key, ...asked);
        },
      };
    });
    const a = await w.host();
    await a.mkdir('d');
    const d = await a.node('d');
    for (let n = 0; n < 300; n += 1) {
      t.equal(await refused(() => a.fs.lookup(d, `f${n}`, a.caller())), 'ENOENT');
      const made = await a.fs.create(d, `f${n}`, 0o644, 0o102, a.caller());
      await a.close({ node: made.attributes.node, handle: made.handle });
    }
    t.equal((await w.names()).length, 301);
    t.equal(puts.length, 301);
    t.ok(asked(a.calls) < 40, `asked ${asked(a.calls)} times`);
  },
);

t.test('while files are made a file of another host is found, at the latest after a second', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a'), await w.host('b')];
  await a.mkdir('d');
  for (let n = 0; n < 10; n += 1) await a.close(await a.create(`d/f${n}`));
  await b.write('d/theirs', 'x');
  w.later(1_001);
  t.equal(await a.read('d/theirs'), 'x');
  t.equal(await refused(() => a.create('d/theirs', 0o644, 0o200)), 'EEXIST');
});

t.test(
  'a file that two hosts make at once is the one’s that closes first; the other is told, and loses nothing',
  async (t) => {
    const w = await world(t);
    const [a, b] = [await w.host('a', { real: true }), await w.host('b', { real: true })];
    const [mine, theirs] = [await a.create('f'), await b.create('f')];
    await a.writeOpen(mine, 'mine');
    await b.writeOpen(theirs, 'theirs');
    await b.close(theirs);
    t.equal(await refused(() => a.fs.flush(mine.node, mine.handle, a.caller())), 'ESTALE');
    await a.fs.release(mine.node, mine.handle, a.caller());
    t.equal(await a.read('f'), 'theirs');
    const kept = (await w.names()).find((name) => name.startsWith('f.conflict-')) ?? '';
    t.equal(await w.text(kept), 'mine');
  },
);

t.test('with consistency=strict O_EXCL gives a name to one host only', async (t) => {
  const w = await world(t);
  const strict = { semantics: { consistency: 'strict' as const } };
  const [a, b] = [await w.host('a', strict), await w.host('b', strict)];
  await a.create('lock', 0o600, 0o200);
  t.equal((await w.store.head(`${PREFIX}lock`, w.context))?.meta['mode'], String(0o100600));
  t.equal(await refused(() => b.create('lock', 0o600, 0o200)), 'EEXIST');
});

t.test('many lookups in a folder are answered from a listing of it', async (t) => {
  const w = await world(t);
  const names = Array.from({ length: 200 }, (_, n) => `f${n}`);
  await Promise.all(names.map((name) => w.put(`d/${name}`, 'x'.repeat(2_000))));
  const a = await w.host();
  const d = await a.node('d');
  for (const name of names) t.equal((await a.fs.lookup(d, name, a.caller())).attributes.size, 2_000);
  t.ok(asked(a.calls) < 60, `asked ${asked(a.calls)} times`);
  w.later(1_001);
  a.calls.clear();
  for (const name of names) await a.fs.lookup(d, name, a.caller());
  t.ok(asked(a.calls) < 60, `and ${asked(a.calls)} when all is to be looked at again`);
});

t.test(
  'a folder that is too long to be listed for it is looked up with a request for each thousand names',
  async (t) => {
    const w = await world(t);
    const count = 25_000;
    const keyOf = (n: number): string => `${PREFIX}d/f${String(n).padStart(6, '0')}`;
    const factsOf = (n: number): ObjectFacts => ({ key: keyOf(n), size: 2_000, etag: `e${n}`, modified: 1_000 });
    const numberIn = (key: string): number => Number(key.slice(-6));
    w.wrap((store) => ({
      ...bound(store),
      head: async (key) => (key.startsWith(`${PREFIX}d/f`) ? { ...factsOf(numberIn(key)), meta: {} } : undefined),
      list: async (prefix, { after, from, limit = 1_000 }) => {
        if (prefix !== `${PREFIX}d/`) return { objects: [], prefixes: [] };
        const start = from ?? after;
        const at = start === undefined ? 0 : numberIn(start) + 1;
        const objects = Array.from({ length: Math.max(0, Math.min(limit, count - at)) }, (_, n) => factsOf(at + n));
        return { objects, prefixes: [], ...(at + limit < count && { next: keyOf(at + limit - 1) }) };
      },
    }));
    const a = await w.host();
    const d = await a.node('d');
    for (let n = 0; n < 200; n += 1) await a.fs.lookup(d, `f${String(n).padStart(6, '0')}`, a.caller());
    a.calls.clear();
    for (let n = 200; n < 5_200; n += 1) {
      const { attributes } = await a.fs.lookup(d, `f${String(n).padStart(6, '0')}`, a.caller());
      if (attributes.size !== 2_000) t.fail(`${n} has ${attributes.size} bytes`);
    }
    t.ok(asked(a.calls) < 200, `asked ${asked(a.calls)} times for 5,000 names`);
    t.equal((await a.list('d', false, 700)).length, count, 'and it is listed whole');
  },
);

/** A store each of whose answers takes so many milliseconds of the hosts' clock, however many are under way: they come in order. */
const slow = (w: World, ms: number): void =>
  w.wrap((store) => {
    let last: Promise<unknown> = Promise.resolve();
    const late = async <T>(work: Promise<T>): Promise<T> => {
      const due = w.ahead + ms;
      last = Promise.allSettled([last, work]);
      await last;
      w.ahead = Math.max(w.ahead, due);
      return work;
    };
    const inner = bound(store);
    return {
      ...inner,
      get: (...asked) => late(inner.get(...asked)),
      head: (...asked) => late(inner.head(...asked)),
      list: (...asked) => late(inner.list(...asked)),
    };
  });

for (const [latency, bytes, mode] of [
  [15, 1_000, 0],
  [120, 1_000, 0],
  [15, 5_000, 0o100600],
] as const) {
  t.test(
    `stat of 400 files of ${bytes} bytes${mode === 0 ? '' : ' that all have attributes'}, one after another, is not one request in ${latency} ms for each`,
    async (t) => {
      const w = await world(t);
      slow(w, latency);
      const names = Array.from({ length: 400 }, (_, n) => `f${String(n).padStart(3, '0')}`);
      const meta: Record<string, string> = mode === 0 ? {} : { mode: String(mode) };
      await Promise.all(names.map((name) => w.put(`d/${name}`, 'x'.repeat(bytes), meta)));
      const a = await w.host();
      const d = await a.node('d');
      const nodes: number[] = [];
      const pass = async (): Promise<number> => {
        w.later(1_001);
        a.calls.clear();
        nodes.length = 0;
        const begun = w.ahead;
        for (const name of names) {
          const { attributes } = await a.fs.lookup(d, name, a.caller());
          if (attributes.size !== bytes || (mode !== 0 && attributes.mode !== mode)) t.fail(`${name} is another`);
          nodes.push(attributes.node);
        }
        return w.ahead - begun;
      };
      await a.entries('d');
      const first = await pass();
      t.ok(first < 30 * latency, `the first time it takes ${first / latency} answers' time`);
      t.ok(asked(a.calls) < 460, `and no name is asked for twice: ${asked(a.calls)}`);
      await pass();
      t.ok(asked(a.calls) < 20, `then the store is asked ${asked(a.calls)} times`);
      w.later(1_001);
      a.calls.clear();
      for (const node of nodes) await a.fs.getattr(node, undefined, a.caller());
      t.ok(asked(a.calls) < 20, `and ${asked(a.calls)} times when the kernel asks for attributes alone`);
    },
  );
}

t.test(
  'a link of others among many small files, and a folder that a file has the name of, are what they are',
  async (t) => {
    const w = await world(t);
    slow(w, 15);
    const names = Array.from({ length: 100 }, (_, n) => `f${String(n).padStart(3, '0')}`);
    await Promise.all(
      names.map((name) => w.put(`d/${name}`, 'f000', name === 'f050' ? { mode: String(0o120777) } : {})),
    );
    await w.put('d/f060/in', 'x');
    const a = await w.host();
    const d = await a.node('d');
    await a.entries('d');
    for (let n = 0; n < 3; n += 1) {
      w.later(1_001);
      for (const name of names) {
        const { mode } = (await a.fs.lookup(d, name, a.caller())).attributes;
        t.equal(mode, name === 'f050' ? 0o120777 : name === 'f060' ? 0o40755 : 0o100644, name);
      }
    }
  },
);

t.test('where objects turn out to have attributes that no listing tells, each is asked', async (t) => {
  const w = await world(t);
  const names = Array.from({ length: 50 }, (_, n) => `f${n}`);
  await Promise.all(names.map((name) => w.put(`d/${name}`, 'x'.repeat(2_000), { mode: '33261' })));
  const a = await w.host();
  const listed = await a.entries('d');
  t.equal(listed[0]?.entry?.attributes.mode, 0o100644, 'a listing alone cannot tell');
  w.later(1_001);
  for (const name of names) t.equal((await a.stat(`d/${name}`)).mode, 0o100755);
  w.later(1_001);
  t.ok((await a.entries('d')).every(({ entry }) => entry?.attributes.mode !== 0o100644));
});

t.test('with consistency=relaxed what a listing did not have is not there, without asking', async (t) => {
  const w = await world(t);
  const a = await w.host('a', { semantics: { consistency: 'relaxed' } });
  await a.mkdir('d');
  await a.write('d/f', 'x');
  await a.list('d');
  const before = asked(a.calls);
  for (const name of ['a', 'b', 'c', 'lib.so']) t.equal(await a.exists(`d/${name}`), false);
  t.equal(asked(a.calls), before);
  await w.put('d/theirs', 'x');
  t.equal(await a.exists('d/theirs'), false);
  w.later(60_001);
  t.equal(await a.exists('d/theirs'), true, 'a minute later it is');
});

t.test('a file that others have removed or replaced is noticed when it is opened', async (t) => {
  const w = await world(t);
  const a = await w.host();
  await w.put('f', 'one');
  t.equal(await a.read('f'), 'one');
  const node = await a.node('f');
  await w.put('f', 'two');
  const opened = await a.fs.open(node, 0, a.caller());
  t.equal(opened.keepCache, false, 'the kernel’s pages are dropped');
  t.equal(await a.readOpen({ node, handle: opened.handle }), 'two');
  const again = await a.fs.open(node, 0, a.caller());
  t.equal(again.keepCache, true, 'and kept when nothing has changed');
  await w.store.remove(`${PREFIX}f`, w.context);
  t.equal(await refused(() => a.fs.open(node, 0, a.caller())), 'ESTALE', 'upon which the kernel looks it up again');
  t.equal(await a.exists('f'), false);
});

t.test('a volume that is read-only refuses every change', async (t) => {
  const w = await world(t);
  await w.put('d/f', 'x');
  const a = await w.host('a', { semantics: { readonly: true } });
  const node = await a.node('d/f');
  t.equal(await a.read('d/f'), 'x');
  for (const change of [
    () => a.mkdir('e'),
    () => a.create('g'),
    () => a.unlink('d/f'),
    () => a.rmdir('d'),
    () => a.rename('d/f', 'g'),
    () => a.symlink('l', 'x'),
    () => a.open('d/f', 2),
    () => a.fs.setattr(node, { mode: 0o600 }, a.caller()),
    () => a.fs.setxattr(node, 'user.a', Buffer.from('x'), 0, a.caller()),
  ]) {
    t.equal(await refused(change), 'EROFS');
  }
  t.equal(a.count('put') + a.count('copy') + a.count('remove'), 0);
});
