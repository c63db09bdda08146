import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile, chmod, mkdir, readdir, readFile, stat, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createLogger, silentLogger } from '../../../../shared/log.ts';
import { FileStore } from '../../../../shared/state/file-store.ts';
import { ids, makeFolder, open, prepared, put } from './file-store-world.ts';

const FIXTURE = fileURLToPath(new URL('file-store-fixture.ts', import.meta.url));

const flip = async (path: string, place: number): Promise<void> => {
  const bytes = await readFile(path);
  bytes[place] = (bytes[place] ?? 0) ^ 1;
  await writeFile(path, bytes);
};

const run = (mode: string, folder: string, compactAfter: number, command: readonly string[] = []): ChildProcess => {
  const [file = '', ...args] = [...command, process.execPath, FIXTURE, mode, folder, String(compactAfter)];
  return spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
};

const exitOf = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.on('exit', resolve));

t.test('what was resolved is there after a restart, in files that only the owner may read', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder);
  await put(store, 'a');
  await store.update((tx) => {
    tx.put('networks', 'b', { id: 'b' });
    tx.put('endpoints', 'e', { id: 'e' });
    tx.delete('networks', 'a');
  });
  t.equal(await store.update(() => 'only read'), 'only read');
  await store.close();
  await t.rejects(put(store, 'z'), { code: 'STATE_WRITE', message: /closed/ });
  const again = await open(folder);
  t.same(ids(again), ['b']);
  t.same(again.get('endpoints', 'e'), { id: 'e' });
  await again.close();
  const state = join(folder, 'state');
  t.equal((await stat(state)).mode & 0o777, 0o700);
  t.same((await readdir(state)).sort(), ['journal.jsonl', 'snapshot.json'], 'nothing else is left');
  for (const name of await readdir(state)) t.equal((await stat(join(state, name))).mode & 0o777, 0o600, name);
});

t.test('a folder that others may look into is closed to them', async (t) => {
  const folder = await makeFolder(t);
  await mkdir(join(folder, 'state'));
  await chmod(join(folder, 'state'), 0o755);
  await (await open(folder)).close();
  t.equal((await stat(join(folder, 'state'))).mode & 0o777, 0o700);
});

t.test('a change that throws writes nothing; reading writes nothing', async (t) => {
  const { folder, journal } = await prepared(t);
  const { size } = await stat(journal);
  const store = await open(folder);
  await t.rejects(
    store.update((tx) => {
      tx.put('networks', 'd', { id: 'd' });
      throw new Error('no');
    }),
    { message: 'no' },
  );
  await store.update((tx) => tx.all('networks').size);
  await store.close();
  t.equal((await stat(journal)).size, size);
});

t.test('many updates at once share a few writes, and all are durable', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder);
  await Promise.all(Array.from({ length: 500 }, (_, i) => put(store, `n${i}`)));
  await store.close();
  const lines = (await readFile(join(folder, 'state', 'journal.jsonl'), 'utf8')).split('\n').length - 1;
  t.ok(lines < 50, `${lines} writes`);
  const again = await open(folder);
  t.equal(ids(again).length, 500);
  await again.close();
});

t.test('an update made in any step after another one has resolved is written', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder);
  for (let steps = 0; steps < 12; steps += 1) {
    let next = store.update((tx) => tx.put('networks', 'a', { id: `${steps}` }));
    for (let i = 0; i < steps; i += 1) next = next.then(() => undefined);
    const written = next.then(() => put(store, 'b', `${steps}`));
    const late = new Promise((resolve) => setTimeout(() => resolve('late'), 5_000).unref());
    t.equal(await Promise.race([written, late]), undefined, `${steps} steps later`);
  }
  await store.close();
});

t.test('the journal is folded into the snapshot before it grows large', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder, { compactAfter: 2_000 });
  for (let i = 0; i < 200; i += 1) await put(store, `n${i % 5}`, `note ${i}`);
  await store.close();
  t.ok((await stat(join(folder, 'state', 'journal.jsonl'))).size < 4_000);
  const again = await open(folder);
  t.same(ids(again).sort(), ['n0', 'n1', 'n2', 'n3', 'n4']);
  t.equal(again.get('networks', 'n4')?.note, 'note 199');
  await again.close();
});

t.test('a crash between the new snapshot and the empty journal loses and repeats nothing', async (t) => {
  const { folder, journal } = await prepared(t);
  const old = await readFile(journal);
  const store = await open(folder, { compactAfter: 1 });
  await store.update((tx) => tx.delete('networks', 'a'));
  await store.close();
  t.equal((await stat(journal)).size, 0, 'it was compacted');
  await writeFile(journal, old);
  const again = await open(folder);
  t.same(ids(again), ['b', 'c'], 'older lines do no harm');
  await again.close();
});

t.test('a last write that was cut short is dropped with a line in the log', async (t) => {
  const { folder, journal } = await prepared(t);
  const { size } = await stat(journal);
  await truncate(journal, size - 5);
  const lines: string[] = [];
  const store = await open(folder, { log: createLogger({ level: 'warn', write: (line) => lines.push(line) }) });
  t.same(ids(store), ['a', 'b']);
  t.match(lines.join(''), 'cut short by a crash');
  await put(store, 'd');
  await store.close();
  const again = await open(folder);
  t.same(ids(again), ['a', 'b', 'd'], 'what is written after it is readable');
  await again.close();
});

t.test('damage is refused at every start, and the damaged file is kept', async (t) => {
  for (const which of ['journal', 'snapshot'] as const) {
    const files = await prepared(t);
    await flip(files[which], 60);
    const damaged = await readFile(files[which]);
    await t.rejects(open(files.folder), { code: 'STATE_CORRUPT', message: /checksum/, fix: /corrupt-\d+T\d+Z/ }, which);
    const kept = (await readdir(join(files.folder, 'state'))).find((name) => name.includes('.corrupt-'));
    t.same(await readFile(join(files.folder, 'state', kept ?? '')), damaged);
    await t.rejects(open(files.folder), { code: 'STATE_CORRUPT', message: /missing/ }, 'the second start, too');
  }
});

t.test('a damaged snapshot is refused at every start also when the journal is empty', async (t) => {
  const { folder, snapshot, journal } = await prepared(t);
  const store = await open(folder, { compactAfter: 1 });
  await put(store, 'd');
  await store.close();
  t.equal((await stat(journal)).size, 0);
  await flip(snapshot, 60);
  await t.rejects(open(folder), { code: 'STATE_CORRUPT' });
  await t.rejects(open(folder), { code: 'STATE_CORRUPT' });
});

t.test('whoever chooses to start empty is told what was lost, and keeps the files', async (t) => {
  const { folder, journal } = await prepared(t);
  await flip(journal, 60);
  const store = await open(folder, { onCorrupt: 'start-empty', recovery: 'Networks must be made again' });
  t.match(store.startedEmpty, { code: 'STATE_CORRUPT', fix: /Networks must be made again\.$/ });
  t.same(ids(store), []);
  await put(store, 'new');
  await store.close();
  t.equal((await readdir(join(folder, 'state'))).filter((name) => name.includes('.corrupt-')).length, 2);
  const again = await open(folder);
  t.same(ids(again), ['new']);
  t.equal(again.startedEmpty, undefined);
  await again.close();
});

t.test('a missing file of the two is damage; no files are a fresh start', async (t) => {
  for (const which of ['journal', 'snapshot'] as const) {
    const files = await prepared(t);
    await unlink(files[which]);
    await t.rejects(open(files.folder), { code: 'STATE_CORRUPT', message: /missing/ }, which);
  }
  const folder = await makeFolder(t);
  await mkdir(join(folder, 'state'));
  await writeFile(join(folder, 'state', 'journal.jsonl'), '');
  const store = await open(folder);
  t.same(ids(store), [], 'a first start that was cut short');
  await store.close();
});

t.test('a later version is refused and left alone; an older one is migrated', async (t) => {
  const { folder, snapshot } = await prepared(t);
  const newer = await open(folder, {
    version: 2,
    migrate: (from, records) => ({
      networks: (records.networks ?? []).map(([id, record]) => [id, { ...(record as object), note: `from ${from}` }]),
    }),
  });
  t.match([...newer.all('networks').values()], [{ id: 'a', note: 'from 1' }, { id: 'b' }, { id: 'c' }]);
  await newer.close();
  const before = await readFile(snapshot);
  await t.rejects(open(folder), {
    code: 'STATE_VERSION',
    message: /version 2, but this plugin knows versions up to 1/,
  });
  await t.rejects(open(folder, { onCorrupt: 'start-empty' }), { code: 'STATE_VERSION' });
  t.same(await readFile(snapshot), before);
  await t.rejects(open(folder, { version: 2, collections: ['endpoints'] }), {
    code: 'STATE_VERSION',
    message: /"networks"/,
  });
  const again = await open(folder, { version: 2 });
  t.equal(again.get('networks', 'a')?.note, 'from 1');
  await again.close();
});

t.test('a folder belongs to one process, and to the next one at once after kill -9', async (t) => {
  const folder = await makeFolder(t);
  const child = run('hold', folder, 100_000);
  const gone = exitOf(child);
  t.teardown(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  await t.rejects(open(folder), { code: 'STATE_LOCKED', message: new RegExp(`process ${child.pid}`) });
  child.kill('SIGKILL');
  await gone;
  const store = await open(folder);
  await t.rejects(open(folder), { code: 'STATE_LOCKED' }, 'also within one process');
  await store.close();
  await (await open(folder)).close();
});

t.test('of many that find a stale lock, one gets it', async (t) => {
  const folder = await makeFolder(t);
  const child = run('hold', folder, 100_000);
  const gone = exitOf(child);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  child.kill('SIGKILL');
  await gone;
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => open(folder)));
  const winners = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  t.equal(winners.length, 1);
  for (const result of results) if (result.status === 'rejected') t.equal(result.reason.code, 'STATE_LOCKED');
  await winners[0]?.close();
});

t.test('a folder that cannot be used is named', async (t) => {
  const folder = await makeFolder(t);
  await writeFile(join(folder, 'state'), 'a file');
  await t.rejects(open(folder), { code: 'STATE_WRITE', message: /state.*(EEXIST|ENOTDIR)/ });
});

t.test('a foreign file in place of the journal is refused', async (t) => {
  const { folder, journal } = await prepared(t);
  await appendFile(journal, 'something else\n');
  await t.rejects(open(folder), { code: 'STATE_CORRUPT', message: /line 4 has no checksum/ });
});

t.test('kill -9 at any moment loses nothing that was resolved, and halves nothing', { timeout: 90_000 }, async (t) => {
  const folder = await makeFolder(t);
  let durable = 0;
  for (let round = 0; round < 12; round += 1) {
    const child = run('write', folder, 4_000);
    const gone = exitOf(child);
    t.teardown(() => child.kill('SIGKILL'));
    const opened = Promise.withResolvers<void>();
    let text = '';
    child.stdout?.on('data', (chunk) => {
      text += chunk;
      opened.resolve();
    });
    await opened.promise;
    await new Promise((resolve) => setTimeout(resolve, (round * 37) % 120));
    child.kill('SIGKILL');
    await gone;
    const said = text.split('\n').slice(1, -1).map(Number);
    durable = Math.max(durable, ...said);
    const store = await FileStore.open<{ left: { n: number }; right: { n: number } }>(join(folder, 'state'), {
      version: 1,
      collections: ['left', 'right'],
      log: silentLogger,
    });
    const left = [...store.all('left')].map(([id, { n }]) => [id, n]).sort();
    const right = [...store.all('right')].map(([id, { n }]) => [id, n]).sort();
    t.same(left, right, 'both halves of every update are there, or none');
    const read = new Map(right as [string, number][]);
    for (let n = Math.max(1, durable - 9); n <= durable; n += 1) {
      if (!((read.get(`k${n % 10}`) ?? 0) >= n)) t.fail(`update ${n} was resolved and is lost`);
    }
    durable = Math.max(durable, ...read.values());
    await store.close();
  }
  t.ok(durable > 50, `${durable} updates`);
});

t.test(
  'a full disk refuses updates, changes nothing, and is forgotten once there is room',
  { skip: process.getuid?.() === 0 ? false : 'needs root' },
  async (t) => {
    const folder = await makeFolder(t);
    for (const compactAfter of [1_000_000, 20_000, 1]) {
      const child = run('full', folder, compactAfter, ['unshare', '--mount']);
      let text = '';
      child.stdout?.on('data', (chunk) => {
        text += chunk;
      });
      t.equal(await exitOf(child), 0);
      const [refused, ...rest] = text.trimEnd().split('\n');
      t.match(refused, /^STATE_WRITE: The state could not be written to .*: ENOSPC\. Make room/);
      t.same(rest, ['memory true', 'refused true memory true', 'again true', 'read true true'], `${compactAfter}`);
    }
  },
);

t.test('an update with 1,000 records present costs one small write', async (t) => {
  const folder = await makeFolder(t);
  const store = await open(folder);
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => put(store, `n${i}`, 'x'.repeat(250))));
  const journal = join(folder, 'state', 'journal.jsonl');
  const before = (await stat(journal)).size;
  const times: number[] = [];
  for (let i = 0; i < 200; i += 1) {
    const started = performance.now();
    await put(store, `n${i}`, 'y');
    times.push(performance.now() - started);
  }
  const grown = (await stat(journal)).size - before;
  t.ok(grown > 0 && grown / 200 < 200, `${grown / 200} bytes an update`);
  t.comment(`median ${times.sort((a, b) => a - b)[100]?.toFixed(3)} ms`);
  await store.close();
});
