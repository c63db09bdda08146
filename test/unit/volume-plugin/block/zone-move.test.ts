import t from 'tap';
import { generationOf } from '../../../../volume-plugin/block/generations.ts';
import { holdDisk } from './hold-disk.ts';
import { context, world } from './zone-scene.ts';

t.setTimeout(120_000);

t.test(
  'a volume asked for in another zone moves there with its data; the disk before is kept, and retired',
  async (t) => {
    const { sky, b, wait, process, generation } = await world(t);
    const used = await wait(process(b).use());
    t.match(used, { zone: 'b', state: 'attached', tags: { generation: '2', formatted: 'ext4', uuid: 'u-1' } });
    t.equal(generation(2)?.data, 42);
    t.equal(generation(2)?.tags['moving'], undefined);
    t.match(generation(1), { zone: 'a', state: 'available', data: 42, tags: { retired: /^\d{4}-/ } });
    t.equal(sky.snapshots.length, 0, 'what was only there for the move is gone');
  },
);

t.test('a volume that nobody has written to is made anew in the other zone, without a copy', async (t) => {
  const { b, wait, process, generation } = await world(t, { tags: { formatted: undefined } });
  let snapshots = 0;
  const watched = process(b, (provider) => ({
    ...provider,
    snapshot: async (...args) => {
      snapshots += 1;
      return await provider.snapshot(...args);
    },
  }));
  await wait(watched.use());
  t.equal(snapshots, 0);
  t.match(generation(2), { zone: 'b', fromSnapshot: undefined, tags: { formatting: undefined, uuid: 'u-1' } });
});

t.test('how far it is can be asked', async (t) => {
  const { time, b, wait, process } = await world(t);
  const one = process(b);
  const seen = new Set<string>();
  const moving = one.bring();
  while (one.move.progress('data') === undefined) await time.run(() => one.move.progress('data') !== undefined);
  const watch = async (): Promise<void> => {
    for (;;) {
      const text = one.move.progress('data');
      if (text === undefined) return;
      seen.add(text);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  await wait(Promise.all([moving, watch()]));
  t.ok(seen.has('from zone a to zone b (0 %)'));
  t.ok(
    [...seen].some((text) => /^from zone a to zone b \([1-9]\d? %\)$/.test(text)),
    [...seen].join(', '),
  );
});

t.test('a volume that a living host has in its zone is refused, and nothing is written', async (t) => {
  const { sky, a, b, wait, process, first } = await world(t);
  await wait(process(a).use());
  const before = JSON.stringify(sky.disks);
  t.equal(await wait(process(b).bring()), 'VOLUME_BUSY: Volume data is in use on host host-0, in zone a.');
  a.fate = 'unknown';
  t.match(await wait(process(b).bring()), /in use on host host-0, and whether that host still runs is not known/);
  t.equal(JSON.stringify(sky.disks), before);
  a.fate = 'stopped';
  a.life += 1;
  t.match(await wait(process(b).use()), { zone: 'b', state: 'attached' }, 'of a host that is stopped it is taken');
  t.match(
    sky.disks.find(({ id }) => id === first),
    { state: 'available', holder: undefined },
  );
});

t.test('a host that attaches while another one begins to move looks again, and lets go', async (t) => {
  const { a, b, wait, process, generation } = await world(t);
  const [one, other] = [process(a), process(b)];
  // What it was told before the other one began.
  const brought = await wait(one.bring());
  if (typeof brought === 'string') throw new Error(brought);
  const moving = other.bring();
  await wait(one.provider.list(context()));
  await wait(one.provider.list(context()));
  await wait(one.provider.list(context()));
  const disk = await wait(holdDisk(one.provider, a.self, brought.disk, context()));
  if (typeof disk === 'string') throw new Error(disk);
  t.throws(() => one.move.checkAttached(disk), {
    message: /^VOLUME_MOVING: Volume data is being moved to zone b by host host-1/,
  });
  await wait(one.provider.detach(disk.id, a.self.id, context()));
  await wait(moving);
  t.match(generation(2), { zone: 'b', data: 42 });
});

t.test('a host that begins to move while another one has just attached takes it back', async (t) => {
  const { a, b, wait, process, generation, sky } = await world(t);
  const moving = process(b).bring();
  // Attached between the first look and the last.
  const held = holdDisk(process(a).provider, a.self, sky.disks[0] as never, context());
  await wait(held);
  t.match(await wait(moving), /^VOLUME_BUSY: Volume data is in use on host host-0/);
  t.equal(generation(2), undefined);
  t.same(
    Object.keys(generation(1)?.tags ?? {}).filter((tag) => tag.startsWith('leaving')),
    [],
  );
});

t.test('old data never comes back: a disk with a later generation is not attached in its zone', async (t) => {
  const { a, b, wait, process, generation, time, sky } = await world(t);
  const there = await wait(process(b).use());
  if (typeof there === 'string') throw new Error(there);
  t.ok(sky.write(b, there.id, 43));
  await wait(process(b).provider.detach(there.id, b.self.id, context()));
  await time.run(() => sky.disks.every(({ state }) => state === 'available'));
  const back = await wait(process(a).use());
  t.match(back, { zone: 'a', tags: { generation: '3' } }, 'it comes back as a generation of its own');
  t.equal(generation(3)?.data, 43);
  t.equal(generation(1)?.data, 42);
  // Its disk was removed by hand: the retired ones are not taken for the volume.
  await wait(process(a).provider.detach(generation(3)?.id ?? '', a.self.id, context()));
  await time.run(() => sky.disks.every(({ state }) => state === 'available'));
  await wait(process(a).provider.remove(generation(3)?.id ?? '', context()));
  t.match(await wait(process(a).bring()), /^DISK_MISSING/);
  t.match(await wait(process(b).bring()), /^DISK_MISSING/);
});

t.test('of two hosts of different zones at once exactly one wins, in each of 100 rounds', async (t) => {
  const { sky, b, c, wait, process, time } = await world(t);
  for (let round = 1; round <= 100; round += 1) {
    const machines = round % 2 === 0 ? [b, c] : [c, b];
    const rivals = machines.map((machine) => process(machine));
    const ends = await wait(
      Promise.all(
        rivals.map(async ({ use }, n) => {
          // The second one comes at every stage of the first one's way.
          await new Promise((resolve) => setTimeout(resolve, n * 200 * (round % 25)));
          return use().then(
            () => 'has it',
            (error: Error) => error.message,
          );
        }),
      ),
    );
    if (typeof ends === 'string') throw new Error(ends);
    const winners = ends.filter((end) => end === 'has it').length;
    if (winners !== 1) t.fail(`round ${round}: ${ends.join(' | ')}`);
    const latest = Math.max(...sky.disks.map(generationOf));
    const held = sky.disks.filter(({ holder }) => holder !== undefined);
    if (held.length !== 1 || sky.disks.filter((disk) => generationOf(disk) === latest).length !== 1) {
      t.fail(`round ${round}: ${JSON.stringify(sky.disks.slice(-3))}`);
    }
    for (const { id, holder } of held)
      await wait(rivals[0]?.provider.detach(id, holder?.id ?? '', context()) ?? Promise.resolve());
    await time.run(() => sky.disks.every(({ state }) => state === 'available'));
    t.equal(sky.disks.find((disk) => generationOf(disk) === latest)?.data, 42);
  }
});
