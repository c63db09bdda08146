import t from 'tap';
import { newContext } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { takeBack } from '../../../volume-plugin/protocol.ts';
import { holdsOn } from '../../../volume-plugin/references.ts';
import { bench, context, FakeCluster, unreachable } from './fakes.ts';

t.test('mounted for the first, kept for the second, and gone with the last', async (t) => {
  const { driver, store, kernel, cluster, quiet } = await bench();
  await driver.create('data', {}, context());
  t.equal(await driver.mount('data', 'one', context()), '/mnt/data/data');
  t.equal(await driver.mount('data', 'two', context()), '/mnt/data/data');
  t.match(store.get('mounts', 'data'), { phase: 'mounted', source: '/dev/data', device: '259:1', boot: 'boot-1' });
  t.equal(holdsOn(store, 'data'), 2);
  await driver.unmount('data', 'one', context());
  t.ok(kernel.mounts.has('/mnt/data'), 'the second still has it');
  await driver.unmount('data', 'two', context());
  t.notOk(kernel.mounts.has('/mnt/data'), 'unmounted when Docker is answered');
  await quiet();
  t.same([store.all('mounts').size, cluster.holders.size, kernel.folders.size], [0, 0, 0], 'and detached after that');
  await driver.unmount('data', 'two', context());
});

t.test('docker cp unmounts no volume in use: the same id is counted', async (t) => {
  const { driver, store, kernel } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'run', context());
  kernel.use('data', 'container');
  await driver.mount('data', 'run', context());
  t.equal(holdsOn(store, 'data'), 2);
  await driver.unmount('data', 'run', context());
  t.equal(holdsOn(store, 'data'), 1);
  t.ok(kernel.mounts.has('/mnt/data'));
});

t.test('a daemon that was killed mounts again with the same id: one hold, not two', async (t) => {
  const { driver, store, kernel } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'run', context());
  kernel.use('data', 'container');
  kernel.end('container');
  await driver.mount('data', 'run', context());
  t.equal(holdsOn(store, 'data'), 1);
  kernel.blind = true;
  await driver.mount('data', 'run', context());
  t.equal(holdsOn(store, 'data'), 2, 'when it cannot be told who uses it, nothing is forgotten');
});

t.test('an unmounted directory is never handed out', async (t) => {
  const { driver, backend, store, quiet, clock, reconciler } = await bench();
  await driver.create('data', {}, context());
  backend.lies = true;
  await t.rejects(driver.mount('data', 'id', context()), { code: 'VOLUME_NOT_MOUNTED', message: /nothing is mounted/ });
  t.equal(holdsOn(store, 'data'), 0);
  backend.lies = false;
  t.equal(await driver.mount('data', 'id', context()), '/mnt/data/data');
  await driver.unmount('data', 'id', context());
  clock.now += 130_000;
  await reconciler.pass(context());
  await quiet();
});

t.test('another mount at the same place is noticed, also when the volume had been mounted before', async (t) => {
  const { driver, kernel, store } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'one', context());
  kernel.mounts.set('/mnt/data', { source: '/dev/other', device: '8:1' });
  await t.resolves(driver.mount('data', 'two', context()).then(() => undefined));
  t.equal(holdsOn(store, 'data'), 2);
  t.match(
    store.get('mounts', 'data'),
    { source: '/dev/other' },
    'the back-end was asked again and has said what is there',
  );
});

t.test('a mount that takes longer than Docker waits goes on, and the next call gets it', async (t) => {
  const { driver, backend, store, kernel } = await bench();
  await driver.create('data', {}, context());
  const gate = Promise.withResolvers<void>();
  backend.held.set('mount', gate.promise);
  await t.rejects(driver.mount('data', 'first', newContext(silentLogger, 300)), { code: 'STILL_WORKING' });
  t.equal(holdsOn(store, 'data'), 0, 'Docker thinks that it has nothing');
  const second = driver.mount('data', 'second', context());
  gate.resolve();
  t.equal(await second, '/mnt/data/data');
  t.equal(backend.calls.filter((call) => call === 'mount data').length, 1, 'joined, not begun again');
  t.equal(holdsOn(store, 'data'), 1);
  t.ok(kernel.mounts.has('/mnt/data'));
});

t.test('while a volume moves between zones Docker is told how far it is', async (t) => {
  const { driver, backend } = await bench();
  await driver.create('data', {}, context());
  const gate = Promise.withResolvers<void>();
  backend.held.set('mount', gate.promise);
  Object.assign(backend, { progress: (volume: string) => `moving volume ${volume} from zone a to zone b (43 %)` });
  await t.rejects(driver.mount('data', 'first', newContext(silentLogger, 300)), {
    code: 'STILL_WORKING',
    message: /^STILL_WORKING: Still working: moving volume data from zone a to zone b \(43 %\) takes longer than/,
  });
  gate.resolve();
  t.equal(await driver.mount('data', 'second', context()), '/mnt/data/data');
});

t.test('a client that hung up leaks nothing: what came too late is let go when nobody comes for it', async (t) => {
  const { driver, backend, store, clock, reconciler, quiet, cluster } = await bench();
  await driver.create('data', {}, context());
  const gate = Promise.withResolvers<void>();
  backend.held.set('mount', gate.promise);
  await t.rejects(driver.mount('data', 'first', newContext(silentLogger, 100)), { code: 'STILL_WORKING' });
  gate.resolve();
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(store.get('mounts', 'data')?.phase, 'mounted');
  await quiet();
  t.equal(store.get('mounts', 'data')?.phase, 'mounted', 'for a while it is kept for another try');
  clock.now += 121_000;
  await reconciler.pass(context());
  await quiet();
  await quiet();
  t.same([store.all('mounts').size, cluster.holders.size], [0, 0]);
});

t.test('an answer that reached nobody is taken back', async (t) => {
  const { driver, store, kernel } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  await takeBack(driver, '/VolumeDriver.Mount', { Name: 'data', ID: 'id' }, context());
  t.same([holdsOn(store, 'data'), kernel.mounts.size], [0, 0]);
});

t.test('one hang blocks no other volume', async (t) => {
  const { driver, backend, stop } = await bench();
  await driver.create('stuck', {}, context());
  await driver.create('data', {}, context());
  const gate = new Promise<void>(() => undefined);
  backend.held.set('mount', gate);
  const stuck = driver.mount('stuck', 'id', newContext(silentLogger, 200));
  await new Promise((resolve) => setTimeout(resolve, 5));
  backend.held.clear();
  t.equal(await driver.mount('data', 'id', context()), '/mnt/data/data');
  await driver.unmount('data', 'id', context());
  await t.rejects(stuck, { code: 'STILL_WORKING' });
  await stop();
});

t.test('a Mount that comes while the volume is being detached stops that and goes first', async (t) => {
  const { driver, backend, store, cluster } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'one', context());
  backend.held.set('leave', new Promise(() => undefined));
  await driver.unmount('data', 'one', context());
  t.equal(store.get('mounts', 'data')?.phase, 'leaving');
  t.equal(await driver.mount('data', 'two', context()), '/mnt/data/data');
  t.equal(cluster.holders.get('data'), 'host-1');
});

t.test('what is refused is let go at once, so that another host may have it', async (t) => {
  const { driver, backend, store, quiet, cluster } = await bench();
  await driver.create('data', {}, context());
  backend.failingAfter.set('mount', new PluginError('BACKEND_REFUSED', { provider: 'fake', what: 'its data' }));
  await t.rejects(driver.mount('data', 'id', context()), { code: 'BACKEND_REFUSED' });
  await quiet();
  await quiet();
  t.same([store.all('mounts').size, cluster.holders.size], [0, 0]);
  t.match(await driver.get('data', context()), { status: { lastError: /BACKEND_REFUSED/ } });
});

t.test('a detach that fails is repeated until it is done, and a stuck unmount too', async (t) => {
  const { driver, backend, store, quiet, stop, kernel, cluster, clock } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  backend.failing.set('unmount', new PluginError('VOLUME_IN_USE', { volume: 'data' }));
  await t.rejects(driver.unmount('data', 'id', context()), { code: 'VOLUME_IN_USE' });
  t.same([store.get('mounts', 'data')?.phase, holdsOn(store, 'data')], ['unmounting', 0]);
  backend.failing.clear();
  backend.failing.set('leave', unreachable());
  const soon = setTimeout(() => backend.failing.clear(), 20);
  await quiet();
  t.equal(kernel.mounts.size, 0);
  await stop();
  clearTimeout(soon);
  backend.failing.clear();
  const again = await bench({ store, kernel, cluster, clock });
  await again.quiet();
  t.same([store.all('mounts').size, cluster.holders.size], [0, 0], 'also by the next life of the plugin');
});

t.test('a volume in use elsewhere is refused with the name of the host', async (t) => {
  const cluster = new FakeCluster();
  const [one, two] = [await bench({ cluster }), await bench({ cluster, host: 'host-2' })];
  await one.driver.create('data', {}, context());
  await one.driver.mount('data', 'id', context());
  await t.rejects(two.driver.mount('data', 'id', context()), { code: 'VOLUME_BUSY', message: /host-1/ });
  await one.driver.unmount('data', 'id', context());
  await one.quiet();
  t.equal(await two.driver.mount('data', 'id', context()), '/mnt/data/data');
});

t.test('the back-end hears how many containers have a volume; docker cp with one of them is none', async (t) => {
  const { driver, backend } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'first', context());
  await driver.mount('data', 'second', context());
  await driver.mount('data', 'second', context());
  await driver.unmount('data', 'second', context());
  await driver.unmount('data', 'first', context());
  await driver.unmount('data', 'second', context());
  t.same(
    backend.told.filter((text, n, all) => text !== all[n - 1]),
    ['data 1', 'data 2', 'data 1', 'data 0'],
  );
});

t.test('a volume in use cannot be removed; one that is leaving can', async (t) => {
  const { driver, backend, cluster, stop } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  await t.rejects(driver.remove('data', context()), { code: 'VOLUME_IN_USE' });
  await driver.unmount('data', 'id', context());
  await driver.remove('data', context());
  t.equal(cluster.volumes.size, 0);
  t.same(backend.calls.slice(-2), ['leave data', 'remove data']);
  await stop();
});

t.test('a volume that a container waits for is not removed under it', async (t) => {
  const { driver, cluster, stop } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  const leave = driver.releasing.want('data');
  await driver.unmount('data', 'id', context());
  await t.rejects(driver.remove('data', context()), { code: 'VOLUME_IN_USE' });
  t.equal(await driver.path('data', context()), '/mnt/data/data', 'and stays mounted');
  leave();
  await driver.remove('data', context());
  t.equal(cluster.volumes.size, 0);
  await stop();
});

t.test('two mounts at once bring the volume once', async (t) => {
  const { driver, backend, store } = await bench();
  await driver.create('data', {}, context());
  await Promise.all(['a', 'b', 'c', 'a'].map((id) => driver.mount('data', id, context())));
  t.equal(backend.calls.filter((call) => call === 'mount data').length, 1);
  t.ok(holdsOn(store, 'data') >= 3);
});
