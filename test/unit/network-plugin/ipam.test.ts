import t from 'tap';
import type { PoolRequest } from '../../../network-plugin/pool-plan.ts';
import { bench, context } from './fakes.ts';

const pool = (change: Partial<PoolRequest> = {}): PoolRequest => ({
  addressSpace: 'vpc',
  pool: undefined,
  range: undefined,
  options: {},
  v6: false,
  ...change,
});

const address = (id: string, wanted?: string, gateway = false) => ({ pool: id, address: wanted, gateway });

t.test('a pool without a subnet is the whole default pool, with a free prefix of this host', async (t) => {
  const { ipam, routes } = bench();
  routes.foreign.set('10.64.0.0/24', 'host-b');
  const record = await ipam.requestPool(pool(), context());
  t.match(record, { pool: '10.64.0.0/12', prefix: '10.64.1.0/24', id: 'vpc|10.64.0.0/12|10.64.1.0/24' });
  t.same([...routes.held], [['10.64.1.0/24', '10.64.0.0/12']]);
});

t.test('options choose another pool and prefix length', async (t) => {
  const { ipam } = bench();
  const record = await ipam.requestPool(pool({ options: { pool: '10.80.0.0/12', prefix: '25' } }), context());
  t.match(record, { pool: '10.80.0.0/12', prefix: '10.80.0.0/25' });
});

t.test('a subnet in a named pool says where in the pool the prefix is', async (t) => {
  const { ipam } = bench();
  const options = { pool: '10.80.0.0/12' };
  const record = await ipam.requestPool(pool({ pool: '10.80.3.0/24', options }), context());
  t.match(record, { pool: '10.80.0.0/12', prefix: '10.80.3.0/24' });
});

t.test('a subnet as small as a prefix is claimed itself, a larger one is a pool', async (t) => {
  const { ipam } = bench();
  t.match(await ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context()), {
    pool: '10.64.3.0/24',
    prefix: '10.64.3.0/24',
  });
  t.match(await ipam.requestPool(pool({ pool: '10.96.0.0/16' }), context()), {
    pool: '10.96.0.0/16',
    prefix: '10.96.0.0/24',
  });
});

t.test('--ip-range: as small as a prefix it is the prefix, else it limits the search or the addresses', async (t) => {
  const { ipam } = bench();
  const exact = await ipam.requestPool(pool({ pool: '10.64.0.0/12', range: '10.64.9.0/24' }), context());
  t.match(exact, { pool: '10.64.0.0/12', prefix: '10.64.9.0/24' });
  t.equal(exact.range, undefined);
  const wide = await ipam.requestPool(pool({ pool: '10.64.0.0/12', range: '10.70.0.0/16' }), context());
  t.match(wide, { pool: '10.64.0.0/12', prefix: '10.70.0.0/24' });
  const narrow = await ipam.requestPool(pool({ pool: '10.97.0.0/24', range: '10.97.0.64/26' }), context());
  t.match(narrow, { prefix: '10.97.0.0/24', range: '10.97.0.64/26' });
  t.equal(await ipam.requestAddress(address(narrow.id, undefined, true), context()), '10.97.0.1/24');
  t.equal(await ipam.requestAddress(address(narrow.id), context()), '10.97.0.64/24');
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.0.0/12', range: '10.200.0.0/24' }), context()), {
    code: 'POOL_INVALID',
    message: /--ip-range 10\.200\.0\.0\/24 is outside/,
  });
});

t.test('the same subnet twice is refused; the retry of a call whose answer was lost is not', async (t) => {
  const { ipam } = bench();
  const first = await ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context());
  t.equal((await ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context())).id, first.id);
  await ipam.requestAddress(address(first.id, undefined, true), context());
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context()), { code: 'PREFIX_OVERLAP' });
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.3.128/25' }), context()), { code: 'PREFIX_OVERLAP' });
});

t.test("another host's prefix is refused and nothing is left", async (t) => {
  const { ipam, routes, store } = bench();
  routes.foreign.set('10.64.3.0/24', 'host-b');
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context()), {
    code: 'PREFIX_OWNED',
    message: /host-b/,
  });
  t.equal(store.all('pools').size, 0);
});

t.test('bad pools, options and address spaces are refused with what is wrong', async (t) => {
  const { ipam } = bench();
  await t.rejects(ipam.requestPool(pool({ options: { pol: '10.80.0.0/12' } }), context()), {
    code: 'OPTION_UNKNOWN',
    message: /did you mean "pool"/,
  });
  await t.rejects(ipam.requestPool(pool({ options: { prefix: '31' } }), context()), { code: 'OPTION_INVALID' });
  await t.rejects(ipam.requestPool(pool({ pool: 'fd64::/48' }), context()), {
    code: 'POOL_INVALID',
    message: /IPv4 pool/,
  });
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.3.1/24' }), context()), { code: 'CIDR_INVALID' });
  await t.rejects(ipam.requestPool(pool({ addressSpace: 'other' }), context()), { code: 'BAD_REQUEST' });
  await t.rejects(ipam.requestPool(pool({ pool: '10.64.0.0/16', options: { pool: '10.80.0.0/12' } }), context()), {
    code: 'POOL_INVALID',
    message: /--subnet names 10\.64\.0\.0\/16/,
  });
});

t.test('addresses are given in turn; network and broadcast address never', async (t) => {
  const { ipam } = bench();
  const { id } = await ipam.requestPool(pool({ pool: '10.64.3.0/29', options: { prefix: '29' } }), context());
  t.equal(await ipam.requestAddress(address(id, undefined, true), context()), '10.64.3.1/29');
  t.equal(await ipam.requestAddress(address(id, undefined, true), context()), '10.64.3.1/29', 'a retry');
  const given = [];
  for (let n = 0; n < 5; n += 1) given.push(await ipam.requestAddress(address(id), context()));
  t.same(given, ['10.64.3.2/29', '10.64.3.3/29', '10.64.3.4/29', '10.64.3.5/29', '10.64.3.6/29']);
  await t.rejects(ipam.requestAddress(address(id), context()), { code: 'POOL_EXHAUSTED', message: /10\.64\.3\.0\/29/ });
});

t.test('a released address rests for 30 s, unless it is asked for by name', async (t) => {
  const { ipam, clock } = bench();
  const { id } = await ipam.requestPool(pool({ pool: '10.64.3.0/30', options: { prefix: '30' } }), context());
  t.equal(await ipam.requestAddress(address(id), context()), '10.64.3.1/30');
  t.equal(await ipam.requestAddress(address(id), context()), '10.64.3.2/30');
  await ipam.releaseAddress(id, '10.64.3.1', context());
  await t.rejects(ipam.requestAddress(address(id), context()), { code: 'POOL_EXHAUSTED', message: /again 30 s after/ });
  t.equal(await ipam.requestAddress(address(id, '10.64.3.1'), context()), '10.64.3.1/30');
  await ipam.releaseAddress(id, '10.64.3.1', context());
  clock.now += 29_999;
  await t.rejects(ipam.requestAddress(address(id), context()), { code: 'POOL_EXHAUSTED' });
  clock.now += 1;
  t.equal(await ipam.requestAddress(address(id), context()), '10.64.3.1/30');
});

t.test('an address asked for by name must be ours and free, and the error says whose it is', async (t) => {
  const { ipam, routes } = bench();
  routes.foreign.set('10.64.7.0/24', 'host-b');
  const { id } = await ipam.requestPool(pool({ pool: '10.64.0.0/12' }), context());
  await ipam.requestAddress(address(id, undefined, true), context());
  t.equal(await ipam.requestAddress(address(id, '10.64.0.9'), context()), '10.64.0.9/24');
  await t.rejects(ipam.requestAddress(address(id, '10.64.0.9'), context()), { code: 'ADDRESS_IN_USE' });
  await t.rejects(ipam.requestAddress(address(id, '10.64.0.1'), context()), {
    code: 'ADDRESS_IN_USE',
    message: /gateway/,
  });
  await t.rejects(ipam.requestAddress(address(id, '10.64.7.9'), context()), {
    code: 'ADDRESS_ELSEWHERE',
    message: /host-b/,
  });
  await t.rejects(ipam.requestAddress(address(id, '10.64.8.9'), context()), { code: 'ADDRESS_OUTSIDE' });
  await t.rejects(ipam.requestAddress(address(id, '10.64.0.255'), context()), { code: 'ADDRESS_OUTSIDE' });
});

t.test('an address whose holder never came is given up after a minute', async (t) => {
  const { ipam, clock } = bench();
  const { id } = await ipam.requestPool(pool(), context());
  await ipam.requestAddress(address(id, '10.64.0.9'), context());
  clock.now += 61_000;
  t.equal(await ipam.requestAddress(address(id, '10.64.0.9'), context()), '10.64.0.9/24');
});

t.test('a lost state is made again from the PoolID that Docker keeps', async (t) => {
  const { ipam, routes, store } = bench();
  t.equal(await ipam.requestAddress(address('vpc|10.64.0.0/12|10.64.5.0/24', '10.64.5.9'), context()), '10.64.5.9/24');
  t.same([...routes.held], [['10.64.5.0/24', '10.64.0.0/12']]);
  t.equal(store.all('pools').size, 1);
  await t.rejects(ipam.requestAddress(address('riglocal/10.1.0.0/24'), context()), { code: 'BAD_REQUEST' });
});

t.test('releasing a pool releases its prefix and forgets its addresses; twice is harmless', async (t) => {
  const { ipam, routes, store } = bench();
  const { id } = await ipam.requestPool(pool(), context());
  await ipam.requestAddress(address(id), context());
  await ipam.releasePool(id, context());
  await ipam.releasePool(id, context());
  await ipam.releaseAddress(id, '10.64.0.1', context());
  t.same([routes.held.size, store.all('pools').size, store.all('addresses').size], [0, 0, 0]);
});

t.test('a pool whose network is gone, and whose release was lost, is given to whoever asks for it next', async (t) => {
  const { ipam, driver, routes, store } = bench();
  const { id } = await ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context());
  const gateway = await ipam.requestAddress(address(id, undefined, true), context());
  const pools = [{ addressSpace: 'vpc', pool: '10.64.3.0/24', gateway, auxiliary: [] }];
  await driver.createNetwork({ id: 'a'.repeat(64), options: {}, internal: false, pools }, context());
  await driver.deleteNetwork('a'.repeat(64), context());
  t.match(store.get('pools', id), { released: true });
  t.equal((await ipam.requestPool(pool({ pool: '10.64.3.0/24' }), context())).released, undefined);
  t.equal(await ipam.requestAddress(address(id, '10.64.3.1', true), context()), '10.64.3.1/24');
  t.same([...routes.held.keys()], ['10.64.3.0/24']);
});

t.test('IPv6 pools give out prefixes and addresses alike', async (t) => {
  const { ipam } = bench();
  const { id, prefix } = await ipam.requestPool(pool({ v6: true }), context());
  t.equal(prefix, 'fd64:6472:7961::/64');
  t.equal(await ipam.requestAddress(address(id, undefined, true), context()), 'fd64:6472:7961::1/64');
  t.equal(await ipam.requestAddress(address(id), context()), 'fd64:6472:7961::2/64');
});

t.test('concurrent requests get distinct prefixes and addresses', async (t) => {
  const { ipam } = bench();
  const pools = await Promise.all(Array.from({ length: 20 }, () => ipam.requestPool(pool(), context())));
  t.equal(new Set(pools.map(({ prefix }) => prefix)).size, 20);
  const id = pools[0]?.id ?? '';
  const given = await Promise.all(Array.from({ length: 200 }, () => ipam.requestAddress(address(id), context())));
  t.equal(new Set(given).size, 200);
});

t.test(
  'an engine that asks for one prefix after the other and takes none is refused before the pool is empty',
  async (t) => {
    const { ipam, routes } = bench();
    const given: string[] = [];
    for (let i = 0; i < 64; i += 1) given.push((await ipam.requestPool(pool(), context())).id);
    await t.rejects(ipam.requestPool(pool(), context()), {
      code: 'POOL_INVALID',
      message: /with --subnet 10\.64\.0\.0\/12 it does/,
    });
    await ipam.requestPool(pool({ options: { pool: '10.80.0.0/12' } }), context());
    await ipam.requestPool(pool({ pool: '10.64.99.0/24' }), context());
    for (const id of given) await ipam.releasePool(id, context());
    t.equal(routes.held.size, 2, 'what it was given comes back');
    await ipam.requestPool(pool(), context());
  },
);
