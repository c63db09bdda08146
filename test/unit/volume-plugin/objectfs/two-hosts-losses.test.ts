// What two hosts, or a store that loses answers, could cost: each of these lost acknowledged bytes, or left an object behind.
import t from 'tap';
import { type ObjectStore, StoreError } from '../../../../volume-plugin/object/store.ts';
import { PREFIX, refused, World } from './namespace-world.ts';

const real = { real: true };

const world = async (t: { teardown(work: () => Promise<void>): void }): Promise<World> => {
  const made = await World.make();
  t.teardown(() => made.end());
  return made;
};

/** The next call of that name is carried out, and nobody hears of it. */
const loseAnswers = (w: World, call: 'put' | 'copy', times: number): void => {
  const store = w.store as { [call in 'put' | 'copy']: (...values: never[]) => Promise<unknown> };
  const plain = store[call].bind(store) as (...values: unknown[]) => Promise<unknown>;
  let left = times;
  store[call] = async (...values: unknown[]): Promise<unknown> => {
    const answer = await plain(...values);
    left -= 1;
    if (left < 0) return answer;
    throw new StoreError('UNREACHABLE', 'nobody answers');
  };
};

const failing = (w: World, call: keyof ObjectStore, error: StoreError): (() => void) => {
  const store = w.store as unknown as Record<string, unknown>;
  store[call] = async (): Promise<never> => Promise.reject(error);
  return () => delete store[call];
};

t.test('a folder that another host has removed keeps what this host has not closed yet', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.mkdir('d');
  const opened = await a.create('d/f');
  await a.fs.write(opened.node, opened.handle, 0, Buffer.from('bytes'), false, a.caller());
  await b.rmdir('d');
  w.later();
  t.ok(await a.exists('d'), 'it is still a folder here');
  await a.close(opened);
  t.equal(await w.text('d/f'), 'bytes');
  w.later();
  t.equal(await b.read('d/f'), 'bytes');
});

t.test('a folder that another host has renamed leaves what was written here meanwhile beside it', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.mkdir('d');
  await a.write('d/f', 'old');
  const opened = await a.open('d/f');
  await a.fs.write(opened.node, opened.handle, 0, Buffer.from('new'), false, a.caller());
  await b.rename('d', 'e');
  w.later();
  await a.exists('d');
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
  await a.fs.release(opened.node, opened.handle, a.caller());
  const kept = (await w.names()).filter((name) => name.includes('.conflict-'));
  t.equal(kept.length, 1);
  t.equal(await w.text(kept[0] ?? ''), 'new');
  t.equal(await w.text('e/f'), 'old');
});

t.test('what is written to a file that another host has renamed meanwhile is refused', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.mkdir('d');
  await a.write('f', 'old');
  await a.write('d/g', 'old');
  const [f, g] = [await a.open('f'), await a.open('d/g')];
  await b.rename('f', 'f2');
  await b.rename('d', 'e');
  w.later();
  t.notOk(await a.exists('f'));
  t.notOk(await a.exists('d'));
  for (const { node, handle } of [f, g]) {
    t.equal(await refused(() => a.fs.write(node, handle, 0, Buffer.from('new'), false, a.caller())), 'ESTALE');
    await a.fs.release(node, handle, a.caller());
  }
});

t.test('of two updates that are lost within a second both are kept', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.write('f', 'first');
  for (const text of ['AAAAA', 'BBBBB', 'CCCCC']) {
    const opened = await a.open('f');
    await a.fs.write(opened.node, opened.handle, 0, Buffer.from(text), false, a.caller());
    await b.write('f', `other than ${text}`);
    t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
    await a.fs.release(opened.node, opened.handle, a.caller());
  }
  const kept = (await w.names()).filter((name) => name.includes('.conflict-'));
  t.same((await Promise.all(kept.map((name) => w.text(name)))).sort(), [
    'AAAAA',
    'BBBBB than AAAAA',
    'CCCCC than BBBBB',
  ]);
});

t.test('an update that is lost in the background is told by the next close', async (t) => {
  const w = await world(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.write('f', 'first');
  const opened = await a.open('f');
  await a.fs.write(opened.node, opened.handle, 0, Buffer.from('AAAAA'), false, a.caller());
  await b.write('f', 'other');
  await a.fs.syncfs(a.caller());
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'nothing was refused', 'once');
  await a.fs.release(opened.node, opened.handle, a.caller());
});

t.test('a new file whose upload was carried out unheard is removed and renamed as one that is stored', async (t) => {
  for (const how of ['unlink', 'rename'] as const) {
    const w = await world(t);
    const a = await w.host('a', { real: true, retryMs: 0 });
    const opened = await a.create('f');
    await a.fs.write(opened.node, opened.handle, 0, Buffer.from('bytes'), false, a.caller());
    loseAnswers(w, 'put', 1);
    t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'EIO');
    if (how === 'unlink') await a.unlink('f');
    else await a.rename('f', 'g');
    await a.fs.release(opened.node, opened.handle, a.caller());
    await a.fs.syncfs(a.caller());
    t.same(await w.names(), how === 'unlink' ? [] : ['g']);
    t.equal(await refused(() => a.fs.syncfs(a.caller())), 'nothing was refused');
  }
});

t.test('a rename that is refused leaves another host’s file of the same bytes alone', async (t) => {
  const w = await world(t);
  const a = await w.host('a', real);
  await a.write('f', '');
  t.notOk(await a.exists('g'));
  await w.put('g', '');
  const heal = failing(w, 'copy', new StoreError('DENIED', 'no', { named: 's3:PutObject' }));
  t.equal(await refused(() => a.rename('f', 'g')), 'EACCES');
  heal();
  t.same(await w.names(), ['f', 'g']);
});

t.test('a file is not made longer than an object can be', async (t) => {
  const w = await world(t);
  const a = await w.host('a', real);
  await a.write('f', 'text');
  const node = await a.node('f');
  const most = w.store.limits.parts * w.store.limits.partMax;
  t.equal(await refused(() => a.fs.setattr(node, { size: 999_999_999_999_999 }, a.caller())), 'EFBIG');
  const { handle } = await a.open('f');
  t.equal(await refused(() => a.fs.write(node, handle, most, Buffer.from('x'), false, a.caller())), 'EFBIG');
  t.equal(await refused(() => a.fs.fallocate(node, handle, 0, most, 1, a.caller())), 'EFBIG');
  t.match(await a.stat('f'), { size: 4 });
  await a.close({ node, handle });
  t.equal(await w.text('f'), 'text');
  t.equal((await w.store.head(`${PREFIX}f`, w.context))?.size, 4);
});

t.test(
  'a file whose attributes were changed before the engine died has its size, is removed, and is renamed',
  async (t) => {
    const w = await world(t);
    const first = await w.host('a', real);
    for (const name of ['f', 'g']) await first.write(name, 'text');
    const nodes = [await first.node('f'), await first.node('g')];
    for (const node of nodes) await first.fs.setattr(node, { mode: 0o600 }, first.caller());
    first.kill();
    const next = await w.host('a', { real: true, survived: true });
    const { attributes } = await next.fs.getattr(nodes[0] ?? 0, undefined, next.caller());
    t.match(attributes, { size: 4, mode: 0o100600 });
    await next.unlink('f');
    await next.rename('g', 'h');
    t.same(await w.names(), ['h']);
    t.equal(await next.read('h'), 'text');
    await next.fs.syncfs(next.caller());
    t.same(await w.names(), ['h']);
  },
);

t.test(
  'attributes of a file that another host has removed meanwhile keep nothing from being written out',
  async (t) => {
    const w = await world(t);
    const [a, b] = [await w.host('a', real), await w.host('b', real)];
    await a.write('f', 'text');
    await a.fs.setattr(await a.node('f'), { mode: 0o600 }, a.caller());
    await b.unlink('f');
    await a.fs.syncfs(a.caller());
    t.same(await w.names(), []);
    t.equal(a.fs.status()['attributesWaiting'], 0);
  },
);

t.test('an empty file that was unlinked while it is open is written after the engine has died', async (t) => {
  const w = await world(t);
  const first = await w.host('a', real);
  await first.write('f', '');
  const opened = await first.open('f');
  await first.unlink('f');
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  await next.fs.write(opened.node, opened.handle, 0, Buffer.from('text'), false, next.caller());
  t.equal(await next.readOpen(opened), 'text');
  await next.close(opened);
  t.same(await w.names(), []);
});

t.test(
  'a new file has its name after two deaths, though one that was unlinked had it before and is open still',
  async (t) => {
    const w = await world(t);
    const first = await w.host('a', real);
    await first.write('f', 'old');
    const old = await first.open('f');
    await first.unlink('f');
    const opened = await first.create('f');
    await first.fs.write(opened.node, opened.handle, 0, Buffer.from('new'), false, first.caller());
    first.kill();
    const second = await w.host('a', { real: true, survived: true });
    second.kill();
    const third = await w.host('a', { real: true, survived: true });
    t.equal(await third.readOpen(old), 'old');
    await third.close(opened);
    t.equal(await w.text('f'), 'new');
  },
);

t.test('a file that is open and dirty is removed and renamed after a death as one that is stored', async (t) => {
  const w = await world(t);
  const first = await w.host('a', real);
  for (const name of ['f', 'g']) await first.write(name, 'stored');
  const [f, g] = [await first.open('f'), await first.open('g')];
  for (const { node, handle } of [f, g]) {
    await first.fs.write(node, handle, 6, Buffer.from('+'), false, first.caller());
  }
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  await next.unlink('f');
  await next.rename('g', 'h');
  t.same(await w.names(), ['h']);
  for (const one of [f, g]) await next.close(one);
  t.same(await w.names(), ['h']);
  t.equal(await w.text('h'), 'stored+');
});

t.test('an open that comes again after the engine’s death asks for what it had not to ask for before', async (t) => {
  const w = await world(t);
  const first = await w.host('a', real);
  await first.write('f', 'text');
  const node = await first.node('f');
  const caller = first.caller();
  const { handle } = await first.fs.open(node, 2, caller);
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  const again = await next.fs.open(node, 2, { ...caller, resent: true });
  t.equal(again.handle, handle);
  t.equal(await next.readOpen({ node, handle }), 'text');
});

t.test(
  'what a new file was to take the place of does not come back when that is removed or renamed first',
  async (t) => {
    for (const how of ['unlink', 'rename'] as const) {
      const w = await world(t);
      const a = await w.host('a', real);
      await a.write('f', 'old');
      const opened = await a.create('f.tmp');
      await a.fs.write(opened.node, opened.handle, 0, Buffer.from('new'), false, a.caller());
      await a.rename('f.tmp', 'f');
      if (how === 'unlink') await a.unlink('f');
      else await a.rename('f', 'g');
      await a.close(opened);
      t.same(await w.names(), how === 'unlink' ? [] : ['g']);
    }
  },
);

t.test(
  'what was written to a file that another host has removed is kept, also when the rest was missed before',
  async (t) => {
    const w = await world(t);
    const [a, b] = [await w.host('a', real), await w.host('b', real)];
    await a.write('f', 'text');
    const opened = await a.open('f');
    await a.fs.write(opened.node, opened.handle, 0, Buffer.from('T'), false, a.caller());
    await a.rename('f', 'g');
    w.later();
    await b.unlink('g');
    t.equal(await refused(() => a.readOpen(opened)), 'ESTALE', 'it cannot be read');
    w.later();
    t.ok(await a.exists('g'), 'it has its name here until it is closed');
    t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
    await a.fs.release(opened.node, opened.handle, a.caller());
    const names = await w.names();
    t.match(names, [/^g\.conflict-/]);
    t.equal(await w.text(names[0] ?? ''), 'T\0\0\0');
  },
);

t.test(
  'what another host has closed where a new file was to take a place stays when that is renamed further',
  async (t) => {
    const w = await world(t);
    const [a, b] = [await w.host('a', real), await w.host('b', real)];
    await a.write('f', 'old');
    const opened = await b.create('f.tmp');
    await b.fs.write(opened.node, opened.handle, 0, Buffer.from('new'), false, b.caller());
    await b.rename('f.tmp', 'f');
    await a.write('f', 'newer');
    await b.rename('f', 'g');
    await b.close(opened);
    t.same(await w.names(), ['f', 'g']);
    t.equal(await w.text('f'), 'newer');
    t.equal(await w.text('g'), 'new');
  },
);

t.test('a file takes the place of a new one that has taken the place of another and is not stored yet', async (t) => {
  const w = await world(t);
  const a = await w.host('a', real);
  for (const name of ['f', 'g']) await a.write(name, name);
  const opened = await a.create('h');
  await a.fs.write(opened.node, opened.handle, 0, Buffer.from('h'), false, a.caller());
  await a.rename('h', 'g');
  t.equal(await refused(() => a.rename('f', 'g')), 'nothing was refused');
  t.same(await w.names(), ['g']);
  await a.close(opened);
  t.equal(await w.text('g'), 'f');
});

t.test(
  'what is written while a lost update of a removed file is being kept is refused, and not lost after its answer',
  async (t) => {
    for (const how of ['write', 'truncate'] as const) {
      const w = await world(t);
      const [a, b] = [await w.host('a', real), await w.host('b', real)];
      await a.write('f', 'first');
      const { node, handle } = await a.open('f');
      await a.fs.write(node, handle, 0, Buffer.from('AAAAA'), false, a.caller());
      await b.unlink('f');
      const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const put = w.store.put.bind(w.store);
      w.store.put = async (...values) => {
        if (values[0].includes('.conflict-')) {
          reached.resolve();
          await goOn.promise;
        }
        return await put(...values);
      };
      const closed = refused(() => a.fs.flush(node, handle, a.caller()));
      await reached.promise;
      const changed = refused(() =>
        how === 'write'
          ? a.fs.write(node, handle, 0, Buffer.from('BBBBB'), false, a.caller())
          : a.fs.setattr(node, { size: 2, handle }, a.caller()),
      );
      goOn.resolve();
      t.same([await closed, await changed], ['ESTALE', 'ESTALE']);
      await a.fs.release(node, handle, a.caller());
      const names = await w.names();
      t.match(names, [/^f\.conflict-/]);
      t.equal(await w.text(names[0] ?? ''), 'AAAAA');
    }
  },
);

t.test('a file that could not be removed or replaced is not stored as if it had been written', async (t) => {
  for (const how of ['unlink', 'rename'] as const) {
    const w = await world(t);
    const [a, b] = [await w.host('a', real), await w.host('b', real)];
    await a.write('f', 'mine');
    await a.write('g', 'text');
    const opened = await a.open('g');
    const heal = failing(w, how === 'unlink' ? 'remove' : 'copy', new StoreError('DENIED', 'no'));
    t.equal(await refused(() => (how === 'unlink' ? a.unlink('g') : a.rename('f', 'g'))), 'EACCES');
    heal();
    t.equal(a.fs.status()['files that wait for upload'], 0);
    t.equal(await a.readOpen(opened), 'text');
    await b.unlink('g');
    await a.close(opened);
    await a.fs.syncfs(a.caller());
    t.same(await w.names(), ['f']);
  }
});
