import t, { type Test } from 'tap';
import { MemoryStore, type StateStore } from '../../../shared/state/store.ts';
import { holdsOn } from '../../../volume-plugin/references.ts';
import { COLLECTIONS, type VolumeState } from '../../../volume-plugin/state.ts';
import { bench, context, FakeCluster, FakeKernel, unreachable } from './fakes.ts';

class Death extends Error {}

/** Everything that is written down. */
const copyOf = (store: StateStore<VolumeState>) => COLLECTIONS.map((name) => [name, new Map(store.all(name))] as const);

/**
 * A store that dies at an update: from then on nothing is written, as if the process were gone, and what was changed
 * `soon` since the update before it is forgotten.
 */
function mortal(store: StateStore<VolumeState>, at: number, when: 'before' | 'after') {
  let count = 0;
  let dead = false;
  const died = Promise.withResolvers<void>();
  let durable: ReturnType<typeof copyOf> | undefined;
  const forget = (): void => {
    for (const [name, records] of durable ?? []) {
      void store.update((tx) => {
        for (const id of [...tx.all(name).keys()]) if (!records.has(id)) tx.delete(name, id);
        for (const [id, record] of records) tx.put(name, id, record);
      });
    }
    durable = undefined;
  };
  const die = (): never => {
    dead = true;
    forget();
    died.resolve();
    throw new Death('the plugin was killed');
  };
  const watched: StateStore<VolumeState> = {
    get: (collection, id) => store.get(collection, id),
    all: (collection) => store.all(collection),
    update: async (change) => {
      count += 1;
      if (dead || (count === at && when === 'before')) die();
      const last = count === at;
      const result = await store.update(change);
      durable = undefined;
      if (last) die();
      return result;
    },
    soon: (change) => {
      if (dead) return;
      durable ??= copyOf(store);
      store.soon(change);
    },
    close: () => store.close(),
  };
  return { store: watched, isDead: () => dead, died: died.promise };
}

type Host = Awaited<ReturnType<typeof bench>>;

interface Case {
  readonly name: string;
  readonly prepare: (host: Host) => Promise<unknown>;
  readonly act: (host: Host) => Promise<unknown>;
  /** How Docker and people go on: after it, the volume is held so often. */
  readonly goOn: (host: Host) => Promise<unknown>;
  readonly holds: number;
  readonly exists: boolean;
  readonly steps: number;
}

const create = (host: Host) => host.driver.create('data', { size: '5g' }, context());
const mount = (id: string) => (host: Host) => host.driver.mount('data', id, context());
const unmount = (id: string) => (host: Host) => host.driver.unmount('data', id, context());
const both =
  (...steps: ((host: Host) => Promise<unknown>)[]) =>
  async (host: Host) => {
    for (const step of steps) await step(host);
  };

const CASES: readonly Case[] = [
  { name: 'create', prepare: async () => undefined, act: create, goOn: create, holds: 0, exists: true, steps: 2 },
  {
    ...{ name: 'mount', prepare: create, act: mount('one'), goOn: mount('two') },
    ...{ holds: 1, exists: true, steps: 2 },
  },
  {
    name: 'a second mount',
    prepare: both(create, mount('one'), async ({ kernel }) => kernel.use('data', 'container')),
    ...{ act: mount('two'), goOn: mount('three'), holds: 2, exists: true, steps: 1 },
  },
  {
    name: 'unmount',
    prepare: both(create, mount('one')),
    ...{ act: unmount('one'), goOn: unmount('one'), holds: 0, exists: true, steps: 2 },
  },
  {
    name: 'remove',
    prepare: create,
    ...{ act: (host) => host.driver.remove('data', context()) },
    ...{ goOn: (host) => host.driver.remove('data', context()), holds: 0, exists: false, steps: 2 },
  },
];

async function dieAt(t: Test, one: Case, at: number, when: 'before' | 'after', reboots: boolean): Promise<boolean> {
  const [cluster, kernel, clock] = [new FakeCluster(), new FakeKernel(), { now: 1e12 }];
  const store = new MemoryStore<VolumeState>();
  const before = await bench({ cluster, kernel, store, clock });
  await one.prepare(before);
  await before.stop();
  const { store: watched, isDead, died } = mortal(store, at + 1, when);
  // The first update is the reconciliation at the start.
  const doomed = await bench({ cluster, kernel, store: watched, clock });
  await one.act(doomed).catch((error: unknown) => {
    if (!isDead()) throw error;
  });
  if (!isDead()) await Promise.race([doomed.quiet(), died]);
  // Who is dead calls no back-end.
  for (const call of ['mount', 'unmount', 'leave', 'create', 'remove'] as const) {
    if (isDead()) doomed.backend.failing.set(call, unreachable());
  }
  await doomed.stop();
  if (reboots) kernel.reboot('boot-2');
  clock.now += 1_000;
  const next = await bench({ cluster, kernel, store, clock });
  await next.quiet();
  const what = `${one.name}, killed ${when} step ${at}${reboots ? ', with the machine' : ''}`;
  await one.goOn(next);
  if (one.holds > 0) kernel.use('data', 'container');
  // What was written down as held before the death is held, though Docker may not know.
  const written = one.holds > 0 && (!isDead() || (when === 'after' && at === one.steps));
  const expected = reboots ? Math.min(one.holds, 1) : one.holds + Number(written);
  t.equal(holdsOn(store, 'data'), expected, `${what}: holds`);
  t.equal(cluster.volumes.has('data'), one.exists, `${what}: the volume`);
  t.match(
    await next.driver.get('data', context()).catch((error: { code: string }) => error.code),
    one.exists ? { path: expected > 0 ? '/mnt/data/data' : '' } : 'VOLUME_UNKNOWN',
    `${what}: what Docker is told`,
  );
  // Everybody goes: nothing is left.
  kernel.end('container');
  for (let pass = 0; pass < 3; pass += 1) {
    clock.now += 130_000;
    await next.reconciler.pass(context());
    await next.quiet();
  }
  t.same(
    [store.all('references').size, store.all('mounts').size, kernel.mounts.size, cluster.holders.size],
    [0, 0, 0, 0],
    `${what}: nothing is left`,
  );
  t.same(
    [...store.all('volumes').values()].map(({ phase }) => phase),
    one.exists ? ['ready'] : [],
    what,
  );
  await next.stop();
  return isDead();
}

for (const one of CASES) {
  for (const when of ['before', 'after'] as const) {
    for (const reboots of [false, true]) {
      t.test(`killed ${when} every step of ${one.name}${reboots ? ', with the machine' : ''}`, async (t) => {
        let at = 1;
        while (await dieAt(t, one, at, when, reboots)) at += 1;
        t.equal(at - 1, one.steps, 'steps');
      });
    }
  }
}
