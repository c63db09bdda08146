import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import type { VolumeRemoval } from '../../../volume-plugin/backends/backend.ts';
import { protocol } from '../../../volume-plugin/protocol.ts';
import { codeOf } from './block/scratch.ts';
import { bench, context, FakeBackend, FakeCluster, FakeKernel, unreachable } from './fakes.ts';

const ANONYMOUS = 'ab'.repeat(32);

t.test('create, inspect, list and remove', async (t) => {
  const { driver, store, cluster } = await bench();
  await driver.create('data', { size: '20g' }, context());
  t.match(store.get('volumes', 'data'), { phase: 'ready', options: { size: '20g' }, handle: { disk: 'disk-data' } });
  t.match(await driver.get('data', context()), {
    name: 'data',
    path: '',
    status: { type: 'block', state: 'available' },
  });
  t.same(
    driver.list().map(({ name }) => name),
    ['data'],
  );
  t.equal(await driver.path('data', context()), '');
  await driver.remove('data', context());
  t.same([store.all('volumes').size, cluster.volumes.size], [0, 0]);
  await t.rejects(driver.get('data', context()), { code: 'VOLUME_UNKNOWN' });
  await driver.remove('data', context());
});

t.test('names that could not be a folder are refused, and are nobody’s volumes', async (t) => {
  const { driver, backend } = await bench();
  for (const name of [
    '..',
    '.',
    'a',
    'a/b',
    '../etc',
    'a\nb',
    '-rf',
    '.hidden',
    'ä1',
    'x'.repeat(129),
    'a b',
    'a\0b',
  ]) {
    await t.rejects(driver.create(name, {}, context()), { code: 'VOLUME_NAME' }, JSON.stringify(name));
    await t.rejects(driver.get(name, context()), { code: 'VOLUME_UNKNOWN' }, JSON.stringify(name));
    await t.rejects(driver.mount(name, 'id', context()), { code: 'VOLUME_UNKNOWN' }, JSON.stringify(name));
  }
  t.same(
    backend.calls.filter((call) => !/^(start|find)/.test(call)),
    [],
    'no back-end is asked for any of them',
  );
  await driver.create('a..b_C-9', {}, context());
  await driver.create(ANONYMOUS, {}, context());
});

t.test('options are read by the schema of their type, and unknown ones refused with the nearest', async (t) => {
  const { driver, store } = await bench();
  await t.rejects(driver.create('data', { sise: '1g' }, context()), { message: /did you mean "size"/ });
  await t.rejects(driver.create('data', { size: 'big' }, context()), { code: 'OPTION_INVALID' });
  await t.rejects(driver.create('data', { type: 'tape' }, context()), { code: 'VOLUME_TYPE', message: /type tape/ });
  t.equal(store.all('volumes').size, 0);
  await driver.create('data', { type: 'block', size: '1024m' }, context());
  t.same(store.get('volumes', 'data')?.options, { size: '1g' }, 'in canonical form, without the type');
});

t.test('a create of an existing name with other options lists the differences', async (t) => {
  const { driver } = await bench();
  await driver.create('data', { size: '20g', secret: 'one' }, context());
  await driver.create('data', { size: '20480m', secret: 'one' }, context());
  await driver.create('data', { size: '20g', secret: 'one', fs: 'ext4' }, context());
  await t.rejects(driver.create('data', { size: '10g', fs: 'xfs', secret: 'two' }, context()), {
    code: 'VOLUME_EXISTS',
    message: /fs=ext4, not xfs; secret=\*\*\*, not \*\*\*; size=20g, not 10g/,
  });
});

t.test('a volume made on another host is found by name at once, and by the next refresh in the list', async (t) => {
  const cluster = new FakeCluster();
  const [one, two] = [await bench({ cluster }), await bench({ cluster, host: 'host-2' })];
  await one.driver.create('data', { size: '20g' }, context());
  t.match(await two.driver.get('data', context()), { status: { state: 'available' } });
  await one.driver.create('more', {}, context());
  t.same(
    two.driver.list().map(({ name }) => name),
    ['data'],
  );
  await two.driver.catalogue.refresh(context());
  t.same(
    two.driver.list().map(({ name }) => name),
    ['data', 'more'],
  );
  t.same(two.store.get('volumes', 'data')?.options, { size: '20g' }, 'with its options');
  await one.driver.remove('data', context());
  await two.driver.catalogue.refresh(context());
  t.same(
    two.driver.list().map(({ name }) => name),
    ['more'],
  );
});

t.test('a list that is behind takes no volume away', async (t) => {
  const { driver, cluster, backend } = await bench();
  await driver.create('data', {}, context());
  cluster.hidden.add('data');
  await driver.catalogue.refresh(context());
  t.same(
    driver.list().map(({ name }) => name),
    ['data'],
    'asked again by name, it is there',
  );
  backend.failing.set('find', unreachable());
  cluster.volumes.delete('data');
  t.equal((await driver.catalogue.refresh(context())).length, 1, 'what could not be asked is told');
  t.same(
    driver.list().map(({ name }) => name),
    ['data'],
    'a doubt takes nothing away',
  );
});

t.test('what this host has mounted stays in the catalogue whatever the cluster says', async (t) => {
  const { driver, cluster } = await bench();
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  cluster.volumes.delete('data');
  await driver.catalogue.refresh(context());
  t.match(await driver.get('data', context()), { path: '/mnt/data/data', status: { state: 'mounted' } });
});

t.test(
  'no fault of ours makes Docker put data into a local volume: Get is no error but for confirmed absence',
  async (t) => {
    t.test('the cloud cannot be reached, and the volume is known', async (t) => {
      const { driver, backend } = await bench();
      await driver.create('data', {}, context());
      for (const call of ['list', 'find', 'create', 'mount'] as const) backend.failing.set(call, unreachable());
      await driver.catalogue.refresh(context());
      t.equal((await driver.get('data', context())).name, 'data');
      t.same(
        driver.list().map(({ name }) => name),
        ['data'],
      );
    });

    for (const [what, failure] of [
      ['cannot be reached', unreachable()],
      ['refuses the credentials', new PluginError('BACKEND_AUTH', { provider: 'fake' })],
      ['fails in some other way', new PluginError('INTERNAL', {})],
    ] as const) {
      t.test(`the cloud ${what}, and the volume is not known here`, async (t) => {
        const { driver, backend, cluster } = await bench();
        backend.failing.set('find', failure);
        t.match(await driver.get('data', context()), { name: 'data', path: '', status: { state: 'not confirmed' } });
        await t.rejects(driver.mount('data', 'id', context()), { code: failure.code }, 'it cannot be mounted');
        await t.rejects(driver.remove('data', context()), { code: failure.code }, 'nor removed');
        t.same(driver.list(), [], 'it is in no list');
        backend.failing.clear();
        cluster.volumes.set('data', {
          ...{ name: 'data', options: {}, handle: {}, created: '2026-01-01T00:00:00Z', whereabouts: 'available' },
        });
        t.equal(await driver.mount('data', 'id', context()), '/mnt/data/data', 'later it is found after all');
      });
    }

    t.test('the cloud never answers', async (t) => {
      const { driver, backend } = await bench();
      backend.held.set('find', new Promise(() => undefined));
      t.match(await driver.get('data', context()), { status: { state: 'not confirmed', reason: /DEADLINE/ } });
    });

    t.test('the back-end has not come up yet', async (t) => {
      const { driver, stop } = await bench({ startFailure: unreachable() });
      t.match(await driver.get('data', context()), { status: { state: 'not confirmed', reason: /cannot be reached/ } });
      await stop();
    });

    t.test(
      'the name was answered as a volume, so Docker has skipped Create, and there is none: it is not let go',
      async (t) => {
        const { driver, backend, store } = await bench();
        backend.failing.set('find', unreachable());
        await driver.get('data', context());
        backend.failing.clear();
        t.match(await driver.get('data', context()), { status: { state: /does not exist/ } });
        await t.rejects(driver.mount('data', 'id', context()), {
          code: 'VOLUME_UNCONFIRMED',
          fix: /docker volume rm data/,
        });
        await driver.remove('data', context());
        await t.rejects(driver.get('data', context()), { code: 'VOLUME_UNKNOWN' }, 'the user has let it go');
        t.equal(store.all('unconfirmed').size, 0);
      },
    );

    t.test('the creation has an open outcome', async (t) => {
      const { driver, backend } = await bench();
      backend.failing.set('create', unreachable());
      await t.rejects(driver.create('data', { size: '5g' }, context()), { code: 'BACKEND_UNREACHABLE' });
      t.match(await driver.get('data', context()), { status: { state: 'creating', lastError: /BACKEND_UNREACHABLE/ } });
      await t.rejects(driver.mount('data', 'id', context()), { code: 'BACKEND_UNREACHABLE' });
      backend.failing.clear();
      t.match(
        await driver.get('data', context()),
        { status: { state: 'available' } },
        'Docker’s next look finishes it',
      );
    });

    t.test('the removal has an open outcome', async (t) => {
      const { driver, backend } = await bench();
      await driver.create('data', {}, context());
      backend.failing.set('remove', unreachable());
      await t.rejects(driver.remove('data', context()), { code: 'BACKEND_UNREACHABLE' });
      t.match(await driver.get('data', context()), { status: { state: 'removing' } });
      await t.rejects(driver.mount('data', 'id', context()), { code: 'VOLUME_REMOVING' });
      await t.rejects(driver.create('data', {}, context()), { code: 'VOLUME_REMOVING' });
      backend.failing.clear();
      await t.rejects(driver.get('data', context()), { code: 'VOLUME_UNKNOWN' });
    });

    t.test('a name that Docker made up for a local volume is not held up for long', async (t) => {
      const { driver, backend } = await bench();
      backend.failing.set('find', unreachable());
      await t.rejects(driver.get(ANONYMOUS, context()), { code: 'VOLUME_UNKNOWN' });
    });
  },
);

t.test('a refused creation leaves nothing, and the name is free', async (t) => {
  const { driver, backend, store } = await bench();
  backend.failing.set('create', new PluginError('BACKEND_REFUSED', { provider: 'fake', what: 'the size' }));
  await t.rejects(driver.create('data', {}, context()), { code: 'BACKEND_REFUSED' });
  t.equal(store.all('volumes').size, 0);
  await t.rejects(driver.get('data', context()), { code: 'VOLUME_UNKNOWN' });
});

t.test('a creation that another host was quicker with is told so, and theirs is taken up', async (t) => {
  const cluster = new FakeCluster();
  const [one, two] = [await bench({ cluster }), await bench({ cluster, host: 'host-2' })];
  await one.driver.create('data', { size: '5g' }, context());
  await t.rejects(two.driver.create('data', { size: '6g' }, context()), { code: 'VOLUME_EXISTS' });
  t.match(two.store.get('volumes', 'data'), { phase: 'ready', options: { size: '5g' } });
});

t.test('a removal that is refused leaves the volume as it was', async (t) => {
  const { driver, cluster } = await bench();
  await driver.create('data', {}, context());
  cluster.holders.set('data', 'host-2');
  await t.rejects(driver.remove('data', context()), { code: 'VOLUME_BUSY', message: /host-2/ });
  t.match(await driver.get('data', context()), { status: { state: 'available', lastError: /VOLUME_BUSY/ } });
});

t.test('a removal is the same one when it is resumed, and another one after a refusal', async (t) => {
  const { driver, backend, store } = await bench();
  await driver.create('data', {}, context());
  const asked: VolumeRemoval[] = [];
  const fail = { with: new PluginError('BACKEND_UNREACHABLE', { provider: 'fake' }) };
  backend.remove = async (volume) => {
    asked.push(volume);
    throw fail.with;
  };
  await t.rejects(driver.remove('data', context()));
  await t.rejects(driver.finish('data', context()));
  fail.with = new PluginError('VOLUME_BUSY', { volume: 'data', holder: 'host-2' });
  await t.rejects(driver.remove('data', context()), { code: 'VOLUME_BUSY' });
  t.equal(store.get('volumes', 'data')?.removal, undefined);
  await t.rejects(driver.remove('data', context()));
  const [first, ...later] = asked.map(({ removal }) => removal);
  t.ok(first);
  t.same([later[0], later[1]], [first, first]);
  t.not(later[2], first);
  t.same(
    asked.map(({ resumed }) => resumed),
    [false, true, true, false],
  );
});

t.test('Get and List do not wait for a volume that is stuck', async (t) => {
  const { driver, backend, stop } = await bench();
  for (let n = 0; n < 1_000; n += 1) await driver.create(`vol${n}`, {}, context());
  const table = protocol(driver);
  backend.held.set('mount', new Promise(() => undefined));
  const stuck = driver.mount('vol7', 'id', context()).catch(() => undefined);
  const times: number[] = [];
  for (let n = 0; n < 300; n += 1) {
    const started = performance.now();
    await table['/VolumeDriver.Get']?.({ Name: `vol${n}` }, context());
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  t.ok((times[Math.floor(times.length * 0.9)] ?? 99) < 2, `Get of 1,000 volumes: ${times[150]} ms`);
  await stop();
  await stuck;
});

t.test('a back-end that is away or hangs keeps no volume of another type from being made', async (t) => {
  // Each of the two has a cluster of its own.
  const cluster = new FakeCluster();
  const other = new FakeBackend(cluster, new FakeKernel(), 'host-1', 'nfs');
  const { driver, backend } = await bench({ other });
  cluster.volumes.set('theirs', {
    ...{ name: 'theirs', options: {}, handle: { disk: 'theirs' }, created: '2026-01-01T00:00:00Z' },
    whereabouts: 'available',
  });
  other.failing.set('find', unreachable());
  await driver.create('first', { type: 'block' }, context());
  other.failing.clear();
  other.held.set('find', new Promise(() => undefined));
  await driver.create('second', { type: 'block' }, context());
  t.same(
    backend.calls.filter((call) => call.startsWith('create')),
    ['create first', 'create second'],
  );
  other.held.clear();
  t.equal(
    await codeOf(driver.create('theirs', { type: 'block' }, context())),
    'VOLUME_EXISTS',
    'when it answers, it counts',
  );
  await driver.catalogue.refresh(context());
  other.failing.set('find', unreachable());
  await driver.create('third', { type: 'block' }, context());
  t.equal(
    await codeOf(driver.create('theirs', { type: 'block' }, context())),
    'VOLUME_EXISTS',
    'what it has listed is known',
  );
  other.failing.set('find', new PluginError('BACKEND_PERMISSION', { provider: 'nas', permission: 'nas:List' }));
  t.equal(await codeOf(driver.create('fourth', { type: 'block' }, context())), 'BACKEND_PERMISSION');
});
