import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import type { FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import type { ContentOptions } from '../../../../volume-plugin/objectfs/content-set.ts';
import { baseOf, context, Home, MemoryLog, Site, tapped, unreachable } from './content-site.ts';

const OPTIONS: ContentOptions = { sizes: { part: 1000, putMost: 2000, copyMost: 4000 }, retryMs: 0, cache: 0 };

const all = async (content: FileContent): Promise<Buffer> =>
  Buffer.concat([...(await content.read(0, content.size, context()))]);

const random = (length: number, seed: number): Buffer => {
  const bytes = Buffer.alloc(length);
  for (let i = 0, state = seed; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
};

const until = async (is: () => boolean): Promise<void> => {
  for (let waited = 0; !is() && waited < 1000; waited += 1) await new Promise((done) => setTimeout(done, 2));
};

/** Calls by name, with the bytes that they carried. */
const recording = (store: ObjectStore): { calls: { name: string; bytes: number }[]; store: ObjectStore } => {
  const calls: { name: string; bytes: number }[] = [];
  const recorded = new Proxy(store, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function' || typeof name !== 'string') return value;
      return (...values: unknown[]): unknown => {
        const body = values.find((one): one is Buffer[] => Array.isArray(one) && one[0] instanceof Buffer);
        calls.push({ name, bytes: body?.reduce((sum, { length }) => sum + length, 0) ?? 0 });
        return value.apply(target, values);
      };
    },
  });
  return { calls, store: recorded };
};

const siteOf = async (t: Test): Promise<Site> => {
  const site = await Site.make({ partMin: 100 });
  t.teardown(() => site.remove());
  return site;
};

t.test('a change in a large object uploads what was changed, and has the rest copied by the store', async (t) => {
  const site = await siteOf(t);
  const old = random(10_000, 1);
  const base = await site.put('a', old);
  const { calls, store } = recording(site.plain);
  const contents = await site.open(new MemoryLog(), OPTIONS, store);
  const file = contents.of(new Home(1, 'a'), base);
  file.write(5_000, Buffer.from('changed'), context());
  file.write(10_000, Buffer.from('and more'), context());
  await file.flush(context());
  const wanted = Buffer.concat([old, Buffer.from('and more')]);
  wanted.write('changed', 5_000);
  t.ok((await site.bytes('a'))?.equals(wanted));
  const uploaded = calls.filter(({ name }) => name === 'uploadPart' || name === 'put');
  t.ok(
    uploaded.reduce((sum, { bytes }) => sum + bytes, 0) <= 200,
    'no more than the least that a part may have, and the end',
  );
  t.ok(calls.filter(({ name }) => name === 'copyPart').length >= 2);
  await contents.close();
});

t.test('a store that cannot copy ranges gets the whole file', async (t) => {
  const site = await Site.make({ partMin: 100, copyPart: false });
  t.teardown(() => site.remove());
  const old = random(10_000, 1);
  const contents = await site.open(new MemoryLog(), OPTIONS);
  const file = contents.of(new Home(1, 'a'), await site.put('a', old));
  file.truncate(9_000, context());
  await file.flush(context());
  t.ok((await site.bytes('a'))?.equals(old.subarray(0, 9_000)));
  await contents.close();
});

t.test('a long file is uploaded while it is written, and what is written again is uploaded again', async (t) => {
  const site = await siteOf(t);
  const { calls, store } = recording(site.plain);
  const contents = await site.open(new MemoryLog(), OPTIONS, store);
  const file = contents.of(new Home(1, 'a'), undefined);
  const bytes = random(7_500, 2);
  for (let at = 0; at < bytes.length; at += 500) file.write(at, bytes.subarray(at, at + 500), context());
  await until(() => calls.filter(({ name }) => name === 'uploadPart').length === 7);
  t.equal(calls.filter(({ name }) => name === 'uploadPart').length, 7, 'all whole parts are on their way');
  await new Promise((done) => setTimeout(done, 20));
  file.write(1_500, Buffer.from('again'), context());
  bytes.write('again', 1_500);
  await file.flush(context());
  t.ok((await site.bytes('a'))?.equals(bytes));
  t.equal(calls.filter(({ name }) => name === 'uploadPart').length, 9, 'the one that was changed, and the end');
  await contents.close();
});

t.test('what a killed engine had uploaded of a file is not uploaded again', async (t) => {
  const site = await siteOf(t);
  const log = new MemoryLog();
  const contents = await site.open(log, OPTIONS);
  const file = contents.of(new Home(1, 'a'), undefined);
  const bytes = random(5_500, 3);
  for (let at = 0; at < bytes.length; at += 500) file.write(at, bytes.subarray(at, at + 500), context());
  await until(() => log.all.filter(({ op }) => op === 'part').length === 5);
  file.write(4_000, Buffer.from('late'), context());
  bytes.write('late', 4_000);
  site.crash();
  const { calls, store } = recording(site.plain);
  const next = await site.open(new MemoryLog(log.all), OPTIONS, store);
  const home = new Home(1, 'a');
  await next.recover(() => home);
  const again = next.of(home, undefined);
  t.ok((await all(again)).equals(bytes));
  await again.flush(context());
  t.ok((await site.bytes('a'))?.equals(bytes));
  t.same(
    calls.filter(({ name }) => name === 'uploadPart').map(({ bytes }) => bytes),
    [1000, 500],
  );
  await next.close();
});

t.test('a write whose answer was lost is known again, and is not taken for somebody else’s', async (t) => {
  for (const size of [1_000, 5_000]) {
    const site = await siteOf(t);
    let lose = true;
    const lossy = tapped(site.plain, (call, moment) => {
      if (lose && moment === 'after' && (call === 'put' || call === 'completeUpload')) throw unreachable();
    });
    const { calls, store } = recording(lossy);
    const contents = await site.open(new MemoryLog(), OPTIONS, store);
    const home = new Home(1, 'a');
    const file = contents.of(home, undefined);
    file.write(0, random(size, 4), context());
    await t.rejects(file.flush(context()), { code: 'EIO' });
    t.ok(file.dirty, 'nobody knows how it ended');
    lose = false;
    calls.length = 0;
    await file.flush(context());
    t.notOk(file.dirty);
    t.same(home.conflicts, []);
    t.same(
      calls.map(({ name }) => name).filter((name) => name !== 'abortUpload'),
      ['head'],
      'one look was enough',
    );
    await contents.close();
  }
});

t.test(
  'of two hosts that write one object at once one is told ESTALE, and its bytes are kept beside the other’s',
  async (t) => {
    for (const conditional of [true, false]) {
      for (const size of [100, 5_000]) {
        const site = await Site.make({ partMin: 100, conditionalPut: conditional, conditionalComplete: conditional });
        t.teardown(() => site.remove());
        const base = await site.put('a', random(size, 5));
        const contents = await site.open(new MemoryLog(), OPTIONS);
        const home = new Home(1, 'a');
        const file = contents.of(home, base);
        file.truncate(0, context());
        file.write(0, random(size, 6), context());
        const theirs = await site.put('a', Buffer.from('theirs'));
        await t.rejects(file.flush(context()), { code: 'ESTALE' });
        const [lost] = home.conflicts;
        t.match(lost, { whole: true, theirs: { etag: theirs.etag } });
        t.ok((await site.bytes(lost?.keptAs ?? ''))?.equals(random(size, 6)));
        t.equal((await site.bytes('a'))?.toString(), 'theirs');
        t.equal((await all(file)).toString(), 'theirs', 'the file is theirs');
        await file.flush(context());
        t.pass('it is told once');
        await contents.close();
      }
    }
  },
);

t.test(
  'a lost update of an object that was changed in part keeps what was written, and says that the rest is gone',
  async (t) => {
    const site = await siteOf(t);
    const base = await site.put('a', random(5_000, 5));
    const contents = await site.open(new MemoryLog(), OPTIONS);
    const home = new Home(1, 'a');
    const file = contents.of(home, base);
    file.write(1_000, Buffer.from('mine'), context());
    await site.put('a', Buffer.from('theirs'));
    await t.rejects(file.flush(context()), { code: 'ESTALE' });
    t.match(home.conflicts, [{ whole: false }]);
    const kept = await site.bytes(home.conflicts[0]?.keptAs ?? '');
    t.equal(kept?.length, 5_000);
    t.equal(kept?.toString('latin1', 1_000, 1_004), 'mine');
    await contents.close();
  },
);

t.test('what is written while a file is uploaded is not in that upload, and is in the next', async (t) => {
  const site = await siteOf(t);
  const gate = Promise.withResolvers<void>();
  const store = tapped(site.plain, (call, moment) =>
    call === 'put' && moment === 'before' ? gate.promise : undefined,
  );
  const contents = await site.open(new MemoryLog(), OPTIONS, store);
  const file = contents.of(new Home(1, 'a'), undefined);
  file.write(0, Buffer.from('first'), context());
  const flushed = file.flush(context());
  await new Promise(setImmediate);
  file.write(0, Buffer.from('later'), context());
  t.equal((await all(file)).toString(), 'later');
  gate.resolve();
  await flushed;
  t.equal((await site.bytes('a'))?.toString(), 'first');
  t.ok(file.dirty);
  await file.flush(context());
  t.equal((await site.bytes('a'))?.toString(), 'later');
  await contents.close();
});

t.test(
  'an upload that fails is repeated until it succeeds, and until then the bytes stay here, over a death too',
  async (t) => {
    const site = await siteOf(t);
    let down = true;
    const store = tapped(site.plain, () => {
      if (down) throw unreachable();
    });
    const log = new MemoryLog();
    const contents = await site.open(log, OPTIONS, store);
    const file = contents.of(new Home(1, 'a'), undefined);
    file.write(0, Buffer.from('kept'), context());
    await t.rejects(file.flush(context()), { code: 'EIO' });
    file.release();
    t.same(contents.dirtyNodes(), [1]);
    await until(() => contents.status()['uploads failing'] === 1);
    t.match(contents.status(), {
      'uploads failing': 1,
      'last failure': /nobody answers/,
      'bytes that wait for upload': 4,
    });
    site.crash();
    const next = await site.open(new MemoryLog(log.all), OPTIONS, store);
    await next.recover(() => new Home(1, 'a'));
    await new Promise((done) => setTimeout(done, 20));
    down = false;
    const told: number[] = [];
    await next.drain((bytes) => told.push(bytes));
    t.equal((await site.bytes('a'))?.toString(), 'kept');
    t.equal(told.at(-1), 0);
    t.same(next.dirtyNodes(), []);
    await contents.close();
    await next.close();
  },
);

t.test('a bucket that takes no writes is told as such, and nothing is dropped', async (t) => {
  const { StoreError } = await import('../../../../volume-plugin/object/store.ts');
  for (const [failure, code] of [
    ['READ_ONLY', 'EROFS'],
    ['DENIED', 'EACCES'],
    ['FULL', 'EDQUOT'],
    ['DAMAGED', 'EIO'],
  ] as const) {
    const site = await siteOf(t);
    const store = tapped(site.plain, (call) => {
      if (call === 'put') throw new StoreError(failure, 'no');
    });
    const contents = await site.open(new MemoryLog(), OPTIONS, store);
    const file = contents.of(new Home(1, 'a'), undefined);
    file.write(0, Buffer.from('kept'), context());
    await t.rejects(file.flush(context()), { code });
    t.equal((await all(file)).toString(), 'kept');
    await contents.close();
  }
});

t.test('when the room for what waits is used up writers get ENOSPC, and nothing of that write is there', async (t) => {
  const site = await siteOf(t);
  const contents = await site.open(new MemoryLog(), { ...OPTIONS, staging: 10_000 });
  const file = contents.of(new Home(1, 'a'), undefined);
  file.write(0, random(9_000, 7), context());
  t.throws(() => file.write(9_000, random(2_000, 8), context()), { code: 'ENOSPC' });
  t.equal(file.size, 9_000);
  file.write(0, random(9_000, 9), context());
  t.pass('what is there already may be written again');
  await file.flush(context());
  file.write(9_000, random(2_000, 8), context());
  t.equal(contents.status()['staging bytes'], 2_000, 'the room is free again when it is stored');
  const nearlyFull = await site.open(new MemoryLog(), { ...OPTIONS, reserve: 2 ** 60 });
  const other = nearlyFull.of(new Home(2, 'b'), undefined);
  t.throws(() => other.write(0, Buffer.from('x'), context()), { code: 'ENOSPC' }, 'and so is the disk');
  await contents.close();
  await nearlyFull.close();
});

t.test('a file that is held is not put under the name that it is about to lose', async (t) => {
  const site = await siteOf(t);
  const contents = await site.open(new MemoryLog(), OPTIONS);
  const home = new Home(1, 'a');
  const file = contents.of(home, undefined);
  file.write(0, Buffer.from('bytes'), context());
  const free = await file.hold(context());
  const flushed = file.flush(context());
  await new Promise((done) => setTimeout(done, 20));
  t.equal(await site.bytes('a'), undefined);
  home.at = 'b';
  free();
  await flushed;
  t.equal(await site.bytes('a'), undefined);
  t.equal((await site.bytes('b'))?.toString(), 'bytes');
  await contents.close();
});

t.test('an unlinked file is read on by who has it open, and is not uploaded', async (t) => {
  const site = await siteOf(t);
  const old = random(3_000, 1);
  const contents = await site.open(new MemoryLog(), OPTIONS);
  const home = new Home(1, 'a');
  const file = contents.of(home, await site.put('a', old));
  file.write(0, Buffer.from('changed'), context());
  await file.detach(undefined, context());
  home.at = undefined;
  await site.plain.remove('a', context());
  old.write('changed');
  t.ok((await all(file)).equals(old));
  await file.flush(context());
  file.release();
  t.equal(await site.bytes('a'), undefined);
  t.same(contents.dirtyNodes(), []);
  t.equal(contents.status()['staging bytes'], 0);
  await contents.close();
});

t.test(
  'after a loss of power what was synced is brought to the store, and of the rest the object is whole-old',
  async (t) => {
    const site = await siteOf(t);
    const log = new MemoryLog();
    const contents = await site.open(log, OPTIONS);
    const base = await site.put('b', Buffer.from('old'));
    const synced = contents.of(new Home(1, 'a'), undefined);
    synced.write(0, Buffer.from('synced'), context());
    await synced.sync(context());
    t.equal(log.synced, log.all.length);
    contents.of(new Home(2, 'b'), base).write(0, Buffer.from('never'), context());
    site.crash();
    const next = await site.open(new MemoryLog(log.all), { ...OPTIONS, boot: 'two' });
    await next.recover((node) => new Home(node, node === 1 ? 'a' : 'b'));
    await next.drain(() => undefined);
    t.equal((await site.bytes('a'))?.toString(), 'synced');
    t.equal((await site.bytes('b'))?.toString(), 'old');
    t.same(next.dirtyNodes(), []);
    await contents.close();
    await next.close();
  },
);

t.test('staging files that no record knows are removed at a start', async (t) => {
  const site = await siteOf(t);
  const log = new MemoryLog();
  const contents = await site.open(log, OPTIONS);
  const file = contents.of(new Home(1, 'a'), undefined);
  file.write(0, Buffer.from('known'), context());
  writeFileSync(join(site.folder, 'staging', 'stranger'), 'x');
  site.crash();
  const next = await site.open(new MemoryLog(log.all), OPTIONS);
  await next.recover(() => new Home(1, 'a'));
  t.notOk(existsSync(join(site.folder, 'staging', 'stranger')));
  t.equal(readdirSync(join(site.folder, 'staging')).length, 1);
  await contents.close();
  await next.close();
});

t.test('what was written here is read from the disk after it was stored', async (t) => {
  const site = await siteOf(t);
  const { calls, store } = recording(site.plain);
  const { cache: _, ...cached } = OPTIONS;
  const contents = await site.open(new MemoryLog(), cached, store);
  const file = contents.of(new Home(1, 'a'), undefined);
  const bytes = random(5_000, 9);
  file.write(0, bytes, context());
  await file.flush(context());
  t.ok((await all(file)).equals(bytes));
  t.type(file.local(), 'number');
  t.notOk(calls.some(({ name }) => name === 'get'));
  const { base } = file;
  t.ok(base !== undefined && contents.has(base));
  t.same(base, baseOf((await site.plain.head('a', context())) ?? { key: '', etag: '', size: 0, modified: 0 }));
  await contents.close();
});
