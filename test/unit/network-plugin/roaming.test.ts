import t from 'tap';
import type { CheckedEndpoint, Drift, PathNetwork } from '../../../network-plugin/datapath/datapath.ts';
import { Ipam } from '../../../network-plugin/ipam.ts';
import { firewallModel } from '../../../network-plugin/model.ts';
import { Reconciler } from '../../../network-plugin/reconcile.ts';
import { roamingRanges } from '../../../network-plugin/roaming.ts';
import type { NetworkState } from '../../../network-plugin/state.ts';
import { parseCidr } from '../../../shared/cidr.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import type { Transaction } from '../../../shared/state/store.ts';
import { bench, context } from './fakes.ts';

/** Addresses that lie in no host's prefix and go with their container. */

const NET = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const END = 'c'.repeat(64);
const END2 = 'd'.repeat(64);
const ADDRESS = '10.64.200.7';
const ADDRESS6 = 'fd64:6472:7961:f::7';

const SETTINGS = {
  pool: parseCidr('10.64.0.0/12'),
  prefix: 24,
  pool6: parseCidr('fd64:6472:7961::/48'),
  prefix6: 64,
};

type Bench = ReturnType<typeof bench>;

/** A pool as `--subnet` names it, with its gateway, and a network on it. */
const network = async ({ ipam, driver }: Bench, id = NET, options: Record<string, string> = {}, v6 = false) => {
  const wanted = v6 ? 'fd64:6472:7961::/48' : '10.64.0.0/12';
  const pool = await ipam.requestPool(
    { addressSpace: 'vpc', pool: wanted, range: undefined, options: {}, v6 },
    context(),
  );
  const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
  const pools = [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }];
  await driver.createNetwork({ id, options, internal: false, pools }, context());
  return pool.id;
};

const ask = ({ ipam }: Bench, pool: string, address = ADDRESS, gateway = false): Promise<string> =>
  ipam.requestAddress({ pool, address, gateway }, context());

const create = ({ driver }: Bench, id = END, address: string | undefined = ADDRESS, on = NET) =>
  driver.endpoints.create({ id, network: on, address, address6: undefined, mac: undefined }, context());

const join = ({ driver }: Bench, id = END, on = NET) => driver.endpoints.join(on, id, undefined, context());

/** What `docker rm -f` does. */
const end = async ({ driver, ipam }: Bench, pool: string, id = END): Promise<void> => {
  await driver.endpoints.leave(NET, id, context());
  await driver.endpoints.delete(NET, id, context());
  await ipam.releaseAddress(pool, ADDRESS, context());
};

const withReconciler = () => {
  const all = bench();
  const reconciler = new Reconciler({
    ...all,
    routes: Object.assign(all.routes, {
      reconcile: async (): Promise<Drift[]> => [],
      settle: async (): Promise<Drift[]> => [],
    }),
    ports: { restore: async () => [] },
    log: silentLogger,
    dryRun: false,
    now: () => all.clock.now,
  });
  return { ...all, reconciler };
};

const addressesOf = ({ store }: Bench): string[] =>
  [...store.all('addresses').values()].filter(({ roaming }) => roaming === true).map(({ address }) => address);

t.test(
  'an address of the pool in nobody’s prefix is claimed, with the length of itself, and given back at once',
  async (t) => {
    const all = bench();
    const pool = await network(all);
    t.equal(await ask(all, pool), `${ADDRESS}/32`);
    t.same([...all.routes.addresses], [ADDRESS]);
    await create(all);
    t.match(await join(all), { gateway: '169.254.1.1' });
    t.same([...all.filter.roaming], [`${ADDRESS} ${NET}`]);
    t.match(firewallModel(all.store, all.routes).roaming, [{ address: ADDRESS, network: { id: NET } }]);
    await end(all, pool);
    t.same([...all.filter.roaming], []);
    t.same(firewallModel(all.store, all.routes).roaming, []);
    t.same([...all.routes.addresses], [], 'another host can have it now');
    t.same(addressesOf(all), []);
    t.equal(await ask(all, pool), `${ADDRESS}/32`, 'and so can this one, at once');
  },
);

t.test('IPv6 addresses roam as well', async (t) => {
  const all = bench();
  const pool = await network(all, NET, {}, true);
  t.equal(await ask(all, pool, ADDRESS6), `${ADDRESS6}/128`);
  await all.driver.endpoints.create(
    { id: END, network: NET, address: undefined, address6: ADDRESS6, mac: undefined },
    context(),
  );
  await join(all);
  t.same([...all.filter.roaming], [`${ADDRESS6} ${NET}`]);
});

t.test('an address that a live host holds is refused with its name, and nothing is left', async (t) => {
  const all = bench();
  const pool = await network(all);
  all.routes.foreign.set(`${ADDRESS}/32`, 'host-b');
  await t.rejects(ask(all, pool), { code: 'ADDRESS_HELD', message: /10\.64\.200\.7 is held by host host-b/ });
  t.same(addressesOf(all), []);
  all.routes.foreign.clear();
  t.equal(await ask(all, pool), `${ADDRESS}/32`, 'until it gives it up');
});

t.test('a claim that takes longer than a call is joined by the next one, or given back', async (t) => {
  const all = withReconciler();
  const pool = await network(all);
  all.routes.failing = new PluginError('STILL_WORKING', { what: 'claiming', seconds: 25 });
  await t.rejects(ask(all, pool), { code: 'STILL_WORKING' });
  all.routes.failing = undefined;
  t.equal(await ask(all, pool), `${ADDRESS}/32`);
  await all.ipam.releaseAddress(pool, ADDRESS, context());
  all.routes.failing = new PluginError('STILL_WORKING', { what: 'claiming', seconds: 25 });
  await t.rejects(ask(all, pool), { code: 'STILL_WORKING' });
  all.routes.failing = undefined;
  all.routes.addresses.add(ADDRESS);
  all.clock.now += 61_000;
  await all.reconciler.run(true, context());
  t.same([[...all.routes.addresses], addressesOf(all)], [[], []]);
});

t.test('what lies in another host’s prefix, outside of the pool, or is a network’s own, does not roam', async (t) => {
  const all = bench();
  const pool = await network(all);
  all.routes.foreign.set('10.64.200.0/24', 'host-b');
  await t.rejects(ask(all, pool), { code: 'ADDRESS_ELSEWHERE', message: /host-b/ });
  all.routes.foreign.clear();
  await t.rejects(ask(all, pool, '10.99.0.1'), { code: 'ADDRESS_OUTSIDE' });
  await t.rejects(ask(all, pool, ADDRESS, true), { code: 'ADDRESS_OUTSIDE' }, 'a gateway');
  const fresh = await all.ipam.requestPool(
    { addressSpace: 'vpc', pool: '10.80.0.0/12', range: undefined, options: {}, v6: false },
    context(),
  );
  await t.rejects(ask(all, fresh.id, '10.80.200.7'), { code: 'ADDRESS_OUTSIDE' }, 'an auxiliary address');
  t.equal(await ask(all, pool, '10.64.0.9'), '10.64.0.9/24', 'one of the own prefix is as before');
  t.same([...all.routes.addresses], []);
});

t.test('two containers of one host do not have one address, in one network or in two', async (t) => {
  const all = bench();
  const pool = await network(all);
  const other = await network(all, OTHER);
  await ask(all, pool);
  await t.rejects(ask(all, pool), { code: 'ADDRESS_IN_USE' }, 'asked for just now');
  await t.rejects(ask(all, other), { code: 'ADDRESS_IN_USE', message: /network aaaaaaaaaaaa/ });
  await create(all);
  await join(all);
  all.clock.now += 3_600_000;
  await t.rejects(ask(all, pool), { code: 'ADDRESS_IN_USE', message: /endpoint cccccccccccc/ });
  await t.rejects(ask(all, other), { code: 'ADDRESS_IN_USE', message: /endpoint cccccccccccc/ });
});

t.test('of two requests at once one succeeds', async (t) => {
  const all = bench();
  const pool = await network(all);
  const results = await Promise.allSettled([ask(all, pool), ask(all, pool)]);
  t.same(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

t.test('an endpoint with an address that this host does not hold is refused', async (t) => {
  const all = bench();
  const pool = await network(all);
  await network(all, OTHER);
  await t.rejects(create(all), { code: 'ADDRESS_OUTSIDE' });
  await ask(all, pool);
  await t.rejects(create(all, END, ADDRESS, OTHER), { code: 'ADDRESS_OUTSIDE' }, 'held for another network');
  all.routes.lostPrefixes = [{ prefix: `${ADDRESS}/32`, owner: 'host-b' }];
  await t.rejects(create(all), { code: 'ADDRESS_HELD', message: /host-b/ });
  all.routes.lostPrefixes = [];
  await create(all);
});

t.test(
  'a release that belongs to a request that came to nothing does not take the address from its container',
  async (t) => {
    const all = bench();
    const pool = await network(all);
    await ask(all, pool);
    await create(all);
    await join(all);
    await all.ipam.releaseAddress(pool, ADDRESS, context());
    t.same([...all.routes.addresses], [ADDRESS]);
    await end(all, pool);
    t.same([...all.routes.addresses], []);
  },
);

t.test('the end of a network gives its roaming addresses back', async (t) => {
  const all = bench();
  const pool = await network(all);
  await ask(all, pool);
  await all.driver.deleteNetwork(NET, context());
  await all.ipam.releasePool(pool, context());
  t.same([[...all.routes.addresses], addressesOf(all), all.routes.held.size], [[], [], 0]);
});

t.test('roaming ranges: in the pool, and no prefix of this host overlaps them', async (t) => {
  const all = bench();
  const refusal = (options: Record<string, string>): Promise<unknown> =>
    network(all, NET, options).catch((error: unknown) => error);
  t.match(await refusal({ roaming: '10.99.0.0/24' }), { code: 'OPTION_INVALID', message: /roaming=10\.99\.0\.0\/24/ });
  const own = await refusal({ roaming: '10.64.0.0/16' });
  t.match(own, { code: 'PREFIX_OVERLAP', message: /10\.64\.\d\.0\/24 overlaps 10\.64\.0\.0\/16.*roaming/ });
  await network(all, NET, { roaming: '10.64.200.0/24,10.65.0.0/16' });
  t.same(roamingRanges(all.store), ['10.64.200.0/24', '10.65.0.0/16'], 'what free prefixes are not taken from');
  const exact = { addressSpace: 'vpc', pool: '10.64.200.128/25', range: undefined, options: {}, v6: false };
  await t.rejects(all.ipam.requestPool(exact, context()), { code: 'PREFIX_OVERLAP', message: /10\.64\.200\.0\/24/ });
  const chosen = [{ addressSpace: '', pool: '10.65.3.0/24', gateway: undefined, auxiliary: [] }];
  await t.rejects(
    all.driver.createNetwork({ id: OTHER, options: {}, internal: false, pools: chosen }, context()),
    { code: 'PREFIX_OVERLAP', message: /10\.65\.3\.0\/24 overlaps 10\.65\.0\.0\/16/ },
    'also where Docker chose the prefix',
  );
  const swallows = await network(all, OTHER, { roaming: '10.64.0.0/16' }).catch((error: unknown) => error);
  t.match(swallows, { code: 'PREFIX_OVERLAP' }, 'nor does a range swallow the prefix of another network');
});

t.test(
  'an address that another host has taken is not led to its container any more, and led again when it is back',
  async (t) => {
    const all = withReconciler();
    const pool = await network(all);
    await ask(all, pool);
    await create(all);
    await join(all);
    const seen: (readonly CheckedEndpoint[])[] = [];
    all.path.check = async (_networks?: readonly PathNetwork[], endpoints: readonly CheckedEndpoint[] = []) => {
      seen.push(endpoints);
      return [];
    };
    await all.driver.followRoutes(context());
    t.same(seen, [], 'nothing is looked at while nothing was lost');
    all.routes.lostPrefixes = [{ prefix: `${ADDRESS}/32`, owner: 'host-b' }];
    await all.driver.followRoutes(context());
    t.equal(seen.length, 1);
    t.match(seen[0], [{ id: END, attached: true }]);
    t.equal(seen[0]?.[0]?.address, undefined, 'the host has no route to it');
    t.same(all.filter.model?.roaming, [], 'and the firewall drops it');
    t.match(all.store.get('endpoints', END), { phase: 'joined' }, 'the container stays');
    await all.reconciler.run(true, context());
    t.equal(seen.at(-1)?.[0]?.address, undefined, 'reconcile does not bring it back');
    all.routes.lostPrefixes = [];
    await all.driver.followRoutes(context());
    t.equal(seen.at(-1)?.[0]?.address, ADDRESS);
    t.match(all.filter.model?.roaming, [{ address: ADDRESS }]);
  },
);

t.test(
  'an address that was given up to another host stays given up, also after a restart, and is had again when it is free',
  async (t) => {
    const all = withReconciler();
    const pool = await network(all);
    await ask(all, pool);
    await create(all);
    await join(all);
    let seen: readonly CheckedEndpoint[] = [];
    all.path.check = async (_networks?: readonly PathNetwork[], endpoints: readonly CheckedEndpoint[] = []) => {
      seen = endpoints;
      return [];
    };
    // As the route engine leaves it: the claim is gone, the address leads elsewhere.
    await all.routes.releaseAddress(ADDRESS);
    all.routes.foreign.set(`${ADDRESS}/32`, 'host-b');
    const leadsThere = [{ what: `${ADDRESS} leads to host-b: its container here is not reached`, repaired: false }];
    for (const pass of ['first', 'second']) {
      t.same(await all.reconciler.run(true, context()), leadsThere, `it is said at the ${pass} pass`);
      t.equal(seen[0]?.address, undefined);
      t.same(firewallModel(all.store, all.routes).roaming, []);
    }
    all.routes.foreign.clear();
    t.same(await all.reconciler.run(false, context()), [
      { what: `${ADDRESS} leads to nobody: its container here is not reached`, repaired: false },
    ]);
    t.same(await all.reconciler.run(true, context()), [
      { what: `${ADDRESS} was lost, and is held again`, repaired: true },
    ]);
    t.equal(seen[0]?.address, ADDRESS);
    t.same([...all.routes.addresses], [ADDRESS]);
    t.same(await all.reconciler.run(true, context()), []);
  },
);

t.test('a view of routes that says nothing new leaves the firewall alone', async (t) => {
  const all = bench();
  await network(all);
  await all.driver.followRoutes(context());
  all.filter.model = undefined;
  await all.driver.followRoutes(context());
  t.equal(all.filter.model, undefined);
  all.routes.local = () => ['192.0.2.0/24', '198.51.100.0/24'];
  await all.driver.followRoutes(context());
  t.not(all.filter.model, undefined);
});

t.test(
  'cut off at each step, the address is had by the next attempt, and reconcile gives back what has none',
  async (t) => {
    /** Writes of state until CreateEndpoint: the intent, the claim, the address, the endpoint. */
    for (const at of [1, 2, 3, 4]) {
      const all = withReconciler();
      const pool = await network(all);
      let writes = 0;
      const update = all.store.update.bind(all.store);
      all.store.update = <R>(change: (tx: Transaction<NetworkState>) => R): Promise<R> => {
        writes += 1;
        if (writes > at) throw new PluginError('STATE_WRITE', { path: 'state', reason: 'killed' });
        return update(change);
      };
      await ask(all, pool)
        .then(() => create(all))
        .catch(() => undefined);
      all.store.update = update;
      // A new process over the same records and claims.
      const next = { ...all, ipam: new Ipam(all.store, all.routes, SETTINGS, () => all.clock.now) };
      if (at < 4) {
        t.equal(await ask(next, pool), `${ADDRESS}/32`, `Docker's retry after step ${at}`);
        await next.ipam.releaseAddress(pool, ADDRESS, context());
        t.same([[...all.routes.addresses], addressesOf(all)], [[], []]);
        await ask(next, pool);
      } else await all.driver.endpoints.delete(NET, END, context());
      t.same(await all.reconciler.run(true, context()), [], 'young: the engine may still be at it');
      all.clock.now += 61_000;
      t.match(await all.reconciler.run(true, context()), [
        { what: `no container has the address ${ADDRESS} any more` },
      ]);
      t.same([[...all.routes.addresses], addressesOf(all)], [[], []], `nothing is left after step ${at}`);
    }
  },
);

t.test('an intent without its claim is given back by reconcile', async (t) => {
  const all = withReconciler();
  const pool = await network(all);
  await all.store.update((tx) =>
    tx.put('addresses', `${pool}|${ADDRESS}`, {
      ...{ pool, address: ADDRESS, phase: 'claiming', purpose: 'endpoint', roaming: true },
      at: all.clock.now,
    }),
  );
  all.routes.addresses.add(ADDRESS);
  all.clock.now += 61_000;
  await all.reconciler.run(true, context());
  t.same([[...all.routes.addresses], addressesOf(all)], [[], []]);
});

t.test('an endpoint that a crash left before its Join is in nobody’s way, here or elsewhere', async (t) => {
  const all = bench();
  const pool = await network(all);
  await ask(all, pool);
  await create(all);
  const next = { ...all, ipam: new Ipam(all.store, all.routes, SETTINGS, () => all.clock.now) };
  t.equal(await ask(next, pool), `${ADDRESS}/32`);
  await create(all, END2);
  t.equal(all.store.get('endpoints', END), undefined, 'it gives way');
  await next.ipam.releaseAddress(pool, ADDRESS, context());
  t.same([...all.routes.addresses], [], 'what Docker gives up can be had by another host');
});

t.test('reconcile leaves an address alone that was given out again while it looked', async (t) => {
  const all = bench();
  const pool = await network(all);
  await ask(all, pool);
  const [seen] = [...all.store.all('addresses').values()].filter(({ roaming }) => roaming === true);
  await all.ipam.releaseAddress(pool, ADDRESS, context());
  all.clock.now += 1;
  await ask(all, pool);
  await all.ipam.releaseAddress(pool, ADDRESS, context(), seen);
  t.same([...all.routes.addresses], [ADDRESS]);
});

t.test('a container that runs keeps its address for hours, and a steady state is left alone', async (t) => {
  const all = withReconciler();
  const pool = await network(all);
  await ask(all, pool);
  await create(all);
  await join(all);
  all.clock.now += 7_200_000;
  t.same(await all.reconciler.run(true, context()), []);
  t.same([...all.routes.addresses], [ADDRESS]);
});

t.test('a container that Docker forgot while the plugin was disabled gives its address back', async (t) => {
  const all = withReconciler();
  const pool = await network(all);
  await ask(all, pool);
  await create(all, END2);
  await join(all, END2);
  all.path.attached.clear();
  all.clock.now += 61_000;
  await all.reconciler.run(true, context());
  await all.reconciler.run(true, context());
  t.same([[...all.routes.addresses], all.store.all('endpoints').size], [[], 0]);
});
