import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { generationOf } from '../../../../volume-plugin/block/generations.ts';
import type { DiskProvider } from '../../../../volume-plugin/block/provider.ts';
import { play } from './zone-move-model.ts';
import { context, SETTLE_MS, world } from './zone-scene.ts';

t.setTimeout(120_000);

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
    await time.run(() => time.now > since + 10_000);
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
      const machines = [...sky.machines.values()];
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
