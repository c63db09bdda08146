// What the driver does for volumes of which several are on one device, that are lost, or whose making came to nothing.
import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { holdsOn } from '../../../volume-plugin/references.ts';
import { codeOf } from './block/scratch.ts';
import { bench, context, unreachable } from './fakes.ts';

t.test('a hold that is nobody’s is dropped though others use volumes on the same device', async (t) => {
  const host = await bench();
  const { driver, reconciler, kernel, clock, store, backend } = host;
  const devices = ['data', 'web'].map((name) => [`/mnt/${name}`, { source: `nas:/${name}`, device: '0:50' }] as const);
  const mount = backend.mount.bind(backend);
  backend.mount = async (volume, target, c) => {
    await mount(volume, target, c);
    for (const [at, entry] of devices) if (at === target) kernel.mounts.set(at, entry);
    return { ...(kernel.at(target) ?? { source: '', device: '' }), inside: '', shared: true };
  };
  for (const name of ['data', 'web']) {
    await driver.create(name, {}, context());
    await driver.mount(name, `id-${name}`, context());
  }
  const asked: (string | undefined)[] = [];
  kernel.users = (_device, within) => {
    asked.push(within);
    return within === 'nas:/web' ? ['process 7'] : [];
  };
  clock.now += 600_000;
  await reconciler.pass(context());
  await reconciler.pass(context());
  t.same(
    [...store.all('references').values()].map(({ volume }) => volume),
    ['web'],
  );
  t.same(new Set(asked), new Set(['nas:/data', 'nas:/web']));
  await host.stop();
});

t.test('a back-end hears of what an earlier life has mounted, and of nothing else', async (t) => {
  const first = await bench();
  const { cluster, kernel, store } = first;
  for (const name of ['data', 'web']) await first.driver.create(name, {}, context());
  await first.driver.mount('data', 'id', context());
  await first.stop();
  const again = await bench({ cluster, kernel, store });
  const heard: unknown[] = [];
  Object.assign(again.backend, {
    resume: ({ name }: { name: string }, mounted: object) => heard.push([name, mounted]),
  });
  again.reconciler.start(3_600_000);
  t.match(heard, [['data', { target: '/mnt/data', source: '/dev/data', device: /^259:/ }]]);
  t.equal(heard.length, 1);
  again.life.cancel(new Error('the end'));
  await again.reconciler.ended();
});

t.test('a volume that a back-end finds to be lost is handed out no more, at once', async (t) => {
  const host = await bench();
  const { driver, reconciler, backend, store } = host;
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  const cut: string[] = [];
  Object.assign(backend, { lost: () => 'another host has it', cutOff: async (target: string) => cut.push(target) });
  await reconciler.lose('data');
  t.equal(store.get('mounts', 'data')?.lost, 'another host has it');
  t.same(cut, ['/mnt/data']);
  t.equal(await codeOf(driver.mount('data', 'other', context())), 'VOLUME_LOST');
  await host.stop();
});

t.test('docker run hangs: a volume is handed out once more only when its server answers', async (t) => {
  const host = await bench();
  const { driver, backend, store } = host;
  await driver.create('data', {}, context());
  await driver.mount('data', 'id', context());
  let isSilent = true;
  Object.assign(backend, {
    reach: async ({ name }: { name: string }) => {
      if (isSilent) throw new PluginError('SHARE_SILENT', { share: `nas:/${name}` });
    },
  });
  t.equal(await codeOf(driver.mount('data', 'other', context())), 'SHARE_SILENT');
  t.equal(holdsOn(store, 'data'), 1, 'who has it keeps it');
  t.equal(store.get('mounts', 'data')?.phase, 'mounted');
  isSilent = false;
  t.equal(await driver.mount('data', 'other', context()), '/mnt/data/data');
  await host.stop();
});

t.test('a volume whose making came to nothing is not promised, and one whose end is open is', async (t) => {
  const host = await bench();
  const { driver, backend } = host;
  backend.failing.set('create', unreachable());
  await codeOf(driver.create('data', { size: '2g' }, context()));
  t.same(
    driver.names().map(({ name }) => name),
    ['data'],
  );
  Object.assign(backend, { nothingOf: () => true });
  t.equal(await codeOf(driver.create('web', { size: '2g' }, context())), 'BACKEND_UNREACHABLE');
  t.same(
    driver.names().map(({ name }) => name),
    ['data'],
    'the address can be corrected',
  );
  await codeOf(driver.create('data', { size: '2g' }, context()));
  t.same(
    driver.names().map(({ name }) => name),
    ['data'],
    'what an earlier try may have made stays promised',
  );
  await host.stop();
});
