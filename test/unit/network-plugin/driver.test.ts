import t from 'tap';
import type { NetworkRequest } from '../../../network-plugin/network.ts';
import type { PortRequest } from '../../../network-plugin/ports/port-request.ts';
import type { NetworkState } from '../../../network-plugin/state.ts';
import { PluginError } from '../../../shared/errors.ts';
import type { StateStore } from '../../../shared/state/store.ts';
import { bench, context } from './fakes.ts';

const NET = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);
const END = 'c'.repeat(64);
const SECOND = 'd'.repeat(64);

const COLLECTIONS = ['hosts', 'claims', 'gateways', 'pools', 'addresses', 'networks', 'endpoints'] as const;

const network = (change: Partial<NetworkRequest> = {}): NetworkRequest => ({
  id: NET,
  options: {},
  internal: false,
  pools: [{ addressSpace: 'LocalDefault', pool: '10.64.3.0/24', gateway: '10.64.3.1/24', auxiliary: [] }],
  ...change,
});

const endpoint = (id = END, address: string | undefined = '10.64.3.2') => ({
  id,
  network: NET,
  address,
  address6: undefined,
  mac: undefined,
});

const web: PortRequest = {
  protocol: 6,
  containerIp: undefined,
  containerPort: 80,
  hostIp: undefined,
  hostPort: 8080,
  hostPortEnd: 8080,
};

t.test('a subnet that Docker chose is claimed in the pool that it lies in', async (t) => {
  const { driver, routes, path, filter, store } = bench();
  await driver.createNetwork(network(), context());
  t.same([...routes.held], [['10.64.3.0/24', '10.64.0.0/12']]);
  t.ok(path.networks.has(NET));
  t.match(filter.model, {
    networks: [{ id: NET, prefixes: ['10.64.3.0/24'], pools: ['10.64.0.0/12'], ingress: 'vpc', masquerade: 'auto' }],
    otherPools: ['10.64.0.0/12'],
  });
  t.equal(store.get('networks', NET)?.phase, 'ready');
  await driver.createNetwork(network(), context());
  t.equal(store.all('networks').size, 1, 'a repeated call changes nothing');
});

t.test('two networks that draw from one pool each get their own prefix of it', async (t) => {
  const { driver, ipam, store } = bench();
  for (const id of [NET, OTHER]) {
    const pool = await ipam.requestPool(
      { addressSpace: 'vpc', pool: undefined, range: undefined, options: {}, v6: false },
      context(),
    );
    const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
    const pools = [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }];
    await driver.createNetwork(network({ id, pools }), context());
  }
  t.same(
    [...store.all('networks').values()].map(({ prefixes }) => prefixes),
    [['10.64.0.0/24'], ['10.64.1.0/24']],
  );
});

t.test('Docker releases the pool before it deletes the network: the prefix is held until then', async (t) => {
  const { driver, ipam, routes, store } = bench();
  const pool = await ipam.requestPool(
    { addressSpace: 'vpc', pool: undefined, range: undefined, options: {}, v6: false },
    context(),
  );
  const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
  await driver.createNetwork(
    network({ pools: [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }] }),
    context(),
  );
  await ipam.releaseAddress(pool.id, gateway.split('/')[0] ?? '', context());
  await ipam.releasePool(pool.id, context());
  t.equal(routes.held.size, 1);
  await driver.deleteNetwork(NET, context());
  t.same([routes.held.size, store.all('pools').size, store.all('networks').size], [0, 0, 0]);
});

t.test('what a failing create had done is undone, and the first error is what the user sees', async (t) => {
  for (const part of ['routes', 'path', 'filter'] as const) {
    const all = bench();
    all[part].failing = new PluginError('FIREWALL', { what: `the ${part}` });
    await t.rejects(all.driver.createNetwork(network(), context()), { message: new RegExp(`the ${part}`) });
    t.same(
      [all.routes.held.size, all.path.networks.size, all.store.all('networks').size],
      [0, 0, 0],
      `${part} failed: nothing is left`,
    );
    all[part].failing = undefined;
    await all.driver.createNetwork(network(), context());
    t.equal(all.store.get('networks', NET)?.phase, 'ready', 'and the same call succeeds later');
  }
});

t.test('overlapping subnets, unknown options and bad values are refused before anything is done', async (t) => {
  const { driver, routes } = bench();
  await driver.createNetwork(network(), context());
  await driver.endpoints.create(endpoint(), context());
  await driver.endpoints.join(NET, END, undefined, context());
  const overlap = network({
    id: OTHER,
    pools: [{ addressSpace: 'LocalDefault', pool: '10.64.0.0/16', gateway: '10.64.0.1/16', auxiliary: [] }],
  });
  await t.rejects(driver.createNetwork(overlap, context()), {
    code: 'PREFIX_OVERLAP',
    message: /10\.64\.3\.0\/24.*network aaaaaaaaaaaa/,
  });
  await t.rejects(driver.createNetwork(network({ id: OTHER, options: { mut: '9000' } }), context()), {
    code: 'OPTION_UNKNOWN',
    message: /did you mean "mtu"/,
  });
  await t.rejects(driver.createNetwork(network({ id: OTHER, options: { ingress: 'all' } }), context()), {
    code: 'OPTION_INVALID',
  });
  t.equal(routes.held.size, 1);
});

t.test('a subnet that Docker gives out again takes the place of a network that it forgot', async (t) => {
  const { driver, routes, store } = bench();
  await driver.createNetwork(network(), context());
  await driver.createNetwork(network({ id: OTHER }), context());
  t.same([...store.all('networks').keys()], [OTHER]);
  t.same([...routes.held.keys()], ['10.64.3.0/24']);
});

t.test('an endpoint lives from create to delete, and each call may come twice', async (t) => {
  const { driver, store, path, filter } = bench();
  await driver.createNetwork(network(), context());
  for (let n = 0; n < 2; n += 1) {
    t.same(await driver.endpoints.create(endpoint(), context()), { mac: '02:42:0a:40:03:02' });
    t.match(await driver.endpoints.join(NET, END, '/var/run/docker/netns/x', context()), {
      source: `drc${'c'.repeat(11)}`,
    });
    t.equal(store.get('endpoints', END)?.phase, 'joined');
  }
  t.equal(filter.looks, 2, 'iptables that came into use after the plugin is met by the first container');
  for (let n = 0; n < 2; n += 1) await driver.endpoints.leave(NET, END, context());
  t.equal(path.attached.size, 0);
  for (let n = 0; n < 2; n += 1) await driver.endpoints.delete(NET, END, context());
  t.equal(store.all('endpoints').size, 0);
});

t.test('an IPv6-only endpoint has a MAC address of its own too', async (t) => {
  const { driver } = bench();
  await driver.createNetwork(
    network({ pools: [{ addressSpace: 'LocalDefault', pool: 'fd60::/64', gateway: 'fd60::1/64', auxiliary: [] }] }),
    context(),
  );
  const { mac } = await driver.endpoints.create({ ...endpoint(), address: undefined, address6: 'fd60::2' }, context());
  t.match(mac, /^02:42(:[0-9a-f]{2}){4}$/);
});

t.test('endpoints of one container get different slots, and free ones are taken again', async (t) => {
  const { driver, store } = bench();
  await driver.createNetwork(network(), context());
  const third = 'e'.repeat(64);
  const ids = [END, SECOND, third];
  for (const [n, id] of ids.entries()) {
    await driver.endpoints.create(endpoint(id, `10.64.3.${n + 2}`), context());
    await driver.endpoints.join(NET, id, '/var/run/docker/netns/x', context());
  }
  t.same(
    ids.map((id) => store.get('endpoints', id)?.slot),
    [0, 1, 2],
  );
  await driver.endpoints.leave(NET, SECOND, context());
  await driver.endpoints.join(NET, SECOND, '/var/run/docker/netns/x', context());
  t.equal(store.get('endpoints', SECOND)?.slot, 1);
  await driver.endpoints.join(NET, third, '/var/run/docker/netns/other', context());
  t.equal(store.get('endpoints', third)?.slot, 0);
});

t.test('ports are published and revoked; Leave revokes when Revoke never came', async (t) => {
  const { driver, filter, ports, store } = bench();
  await driver.createNetwork(network(), context());
  await driver.endpoints.create(endpoint(), context());
  await driver.endpoints.join(NET, END, undefined, context());
  await driver.endpoints.publish(NET, END, [web], context());
  t.same([...filter.ports], ['6 :8080']);
  t.match(store.get('endpoints', END)?.ports, [{ hostPort: 8080, targetIp: '10.64.3.2', targetPort: 80 }]);
  await driver.endpoints.publish(NET, END, [web], context());
  t.same([...filter.ports], ['6 :8080'], 'a repeated call leaves one of each');
  await driver.endpoints.leave(NET, END, context());
  t.same([filter.ports.size, ports.reserved.size, store.get('endpoints', END)?.ports.length], [0, 0, 0]);
});

t.test('a port that cannot be programmed is not kept', async (t) => {
  const { driver, filter, ports, store } = bench();
  await driver.createNetwork(network(), context());
  await driver.endpoints.create(endpoint(), context());
  filter.failing = new PluginError('FIREWALL', { what: 'a port' });
  await t.rejects(driver.endpoints.publish(NET, END, [web], context()), { code: 'FIREWALL' });
  t.same([ports.reserved.size, store.get('endpoints', END)?.ports.length], [0, 0]);
});

t.test('an endpoint that Docker forgot gives way only when its container is gone', async (t) => {
  const { driver, path, store } = bench();
  await driver.createNetwork(network(), context());
  await driver.endpoints.create(endpoint(), context());
  await driver.endpoints.join(NET, END, undefined, context());
  await t.rejects(driver.endpoints.create(endpoint(SECOND), context()), {
    code: 'ADDRESS_IN_USE',
    message: /cccccccccccc/,
  });
  path.attached.clear();
  await driver.endpoints.create(endpoint(SECOND), context());
  t.same([...store.all('endpoints').keys()], [SECOND]);
});

t.test('addresses outside of the prefix, unknown ids and lost prefixes are refused by name', async (t) => {
  const { driver, routes } = bench();
  await driver.createNetwork(network(), context());
  await t.rejects(driver.endpoints.create(endpoint(END, '10.64.4.2'), context()), { code: 'ADDRESS_OUTSIDE' });
  await t.rejects(driver.endpoints.join(NET, END, undefined, context()), { code: 'ENDPOINT_UNKNOWN' });
  await t.rejects(driver.endpoints.create({ ...endpoint(), network: OTHER }, context()), { code: 'NETWORK_UNKNOWN' });
  routes.lostPrefixes = [{ prefix: '10.64.3.0/24', owner: 'host-b' }];
  await t.rejects(driver.endpoints.create(endpoint(), context()), { code: 'PREFIX_OWNED', message: /host-b/ });
});

t.test('a network that Docker removed unseen is forgotten by its id, but not while containers run on it', async (t) => {
  const { driver, ipam, store, path, routes } = bench();
  const pool = await ipam.requestPool(
    { addressSpace: 'vpc', pool: undefined, range: undefined, options: {}, v6: false },
    context(),
  );
  const gateway = await ipam.requestAddress({ pool: pool.id, address: undefined, gateway: true }, context());
  await driver.createNetwork(
    network({ pools: [{ addressSpace: 'vpc', pool: pool.pool, gateway, auxiliary: [] }] }),
    context(),
  );
  await driver.endpoints.create(endpoint(END, '10.64.0.2'), context());
  await driver.endpoints.join(NET, END, undefined, context());
  await t.rejects(driver.forgetNetwork(NET.slice(0, 12), context()), { code: 'NETWORK_IN_USE', message: /1 running/ });
  await t.rejects(driver.forgetNetwork('ffff', context()), { code: 'NETWORK_UNKNOWN' });
  path.attached.clear();
  t.equal(await driver.forgetNetwork(NET.slice(0, 12), context()), NET);
  const left = [store.all('networks'), store.all('pools'), store.all('addresses'), store.all('endpoints'), routes.held];
  t.same(
    left.map(({ size }) => size),
    [0, 0, 0, 0, 0],
  );
});

t.test('deleting a network collects endpoints that Docker never told of', async (t) => {
  const { driver, store, path, routes, filter } = bench();
  await driver.createNetwork(network(), context());
  await driver.endpoints.create(endpoint(), context());
  await driver.endpoints.join(NET, END, undefined, context());
  await driver.deleteNetwork(NET, context());
  t.same([store.all('endpoints').size, path.attached.size, routes.held.size], [0, 0, 0]);
  t.equal(filter.model, undefined, 'the last network takes our rules with it');
});

t.test(
  'no step of a container waits for the disk: what is recorded of links and ports goes with the kernel',
  async (t) => {
    const { driver, store } = bench();
    const written: string[] = [];
    const update = store.update.bind(store);
    const watched: StateStore<NetworkState>['update'] = (change, lasting = 'disk') =>
      update((tx) => {
        const before = new Map([...COLLECTIONS].map((name) => [name, new Map(tx.all(name))]));
        const result = change(tx);
        for (const [name, records] of before) {
          const now = tx.all(name);
          const same = now.size === records.size && [...now].every(([id, record]) => records.get(id) === record);
          if (!same) written.push(`${name} ${lasting}`);
        }
        return result;
      });
    Object.assign(store, { update: watched });
    await driver.createNetwork(network(), context());
    await driver.endpoints.create(endpoint(), context());
    await driver.endpoints.join(NET, END, undefined, context());
    await driver.endpoints.publish(NET, END, [web], context());
    await driver.endpoints.leave(NET, END, context());
    await driver.endpoints.delete(NET, END, context());
    await driver.deleteNetwork(NET, context());
    t.same([...new Set(written)].sort(), ['endpoints kernel', 'networks disk']);
    t.ok(written.filter((one) => one === 'endpoints kernel').length >= 6, written.join(', '));
  },
);
