import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { MemoryStore, type StateStore } from '../../../shared/state/store.ts';
import { adminMethods } from '../../../volume-plugin/admin.ts';
import type { DayTwo, ListedSnapshot, ListedVolume } from '../../../volume-plugin/backends/backend.ts';
import type { VolumeState } from '../../../volume-plugin/state.ts';
import { codeOf } from './block/scratch.ts';
import { type BenchParts, bench, context, type FakeBackend, FakeCluster, FakeKernel, unreachable } from './fakes.ts';

const busy = () => new PluginError('VOLUME_BUSY', { volume: 'data', holder: 'host-2' });

/** Day-2 work of a cluster that keeps what it was told, and fails or waits when told to. */
const fakeDayTwo = (cluster: FakeCluster) => {
  const calls: string[] = [];
  const taken = new Map<string, ListedSnapshot>();
  const state: {
    failing?: PluginError;
    failsOnce?: boolean;
    failingAfter?: PluginError;
    held?: Promise<void>;
    frozen: Set<string>;
  } = { frozen: new Set() };
  const step = async <T>(call: string, effect: () => T): Promise<T> => {
    calls.push(call);
    await state.held;
    const { failing } = state;
    if (state.failsOnce) delete state.failing;
    if (failing !== undefined) throw failing;
    const result = effect();
    if (state.failingAfter !== undefined) throw state.failingAfter;
    return result;
  };
  const found = (name: string): ListedVolume => {
    const volume = cluster.volumes.get(name);
    if (volume === undefined) throw new Error(`no volume ${name}`);
    return volume;
  };
  const dayTwo: DayTwo = {
    resize: ({ name }, size) =>
      step(`resize ${name} ${size}`, () => {
        const grown = { ...found(name), options: { ...found(name).options, size } };
        cluster.volumes.set(name, grown);
        return grown;
      }),
    snapshot: ({ name }, token) =>
      step(`snapshot ${name} ${token}`, () => {
        const made: ListedSnapshot = {
          ...{ id: `snap-${taken.size + 1}`, volume: name, size: 1, state: 'ready', progress: 100, reason: 'user' },
          created: `2026-01-0${taken.size + 1}T00:00:00Z`,
        };
        const known = taken.get(token) ?? made;
        taken.set(token, known);
        return known;
      }),
    snapshots: async (volume) => [...taken.values()].filter((one) => volume === undefined || one.volume === volume),
    removeSnapshot: async (id) => {
      const one = [...taken].find(([, snapshot]) => snapshot.id === id);
      if (one === undefined) throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot: id });
      taken.delete(one[0]);
      return one[1];
    },
    import: ({ disk, volume, inside = 'data' }) =>
      step(`import ${disk} ${volume} ${inside}`, () => {
        const made = { name: volume, options: {}, handle: { disk }, created: '2026', whereabouts: 'available' };
        cluster.volumes.set(volume, made);
        return made;
      }),
    thaw: async (target) => state.frozen.delete(target),
  };
  return { dayTwo, calls, taken, state };
};

const setUp = async (parts: BenchParts & { readonly fake?: ReturnType<typeof fakeDayTwo> } = {}) => {
  const { cluster = new FakeCluster(), store = new MemoryStore<VolumeState>() } = parts;
  const fake = parts.fake ?? fakeDayTwo(cluster);
  const made = await bench({ ...parts, cluster, store });
  Object.assign(made.backend, { dayTwo: fake.dayTwo });
  const admin = adminMethods({
    ...{ store, driver: made.driver, status: () => ({}) },
    refresh: async () => undefined,
    reconcile: async () => [],
  });
  const ask = async (method: string, body: unknown, ms?: number) =>
    (await admin[`/Drayage.${method}`]?.(body, context(ms))) as Record<string, unknown>;
  return { ...made, ...fake, fake, cluster, store, ask };
};

t.test('a volume is resized, and everybody is told its new size from then on', async (t) => {
  const { driver, ask, stop, store } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  t.match(await ask('VolumeResize', { Volume: 'data', Size: '2g' }), {
    Volume: { Name: 'data', Options: { size: '2g' } },
  });
  t.match((await driver.get('data', context())).status, { options: 'size=2g', underWay: undefined });
  await driver.create('data', { size: '2g' }, context());
  t.equal(await codeOf(driver.create('data', { size: '1g' }, context())), 'VOLUME_EXISTS');
  t.equal(store.all('works').size, 0);
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'nothing', Size: '2g' })), 'VOLUME_UNKNOWN');
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data' })), 'BAD_REQUEST');
  await stop();
});

t.test('work that nobody could wait for is joined by the same call, and goes on without one', async (t) => {
  const { driver, ask, calls, state, quiet, stop, store } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  const hold = Promise.withResolvers<void>();
  state.held = hold.promise;
  const alive = setInterval(() => undefined, 1_000);
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '2g' }, 100)), 'STILL_WORKING');
  t.match((await driver.get('data', context())).status, { underWay: 'resize' });
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '2g' }, 100)), 'STILL_WORKING');
  hold.resolve();
  await ask('VolumeResize', { Volume: 'data', Size: '2g' });
  clearInterval(alive);
  await quiet();
  t.same(calls, ['resize data 2g']);
  t.equal(store.all('works').size, 0);
  await stop();
});

t.test('what a crash has cut off is finished, with the same token; what was refused is over', async (t) => {
  for (const when of ['failing', 'failingAfter'] as const) {
    const first = await setUp();
    const { cluster, kernel, store, fake, taken } = first;
    await first.driver.create('data', { size: '1g' }, context());
    first.state[when] = unreachable();
    t.equal(await codeOf(first.ask('VolumeSnapshot', { Volume: 'data' })), 'BACKEND_UNREACHABLE');
    t.equal(store.all('works').size, 1);
    await first.stop();
    delete first.state[when];
    const second = await setUp({ cluster, kernel, store, fake });
    await second.quiet();
    t.equal(store.all('works').size, 0, when);
    t.equal(taken.size, 1);
    t.equal(new Set(second.calls).size, 1, 'it was the same one');
    await second.stop();
  }
  const { driver, ask, state, store, stop } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  state.failing = busy();
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '2g' })), 'VOLUME_BUSY');
  t.equal(store.all('works').size, 0);
  t.match((await driver.get('data', context())).status.lastError, /host-2/);
  await stop();
});

t.test('what was begun comes before what is asked for now, and in place of it when it is the same', async (t) => {
  const { driver, ask, state, calls, stop } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  state.failing = unreachable();
  await codeOf(ask('VolumeResize', { Volume: 'data', Size: '2g' }));
  delete state.failing;
  await ask('VolumeResize', { Volume: 'data', Size: '3g' });
  t.same(calls, ['resize data 2g', 'resize data 2g', 'resize data 3g']);
  t.match((await driver.get('data', context())).status, { options: 'size=3g' });
  // What may still come to its end does so first.
  state.failing = unreachable();
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '3500m' })), 'BACKEND_UNREACHABLE');
  calls.length = 0;
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '3600m' })), 'BACKEND_UNREACHABLE');
  t.same(calls, ['resize data 3500m']);
  delete state.failing;
  await ask('VolumeResize', { Volume: 'data', Size: '3500m' });
  const begin = async (size: string): Promise<void> => {
    state.failing = unreachable();
    t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: size })), 'BACKEND_UNREACHABLE');
    state.failing = busy();
  };
  await begin('4g');
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '4g' })), 'VOLUME_BUSY');
  // What was begun is refused in the end: that is no answer to something else.
  await begin('4g');
  state.failsOnce = true;
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '5g' })), 'none');
  t.match((await driver.get('data', context())).status, { options: 'size=5g' });
  await stop();
});

t.test('snapshots are taken one for each call, listed with the newest first, and removed', async (t) => {
  const { driver, ask, stop } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  t.match(await ask('VolumeSnapshot', { Volume: 'data' }), {
    Snapshot: { Id: 'snap-1', Volume: 'data', State: 'ready' },
  });
  await ask('VolumeSnapshot', { Volume: 'data' });
  t.match(await ask('VolumeSnapshots', {}), { Snapshots: [{ Id: 'snap-2' }, { Id: 'snap-1', Reason: 'user' }] });
  t.same(await ask('VolumeSnapshots', { Volume: 'other' }), { Snapshots: [] });
  t.match(await ask('VolumeSnapshotRemove', { Snapshot: 'snap-1' }), { Snapshot: { Id: 'snap-1' } });
  t.equal(await codeOf(ask('VolumeSnapshotRemove', { Snapshot: 'snap-1' })), 'SNAPSHOT_UNKNOWN');
  await stop();
});

t.test('a disk becomes a volume that Docker knows at once; names are checked first', async (t) => {
  const { driver, ask, calls, stop } = await setUp();
  t.match(await ask('VolumeImport', { Disk: 'vol-1', Volume: 'pgdata', Inside: '' }), {
    ...{ Disk: 'vol-1', Volume: { Name: 'pgdata', State: 'available' } },
  });
  t.equal((await driver.get('pgdata', context())).name, 'pgdata');
  t.same(calls, ['import vol-1 pgdata ']);
  t.equal(await codeOf(ask('VolumeImport', { Disk: 'vol-1', Volume: 'a b' })), 'VOLUME_NAME');
  await stop();
});

t.test('a clone is a volume that is created from another one', async (t) => {
  const { ask, backend, stop } = await setUp();
  const asked: unknown[] = [];
  const create = backend.create.bind(backend);
  Object.assign(backend, {
    schema: { ...backend.schema, from: { ...backend.schema['az'] } },
    create: async (...args: Parameters<FakeBackend['create']>) => {
      asked.push(args[0]);
      return create(...args);
    },
  });
  t.match(await ask('VolumeClone', { Source: 'data', Volume: 'copy' }), { Source: 'data', Volume: { Name: 'copy' } });
  t.match(asked, [{ name: 'copy', options: { from: 'data' }, making: String }]);
  Object.assign(backend, { schema: { ...backend.schema, from: undefined } });
  t.equal(await codeOf(ask('VolumeClone', { Source: 'data', Volume: 'other' })), 'VOLUME_UNABLE');
  await stop();
});

t.test('kinds of volumes without disks say so', async (t) => {
  const { driver, ask, stop, backend } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  Object.assign(backend, { dayTwo: undefined });
  t.equal(await codeOf(ask('VolumeResize', { Volume: 'data', Size: '2g' })), 'VOLUME_UNABLE');
  t.same(await ask('VolumeSnapshots', {}), { Snapshots: [] });
  t.equal(await codeOf(ask('VolumeSnapshotRemove', { Snapshot: 'x' })), 'SNAPSHOT_UNKNOWN');
  await stop();
});

t.test('at a start what a crash left frozen is thawed, and nothing that is not mounted is touched', async (t) => {
  const { driver, cluster, kernel, store, fake, stop } = await setUp({ kernel: new FakeKernel() });
  for (const name of ['data', 'other', 'gone']) {
    await driver.create(name, {}, context());
    await driver.mount(name, 'id', context());
  }
  await stop();
  for (const name of ['data', 'gone']) fake.state.frozen.add(kernel.target(name));
  kernel.mounts.delete(kernel.target('gone'));
  const again = await setUp({ cluster, kernel, store, fake });
  await again.driver.dayTwo.thaw();
  t.same([...fake.state.frozen], [kernel.target('gone')]);
  await again.stop();
});

t.test('the plugin does not end before what it has taken up by itself: nobody else would thaw a volume', async (t) => {
  const { driver, fake, ask, reconciler, stop } = await setUp();
  await driver.create('data', { size: '1g' }, context());
  fake.state.failing = unreachable();
  t.equal(await codeOf(ask('VolumeSnapshot', { Volume: 'data' })), 'BACKEND_UNREACHABLE');
  delete fake.state.failing;
  const held = Promise.withResolvers<void>();
  fake.state.held = held.promise;
  reconciler.tick();
  await stop();
  const order: string[] = [];
  const ended = reconciler.ended().then(() => order.push('ended'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  order.push('thawed');
  held.resolve();
  await ended;
  t.same(order, ['thawed', 'ended']);
});

t.test('killed before or after any step, it goes on where it was or has never begun', async (t) => {
  /** Dies at its nth update, and is written to no more. */
  const life = { armed: false };
  const mortal = (store: StateStore<VolumeState>, at: number, when: 'before' | 'after'): StateStore<VolumeState> => {
    let count = 0;
    const update: StateStore<VolumeState>['update'] = async (change) => {
      if (life.armed) count += 1;
      if (count > at || (count === at && when === 'before')) throw new Error('killed');
      const result = await store.update(change);
      if (life.armed && count === at) throw new Error('killed');
      return result;
    };
    const methods = { get: store.get.bind(store), all: store.all.bind(store), update };
    return Object.assign(Object.create(store) as StateStore<VolumeState>, methods);
  };
  for (const [method, body, effect] of [
    ['VolumeResize', { Volume: 'data', Size: '2g' }, /^resize data 2g$/],
    ['VolumeSnapshot', { Volume: 'data' }, /^snapshot data /],
    ['VolumeImport', { Disk: 'vol-1', Volume: 'new' }, /^import vol-1 new data$/],
  ] as const) {
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; at <= 4; at += 1) {
        const store = new MemoryStore<VolumeState>();
        const first = await setUp({ store });
        await first.driver.create('data', { size: '1g' }, context());
        await first.stop();
        const { cluster, kernel, fake } = first;
        const dying = await setUp({ cluster, kernel, fake, store: mortal(store, at, when) });
        life.armed = true;
        const died = await dying.ask(method, body).then(
          () => false,
          () => true,
        );
        life.armed = false;
        await dying.stop();
        const begun = store.all('works').size > 0 || fake.calls.length > 0;
        const second = await setUp({ cluster, kernel, fake, store });
        await second.quiet();
        const what = `${method} killed ${when} update ${at}`;
        t.equal(store.all('works').size, 0, what);
        t.equal(
          fake.calls.some((call) => effect.test(call)),
          begun || !died,
          what,
        );
        t.ok(fake.taken.size <= 1, `${what}: one snapshot`);
        await second.stop();
      }
    }
  }
});

t.test('a volume that is removed takes with it what was begun with it', async (t) => {
  const { driver, ask, state, store, quiet, calls, stop } = await setUp();
  state.failing = unreachable();
  t.equal(await codeOf(ask('VolumeImport', { Disk: 'vol-1', Volume: 'new' })), 'BACKEND_UNREACHABLE');
  delete state.failing;
  await driver.remove('new', context());
  await quiet();
  t.equal(store.all('works').size, 0);
  t.equal(calls.length, 1);
  t.equal(await codeOf(driver.get('new', context())), 'VOLUME_UNKNOWN');
  await stop();
});
