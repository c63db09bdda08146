import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { EtcdProvider } from '../../../../network-plugin/route/etcd.ts';
import type { RouteEvent } from '../../../../network-plugin/route/provider.ts';
import { startEtcd } from '../../../conformance/etcd-server.ts';
import { codeOf, context, routeProviderConformance, routesOf } from '../../../conformance/route-provider.ts';
import { etcdHost, LEASE_SECONDS, newCluster, until } from './etcd-world.ts';

t.setTimeout(120_000);

const POOL = '10.64.0.0/12';
const server = await startEtcd();
t.teardown(() => server.stop());

const request = (prefix: string) => ({ prefix, pool: POOL });
const prefixes = async (provider: EtcdProvider): Promise<string[]> =>
  (await routesOf(provider)).map((route) => route.prefix).sort();
const following = (provider: EtcdProvider): RouteEvent[] => {
  const events: RouteEvent[] = [];
  provider.watch((event) => events.push(event));
  return events;
};
const started = async (t: { teardown(work: () => unknown): void }, provider: EtcdProvider): Promise<EtcdProvider> => {
  t.teardown(() => provider.close());
  await provider.start(context());
  return provider;
};

t.test('conformance', async (t) => {
  await routeProviderConformance(t, { single: false }, async () => {
    const cluster = newCluster();
    return { host: (n) => etcdHost(server, cluster, n) };
  });
});

t.test('clusters on one etcd do not see each other, even when one name begins with the other', async (t) => {
  const name = newCluster();
  const one = await started(t, etcdHost(server, name, 1));
  const two = await started(t, etcdHost(server, `${name}/routes`, 1));
  const other = await started(t, etcdHost(server, name, 1, { root: '/elsewhere' }));
  await one.create('main', request('10.64.0.0/24'), context());
  await two.create('main', request('10.64.0.0/24'), context());
  await other.create('main', request('10.64.0.0/24'), context());
  t.same(await prefixes(one), ['10.64.0.0/24']);
  await until('its own key is seen', () => one.status().hosts !== 0);
  t.equal(one.status().hosts, 1);
});

t.test('a second host of the same name is refused clearly, and gets in when the first is gone', async (t) => {
  const cluster = newCluster();
  const first = await started(t, etcdHost(server, cluster, 1));
  const second = etcdHost(server, cluster, 1, { id: 'another', self: { host: 'host-1', address: '192.0.2.77' } });
  t.teardown(() => second.close());
  const refusal = await second.start(context()).catch((error: unknown) => error);
  t.match(refusal, { code: 'NODE_NAME_TAKEN', message: /host-1.*192\.0\.2\.2/ });
  t.equal(await codeOf(second.create('main', request('10.64.0.0/24'), context())), 'NODE_NAME_TAKEN');
  await first.close();
  await second.start(context());
  t.equal((await second.self()).address, '192.0.2.77');
});

t.test('peers hear of claims and releases at once, and know the way to each host', async (t) => {
  const cluster = newCluster();
  const one = await started(t, etcdHost(server, cluster, 1));
  const two = etcdHost(server, cluster, 2);
  const events = following(two);
  await started(t, two);
  await one.create('main', request('10.64.0.0/24'), context());
  await until('the claim is heard of', () => events.some((event) => event.kind === 'put'));
  t.match(
    events.find((event) => event.kind === 'put'),
    { route: { prefix: '10.64.0.0/24', pool: POOL, ours: false, nextHop: { host: 'host-1', address: '192.0.2.2' } } },
  );
  await one.remove('main', { prefix: '10.64.0.0/24' }, context());
  await until('the release is heard of', () => events.some((event) => event.kind === 'remove'));
  t.same([...two.local()].sort(), ['192.0.2.2/32', '192.0.2.3/32', '2001:db8::2/128', '2001:db8::3/128']);
});

t.test(
  'the prefixes of a host that is silent become free with its lease; of one that restarts they do not',
  async (t) => {
    const cluster = newCluster();
    const peer = etcdHost(server, cluster, 2);
    const events = following(peer);
    await started(t, peer);
    const silent = await started(t, etcdHost(server, cluster, 1));
    await silent.create('main', request('10.64.0.0/24'), context());
    await silent.close();
    await pause(500);
    const restarted = await started(t, etcdHost(server, cluster, 1));
    await pause(LEASE_SECONDS * 1000 + 500);
    t.same(await prefixes(peer), ['10.64.0.0/24'], 'kept by the restarted plugin on the former lease');
    t.notOk(events.some((event) => event.kind === 'remove'));
    await restarted.close();
    await until('the prefix is free', () => events.some((event) => event.kind === 'remove'));
    await peer.create('main', request('10.64.0.0/16'), context());
  },
);

t.test('a host with a new address says so to its peers, with its claims', async (t) => {
  const cluster = newCluster();
  const peer = await started(t, etcdHost(server, cluster, 2));
  const before = await started(t, etcdHost(server, cluster, 1));
  await before.create('main', request('10.64.0.0/24'), context());
  await before.close();
  await started(t, etcdHost(server, cluster, 1, { self: { host: 'host-1', address: '192.0.2.99' } }));
  t.match(await routesOf(peer), [{ nextHop: { host: 'host-1', address: '192.0.2.99' } }]);
  await until('the address is local', () => peer.local().includes('192.0.2.99/32'));
});

t.test('a host that holds nothing leaves nothing behind when it stops', async (t) => {
  const cluster = newCluster();
  const host = await started(t, etcdHost(server, cluster, 1));
  await host.create('main', request('10.64.0.0/24'), context());
  await host.remove('main', { prefix: '10.64.0.0/24' }, context());
  await host.close();
  t.equal((await server.ctl('get', '--prefix', '--keys-only', `/drayage/${cluster}/`)).trim(), '');
});

t.test(
  'a host whose lease was ended by somebody takes its place again, and its claims can be made again',
  async (t) => {
    const cluster = newCluster();
    const host = etcdHost(server, cluster, 1);
    const events = following(host);
    await started(t, host);
    await host.create('main', request('10.64.0.0/24'), context());
    const lease = host.status().lease;
    await server.ctl('lease', 'revoke', BigInt(String(lease)).toString(16));
    await until('a new lease', () => !['none', lease].includes(String(host.status().lease)));
    t.ok(events.some((event) => event.kind === 'remove' && event.prefix === '10.64.0.0/24'));
    await host.create('main', request('10.64.0.0/24'), context());
    t.match(await routesOf(host), [{ prefix: '10.64.0.0/24', ours: true }]);
  },
);

t.test('a claim does not trust a view that is behind', async (t) => {
  const cluster = newCluster();
  const one = await started(t, etcdHost(server, cluster, 1));
  const two = await started(t, etcdHost(server, cluster, 2));
  // Both ask in the same instant: neither has heard of the other's claim.
  const codes = await Promise.all([
    codeOf(one.create('main', request('10.64.0.0/24'), context())),
    codeOf(two.create('main', request('10.64.0.0/16'), context())),
  ]);
  t.same(codes.sort(), ['PREFIX_OWNED', 'none']);
  t.equal((await prefixes(one)).length, 1);
});

t.test('foreign and broken keys among ours harm nobody, and a broken value still holds its prefix', async (t) => {
  const cluster = newCluster();
  const base = `/drayage/${cluster}/routes/`;
  await server.ctl('put', `${base}nonsense`, 'x');
  await server.ctl('put', `${base}10.64.9.0%2F24`, 'not json');
  await server.ctl('put', `/drayage/${cluster}/hosts/odd`, '{"nextHop":"no address"}');
  const host = await started(t, etcdHost(server, cluster, 1));
  t.match(await routesOf(host), [{ prefix: '10.64.9.0/24', nextHop: { host: 'unknown' } }]);
  t.equal(await codeOf(host.create('main', request('10.64.9.0/25'), context())), 'PREFIX_OWNED');
  await host.create('main', request('10.64.8.0/24'), context());
});

t.test('an observer sees everything and writes nothing', async (t) => {
  const cluster = newCluster();
  const host = await started(t, etcdHost(server, cluster, 1));
  await host.create('main', request('10.64.0.0/24'), context());
  const before = await server.ctl('get', '--prefix', `/drayage/${cluster}/`, '-w', 'json');
  const observer = await started(t, etcdHost(server, cluster, 2, { observer: true }));
  t.same(await prefixes(observer), ['10.64.0.0/24']);
  await observer.close();
  const kvs = (text: string): unknown => JSON.parse(text).kvs;
  t.same(kvs(await server.ctl('get', '--prefix', `/drayage/${cluster}/`, '-w', 'json')), kvs(before));
});
