// What another host has made of a file that is written here: who has it open is told before anything comes to lie over it.
import t, { type Test } from 'tap';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { type Host, refused, World } from './namespace-world.ts';

const real = { real: true };

interface Lost {
  readonly w: World;
  readonly a: Host;
  readonly b: Host;
  readonly opened: { readonly node: number; readonly handle: number };
}

/** `a` has written to a file that it has open, and another host has put another one there before it was stored. */
const overtaken = async (t: Test, take: (b: Host) => Promise<void> = (b) => b.write('f', 'other')): Promise<Lost> => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.write('f', 'first');
  const opened = await a.open('f');
  await a.writeOpen(opened, 'AAAAA');
  await take(b);
  return { w, a, b, opened };
};

t.test(
  'what is written before a lost update was told is refused, and does not come to lie over the other’s',
  async (t) => {
    const { w, a, opened } = await overtaken(t);
    await a.fs.syncfs(a.caller());
    const write = () => a.writeOpen(opened, 'AA', 3);
    t.equal(await refused(write), 'ESTALE');
    t.equal(await refused(() => a.fs.setattr(opened.node, { size: 1, handle: opened.handle }, a.caller())), 'ESTALE');
    t.equal(await refused(() => a.fs.fsync(opened.node, opened.handle, false, a.caller())), 'ESTALE');
    await a.close(opened);
    t.equal(await w.text('f'), 'other');
  },
);

t.test('a file that a refused write was for is nothing that this host has', async (t) => {
  const { w, a, b, opened } = await overtaken(t);
  await a.fs.syncfs(a.caller());
  const write = () => a.writeOpen(opened, 'AA', 3);
  t.equal(await refused(write), 'ESTALE');
  await b.unlink('f');
  w.later();
  t.notOk(await a.exists('f'));
});

t.test(
  'a lost update that was not told before the engine died is told by the next life, and nothing is written before',
  async (t) => {
    const { w, a: first, opened } = await overtaken(t);
    await first.fs.syncfs(first.caller());
    first.kill();
    const next = await w.host('a', { real: true, survived: true });
    const write = () => next.writeOpen(opened, 'AA', 3);
    t.equal(await refused(write), 'ESTALE');
    t.equal(await refused(() => next.fs.flush(opened.node, opened.handle, next.caller())), 'ESTALE');
    await next.close(opened);
    t.equal(await w.text('f'), 'other');
    t.equal((await w.names()).length, 2);
  },
);

t.test('a close that has told a lost update, and comes again after the engine’s death, tells it again', async (t) => {
  const { w, a: first, opened } = await overtaken(t);
  const caller = first.caller();
  t.equal(await refused(() => first.fs.flush(opened.node, opened.handle, caller)), 'ESTALE');
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  const again = { ...caller, resent: true };
  t.equal(await refused(() => next.fs.flush(opened.node, opened.handle, again)), 'ESTALE');
  t.equal(await refused(() => next.fs.flush(opened.node, opened.handle, next.caller())), 'nothing was refused');
});

t.test(
  'who reads while what was written here is being kept aside gets all of the one or all of the other',
  async (t) => {
    const w = await World.of(t);
    const [a, b] = [await w.host('a', { real: true, content: { cache: 0 } }), await w.host('b', real)];
    // So long that it does not come with the look whether it has changed.
    await a.write('f', '-'.repeat(200_000));
    const opened = await a.open('f');
    await a.writeOpen(opened, 'mine');
    const looked = Promise.withResolvers<void>();
    const kept = Promise.withResolvers<void>();
    await b.write('f', 'theirs');
    const get = w.store.get.bind(w.store);
    w.store.get = async (...values) => {
      looked.resolve();
      await kept.promise;
      return await get(...values);
    };
    const read = a.readOpen(opened);
    await looked.promise;
    w.store.get = get;
    await a.fs.syncfs(a.caller());
    kept.resolve();
    t.equal(await read, 'theirs');
    t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
  },
);

t.test('who reads a file while nobody has heard that it is stored reads on', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', { real: true, retryMs: 0, content: { cache: 0 } });
  // So long that it does not come with the look whether it has changed.
  const first = 'first'.repeat(40_000);
  await a.write('f', first);
  const opened = await a.open('f');
  await a.writeOpen(opened, '+', first.length);
  const put = w.store.put.bind(w.store);
  w.store.put = async (...values) => {
    await put(...values);
    w.store.put = put;
    throw new StoreError('UNREACHABLE', 'nobody answers');
  };
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'EIO');
  t.ok((await a.readOpen(opened)) === `${first}+`);
  await a.close(opened);
  t.ok((await w.text('f')) === `${first}+`);
});

t.test('a file whose lost update is kept, because others have removed it, does not look empty', async (t) => {
  const { a, opened } = await overtaken(t, (b) => b.unlink('f'));
  await a.fs.syncfs(a.caller());
  t.equal(await refused(() => a.readOpen(opened)), 'ESTALE');
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
});
