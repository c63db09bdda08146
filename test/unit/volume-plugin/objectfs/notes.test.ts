// Notes of a folder's names: nothing of what this host has noted is lost or goes on being told, however late answers or changes come.
import t from 'tap';
import type { ObjectStore } from '../../../../volume-plugin/object/store.ts';
import { bound } from './namespace-mortal.ts';
import { type Host, PREFIX, World } from './namespace-world.ts';

const LINK = 0o120_000;
const isOfNotes = (key: string): boolean => key.startsWith(`${PREFIX}.drayage/notes/`);

/** A store of which answers about notes can be kept back. */
class Late {
  #which: 'get' | 'list' | undefined;
  #until: Promise<void> | undefined;
  #release: () => void = () => undefined;
  /** Answers that are kept back. */
  held = 0;

  over(store: ObjectStore): ObjectStore {
    const inner = bound(store);
    const late = async <T>(which: 'get' | 'list', key: string, answer: Promise<T>): Promise<T> => {
      const until = isOfNotes(key) && this.#which === which ? this.#until : undefined;
      const found = await answer;
      if (until === undefined) return found;
      this.held += 1;
      await until;
      return found;
    };
    return {
      ...inner,
      get: (key, ...more) => late('get', key, inner.get(key, ...more)),
      list: (prefix, ...more) => late('list', prefix, inner.list(prefix, ...more)),
    };
  }

  /** Answers to what is asked from now on wait for `release`. */
  hold(which: 'get' | 'list'): void {
    this.#which = which;
    this.#until = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  /** What is asked from now on is answered at once again. */
  pass(): void {
    this.#which = undefined;
  }

  release(): void {
    this.#release();
  }
}

const until = async (isSo: () => boolean): Promise<void> => {
  const end = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > end) throw new Error('it did not become so');
    await new Promise((resolve) => setImmediate(resolve));
  }
};

/** What a host takes the names of a folder for that it has not looked into before. */
const kinds = async (host: Host, path: string): Promise<Record<string, number>> => {
  const entries = await host.entries(path);
  return Object.fromEntries(entries.map(({ name, entry }) => [name, (entry?.attributes.mode ?? 0) & 0o170_000]));
};

for (const which of ['list', 'get'] as const) {
  t.test(`a ${which} of notes that is answered after later ones were written takes nothing back`, async (t) => {
    const w = await World.of(t);
    const late = new Late();
    await w.put('d/theirs', 'x');
    if (which === 'get') {
      // In an earlier life: what is read of it is old when it comes.
      const before = await w.host('a');
      await before.symlink('d/first', 'theirs');
      await before.fs.syncfs(before.caller());
      await before.end();
    }
    w.wrap((store) => late.over(store));
    const a = await w.host('a');
    late.hold(which);
    const reading = a.entries('d');
    await until(() => late.held > 0);
    late.pass();
    await a.symlink('d/second', 'theirs');
    await a.fs.syncfs(a.caller());
    late.release();
    await reading;
    await a.symlink('d/third', 'theirs');
    await a.fs.syncfs(a.caller());
    const b = await w.host('b');
    t.same(await kinds(b, 'd'), {
      ...(which === 'get' && { first: LINK }),
      ...{ second: LINK, theirs: 0o100_000, third: LINK },
    });
  });
}

t.test(
  'a folder whose permissions become the usual ones again later than a moment after is shown with them',
  async (t) => {
    const w = await World.of(t);
    let laterMs = 0;
    w.wrap((store) => {
      const inner = bound(store);
      const put: ObjectStore['put'] = async (...asked) => {
        const facts = await inner.put(...asked);
        return { ...facts, modified: facts.modified + laterMs };
      };
      return { ...inner, put };
    });
    await w.put('d/theirs', 'x');
    const a = await w.host('a');
    await a.mkdir('d/sub', 0o700);
    await a.fs.syncfs(a.caller());
    laterMs = 5_000;
    await a.fs.setattr(await a.node('d/sub'), { mode: 0o755 }, a.caller());
    await a.fs.syncfs(a.caller());
    const b = await w.host('b');
    const sub = (await b.entries('d')).find(({ name }) => name === 'sub');
    t.equal((sub?.entry?.attributes.mode ?? 0) & 0o7777, 0o755);
  },
);

t.test('a plain listing, which makes no nodes, tells links from files too', async (t) => {
  const w = await World.of(t);
  await w.put('d/file', 'x');
  const a = await w.host('a');
  await a.symlink('d/link', 'file');
  await a.fs.syncfs(a.caller());
  const b = await w.host('b');
  const node = await b.node('d');
  const { handle } = await b.fs.opendir(node, b.caller());
  const types = Object.fromEntries(
    (await b.fs.readdir(node, handle, 2, false, b.caller())).map(({ name, type }) => [name, type]),
  );
  t.same(types, { file: 0o100_000, link: LINK });
});

t.test('notes of a folder are written one after another, however long the store takes for one', async (t) => {
  const w = await World.of(t);
  const underWay: (() => void)[] = [];
  let [begun, most, now] = [0, 0, 0];
  w.wrap((store) => {
    const inner = bound(store);
    return {
      ...inner,
      put: async (key, ...asked) => {
        if (!isOfNotes(key)) return inner.put(key, ...asked);
        begun += 1;
        now += 1;
        most = Math.max(most, now);
        await new Promise<void>((resolve) => underWay.push(resolve));
        now -= 1;
        return inner.put(key, ...asked);
      },
    };
  });
  const host = await w.host('a');
  await host.mkdir('d');
  await host.symlink('d/first', 'x');
  await until(() => begun === 1);
  await host.symlink('d/second', 'x');
  // Whoever unmounts, and whoever syncs, wait beside who writes by and by.
  const settled = [1, 2, 3].map(() => host.fs.drain(() => undefined));
  await new Promise((resolve) => setTimeout(resolve, 700));
  const passing = setInterval(() => underWay.shift()?.(), 5);
  await Promise.all(settled);
  clearInterval(passing);
  for (const release of underWay) release();
  t.equal(most, 1);
  w.later();
  t.same(await kinds(await w.host('b'), 'd'), { first: LINK, second: LINK });
});
