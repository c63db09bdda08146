// What an engine's death could cost of files that are open, with another host and stores that fail: each of these lost acknowledged
// bytes, or left an object behind.
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { StoreError } from '../../../../volume-plugin/object/store.ts';
import { refused, World } from './namespace-world.ts';

const real = { real: true };

const world = async (t: { teardown(work: () => Promise<void>): void }): Promise<World> => {
  const made = await World.make();
  t.teardown(() => made.end());
  return made;
};

t.test(
  'what is written to a file that was open when the engine died, and has been stored since, is synced',
  async (t) => {
    const w = await world(t);
    const first = await w.host('a', real);
    const opened = await first.create('f');
    await first.fs.write(opened.node, opened.handle, 0, Buffer.from('one'), false, first.caller());
    first.kill();
    const next = await w.host('a', { real: true, survived: true });
    t.equal(await next.readOpen(opened), 'one');
    await next.fs.fsync(opened.node, opened.handle, false, next.caller());
    await next.fs.write(opened.node, opened.handle, 3, Buffer.from('two'), false, next.caller());
    t.equal(next.fs.status()['files that wait for upload'], 1);
    await next.fs.syncfs(next.caller());
    t.equal(await w.text('f'), 'onetwo');
    await next.close(opened);
  },
);

t.test('an update that is lost in the background after the engine has died is told by the next close', async (t) => {
  const w = await world(t);
  const [first, b] = [await w.host('a', real), await w.host('b', real)];
  await first.write('f', 'first');
  const opened = await first.open('f');
  await first.fs.write(opened.node, opened.handle, 0, Buffer.from('AAAAA'), false, first.caller());
  await b.write('f', 'other');
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  await next.fs.syncfs(next.caller());
  t.equal(await refused(() => next.fs.flush(opened.node, opened.handle, next.caller())), 'ESTALE');
  await next.fs.release(opened.node, opened.handle, next.caller());
});

t.test('an unlinked file whose upload has failed is read after the engine has died by who has it open', async (t) => {
  const w = await world(t);
  const first = await w.host('a', { real: true, retryMs: 0 });
  const opened = await first.create('f');
  await first.fs.write(opened.node, opened.handle, 0, Buffer.from('bytes'), false, first.caller());
  const put = w.store.put.bind(w.store);
  w.store.put = () => Promise.reject(new StoreError('UNREACHABLE', 'nobody answers'));
  t.equal(await refused(() => first.fs.flush(opened.node, opened.handle, first.caller())), 'EIO');
  w.store.put = put;
  await first.unlink('f');
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  await next.fs.syncfs(next.caller());
  t.equal(await next.readOpen(opened), 'bytes');
  await next.close(opened);
  t.same(await w.names(), []);
});

t.test('the copy of a large unlinked file goes when it is closed, also when the engine has died since', async (t) => {
  const w = await world(t);
  const first = await w.host('a', { real: true, content: { cache: 0 } });
  await first.write('f', 'x'.repeat(9 * 2 ** 20));
  const opened = await first.open('f');
  await first.unlink('f');
  t.match(await w.keys(), [/orphans/]);
  first.kill();
  const next = await w.host('a', { real: true, survived: true, content: { cache: 0 } });
  await next.close(opened);
  for (let looked = 0; looked < 500 && (await w.keys()).length > 0; looked += 1) await setTimeout(10);
  t.same(await w.keys(), []);
});

t.test('a file that was open when the engine died stays what it was, whatever others make of it', async (t) => {
  const w = await world(t);
  const [first, b] = [await w.host('a', real), await w.host('b', real)];
  await first.write('f', 'first');
  const [opened, reader] = [await first.open('f'), await first.open('f', 0)];
  t.equal(await first.readOpen(reader), 'first');
  first.kill();
  await b.write('f', 'other');
  const next = await w.host('a', { real: true, survived: true, content: { cache: 0 } });
  t.equal(await refused(() => next.readOpen(reader)), 'ESTALE', 'and not the rest of the other one');
  await next.fs.write(opened.node, opened.handle, 5, Buffer.from('+'), false, next.caller());
  t.equal(await refused(() => next.fs.flush(opened.node, opened.handle, next.caller())), 'ESTALE');
  t.equal(await w.text('f'), 'other');
});

t.test('what others have made of a file that was open when the engine died is read by who opens it now', async (t) => {
  const w = await world(t);
  const [first, b] = [await w.host('a', real), await w.host('b', real)];
  await first.write('f', 'first');
  await first.open('f');
  first.kill();
  await b.write('f', 'other one');
  const next = await w.host('a', { real: true, survived: true });
  t.equal(await next.read('f'), 'other one');
});

t.test(
  'a new file that was stored in the moment in which the engine died is read and removed as one that is stored',
  async (t) => {
    const w = await world(t);
    for (let left = 0; left < 16; left += 1) {
      const name = `f${left}`;
      const first = await w.host('a', { real: true, survived: left > 0 });
      const opened = await first.create(name);
      await first.fs.write(opened.node, opened.handle, 0, Buffer.from('text'), false, first.caller());
      first.mortal.left = left;
      const caller = first.caller();
      const flushed = Promise.resolve(first.fs.flush(opened.node, opened.handle, caller)).catch(() => undefined);
      await Promise.race([flushed, first.mortal.died.promise]);
      first.kill();
      const next = await w.host('a', { real: true, survived: true });
      await next.fs.flush(opened.node, opened.handle, { ...caller, resent: true });
      t.equal(await next.readOpen(opened), 'text', `${left} steps`);
      await next.unlink(name);
      await next.close(opened);
      await next.fs.syncfs(next.caller());
      t.same(await w.names(), [], `${left} steps`);
      next.kill();
    }
  },
);

t.test('a file whose place a rename has taken after the engine’s death is written by who has it open', async (t) => {
  const w = await world(t);
  const first = await w.host('a', { real: true, retryMs: 0 });
  await first.write('f', 'text');
  const opened = await first.create('g');
  const { copy } = w.store;
  w.store.copy = () => Promise.reject(new StoreError('UNREACHABLE', 'nobody answers'));
  t.equal(await refused(() => first.rename('f', 'g')), 'EIO');
  w.store.copy = copy;
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  await next.fs.syncfs(next.caller());
  await next.fs.write(opened.node, opened.handle, 0, Buffer.from('mine'), false, next.caller());
  t.equal(await next.readOpen(opened), 'mine');
  await next.close(opened);
  t.same(await w.names(), ['g']);
  t.equal(await w.text('g'), 'text');
});

t.test('what is open in a folder is stored in it, wherever the engine dies while that is renamed', async (t) => {
  for (let left = 0; left < 40; left += 1) {
    const w = await world(t);
    const first = await w.host('a', real);
    await first.mkdir('d');
    await first.write('d/f', 'old');
    const opened = await first.open('d/f');
    await first.fs.write(opened.node, opened.handle, 3, Buffer.from('new'), false, first.caller());
    first.mortal.left = left;
    const caller = first.caller();
    const rename = (host: typeof first, resent: boolean) => host.fs.rename(1, 'd', 1, 'e', 0, { ...caller, resent });
    const renamed = Promise.resolve(rename(first, false)).catch(() => undefined);
    await Promise.race([renamed, first.mortal.died.promise]);
    first.kill();
    const next = await w.host('a', { real: true, survived: true });
    await rename(next, true);
    await next.close(opened);
    t.same(await w.names(), ['e/', 'e/f'], `${left} steps`);
    t.equal(await w.text('e/f'), 'oldnew', `${left} steps`);
    await w.end();
  }
});

t.test(
  'what a rename was to replace is not taken for its copy, when others have removed what was renamed',
  async (t) => {
    const w = await world(t);
    const [first, b] = [await w.host('a', { real: true, retryMs: 0 }), await w.host('b', real)];
    await first.write('f', 'mine');
    await first.write('g', 'text');
    const opened = await first.open('f');
    await first.fs.write(opened.node, opened.handle, 0, Buffer.from('M'), false, first.caller());
    const { copy } = w.store;
    w.store.copy = () => Promise.reject(new StoreError('UNREACHABLE', 'nobody answers'));
    t.equal(await refused(() => first.rename('f', 'g')), 'EIO');
    w.store.copy = copy;
    first.kill();
    await b.unlink('f');
    const next = await w.host('a', { real: true, survived: true });
    await next.fs.syncfs(next.caller());
    t.equal(await w.text('g'), 'text');
  },
);

t.test('attributes that a close could not store are stored later', async (t) => {
  const w = await world(t);
  const a = await w.host('a', { real: true, retryMs: 0 });
  await a.write('f', 'text');
  const opened = await a.open('f');
  await a.fs.setattr(opened.node, { mode: 0o600 }, a.caller());
  const { copy } = w.store;
  w.store.copy = () => Promise.reject(new StoreError('UNREACHABLE', 'nobody answers'));
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'EIO');
  w.store.copy = copy;
  await a.fs.release(opened.node, opened.handle, a.caller());
  await a.fs.syncfs(a.caller());
  const next = await w.host('b', real);
  t.match(await next.stat('f'), { mode: 0o100600 });
});
