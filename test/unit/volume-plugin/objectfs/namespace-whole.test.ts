// Namespace and contents together: what the engine runs, without a kernel.
import t from 'tap';
import { type Host, PREFIX, refused, World } from './namespace-world.ts';

const real = { real: true };

const append = async (host: Host, path: string, text: string): Promise<void> => {
  const opened = await host.open(path);
  const { size } = await host.stat(path);
  await host.writeOpen(opened, text, size);
  await host.close(opened);
};

t.test('files are written, changed, renamed and removed', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', real);
  const b = await w.host('b', real);
  await a.mkdir('d');
  await a.write('d/f', 'one');
  t.equal(await b.read('d/f'), 'one');
  await append(a, 'd/f', ' two');
  t.equal(await b.read('d/f'), 'one two');
  await a.rename('d/f', 'd/g');
  await append(a, 'd/g', ' three');
  t.equal(await b.read('d/g'), 'one two three');
  await a.rename('d', 'e');
  await append(a, 'e/g', ' four');
  t.equal(await b.read('e/g'), 'one two three four');
  await a.unlink('e/g');
  await a.rmdir('e');
  t.same(await w.names(), []);
});

t.test('a file that is renamed while it is dirty keeps its name and its bytes', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', real);
  await a.write('f', 'stored');
  const opened = await a.open('f');
  await a.writeOpen(opened, ' and dirty', 6);
  await a.rename('f', 'g');
  t.same(await w.names(), ['g']);
  t.equal(await a.readOpen(opened), 'stored and dirty');
  await a.close(opened);
  t.equal(await w.text('g'), 'stored and dirty');
  t.same(await w.names(), ['g']);
});

t.test('a new file takes the place of one that is there, as editors save', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', real);
  await a.write('f', 'old');
  const opened = await a.create('f.tmp');
  await a.writeOpen(opened, 'new');
  await a.rename('f.tmp', 'f');
  t.equal(await w.text('f'), 'old');
  await a.close(opened);
  t.equal(await w.text('f'), 'new');
  t.same(await w.names(), ['f']);
});

t.test('a lost update is kept beside the file, and whoever closes it is told', async (t) => {
  const w = await World.of(t);
  const [a, b] = [await w.host('a', real), await w.host('b', real)];
  await a.write('f', 'first');
  const opened = await a.open('f');
  await a.writeOpen(opened, 'AAAAA');
  await b.write('f', 'other');
  t.equal(await refused(() => a.fs.flush(opened.node, opened.handle, a.caller())), 'ESTALE');
  await a.fs.release(opened.node, opened.handle, a.caller());
  const names = await w.names();
  t.equal(names.length, 2);
  const kept = names.find((name) => name !== 'f') ?? '';
  t.match(kept, /^f\.conflict-host-a-\d{8}T\d{6}Z$/);
  t.equal(await w.text(kept), 'AAAAA');
  t.equal(await a.read('f'), 'other');
  t.same((await a.list('')).sort(), ['f', kept]);
  t.equal(a.fs.status()['conflicts'], 1);
});

t.test(
  'attributes that are changed of an open and dirty file go with it, and are no reason for a conflict',
  async (t) => {
    const w = await World.of(t);
    const a = await w.host('a', real);
    await a.write('f', 'x');
    const opened = await a.open('f');
    await a.fs.setattr(opened.node, { mode: 0o600 }, a.caller());
    await a.fs.syncfs(a.caller());
    await a.writeOpen(opened, 'y', 1);
    await a.fs.setattr(opened.node, { mode: 0o640, mtime: 42n }, a.caller());
    await a.close(opened);
    const b = await w.host('b', real);
    t.match(await b.stat('f'), { mode: 0o100640, mtime: 42n, size: 2 });
    t.equal(await b.read('f'), 'xy');
    t.same(await w.names(), ['f']);
  },
);

t.test('an unlinked file that is open is read and written until it is closed, and nothing of it is left', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', real);
  await a.write('f', 'content');
  const opened = await a.open('f');
  await a.unlink('f');
  t.equal(await a.readOpen(opened), 'content');
  await a.writeOpen(opened, 'C');
  t.equal(await a.readOpen(opened), 'Content');
  await a.write('f', 'another');
  await a.close(opened);
  t.equal(await a.read('f'), 'another');
  t.same(await w.names(), ['f']);
  t.same(
    (await w.keys()).filter((key) => key.includes('/orphans/')),
    [],
  );
});

t.test('what was written before a kill -9 is there in the next life, open and under its name', async (t) => {
  const w = await World.of(t);
  const first = await w.host('a', real);
  await first.write('kept', 'stored');
  const changed = await first.open('kept');
  await first.writeOpen(changed, '+', 6);
  const made = await first.create('made', 0o600, 0, { uid: 4 });
  await first.writeOpen(made, 'new');
  const gone = await first.create('gone');
  await first.unlink('gone');
  first.kill();
  const next = await w.host('a', { real: true, survived: true });
  t.equal(await next.readOpen(changed), 'stored+');
  t.equal(await next.readOpen(made), 'new');
  t.match(await next.stat('made'), { mode: 0o100600, uid: 4 });
  await next.close(changed);
  await next.close(made);
  await next.fs.release(gone.node, gone.handle, next.caller());
  t.equal(await w.text('kept'), 'stored+');
  t.equal(await w.text('made'), 'new');
  t.same(await w.names(), ['kept', 'made']);
});

t.test(
  'with durability=local what was closed is brought to the bucket later, whatever its name is by then',
  async (t) => {
    const w = await World.of(t);
    const a = await w.host('a', { real: true, semantics: { durability: 'local' } });
    await a.mkdir('d');
    for (let n = 0; n < 20; n += 1) await a.write(`d/f${n}`, `text ${n}`);
    await a.rename('d/f0', 'd/g0');
    await a.rename('d', 'e');
    await a.unlink('e/f1');
    await a.fs.syncfs(a.caller());
    const names = await w.names();
    t.equal(names.length, 20, 'the folder and 19 files');
    t.ok(
      names.every((name) => name.startsWith('e/')),
      'none under an old name',
    );
    t.equal(await w.text('e/g0'), 'text 0');
    t.equal(await w.text('e/f19'), 'text 19');
  },
);

t.test('truncate by name is in the bucket when it returns', async (t) => {
  const w = await World.of(t);
  const a = await w.host('a', real);
  await w.put('f', 'abcdef');
  await a.fs.setattr(await a.node('f'), { size: 3 }, a.caller());
  t.equal(await w.text('f'), 'abc');
  t.equal((await w.store.head(`${PREFIX}f`, w.context))?.size, 3);
});
