import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { holdsOn } from '../../../volume-plugin/references.ts';
import { bench, context, unreachable } from './fakes.ts';

t.test('a hold that is nobody’s is dropped, after two passes and not before it is old', async (t) => {
  const { driver, reconciler, store, kernel, clock, quiet, cluster } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'run', context());
  await reconciler.pass(context());
  await reconciler.pass(context());
  t.equal(holdsOn(store, 'data'), 1, 'its container may be on its way');
  kernel.use('data', 'container');
  clock.now += 200_000;
  await reconciler.pass(context());
  await reconciler.pass(context());
  t.equal(holdsOn(store, 'data'), 1, 'a container has it');
  kernel.end('container');
  await reconciler.pass(context());
  t.equal(holdsOn(store, 'data'), 1, 'seen once');
  t.match(await reconciler.pass(context()), [{ what: 'data was held by nobody' }]);
  t.equal(holdsOn(store, 'data'), 0);
  await quiet();
  await quiet();
  t.same([store.all('mounts').size, cluster.holders.size], [0, 0], 'and the volume leaves');
});

t.test('holds are kept while another container is being started, or when nobody can tell who has them', async (t) => {
  const { driver, reconciler, store, kernel, clock } = await bench();
  await driver.create('data', {}, context());
  await driver.create('more', {}, context());
  await driver.mount('data', 'run', context());
  clock.now += 119_000;
  await driver.mount('more', 'run', context());
  clock.now += 2_000;
  await reconciler.pass(context());
  await reconciler.pass(context());
  t.equal(holdsOn(store, 'data'), 1, 'the second volume of a container came just now');
  kernel.blind = true;
  clock.now += 200_000;
  await reconciler.pass(context());
  await reconciler.pass(context());
  t.equal(holdsOn(store, 'data'), 1);
});

t.test(
  'volumes are not forgotten after a reboot: no hold of the old boot counts, and the disk leaves if unused',
  async (t) => {
    const first = await bench();
    const { cluster, kernel, store, clock } = first;
    await first.driver.create('data', {}, context());
    await first.driver.mount('data', 'run', context());
    await first.stop();
    kernel.reboot('boot-2');
    const { driver, quiet, reconciler } = await bench({ cluster, kernel, store, clock });
    t.equal(holdsOn(store, 'data'), 0);
    t.match(await driver.get('data', context()), { path: '', status: { state: 'leaving' } });
    await quiet();
    t.equal(cluster.holders.get('data'), 'host-1', 'its container may be started again in a moment');
    t.equal(await driver.mount('data', 'run', context()), '/mnt/data/data');
    t.equal(holdsOn(store, 'data'), 1, 'the same id comes again');
    await driver.unmount('data', 'run', context());
    await quiet();
    t.equal(cluster.holders.size, 0);
    await reconciler.pass(context());
  },
);

t.test('a disk whose container does not come back after a reboot is let go', async (t) => {
  const first = await bench();
  const { cluster, kernel, store, clock } = first;
  await first.driver.create('data', {}, context());
  await first.driver.mount('data', 'run', context());
  await first.stop();
  kernel.reboot('boot-2');
  const { quiet } = await bench({ cluster, kernel, store, clock });
  clock.now += 121_000;
  await quiet();
  await quiet();
  t.same([store.all('mounts').size, cluster.holders.size], [0, 0]);
});

t.test(
  'the plugin starts again and its mounts are gone: a container that still has a copy keeps its hold',
  async (t) => {
    const first = await bench();
    const { cluster, kernel, store, clock } = first;
    await first.driver.create('data', {}, context());
    await first.driver.mount('data', 'run', context());
    kernel.use('data', 'container');
    await first.stop();
    kernel.mounts.clear();
    const second = await bench({ cluster, kernel, store, clock });
    t.equal(holdsOn(store, 'data'), 1);
    t.match(await second.driver.get('data', context()), { path: '' }, 'what is not mounted is not handed out');
    await second.stop();
    kernel.end('container');
    await bench({ cluster, kernel, store, clock });
    t.equal(holdsOn(store, 'data'), 0, 'and is nobody’s when nobody has it');
  },
);

t.test('a mount that was lost is noticed, and made again for the next container', async (t) => {
  const { driver, reconciler, kernel } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'one', context());
  kernel.mounts.clear();
  t.match(await reconciler.pass(context()), [{ what: 'data is not mounted any more' }]);
  t.match(await driver.get('data', context()), { path: '' });
  t.equal(await driver.mount('data', 'two', context()), '/mnt/data/data');
  t.ok(kernel.mounts.has('/mnt/data'));
});

t.test(
  'a cloud that is silent for an hour takes nothing from containers, and what ended meanwhile leaves then',
  async (t) => {
    const { driver, reconciler, backend, cluster, kernel, store, clock, quiet } = await bench();
    for (const name of ['used', 'ended']) {
      await driver.create(name, {}, context());
      await driver.mount(name, 'run', context());
      kernel.use(name, name);
    }
    const calls = ['list', 'find', 'create', 'mount', 'leave', 'remove'] as const;
    for (const call of calls) backend.failing.set(call, unreachable());
    kernel.end('ended');
    await driver.unmount('ended', 'run', context());
    for (let minute = 0; minute < 60; minute += 1) {
      clock.now += 60_000;
      t.equal((await driver.catalogue.refresh(context())).length, 1);
      await reconciler.pass(context());
      reconciler.tick();
    }
    t.match(await driver.get('used', context()), { path: '/mnt/used/data', status: { state: 'mounted', holds: 1 } });
    t.match(await driver.get('ended', context()), { path: '', status: { state: 'leaving' } });
    t.same(
      driver
        .names()
        .map(({ name }) => name)
        .sort(),
      ['ended', 'used'],
    );
    t.equal(await driver.mount('used', 'another', context()), '/mnt/used/data', 'a second container gets it');
    await driver.unmount('used', 'another', context());
    t.same([holdsOn(store, 'used'), kernel.mounts.has('/mnt/used')], [1, true]);
    t.equal(cluster.holders.get('ended'), 'host-1', 'nobody could be told');
    for (const call of calls) backend.failing.delete(call);
    // The next try waits for its turn.
    for (let n = 0; n < 100 && cluster.holders.has('ended'); n += 1) {
      await quiet();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.same([...cluster.holders.keys()], ['used']);
  },
);

t.test('what was begun with a volume is finished in the background', async (t) => {
  const { driver, backend, quiet, store } = await bench();
  backend.failingAfter.set('create', new PluginError('BACKEND_UNREACHABLE', { provider: 'fake' }));
  await t.rejects(driver.create('data', {}, context()));
  backend.failingAfter.clear();
  await quiet();
  t.equal(store.get('volumes', 'data')?.phase, 'ready');
  t.equal(store.get('volumes', 'data')?.lastError, undefined);
});
