import t from 'tap';
import { MemoryStore } from '../../../shared/state/store.ts';
import type { Backend } from '../../../volume-plugin/backends/backend.ts';
import type { VolumeState } from '../../../volume-plugin/state.ts';
import { codeOf } from './block/scratch.ts';
import { type BenchParts, bench, context, FakeCluster, unreachable } from './fakes.ts';

const originOf = (name: string, making: string): string => `${name} of ${making}`;

/** A host whose back-end says which making a volume is of. */
const host = async (parts: BenchParts) => {
  const made = await bench(parts);
  const { backend } = made;
  const discard: NonNullable<Backend['discard']> = async (name, making, c) => {
    const found = await backend.find(name, c);
    if (found?.origin === originOf(name, making)) await backend.remove(found, c);
  };
  Object.assign(backend, { origin: originOf, discard });
  return made;
};

/** A volume was asked for, no answer came, and it was removed. `arrive`: what was asked for is done only now. */
const scene = async () => {
  const parts = { cluster: new FakeCluster(), store: new MemoryStore<VolumeState>(), clock: { now: 1e12 } };
  const first = await host(parts);
  first.backend.failing.set('create', unreachable());
  t.equal(await codeOf(first.driver.create('data', {}, context())), 'BACKEND_UNREACHABLE');
  const making = parts.store.get('volumes', 'data')?.created ?? '';
  await first.driver.remove('data', context());
  first.backend.failing.clear();
  const arrive = (origin: string | undefined = originOf('data', making)): void => {
    const volume = { name: 'data', options: {}, handle: { disk: 'late' }, created: '2026-01-01T00:00:00Z' };
    parts.cluster.volumes.set('data', { ...volume, whereabouts: 'available', ...(origin !== undefined && { origin }) });
  };
  return { ...parts, parts, first, arrive };
};

t.test('what a cloud makes late of a volume that was removed is no volume, and is removed again', async (t) => {
  const { first, arrive, cluster, parts } = await scene();
  t.same(first.driver.names(), []);
  arrive();
  t.equal(await codeOf(first.driver.get('data', context())), 'VOLUME_UNKNOWN');
  t.equal(await codeOf(first.driver.mount('data', 'id', context())), 'VOLUME_UNKNOWN');
  await first.stop();
  // After a crash it is known still.
  const { driver } = await host(parts);
  t.equal(await codeOf(driver.get('data', context())), 'VOLUME_UNKNOWN');
  t.same(await driver.catalogue.refresh(context()), []);
  t.same(driver.names(), []);
  t.equal(cluster.volumes.size, 0);
});

t.test('what cannot be removed at once is with the next list, and is listed by none', async (t) => {
  const { first, arrive, cluster } = await scene();
  arrive();
  first.backend.failing.set('remove', unreachable());
  await first.driver.catalogue.refresh(context());
  t.same(first.driver.names(), []);
  first.backend.failing.clear();
  await first.driver.catalogue.refresh(context());
  t.equal(cluster.volumes.size, 0);
});

t.test('a volume that is made anew under the name has nothing to do with what came late', async (t) => {
  const { first, arrive, cluster, store } = await scene();
  arrive();
  await first.driver.create('data', { size: '2g' }, context());
  t.match(cluster.volumes.get('data'), { handle: { disk: 'disk-data' }, options: { size: '2g' } });
  t.equal(store.all('unmade').size, 0);
  await first.driver.catalogue.refresh(context());
  t.same(
    first.driver.names().map(({ name }) => name),
    ['data'],
  );
});

t.test('what another host has made under the name, or uses, is a volume', async (t) => {
  for (const origin of [originOf('data', 'another making'), undefined]) {
    const { first, arrive, cluster } = await scene();
    arrive();
    const late = cluster.volumes.get('data');
    if (late === undefined) throw new Error('it has not come');
    const { origin: _, ...used } = late;
    cluster.volumes.set('data', origin === undefined ? used : { ...used, origin });
    await first.driver.catalogue.refresh(context());
    t.match(await first.driver.get('data', context()), { name: 'data' });
    t.equal(cluster.volumes.size, 1);
  }
});

t.test('the note of it goes when no cloud can come with it any more', async (t) => {
  const { first, store, clock } = await scene();
  await first.driver.catalogue.refresh(context());
  t.equal(store.all('unmade').size, 1);
  clock.now += 25 * 3_600_000;
  await first.driver.catalogue.refresh(context());
  t.equal(store.all('unmade').size, 0);
});

t.test('a removal waits for the making that is under way, and removes what came of it', async (t) => {
  const { driver, backend, cluster } = await host({});
  const held = Promise.withResolvers<void>();
  backend.held.set('create', held.promise);
  t.equal(await codeOf(driver.create('data', {}, context(300))), 'STILL_WORKING');
  const removed = driver.remove('data', context());
  held.resolve();
  await removed;
  t.equal(cluster.volumes.size, 0);
  t.same(driver.names(), []);
});
