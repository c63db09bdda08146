// kill -9 of the engine at every point at which the store or the disk has been told something, with the request sent again or not.
import t from 'tap';
import type { Caller, FileSystem } from '../../../../volume-plugin/fuse/file-system.ts';
import { codeOf, type Host, ROOT, World } from './namespace-world.ts';

t.setTimeout(120_000);

interface Case {
  readonly before: (host: Host) => Promise<void>;
  /** One request of the kernel. */
  readonly request: (fs: FileSystem, nodes: ReadonlyMap<string, number>, caller: Caller) => unknown;
  /** Paths whose nodes the kernel knows. */
  readonly known?: readonly string[];
  /** What the next life has at first: any of these. */
  readonly seen: readonly Readonly<Record<string, string | null>>[];
  /** And at last, when the request was sent again. */
  readonly after: Readonly<Record<string, string | null>>;
}

const nodeOf = (nodes: ReadonlyMap<string, number>, path: string): number => nodes.get(path) ?? 0;

/** What is under some paths: the file's text, `/` for a folder, null for nothing. */
const look = async (host: Host, paths: readonly string[]): Promise<Record<string, string | null>> => {
  const found: Record<string, string | null> = {};
  for (const path of paths) {
    if (!(await host.exists(path).catch(() => false))) found[path] = null;
    else if (((await host.stat(path)).mode & 0o170000) === 0o040000) found[path] = '/';
    else if (((await host.stat(path)).mode & 0o170000) === 0o120000) {
      found[path] = await host.fs.readlink(await host.node(path), host.caller());
    } else found[path] = await host.read(path);
  }
  return found;
};

/** Kills at each point that there is; answers how many there were. */
const killEverywhere = async (
  t: { same(a: unknown, b: unknown, text: string): unknown; ok(a: unknown, text: string): unknown },
  { before, request, known = [], seen, after }: Case,
  again: boolean,
): Promise<number> => {
  for (let point = 0; ; point += 1) {
    const world = await World.make();
    try {
      const first = await world.host('a');
      await before(first);
      await first.fs.syncfs(first.caller());
      const nodes = new Map<string, number>();
      for (const path of known) nodes.set(path, await first.node(path));
      first.mortal.left = point;
      const caller = first.caller();
      const ended = Promise.resolve()
        .then(() => request(first.fs, nodes, caller))
        .catch((error: unknown) => {
          if (!first.mortal.isDead) throw error;
        })
        .then(() => 'ended');
      const outcome = await Promise.race([ended, first.mortal.died.promise.then(() => 'died')]);
      if (outcome === 'ended' && !first.mortal.isDead) return point;
      first.kill();
      const next = await world.host('a', { survived: true });
      if (again) {
        await request(next.fs, nodes, { ...caller, resent: true });
      } else {
        await next.fs.drain(() => undefined);
        const there = await look(next, Object.keys(after));
        const isOne = seen.some((one) => JSON.stringify(one) === JSON.stringify(there));
        t.ok(isOne, `killed at ${point}: ${JSON.stringify(there)}`);
      }
      const other = await world.host('b');
      await next.fs.syncfs(next.caller());
      if (again) {
        t.same(await look(next, Object.keys(after)), after, `killed at ${point}`);
        t.same(await look(other, Object.keys(after)), after, `killed at ${point}, from another host`);
      } else {
        t.same(
          await look(other, Object.keys(after)),
          await look(next, Object.keys(after)),
          `the same to others, ${point}`,
        );
      }
    } finally {
      await world.end();
    }
  }
};

const CASES: Readonly<Record<string, Case>> = {
  mkdir: {
    before: async () => undefined,
    request: (fs, _nodes, caller) => fs.mkdir(ROOT, 'd', 0o755, caller),
    seen: [{ d: null }, { d: '/' }],
    after: { d: '/' },
  },
  symlink: {
    before: async () => undefined,
    request: (fs, _nodes, caller) => fs.symlink(ROOT, 'l', 'target', caller),
    seen: [{ l: null }, { l: 'target' }],
    after: { l: 'target' },
  },
  unlink: {
    before: (host) => host.write('f', 'F'),
    known: ['f'],
    request: (fs, _nodes, caller) => fs.unlink(ROOT, 'f', caller),
    seen: [{ f: 'F' }, { f: null }],
    after: { f: null },
  },
  rmdir: {
    before: async (host) => void (await host.mkdir('d')),
    known: ['d'],
    request: (fs, _nodes, caller) => fs.rmdir(ROOT, 'd', caller),
    seen: [{ d: '/' }, { d: null }],
    after: { d: null },
  },
  'rename of a file': {
    before: async (host) => {
      await host.mkdir('d');
      await host.write('f', 'F', 0o755);
    },
    known: ['f', 'd'],
    request: (fs, nodes, caller) => fs.rename(ROOT, 'f', nodeOf(nodes, 'd'), 'g', 0, caller),
    seen: [
      { f: 'F', 'd/g': null },
      { f: null, 'd/g': 'F' },
    ],
    after: { f: null, 'd/g': 'F' },
  },
  'rename onto a file': {
    before: async (host) => {
      await host.write('f', 'F');
      await host.write('g', 'G');
    },
    known: ['f', 'g'],
    request: (fs, _nodes, caller) => fs.rename(ROOT, 'f', ROOT, 'g', 0, caller),
    seen: [
      { f: 'F', g: 'G' },
      { f: null, g: 'F' },
    ],
    after: { f: null, g: 'F' },
  },
  'rename of a folder': {
    before: async (host) => {
      await host.mkdir('d');
      await host.write('d/f', 'F');
      await host.mkdir('d/s');
      await host.write('d/s/g', 'G');
    },
    known: ['d', 'd/f', 'd/s'],
    request: (fs, _nodes, caller) => fs.rename(ROOT, 'd', ROOT, 'e', 0, caller),
    seen: [
      { d: '/', 'd/f': 'F', 'd/s/g': 'G', e: null, 'e/f': null, 'e/s/g': null },
      { d: null, 'd/f': null, 'd/s/g': null, e: '/', 'e/f': 'F', 'e/s/g': 'G' },
    ],
    after: { d: null, 'd/f': null, 'd/s/g': null, e: '/', 'e/f': 'F', 'e/s/g': 'G' },
  },
};

for (const [name, one] of Object.entries(CASES)) {
  t.test(`killed anywhere in ${name}, a volume is as before or as after it`, async (t) => {
    t.ok((await killEverywhere(t, one, false)) >= 3, 'there were points to die at');
  });
  t.test(
    `killed anywhere in ${name}, the kernel sends it again and gets the answer that it would have got`,
    async (t) => {
      t.ok((await killEverywhere(t, one, true)) >= 3);
    },
  );
}

t.test('nodes, open files and what was written are there in the next life', async (t) => {
  const world = await World.of(t);
  const first = await world.host('a');
  await first.mkdir('d');
  await first.write('d/f', 'stored');
  const reading = await first.open('d/f');
  const writing = await first.create('d/new', 0o600, 0, { uid: 4, gid: 5 });
  await first.writeOpen(writing, 'written');
  await first.fs.setattr(reading.node, { mode: 0o711 }, first.caller());
  first.kill();
  const next = await world.host('a', { survived: true });
  t.equal(await next.readOpen(reading), 'stored');
  t.equal(await next.readOpen(writing), 'written');
  t.match(await next.stat('d/new'), { mode: 0o100600, uid: 4, gid: 5, size: 7 });
  await next.writeOpen(writing, '!', 7);
  await next.close(writing);
  await next.close(reading);
  await next.fs.syncfs(next.caller());
  t.equal(await world.text('d/new'), 'written!');
  const other = await world.host('b');
  t.equal((await other.stat('d/f')).mode, 0o100711, 'what was acknowledged of attributes, too');
  t.equal((await next.fs.lookup(await next.node('d'), 'f', next.caller())).attributes.node, reading.node);
});

t.test('a create that the kernel sends again answers the same file and handle', async (t) => {
  const world = await World.of(t);
  const first = await world.host('a');
  await first.exists('f');
  const caller = first.caller();
  const made = await first.fs.create(ROOT, 'f', 0o644, 0o102, caller);
  first.kill();
  const next = await world.host('a', { survived: true });
  const again = await next.fs.create(ROOT, 'f', 0o644, 0o302, { ...caller, resent: true });
  t.equal(again.attributes.node, made.attributes.node);
  t.equal(again.handle, made.handle);
  t.equal(
    await Promise.resolve(next.fs.create(ROOT, 'f', 0o644, 0o302, next.caller())).then(
      () => 'made',
      (error: unknown) => codeOf(error),
    ),
    'EEXIST',
    'another one with O_EXCL is refused',
  );
});

t.test('a listing that is begun in one life is ended in the next', async (t) => {
  const world = await World.of(t);
  const names = Array.from({ length: 300 }, (_, n) => `f${String(n).padStart(3, '0')}`);
  await Promise.all(names.map((name) => world.put(`d/${name}`)));
  const first = await world.host('a');
  const node = await first.node('d');
  const { handle } = await first.fs.opendir(node, first.caller());
  const half = (await first.fs.readdir(node, handle, 0, true, first.caller())).slice(0, 150);
  first.kill();
  const next = await world.host('a', { survived: true });
  let cookie = half.at(-1)?.cookie ?? 0;
  const all = half.map(({ name }) => name);
  for (;;) {
    const more = await next.fs.readdir(node, handle, cookie, true, next.caller());
    if (more.length === 0) break;
    all.push(...more.map(({ name }) => name));
    cookie = more.at(-1)?.cookie ?? 0;
  }
  t.same(all, ['.', '..', ...names]);
});

t.test('of an earlier mount only what is not in the store is remembered', async (t) => {
  const world = await World.of(t);
  const first = await world.host('a', { semantics: { durability: 'local' } });
  await first.write('stored', 'x');
  await first.fs.syncfs(first.caller());
  const dirty = await first.create('dirty');
  await first.writeOpen(dirty, 'D');
  await first.open('stored');
  first.kill();
  const next = await world.host('a', { survived: false });
  t.equal(next.fs.status()['open'], 0);
  t.equal(await next.read('dirty'), 'D');
  await next.fs.drain(() => undefined);
  t.equal(await world.text('dirty'), 'D');
});
