import t from 'tap';
import type { Drift } from '../../../network-plugin/datapath/datapath.ts';
import { PluginError } from '../../../shared/errors.ts';
import { context } from './fakes.ts';
import { withReconciler } from './reconciler-scene.ts';

const NET = 'a'.repeat(64);
const END = 'c'.repeat(64);

type Bench = ReturnType<typeof withReconciler>;

/** A network on a pool of our IPAM with one container. */
const populate = async ({ driver, ipam }: Bench) => {
  const pool = await ipam.requestPool(
    { addressSpace: 'vpc', pool: undefined, range: undefined, options: {}, v6: false },
    context(),
  );
  const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
  const pools = [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }];
  await driver.createNetwork({ id: NET, options: {}, internal: false, pools }, context());
  const address = (await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: false }, context())).split(
    '/',
  )[0];
  await driver.endpoints.create({ id: END, network: NET, address, address6: undefined, mac: undefined }, context());
  await driver.endpoints.join(NET, END, undefined, context());
  return { pool, address };
};

const whats = (drift: readonly Drift[]): string[] => drift.map(({ what }) => what);

t.test('a steady state is left alone', async (t) => {
  const all = withReconciler();
  await populate(all);
  all.clock.now += 3_600_000;
  t.same(await all.reconciler.run(true, context()), []);
  t.same([all.store.all('networks').size, all.store.all('endpoints').size, all.routes.held.size], [1, 1, 1]);
});

t.test('an endpoint whose container is gone is collected at the second look, with its address', async (t) => {
  const all = withReconciler();
  const { address } = await populate(all);
  all.path.attached.clear();
  t.same(await all.reconciler.run(true, context()), [], 'young: the engine may still be at it');
  all.clock.now += 3_600_000;
  t.same(await all.reconciler.run(true, context()), [], 'seen once');
  t.same(whats(await all.reconciler.run(true, context())), [
    'endpoint cccccccccccc has no container any more',
    `no container has the address ${address} any more`,
  ]);
  t.same(await all.reconciler.run(true, context()), []);
  t.equal(all.store.all('endpoints').size, 0);
});

t.test(
  'at start a joined endpoint without a link goes at once, one that was being joined may be retried',
  async (t) => {
    const all = withReconciler();
    await populate(all);
    all.path.attached.clear();
    await all.store.update((tx) => {
      const record = tx.get('endpoints', END);
      if (record !== undefined) tx.put('endpoints', END, { ...record, phase: 'joining' });
    });
    t.same(await all.reconciler.run(true, context(), 'start'), []);
    await all.store.update((tx) => {
      const record = tx.get('endpoints', END);
      if (record !== undefined) tx.put('endpoints', END, { ...record, phase: 'joined' });
    });
    t.same(whats(await all.reconciler.run(true, context(), 'start')), [
      'endpoint cccccccccccc has no container any more',
    ]);
  },
);

t.test('a Join whose end a crash forgot has ended when its link is in the container', async (t) => {
  const all = withReconciler();
  await populate(all);
  const phase = () => all.store.get('endpoints', END)?.phase;
  t.equal(phase(), 'joined');
  await all.store.update((tx) => {
    const record = tx.get('endpoints', END);
    if (record !== undefined) tx.put('endpoints', END, { ...record, phase: 'joining' });
  });
  const present = all.path.present.bind(all.path);
  Object.assign(all.path, { present: async () => 'host' });
  t.same(await all.reconciler.run(true, context(), 'start'), []);
  t.equal(phase(), 'joining', 'while it is on the host the engine may repeat the call');
  Object.assign(all.path, { present });
  t.same(await all.reconciler.run(true, context(), 'start'), []);
  t.equal(phase(), 'joined');
});

t.test('at start a link that the engine has not moved to its container yet is left alone', async (t) => {
  const all = withReconciler();
  await populate(all);
  Object.assign(all.path, { present: async () => 'host' });
  t.same(await all.reconciler.run(true, context(), 'start'), []);
  all.clock.now += 3_600_000;
  t.match(whats(await all.reconciler.run(true, context(), 'start')), [/cccccccccccc has no container any more/]);
  t.equal(all.store.all('endpoints').size, 0, 'but not for ever');
});

t.test('networks that were left half made or half deleted are taken away', async (t) => {
  for (const phase of ['creating', 'deleting'] as const) {
    const all = withReconciler();
    await populate(all);
    await all.store.update((tx) => {
      const record = tx.get('networks', NET);
      if (record !== undefined) tx.put('networks', NET, { ...record, phase });
    });
    t.same(whats(await all.reconciler.run(true, context(), 'start')), [`network aaaaaaaaaaaa was left ${phase}`]);
    t.same([all.store.all('networks').size, all.store.all('endpoints').size, all.path.networks.size], [0, 0, 0]);
  }
});

t.test(
  'a pool that Docker never came back for is released, and one that it released takes its network along',
  async (t) => {
    const all = withReconciler();
    await all.ipam.requestPool(
      { addressSpace: 'vpc', pool: undefined, range: undefined, options: {}, v6: false },
      context(),
    );
    t.same(await all.reconciler.run(true, context()), []);
    all.clock.now += 3_600_000;
    t.equal((await all.reconciler.run(true, context())).length, 1);
    t.same([all.store.all('pools').size, all.routes.held.size], [0, 0]);

    const { pool } = await populate(all);
    await all.ipam.releasePool(pool.id, context());
    t.equal(all.routes.held.size, 1);
    all.clock.now += 3_600_000;
    t.equal((await all.reconciler.run(true, context())).length, 1);
    t.same([all.store.all('networks').size, all.routes.held.size], [0, 0]);
  },
);

t.test('a pool whose network is gone goes too, when Docker could not tell of its release', async (t) => {
  const all = withReconciler();
  const { pool } = await populate(all);
  await all.driver.deleteNetwork(NET, context());
  t.equal(all.routes.held.size, 1, 'its release should follow');
  all.clock.now += 3_600_000;
  t.same(whats(await all.reconciler.run(true, context())), [`no network uses the pool ${pool.id}`]);
  t.same([all.store.all('pools').size, all.store.all('addresses').size, all.routes.held.size], [0, 0, 0]);
});

t.test('a dry run reports and changes nothing', async (t) => {
  const all = withReconciler();
  await populate(all);
  all.path.attached.clear();
  t.match(await all.reconciler.run(false, context(), 'start'), [{ repaired: false }]);
  t.equal(all.store.all('endpoints').size, 1);
});

t.test('one part in trouble does not keep the others from being repaired', async (t) => {
  const all = withReconciler();
  await populate(all);
  Object.assign(all.routes, {
    reconcile: async () => {
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'etcd' });
    },
  });
  all.path.attached.clear();
  const drift = await all.reconciler.run(true, context(), 'start');
  t.match(whats(drift), [/no container any more/, /^routes: PROVIDER_UNREACHABLE/]);
});

t.test('two passes at once are one', async (t) => {
  const all = withReconciler();
  t.equal(all.reconciler.run(true, context()), all.reconciler.run(true, context()));
});

t.test('a pass that is under way is not taken for the answer: it may have missed what the caller knows', async (t) => {
  const all = withReconciler();
  const gate = Promise.withResolvers<Drift[]>();
  const results: Promise<Drift[]>[] = [gate.promise, Promise.resolve([{ what: 'it is lost', repaired: false }])];
  Object.assign(all.routes, { reconcile: () => results.shift() });
  const first = all.reconciler.run(true, context());
  await new Promise(setImmediate);
  const [second, third] = [all.reconciler.run(true, context()), all.reconciler.run(true, context())];
  gate.resolve([{ what: 'no answer', repaired: false }]);
  t.same(whats(await first), ['no answer']);
  t.same(whats(await second), ['it is lost']);
  t.equal(second, third, 'those who wait share the next one');
});

t.test('a pass over the kernel alone judges no records, and says what it did', async (t) => {
  const all = withReconciler();
  await populate(all);
  all.path.attached.clear();
  all.clock.now += 3_600_000;
  Object.assign(all.path, { check: async () => [{ what: 'a route was missing', repaired: true }] });
  for (let pass = 0; pass < 3; pass += 1) t.same(whats(await all.reconciler.touchUp()), ['a route was missing']);
  t.equal(all.store.all('endpoints').size, 1);
});
