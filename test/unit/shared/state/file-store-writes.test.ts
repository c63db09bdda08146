import fs, { constants } from 'node:fs';
import { open as openFile, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { createLogger } from '../../../../shared/log.ts';
import { ids, makeFolder, open, prepared, put } from './file-store-world.ts';

/** When something is on the disk, and who waits for it. */

/**
 * Tells of each write to the journal: `waited` for by everybody, or `sent` to a thread, where it takes `ms`. `synced`: all
 * of it is brought to the disk, `synced*` on a thread.
 */
const watchWrites = async (t: Test, folder: string, events: string[], ms = 0): Promise<void> => {
  const probe = await openFile(folder);
  const handles = Object.getPrototypeOf(probe);
  await probe.close();
  const { write, datasync } = handles;
  t.intercept(handles, 'datasync', {
    value: async function (this: unknown) {
      await datasync.apply(this);
      events.push('synced*');
    },
  });
  t.intercept(handles, 'write', {
    value: async function (this: unknown, ...args: unknown[]) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      const result = await write.apply(this, args);
      events.push('sent');
      return result;
    },
  });
  const { writeSync } = fs;
  t.intercept(fs, 'writeSync', {
    value: (...args: Parameters<typeof writeSync>) => {
      const result = writeSync(...args);
      // The runner writes too.
      if (args[0] > 2) events.push('waited');
      return result;
    },
  });
  const { fdatasyncSync } = fs;
  t.intercept(fs, 'fdatasyncSync', {
    value: (fd: number) => {
      fdatasyncSync(fd);
      events.push('synced');
    },
  });
  syncBuiltinESMExports();
  t.teardown(() => syncBuiltinESMExports());
};

t.test('a write to the journal is durable when it returns, and an update resolves after it', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder, { quickMs: 10_000 });
  const path = await realpath(join(folder, 'state', 'journal.jsonl'));
  const flags: number[] = [];
  for (const fd of await readdir('/proc/self/fd')) {
    if ((await readlink(`/proc/self/fd/${fd}`).catch(() => '')) !== path) continue;
    const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
    flags.push(Number.parseInt(/flags:\s+(\d+)/.exec(info)?.[1] ?? '', 8));
  }
  t.same(
    flags.map((flag) => (flag & constants.O_DSYNC) !== 0).sort(),
    [false, true],
    'one for the disk (O_DSYNC), one for the kernel',
  );
  const events: string[] = [];
  await watchWrites(t, folder, events);
  for (let i = 0; i < 20; i += 1) await put(store, 'a', `${i}`).then(() => events.push('resolved'));
  await store.close();
  t.match(events.join(' '), /^(sent resolved ){4}(waited resolved ?){16}$/, 'a disk is waited for once it is known');
});

t.test('nobody but those who change something wait for a slow disk', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder, { quickMs: 5 });
  const events: string[] = [];
  await watchWrites(t, folder, events, 8);
  for (let i = 0; i < 12; i += 1) await put(store, 'a', `${i}`);
  t.same(new Set(events), new Set(['sent']));
  const all = Array.from({ length: 20 }, (_, i) => sleep(i).then(() => put(store, `n${i}`)));
  events.length = 0;
  await Promise.all(all);
  t.ok(events.length < 15, `updates made meanwhile share a write: ${events.length} for 20`);
  await store.close();
});

t.test('what may be forgotten is seen at once, and is written with the next update or a moment later', async (t) => {
  const { folder, journal } = await prepared(t);
  const lines = async (): Promise<number> => (await readFile(journal, 'utf8')).split('\n').length - 1;
  const store = await open(folder);
  store.soon((tx) => tx.put('networks', 'd', { id: 'd' }));
  t.same(ids(store), ['a', 'b', 'c', 'd']);
  t.equal(await lines(), 3, 'nothing is written yet');
  await store.update((tx) => tx.put('networks', 'e', { id: tx.get('networks', 'd')?.id ?? '' }));
  t.equal(await lines(), 4, 'one write for both');
  store.soon((tx) => tx.put('networks', 'f', { id: 'f' }));
  await sleep(400);
  t.equal(await lines(), 5, 'without an update it is written, too');
  store.soon((tx) => tx.put('networks', 'g', { id: 'g' }));
  t.equal(await store.update((tx) => tx.all('networks').size), 7);
  t.equal(await lines(), 6, 'who reads it and waits, waits for it');
  store.soon((tx) => tx.put('networks', 'h', { id: 'h' }));
  store.soon(() => undefined);
  await store.close();
  t.throws(() => store.soon(() => undefined), { code: 'STATE_WRITE', message: /closed/ });
  const again = await open(folder);
  t.same(ids(again), ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
  await again.close();
});

t.test('what only has to outlive the plugin waits for no disk, and is on it a moment later', async (t) => {
  const { folder, journal } = await prepared(t);
  const lines = async (): Promise<number> => (await readFile(journal, 'utf8')).split('\n').length - 1;
  const store = await open(folder, { quickMs: 10_000 });
  const events: string[] = [];
  await watchWrites(t, folder, events);
  const note = (id: string): Promise<void> => store.update((tx) => tx.put('endpoints', id, { id }), 'kernel');
  for (let i = 0; i < 8; i += 1) await note('a').then(() => events.push('resolved'));
  t.match(events.join(' '), /^(sent resolved ){4}(waited resolved ?){4}$/, 'written, and not brought to the disk');
  t.equal(await lines(), 11, 'a plugin that is killed now finds all of it');
  for (let i = 0; i < 50 && !events.includes('synced*'); i += 1) await sleep(10);
  t.equal(events.at(-1), 'synced*', 'without a further change');
  events.length = 0;
  await note('b');
  await put(store, 'c');
  await put(store, 'c', 'again');
  t.match(events.join(' '), /^waited sent synced\* sent$/, 'what must be on the disk brings along what was before it');
  events.length = 0;
  await note('d');
  await store.close();
  t.same(events, ['waited', 'synced*'], 'a store that is closed owes nothing');
  const again = await open(folder);
  t.same([...again.all('endpoints').keys()], ['a', 'b', 'd']);
  await again.close();
});

t.test('what a failed disk may have lost is written anew with the next change', async (t) => {
  const { folder, journal } = await prepared(t);
  const lines: string[] = [];
  const store = await open(folder, { log: createLogger({ level: 'warn', write: (line) => lines.push(line) }) });
  const probe = await openFile(folder);
  const handles = Object.getPrototypeOf(probe);
  await probe.close();
  const { datasync } = handles;
  handles.datasync = async () => {
    throw Object.assign(new Error('EIO'), { code: 'EIO' });
  };
  t.teardown(() => {
    handles.datasync = datasync;
  });
  await store.update((tx) => tx.put('endpoints', 'e', { id: 'e' }), 'kernel');
  for (let i = 0; i < 50 && lines.length === 0; i += 1) await sleep(10);
  t.match(lines.join(''), 'could not be brought to the disk');
  handles.datasync = datasync;
  await put(store, 'd');
  t.equal((await stat(journal)).size, 0, 'all is in the snapshot');
  await store.close();
  const again = await open(folder);
  t.same([ids(again), [...again.all('endpoints').keys()]], [['a', 'b', 'c', 'd'], ['e']]);
  await again.close();
});
