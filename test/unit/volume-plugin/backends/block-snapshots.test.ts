import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { context, inOwnMounts, MIB, messageOf, run } from '../block/scratch.ts';
import { boundTo, cluster } from './block-cluster.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(120_000);

t.test('a snapshot has what was written before it, and nothing that came later', async (t) => {
  const { a, b } = await cluster(t);
  const volume = await a.create('data', { size: '24m' });
  await a.mount(volume);
  // Not written out: that is the snapshot's business.
  writeFileSync(a.inside('data', 'row'), 'before');
  const taken = await a.snapshot(volume);
  t.match(taken, { volume: 'data', state: 'ready', size: 24 * MIB, reason: 'user', progress: 100 });
  writeFileSync(a.inside('data', 'row'), 'after');
  t.equal((await a.snapshot(volume)).id, taken.id, 'once for each token');
  t.match(await b.snapshots('data'), [{ id: taken.id }]);
  t.same(await b.snapshots('other'), []);
  const copy = await b.create('copy', { from: taken.id });
  await b.mount(copy);
  t.equal(readFileSync(b.inside('copy', 'row'), 'utf8'), 'before');
  t.equal(readFileSync(a.inside('data', 'row'), 'utf8'), 'after');
  t.match(b.backend.status(copy, b.target('copy')), {
    from: taken.id,
    fromSnapshot: taken.id,
    size: 24 * MIB,
    fs: 'ext4',
  });
  t.match(await messageOf(b.snapshot(volume, 'second')), /^VOLUME_ELSEWHERE: .* on host host-0/);
  await a.leave(volume);
  await b.leave(copy);
  t.equal((await b.dayTwo.removeSnapshot(taken.id, context())).id, taken.id);
  t.match(
    await messageOf(b.dayTwo.removeSnapshot(taken.id, context())),
    /^SNAPSHOT_UNKNOWN: There is no snapshot snap-/,
  );
});

t.test('nobody can write while a snapshot is begun, and everybody can afterwards, whatever became of it', async (t) => {
  const state = { fails: false, wrote: 'nothing' };
  let folder = '';
  const wrap = (provider: DiskProvider): DiskProvider =>
    Object.assign(Object.create(provider) as DiskProvider, {
      ...boundTo(provider),
      snapshot: async (...args: Parameters<DiskProvider['snapshot']>) => {
        const writer = spawn('sh', ['-c', `echo here > ${folder}/during; sync ${folder}/during`]);
        const ended = once(writer, 'exit').then(() => 'wrote');
        state.wrote = await Promise.race([ended, pause(300).then(() => 'waits')]);
        if (state.fails) throw new Error('lost');
        return provider.snapshot(...args);
      },
    });
  const { a } = await cluster(t, { wrap });
  const volume = await a.create('data');
  await a.mount(volume);
  folder = a.inside('data');
  await a.snapshot(volume);
  t.equal(state.wrote, 'waits');
  writeFileSync(join(folder, 'row'), 'after', { flush: true });
  state.fails = true;
  await t.rejects(a.snapshot(volume, 'second'), { message: 'lost' });
  t.equal(state.wrote, 'waits');
  writeFileSync(join(folder, 'row'), 'after the failure', { flush: true });
  await a.leave(volume);
});

t.test('a snapshot that does not begin in time is refused for good, and everybody can write', async (t) => {
  const wrap = (provider: DiskProvider): DiskProvider => ({
    ...boundTo(provider),
    // Deaf to its deadline, too.
    snapshot: () => new Promise(() => undefined),
  });
  const { a } = await cluster(t, { wrap, frozenMs: 300 });
  const alive = setInterval(() => undefined, 100);
  t.teardown(() => clearInterval(alive));
  const volume = await a.create('data');
  await a.mount(volume);
  const error = await a.snapshot(volume).catch((thrown: unknown) => thrown);
  // Nothing that is tried again: writers would wait most of the time.
  t.match(error, { code: 'BACKEND_REFUSED', retry: 'after', message: /had not begun after 0\.3 s/ });
  writeFileSync(a.inside('data', 'row'), 'written', { flush: true });
  await a.leave(volume);
});

t.test('a freeze that was given up and has its effect later keeps nobody from writing', async (t) => {
  // Over before it has begun.
  const { a } = await cluster(t, { frozenMs: -1 });
  const volume = await a.create('data');
  await a.mount(volume);
  t.match(await messageOf(a.snapshot(volume)), /^BACKEND_REFUSED: .* had not begun after/);
  run('fsfreeze', '--freeze', a.target('data'));
  const thawed = () => spawnSync('fsfreeze', ['--unfreeze', a.target('data')]).status !== 0;
  await pause(2_500);
  t.ok(thawed());
  await a.leave(volume);
});

t.test('a volume that a crash left frozen is thawed; one that is not is left alone', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  await a.mount(volume);
  run('fsfreeze', '--freeze', a.target('data'));
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), true);
  writeFileSync(a.inside('data', 'row'), 'written', { flush: true });
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), false);
  // What an operator has frozen for his own backup is not thawed by a snapshot that is refused.
  run('fsfreeze', '--freeze', a.target('data'));
  t.match(await messageOf(a.snapshot(volume)), /^EXEC_FAILED: .*fsfreeze/);
  t.equal(await a.dayTwo.thaw(a.target('data'), context()), true);
  await a.leave(volume);
});

t.test('of a volume that was never mounted there is nothing to copy', async (t) => {
  const { a } = await cluster(t);
  const volume = await a.create('data');
  t.match(await messageOf(a.snapshot(volume)), /^BACKEND_REFUSED: .* nothing is on it yet: it was never mounted/);
  t.match(
    await messageOf(a.create('copy', { from: 'data' })),
    /^BACKEND_REFUSED: .* a copy of volume data: nothing is on/,
  );
  t.match(
    await messageOf(a.create('copy', { from: 'nobody' })),
    /^SNAPSHOT_UNKNOWN: There is no snapshot nobody and no/,
  );
  t.equal(await a.find('copy'), undefined);
});
