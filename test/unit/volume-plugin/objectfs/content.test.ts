import t from 'tap';
import type { FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import { context, Home, MemoryLog, Site, tapped } from './content-site.ts';

const all = async (content: FileContent): Promise<Buffer> =>
  Buffer.concat([...(await content.read(0, content.size, context()))]);

t.test('what was written is read at once, and is in the store after a flush', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const contents = await site.open(new MemoryLog());
  const home = new Home(1, 'a');
  const file = contents.of(home, undefined);
  t.ok(file.dirty, 'a new file is dirty from the start');
  t.equal(file.write(0, Buffer.from('hello'), context()), 5);
  file.write(5, Buffer.from(' world'), context());
  t.equal((await all(file)).toString(), 'hello world');
  t.equal(await site.bytes('a'), undefined);
  await file.flush(context());
  t.equal((await site.bytes('a'))?.toString(), 'hello world');
  t.notOk(file.dirty);
  t.equal(home.storedFacts.length, 1);
  file.truncate(4, context());
  file.truncate(6, context());
  file.write(8, Buffer.from('x'), context());
  t.equal((await all(file)).toString('latin1'), 'hell\0\0\0\0x');
  await file.flush(context());
  t.equal((await site.bytes('a'))?.toString('latin1'), 'hell\0\0\0\0x');
  t.same(contents.dirtyNodes(), []);
  file.release();
  t.equal(contents.find(1), undefined);
  await contents.close();
});

t.test('an engine that was killed finds what it had acknowledged', async (t) => {
  const site = await Site.make();
  t.teardown(() => site.remove());
  const log = new MemoryLog();
  const contents = await site.open(log);
  const file = contents.of(new Home(1, 'a'), undefined);
  for (let i = 0; i < 100; i += 1) file.write(i * 4, Buffer.from(`${1000 + i}`), context());
  file.write(1000, Buffer.from('far'), context());
  file.write(2, Buffer.from('XX'), context());
  const before = await all(file);
  site.crash();
  const next = await site.open(new MemoryLog(log.all));
  t.same(next.dirtyNodes(), [1]);
  const home = new Home(1, 'a');
  await next.recover(() => home);
  const again = next.of(home, undefined);
  t.same(await all(again), before);
  await again.flush(context());
  t.same(await site.bytes('a'), before);
  await next.close();
});

t.test('a file that is unlinked while it is uploaded has lost against nobody', async (t) => {
  const site = await Site.make({ partMin: 100 });
  t.teardown(() => site.remove());
  const gate = Promise.withResolvers<void>();
  const store = tapped(site.plain, (call, moment) =>
    call === 'copyPart' && moment === 'before' ? gate.promise : undefined,
  );
  const sizes = { part: 1000, putMost: 2000, copyMost: 4000 };
  const contents = await site.open(new MemoryLog(), { sizes, retryMs: 0, cache: 0 }, store);
  const home = new Home(1, 'a');
  const file = contents.of(home, await site.put('a', Buffer.alloc(5_000, 'old')));
  file.write(0, Buffer.from('changed'), context());
  const flushed = file.flush(context());
  await new Promise((done) => setTimeout(done, 20));
  const free = await file.hold(context());
  await file.detach(undefined, context());
  home.at = undefined;
  await site.plain.remove('a', context());
  free();
  gate.resolve();
  await flushed;
  t.same(home.conflicts, []);
  file.release();
  t.equal(await site.bytes('a'), undefined);
  t.same(contents.dirtyNodes(), []);
  await contents.close();
});
