import t from 'tap';
import type { CheckedEndpoint, PathNetwork } from '../../../network-plugin/datapath/datapath.ts';
import { Ipam } from '../../../network-plugin/ipam.ts';
import { firewallModel } from '../../../network-plugin/model.ts';
import type { NetworkState } from '../../../network-plugin/state.ts';
import { PluginError } from '../../../shared/errors.ts';
import type { Transaction } from '../../../shared/state/store.ts';
import { bench, context } from './fakes.ts';
import { withReconciler } from './reconciler-scene.ts';
import { ADDRESS, addressesOf, ask, create, END, END2, join, NET, network, SETTINGS } from './roaming-scene.ts';

/** Roaming addresses that were cut off, lost or forgotten. */

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

t.test('an address whose claim goes on for minutes is not given back before it has come to its end', async (t) => {
  const all = withReconciler();
  const pool = await network(all);
  all.routes.failing = new PluginError('STILL_WORKING', { what: 'claiming', seconds: 25 });
  await t.rejects(ask(all, pool), { code: 'STILL_WORKING' });
  all.routes.failing = undefined;
  all.routes.claiming.add(`${ADDRESS}/32`);
  all.clock.now += 600_000;
  await all.reconciler.run(true, context());
  t.equal(addressesOf(all).length, 1, 'whoever repeats the call joins the claim');
  all.routes.claiming.clear();
  await all.reconciler.run(true, context());
  t.same(addressesOf(all), [], 'nobody did');
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
