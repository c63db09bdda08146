import t from 'tap';
import { firewallModel } from '../../../network-plugin/model.ts';
import { roamingRanges } from '../../../network-plugin/roaming.ts';
import { bench, context } from './fakes.ts';
import { ADDRESS, ADDRESS6, addressesOf, ask, create, END, end, join, NET, network, OTHER } from './roaming-scene.ts';

/** Addresses that lie in no host's prefix and go with their container. */

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
