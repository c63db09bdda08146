import { readdirSync, readSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import { context, Home, MemoryLog, Site, tapped } from './content-site.ts';

const MIB = 1024 * 1024;

/** Every four bytes say where they are. */
const pattern = (size: number): Buffer => {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE((at * 2654435761) >>> 0, at);
  return bytes;
};

const get = async (file: FileContent, offset: number, length: number): Promise<Buffer> =>
  Buffer.concat([...(await file.read(offset, length, context()))]);

/** The ranges that were asked of the store. */
const counted = (site: Site, delayMs = 0): { gets: { offset: number; length: number }[]; store: Site['plain'] } => {
  const gets: { offset: number; length: number }[] = [];
  const slow = tapped(site.plain, async (call, moment) => {
    if (call === 'get' && moment === 'before' && delayMs > 0) await new Promise((done) => setTimeout(done, delayMs));
  });
  const store = new Proxy(slow, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (name !== 'get' || typeof value !== 'function') return value;
      return (key: string, options: { range?: { offset: number; length: number } }, c: unknown) => {
        gets.push(options.range ?? { offset: 0, length: -1 });
        return value.call(target, key, options, c);
      };
    },
  });
  return { gets, store: store as Site['plain'] };
};

t.test('a file that is read in sequence comes in pieces that grow, each byte once', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(40 * MIB + 12);
  const base = await site.put('a', bytes);
  const { gets, store } = counted(site);
  const contents = await site.open(new MemoryLog(), { cache: 0 }, store);
  const file = contents.of(new Home(1, 'a'), base);
  for (let at = 0; at < bytes.length; at += 128 * 1024) {
    const some = await get(file, at, 128 * 1024);
    if (!some.equals(bytes.subarray(at, at + 128 * 1024))) t.fail(`other bytes at ${at}`);
  }
  t.equal(gets[0]?.length, 256 * 1024, 'the first piece is small');
  t.equal(
    gets.reduce((sum, { length }) => sum + length, 0),
    bytes.length,
  );
  t.ok(gets.length < 30, `${gets.length} requests`);
  file.release();
  await contents.close();
});

t.test('a stream whose pieces come in any order, as the kernel reads ahead, fetches each byte once', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(48 * MIB);
  const base = await site.put('a', bytes);
  const { gets, store } = counted(site);
  const contents = await site.open(new MemoryLog(), {}, store);
  const file = contents.of(new Home(1, 'a'), base);
  for (let at = 0; at < bytes.length; at += 8 * MIB) {
    const order = at === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [7, 0, 5, 2, 1, 6, 3, 4];
    for (const n of order) {
      const from = at + n * MIB;
      if (!(await get(file, from, MIB)).equals(bytes.subarray(from, from + MIB))) t.fail(`other bytes at ${from}`);
    }
  }
  t.equal(
    gets.reduce((sum, { length }) => sum + length, 0),
    bytes.length,
  );
  file.release();
  await contents.close();
});

t.test('a read out of the blue costs one request of 128 KiB, and several go at once', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(16 * MIB);
  const base = await site.put('a', bytes);
  const { gets, store } = counted(site, 20);
  const contents = await site.open(new MemoryLog(), { cache: 0 }, store);
  const file = contents.of(new Home(1, 'a'), base);
  const began = performance.now();
  const places = [5, 9, 13, 7, 3, 11].map((at) => at * MIB + 4096);
  const found = await Promise.all(places.map((at) => get(file, at, 4096)));
  t.ok(performance.now() - began < 6 * 20, 'in parallel');
  places.forEach((at, i) => {
    t.ok(found[i]?.equals(bytes.subarray(at, at + 4096)));
  });
  t.same([...new Set(gets.map(({ length }) => length))], [128 * 1024]);
  t.equal(gets.length, places.length);
  await get(file, 5 * MIB + 8192, 4096);
  t.equal(gets.length, places.length, 'its neighbours have come along');
  await contents.close();
});

t.test('a small file comes in one piece, whatever is read of it', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(900_000);
  const base = await site.put('a', bytes);
  const { gets, store } = counted(site);
  const contents = await site.open(new MemoryLog(), {}, store);
  const file = contents.of(new Home(1, 'a'), base);
  t.ok((await get(file, 500_000, 4096)).equals(bytes.subarray(500_000, 504_096)));
  t.ok((await get(file, 0, bytes.length)).equals(bytes));
  t.same(gets, [{ offset: 0, length: 900_000 }]);
  await contents.close();
});

t.test(
  'after repeated misses the whole file is fetched to the disk, and can be given out as a descriptor',
  async (t) => {
    const site = await Site.make();
    t.teardown(() => site.remove());
    const bytes = pattern(12 * MIB);
    const base = await site.put('a', bytes);
    const { gets, store } = counted(site);
    const contents = await site.open(new MemoryLog(), {}, store);
    const file = contents.of(new Home(1, 'a'), base);
    t.equal(file.local(), undefined);
    for (let i = 0; i < 16; i += 1) await get(file, ((i * 7) % 24) * 512 * 1024 + 4096, 4096);
    for (let waited = 0; file.local() === undefined && waited < 500; waited += 1)
      await new Promise((done) => setTimeout(done, 10));
    const fd = file.local();
    const into = Buffer.alloc(bytes.length);
    t.equal(fd === undefined ? 0 : readSync(fd, into, 0, into.length, 0), bytes.length);
    t.ok(into.equals(bytes));
    const before = gets.length;
    for (let i = 0; i < 100; i += 1) {
      const at = (i * 7919 * 1024) % (bytes.length - 4096);
      if (!(await get(file, at, 4096)).equals(bytes.subarray(at, at + 4096))) t.fail(`other bytes at ${at}`);
    }
    t.equal(gets.length, before, 'the store is asked no more');
    file.release();
    t.ok(contents.has(base));
    await contents.close();
    const next = await site.open(new MemoryLog(), {}, store);
    t.ok(next.has(base), 'the next life of the engine has it');
    t.type(next.of(new Home(1, 'a'), base).local(), 'number');
    await next.close();
  },
);

t.test('what is read in sequence is in the cache afterwards, whole, with an end that is no page', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(12 * MIB + 12);
  const base = await site.put('a', bytes);
  const contents = await site.open(new MemoryLog(), {});
  const file = contents.of(new Home(1, 'a'), base);
  for (let at = 0; at < bytes.length; at += MIB) await get(file, at, MIB);
  for (let waited = 0; file.local() === undefined && waited < 500; waited += 1)
    await new Promise((done) => setTimeout(done, 10));
  const fd = file.local();
  const into = Buffer.alloc(bytes.length + 1);
  t.equal(fd === undefined ? 0 : readSync(fd, into, 0, into.length, 0), bytes.length);
  t.ok(into.subarray(0, bytes.length).equals(bytes));
  file.release();
  await contents.close();
});

t.test('a file of the cache that is damaged, or from before the host’s last start, is dropped', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const bytes = pattern(MIB);
  const base = await site.put('a', bytes);
  const first = await site.open(new MemoryLog());
  first.offer(base, [Buffer.from(bytes)]);
  for (let waited = 0; !first.has(base) && waited < 500; waited += 1) await new Promise((done) => setTimeout(done, 5));
  await first.close();
  const other = await site.open(new MemoryLog(), { boot: 'two' });
  t.notOk(other.has(base), 'nobody knows what of it the disk had got');
  const file = other.of(new Home(1, 'a'), base);
  t.ok((await get(file, 0, bytes.length)).equals(bytes));
  const large = pattern(4 * MIB);
  const largeBase = await site.put('b', large);
  const part = other.of(new Home(2, 'b'), largeBase);
  await get(part, 2 * MIB, 4096);
  await new Promise((done) => setTimeout(done, 50));
  await other.close();
  const folder = readdirSync(join(site.folder, 'cache'))[0] ?? '';
  for (const name of readdirSync(join(site.folder, 'cache', folder))) {
    const path = join(site.folder, 'cache', folder, name);
    // A file that is too short, and a map that is not whole.
    if (!name.includes('.')) truncateSync(path, 10);
    else if (name.endsWith('.map')) truncateSync(path, 30);
  }
  const next = await site.open(new MemoryLog(), { boot: 'two' });
  t.notOk(next.has(base));
  const again = next.of(new Home(1, 'a'), base);
  t.ok((await get(again, 0, bytes.length)).equals(bytes));
  const partAgain = next.of(new Home(2, 'b'), largeBase);
  t.ok((await get(partAgain, 2 * MIB, 4096)).equals(large.subarray(2 * MIB, 2 * MIB + 4096)));
  await next.close();
});

t.test('of a file that others have changed nothing is mixed: ESTALE, or all of the new one', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const old = pattern(6 * MIB);
  const base = await site.put('a', old);
  const contents = await site.open(new MemoryLog(), { cache: 0 });
  const readHalf = new Home(1, 'a');
  const half = contents.of(readHalf, base);
  await get(half, 0, 4096);
  const unread = new Home(2, 'a');
  const whole = contents.of(unread, base);
  const theirs = Buffer.alloc(5 * MIB, 7);
  await site.put('a', theirs);
  await t.rejects(get(half, 5 * MIB, 4096), { code: 'ESTALE' });
  t.equal(readHalf.changes[0]?.rebased, false);
  t.ok((await get(whole, 0, 4096)).equals(theirs.subarray(0, 4096)), 'nothing was read yet: it goes over');
  t.equal(unread.changes[0]?.rebased, true);
  t.equal(whole.size, theirs.length);
  await contents.close();
});

t.test('many files that are read at once share the memory', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const contents = await site.open(new MemoryLog(), { cache: 0, memory: 4 * MIB });
  const bytes = pattern(3 * MIB);
  const base = await site.put('a', bytes);
  const small = await site.put('b', bytes.subarray(0, 700_000));
  const files = Array.from({ length: 24 }, (_, i) => contents.of(new Home(i, 'a'), i % 2 === 0 ? base : small));
  const readAll = async (file: FileContent): Promise<void> => {
    for (let at = 0; at < file.size; at += 64 * 1024) {
      const some = await get(file, at, 64 * 1024);
      if (!some.equals(bytes.subarray(at, Math.min(file.size, at + 64 * 1024)))) t.fail(`other bytes at ${at}`);
    }
  };
  await Promise.all(files.map(readAll));
  t.ok(Number(contents.status()['memory bytes']) <= 8 * MIB);
  for (const file of files) file.release();
  await new Promise((done) => setTimeout(done, 20));
  t.equal(contents.status()['memory bytes'], 0, 'all of it is given back');
  await contents.close();
});
