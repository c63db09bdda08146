import t, { type Test } from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { HoldCounts } from '../../../../volume-plugin/block/hold-count.ts';
import { busyDisk, holdsOf } from '../../../../volume-plugin/block/hold-tag.ts';
import { inherited } from '../../../../volume-plugin/block/leaving.ts';
import { LoopProvider } from '../../../../volume-plugin/block/loop.ts';
import type { Disk } from '../../../../volume-plugin/block/provider.ts';
import { context, inOwnMounts, MIB, scratch } from './scratch.ts';

inOwnMounts(import.meta.filename);
t.setTimeout(30_000);

const GATHER_MS = 30;
/** Files may be slow to write. */
const until = async (is: () => boolean | Promise<boolean>): Promise<void> => {
  for (const c = context(5_000); !c.signal.aborted && !(await is()); ) await pause(5);
};
const pause = (ms = 6 * GATHER_MS): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A disk that host `a` has attached, and what `a` writes to its tags. */
const world = async (t: Test) => {
  const folder = scratch(t);
  const provider = (name: string) => new LoopProvider({ folder, self: { id: `id-${name}`, name }, quota: undefined });
  const [a, b] = [provider('a'), provider('b')];
  const self = await a.start(context());
  await b.start(context());
  const { id } = await a.create({ volume: 'data', size: 8 * MIB, tags: { options: '{}' } }, 'token', context());
  await a.attach(id, context());
  t.teardown(() => a.detach(id, self.id, context()));
  const writes: unknown[] = [];
  const work = { before: async (): Promise<void> => undefined };
  const tag = a.tag.bind(a);
  a.tag = async (disk, tags, c) => {
    await work.before();
    writes.push(tags);
    await tag(disk, tags, c);
  };
  const c = context(60_000);
  const counts = new HoldCounts(a, GATHER_MS);
  t.teardown(() => counts.close());
  counts.mounted('data', id);
  const set = (count: number, of = counts): void => of.set('data', count, self, c);
  const shown = async (): Promise<Disk> => {
    const [found] = await b.list(context());
    if (found === undefined) throw new Error('no disk');
    return found;
  };
  return { a, b, id, self, writes, work, counts, set, shown, c };
};

t.test('changes of one moment are one write, and what does not change is none', async (t) => {
  const { a, set, shown, writes, counts, self, c } = await world(t);
  for (const count of [1, 2, 3, 2]) set(count);
  t.same(writes, [], 'nobody waits for it');
  await until(async () => holdsOf(await shown()) === 2);
  await pause();
  t.same(writes, [{ holds: '2 id-a' }]);
  const seen = await shown();
  t.equal(holdsOf(seen), 2, 'another host sees it');
  t.equal(busyDisk(seen).message, 'VOLUME_BUSY: Volume data is in use on host a by 2 containers.');
  t.equal(
    busyDisk(seen, 'and that host runs').message,
    'VOLUME_BUSY: Volume data is in use on host a by 2 containers, and that host runs.',
  );
  set(2);
  set(3);
  set(2);
  await pause();
  t.equal(writes.length, 1);
  const restarted = new HoldCounts(a, GATHER_MS);
  t.teardown(() => restarted.close());
  restarted.set('data', 2, self, c);
  await pause();
  t.equal(writes.length, 1, 'after a restart neither: the disk says so already');
  restarted.set('data', 1, self, c);
  await until(async () => holdsOf(await shown()) === 1);
  t.equal(busyDisk(await shown()).message, 'VOLUME_BUSY: Volume data is in use on host a by 1 container.');
  await counts.close();
});

t.test('a volume that is used for a moment only is not written to', async (t) => {
  const { set, writes } = await world(t);
  set(1);
  set(0);
  await pause();
  t.same(writes, []);
});

t.test('what changes while it is written is written next; a failure is repeated with the next change', async (t) => {
  const { set, writes, work, shown } = await world(t);
  const held = Promise.withResolvers<void>();
  let isBegun = false;
  work.before = () => {
    isBegun = true;
    return held.promise;
  };
  set(1);
  await until(() => isBegun);
  set(2);
  held.resolve();
  await until(async () => holdsOf(await shown()) === 2);
  await pause();
  t.same(writes, [{ holds: '1 id-a' }, { holds: '2 id-a' }]);
  let hasFailed = false;
  work.before = async () => {
    hasFailed = true;
    throw new PluginError('BACKEND_UNREACHABLE', { provider: 'loop' });
  };
  set(3);
  await until(() => hasFailed);
  await pause();
  t.equal(holdsOf(await shown()), 2);
  work.before = async () => undefined;
  await pause();
  t.equal(holdsOf(await shown()), 2, 'not before');
  set(4);
  await until(async () => holdsOf(await shown()) === 4);
  t.equal(holdsOf(await shown()), 4);
});

t.test('nothing is written to a disk that was let go, is another host’s, is retired or is being moved', async (t) => {
  const { a, b, id, self, set, counts, writes, shown } = await world(t);
  set(2);
  await counts.end('data');
  await pause();
  t.same(writes, [], 'it leaves');
  for (const tags of [{ retired: '2026-01-01T00:00:00Z' }, { 'leaving-id-b': 'once zone-b b' }, { moving: 'other' }]) {
    await b.tag(id, tags, context());
    counts.mounted('data', id);
    set(2);
    await pause();
    await counts.end('data');
    t.same(writes, [], Object.keys(tags).join());
    await b.tag(id, Object.fromEntries(Object.keys(tags).map((name) => [name, undefined])), context());
  }
  counts.mounted('data', id);
  set(2);
  await until(async () => holdsOf(await shown()) === 2);
  await pause();
  t.equal(holdsOf(await shown()), 2);
  await a.detach(id, self.id, context());
  t.equal((await shown()).tags['holds'], undefined);
  await b.attach(id, context());
  set(3);
  await pause();
  t.equal((await shown()).tags['holds'], undefined, 'as when a host wakes up that its volume was taken from');
  await b.detach(id, 'id-b', context());
});

t.test('an epoch that is written at the same time is kept', async (t) => {
  const { b, id, set, shown } = await world(t);
  for (let round = 1; round <= 8; round += 1) {
    set(round);
    await pause(GATHER_MS - 5);
    await Promise.all(
      Array.from({ length: 6 }, (_, n) => pause(n * 2).then(() => b.tag(id, { epoch: `${round}` }, context()))),
    );
    await until(async () => holdsOf(await shown()) === round);
    const found = await shown();
    t.match(found.tags, { epoch: `${round}`, options: '{}' });
    t.equal(holdsOf(found), round);
  }
});

t.test('what an earlier holder has left counts for nothing, and no later generation gets it', async (t) => {
  const holder = { id: 'id-b', name: 'b' };
  t.equal(holdsOf({ holder, tags: { holds: '2 id-a' } }), undefined);
  t.equal(holdsOf({ holder, tags: { holds: '2 id-b' } }), 2);
  t.equal(holdsOf({ tags: { holds: '2 id-b' } }), undefined);
  for (const holds of ['', '0 id-b', '-1 id-b', '2', 'x id-b', '2id-b'])
    t.equal(holdsOf({ holder, tags: { holds } }), undefined);
  t.same(inherited({ holds: '2 id-a', formatted: 'ext4' }), { formatted: 'ext4' });
});

t.test('a disk that another host has had since is told of anew when it is mounted again', async (t) => {
  const { a, b, id, self, set, shown, counts } = await world(t);
  set(1);
  await until(async () => holdsOf(await shown()) === 1);
  const other = await b.start(context());
  await a.detach(id, self.id, context());
  await b.attach(id, context());
  await b.tag(id, { holds: `1 ${other.id}` }, context());
  await b.detach(id, other.id, context());
  await a.attach(id, context());
  t.equal(holdsOf(await shown()), undefined);
  counts.mounted('data', id);
  set(1);
  await until(async () => holdsOf(await shown()) === 1);
  t.equal(holdsOf(await shown()), 1);
});
