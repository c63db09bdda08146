import t, { type Test } from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { holdDisk } from '../../../../volume-plugin/block/attach.ts';
import { generationOf } from '../../../../volume-plugin/block/generations.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { ZoneMove } from '../../../../volume-plugin/block/zone-move.ts';
import { VirtualTime } from './virtual-time.ts';
import { play } from './zone-move-model.ts';
import { firstDisk, type Machine, randomly, ZoneWorld } from './zone-world.ts';

t.setTimeout(120_000);

const CALM = { lagMs: 0, fails: 0, spoils: 0 };
const SETTLE_MS = 8_200;
const context = (ms = 300_000) => newContext(silentLogger, ms);

/** A world in virtual time, with a volume in zone a that has data, and hosts in zones. */
const world = async (t: Test, { tags = {}, zones = ['a', 'b', 'c'] }: { tags?: object; zones?: string[] } = {}) => {
  const time = new VirtualTime();
  time.install(randomly(7));
  t.teardown(() => time.restore());
  const sky = new ZoneWorld(1, CALM, () => time.now);
  const machines = zones.map((zone, n) => sky.machine(n, zone));
  const [first] = machines;
  if (first === undefined) throw new Error('no hosts');
  /** Lets time pass until the work has ended. Its error is answered as its sentence. */
  const wait = async <T>(work: Promise<T>): Promise<T | string> => {
    let end: T | string | undefined;
    let ended = false;
    work.then(
      (result) => {
        [end, ended] = [result, true];
      },
      (error: unknown) => {
        [end, ended] = [error instanceof PluginError ? error.message : String(error), true];
      },
    );
    await time.run(() => ended);
    return end as T | string;
  };
  const request = firstDisk('a');
  const made = await wait(
    sky.provider(first).create({ ...request, tags: { ...request.tags, ...tags } }, 'first', context()),
  );
  if (typeof made === 'string') throw new Error(made);
  await time.run(() => sky.disks.every(({ state }) => state === 'available'));
  /** A process on a machine. */
  const process = (machine: Machine, watch?: (provider: DiskProvider) => DiskProvider) => {
    const provider = watch?.(sky.provider(machine)) ?? sky.provider(machine);
    const move = new ZoneMove({ provider, self: machine.self, traits: () => ({}), settleMs: SETTLE_MS });
    return {
      provider,
      move,
      bring: () => move.bring('data', undefined, context()),
      /** Everything up to the mount. */
      use: async () => {
        const brought = await move.bring('data', undefined, context());
        const disk = await holdDisk(provider, machine.self, brought.disk, context());
        move.checkAttached(disk);
        return await move.finish({ ...brought, disk }, context());
      },
    };
  };
  const [a, b, c] = machines as [Machine, Machine, Machine];
  const generation = (n: number) => sky.disks.find((disk) => generationOf(disk) === n);
  const write = async (machine: Machine, id: string, data: number): Promise<void> => {
    const { provider } = process(machine);
    const disk = sky.disks.find((one) => one.id === id);
    if (disk === undefined) throw new Error('no such disk');
    await wait(holdDisk(provider, machine.self, disk, context()));
    t.ok(sky.write(machine, id, data));
    await wait(provider.detach(id, machine.self.id, context()));
    await time.run(() => sky.disks.some((one) => one.id === id && one.state === 'available'));
  };
  await write(a, made.id, 42);
  return { time, sky, a, b, c, wait, process, generation, write, first: made.id };
};

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
  const { a, b, wait, process, write, generation, time, sky } = await world(t);
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
  t.ok(write);
  await wait(process(a).provider.detach(generation(3)?.id ?? '', a.self.id, context()));
  await time.run(() => sky.disks.every(({ state }) => state === 'available'));
  await wait(process(a).provider.remove(generation(3)?.id ?? '', context()));
  t.match(await wait(process(a).bring()), /^DISK_MISSING/);
  t.match(await wait(process(b).bring()), /^DISK_MISSING/);
});

t.test('of two hosts of different zones at once exactly one wins, in each of 100 rounds', async (t) => {
  const { sky, b, c, wait, process, time } = await world(t);
  for (let round = 1; round <= 100; round += 1) {
    const before = Math.max(...sky.disks.map(generationOf));
    const zone = sky.disks.find((disk) => generationOf(disk) === before)?.zone;
    const rivals = [b, c, ...(zone === 'a' ? [] : [])].map((machine) => ({ machine, ...process(machine) }));
    const ends = await wait(
      Promise.all(
        rivals.map(({ use }) =>
          use().then(
            () => 'has it',
            (error: Error) => error.message,
          ),
        ),
      ),
    );
    if (typeof ends === 'string') throw new Error(ends);
    const winners = ends.filter((end) => end === 'has it').length;
    if (winners > 1) t.fail(`round ${round}: ${ends.join(' | ')}`);
    const latest = Math.max(...sky.disks.map(generationOf));
    const held = sky.disks.filter(({ holder }) => holder !== undefined);
    if (held.length > 1 || sky.disks.filter((disk) => generationOf(disk) === latest).length !== 1) {
      t.fail(`round ${round}: ${JSON.stringify(sky.disks.slice(-3))}`);
    }
    for (const { id, holder } of held)
      await wait(rivals[0]?.provider.detach(id, holder?.id ?? '', context()) ?? Promise.resolve());
    await time.run(() => sky.disks.every(({ state }) => state === 'available'));
    t.equal(sky.disks.find((disk) => generationOf(disk) === latest)?.data, 42);
  }
});

t.test('a refusal of the provider does not keep the volume from its own zone', async (t) => {
  const { a, b, wait, process, generation } = await world(t);
  const refusing = process(b, (provider) => ({
    ...provider,
    snapshot: async () => {
      throw new PluginError('BACKEND_PERMISSION', { provider: 'zones', permission: 'ec2:CreateSnapshot' });
    },
  }));
  t.match(await wait(refusing.bring()), /^BACKEND_PERMISSION: .*ec2:CreateSnapshot/);
  t.same(
    Object.keys(generation(1)?.tags ?? {}).filter((tag) => tag.startsWith('leaving')),
    [],
  );
  t.match(await wait(process(a).use()), { zone: 'a', tags: { generation: undefined } });
});

t.test('a move whose host is gone is given up for its own zone, one whose host lives is waited for', async (t) => {
  const { a, b, wait, process, generation, time } = await world(t);
  process(b)
    .bring()
    .catch(() => undefined);
  const since = time.now;
  await time.run(() => time.now > since + 12_000);
  b.life += 1;
  t.match(await wait(process(a).bring()), /^VOLUME_MOVING: Volume data is being moved to zone b by host host-1\.$/m);
  b.fate = 'unknown';
  t.match(await wait(process(a).bring()), /host-1, and whether that host still runs is not known\./);
  b.fate = 'gone';
  t.match(await wait(process(a).use()), { zone: 'a', tags: { generation: undefined } });
  t.equal(generation(2), undefined);
});

t.test(
  'a move of a host that cannot be asked about is ended on an operator’s word, at whatever step it is',
  async (t) => {
    for (const step of ['leaving', 'made', 'attached'] as const) {
      const { sky, a, b, wait, process, time, generation } = await world(t);
      process(b)
        .use()
        .catch(() => undefined);
      const next = () => sky.disks.find((disk) => generationOf(disk) === 2);
      const reached = {
        leaving: () => sky.snapshots.length > 0,
        made: () => next() !== undefined,
        attached: () => next()?.state === 'attached',
      };
      await time.run(reached[step]);
      b.life += 1;
      const { move, provider } = process(a);
      const end = () => move.endMoveOf('data', 'host-1', context());
      t.match(await wait(end()), /^VOLUME_MOVING: .* by host host-1, and that host runs/);
      b.fate = 'unknown';
      t.match(await wait(process(a).bring()), /whether that host still runs is not known/);
      await wait(move.endMoveOf('data', 'host-2', context()));
      t.match(await wait(process(a).bring()), /whether that host still runs is not known/, 'it was another one');
      t.equal(await wait(end()), undefined);
      // What it has attached the fence takes from it.
      for (const { id, holder } of sky.disks)
        if (holder !== undefined) await wait(provider.detach(id, holder.id, context()));
      await time.run(() => sky.disks.every(({ state }) => state === 'available'));
      t.match(await wait(process(a).use()), { zone: 'a', tags: { generation: step === 'leaving' ? undefined : '3' } });
      t.equal(generation(step === 'leaving' ? 1 : 3)?.data, 42);
      time.restore();
    }
  },
);

t.test('a move that nobody asks for any more is given up, and its snapshot goes', async (t) => {
  const { a, b, wait, process, time, sky } = await world(t);
  process(b)
    .bring()
    .catch(() => undefined);
  await time.run(() => sky.snapshots.length > 0);
  b.life += 1;
  const again = process(b);
  for (let n = 0; n < 8; n += 1) {
    const list = await wait(again.provider.list(context()));
    if (typeof list === 'string') throw new Error(list);
    await wait(again.move.tidy(list, context()));
    const since = time.now;
    await time.run(() => time.now > since + 10_000 || sky.snapshots.length < 0);
    if (time.now < since) break;
    process(b)
      .provider.list(context())
      .catch(() => undefined);
  }
  t.equal(sky.snapshots.length, 0);
  t.match(await wait(process(a).use()), { zone: 'a', tags: { generation: undefined } });
});

for (const by of ['the same host', 'another host of that zone', 'a host of a third zone'] as const) {
  t.test(`a move is finished after a crash at every step by ${by}`, async (t) => {
    for (let step = 1; ; step += 1) {
      const { sky, b, wait, process, generation, time } = await world(t, { zones: ['a', 'b', 'c', 'b'] });
      const { machines } = { machines: [...sky.machines.values()] };
      let calls = 0;
      const crash = (): void => {
        b.life += 1;
      };
      const dies = (provider: DiskProvider): DiskProvider =>
        new Proxy(provider, {
          get: (target, name: keyof DiskProvider) => {
            const member = target[name];
            if (typeof member !== 'function') return member;
            return async (...args: never[]): Promise<unknown> => {
              calls += 1;
              // Its last call takes effect, and its answer reaches nobody.
              if (calls === step) setTimeout(crash, 201);
              return await (member as (...all: never[]) => Promise<unknown>).apply(target, args);
            };
          },
        });
      let done = false;
      const { use } = process(b, dies);
      use().then(
        () => {
          done = true;
        },
        () => undefined,
      );
      await time.run(() => done || b.life > 0);
      if (done && b.life === 0) {
        t.ok(step > 15, `${step - 1} steps`);
        break;
      }
      const pause = time.now;
      setTimeout(() => undefined, 10_001);
      await time.run(() => time.now > pause + 10_000);
      const next = by === 'the same host' ? b : by === 'another host of that zone' ? machines[3] : machines[2];
      if (next === undefined) throw new Error('no such host');
      if (next !== b) b.fate = 'gone';
      const used = await wait(process(next).use());
      if (typeof used === 'string' || used.zone !== next.self.zone) t.fail(`step ${step}: ${JSON.stringify(used)}`);
      const latest = Math.max(...sky.disks.map(generationOf));
      t.equal(generation(latest)?.data, 42, `after ${step} calls`);
      t.equal(sky.disks.filter((disk) => generationOf(disk) === latest).length, 1);
      t.equal(sky.disks.filter(({ tags }) => tags['retired'] === undefined).length, 1, 'all others are retired');
      t.equal(sky.snapshots.length, 0);
      time.restore();
    }
  });
}

t.test(
  'whatever goes wrong, nobody reads old data and no two hosts have it; in the end every zone gets it',
  async (t) => {
    let [mounts, moves, accidents] = [0, 0, 0];
    for (let seed = 1; seed <= 10; seed += 1) {
      const zones =
        [
          ['a', 'b'],
          ['a', 'b', 'c'],
          ['a', 'b', 'b'],
          ['a', 'b', 'c', 'b'],
        ][seed % 4] ?? [];
      const weather = { lagMs: 4_000, fails: 0.03, spoils: 0.1, answersOthers: seed % 2 === 0 };
      const end = await play(seed, { zones, weather, settleMs: SETTLE_MS, ms: 3 * 3_600_000, accidents: 0.03 });
      t.same(end.broken, [], `seed ${seed}`);
      t.same(end.reached, zones, `seed ${seed}`);
      mounts += end.mounts;
      moves += end.moves;
      accidents += end.accidents;
    }
    t.comment(`${mounts} mounts, ${moves} moves, ${accidents} accidents`);
    t.ok(mounts > 500 && moves > 300 && accidents > 200);
  },
);

t.test('the same without the pauses loses data: this model can tell', async (t) => {
  const weather = { lagMs: 4_000, fails: 0.03, spoils: 0.1 };
  let broken = 0;
  for (let seed = 1; seed <= 8 && broken === 0; seed += 1) {
    const end = await play(seed, { zones: ['a', 'b', 'c'], weather, settleMs: 0, ms: 3 * 3_600_000, accidents: 0.03 });
    broken += end.broken.length;
  }
  t.ok(broken > 0);
});
