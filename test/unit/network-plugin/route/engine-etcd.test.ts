import t from 'tap';
import { RouteEngine } from '../../../../network-plugin/route/engine.ts';
import type { EtcdProvider } from '../../../../network-plugin/route/etcd.ts';
import type { RouteKernel } from '../../../../network-plugin/route/kernel.ts';
import { LinuxRouteKernel } from '../../../../network-plugin/route/linux-kernel.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { type EtcdServer, startEtcd } from '../../../conformance/etcd-server.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { makeNamespace, type Namespace } from '../../shared/kernel/namespaces.ts';
import { FakeKernel } from './engine-fakes.ts';
import { etcdHost, newCluster, until } from './etcd-world.ts';

t.setTimeout(120_000);

const POOL = '10.64.0.0/12';
const POOL6 = 'fd64:6472:7961::/48';

type Ending = { teardown(work: () => unknown): void };
type Store = MemoryStore<NetworkState>;

const etcd = async (t: Ending): Promise<EtcdServer> => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  return server;
};
const start = async (
  t: Ending,
  provider: EtcdProvider,
  kernel: RouteKernel = new FakeKernel(),
  store: Store = new MemoryStore<NetworkState>(),
): Promise<RouteEngine> => {
  const engine = new RouteEngine({ provider, kernel, store, log: silentLogger });
  t.teardown(() => engine.close(context()));
  await engine.start(context());
  return engine;
};
const atWork = (engine: RouteEngine): Promise<void> =>
  until('the provider is at work', () => engine.status().reachable);

/** Two hosts on one Ethernet segment, 192.0.2.1 and 192.0.2.2 (2001:db8::1, ::2): the addresses of etcdHost 0 and 1. */
const twoHosts = (t: Ending): readonly [Namespace, Namespace] => {
  const [one, two] = [makeNamespace(t, 'a'), makeNamespace(t, 'b')];
  one.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', two.name);
  for (const [n, host] of [one, two].entries()) {
    host.ip('address', 'add', `192.0.2.${n + 1}/24`, 'dev', 'eth0');
    host.ip('address', 'add', `2001:db8::${n + 1}/64`, 'dev', 'eth0', 'nodad');
    host.ip('link', 'set', 'eth0', 'up');
  }
  return [one, two];
};
const peers = (host: Namespace): string[] =>
  [...host.ip('-4', 'route', 'show', 'proto', '68'), ...host.ip('-6', 'route', 'show', 'proto', '68')]
    .map((route) => `${route['dst']} via ${route['gateway']}`)
    .sort();

t.test('hosts lead to each other, in both families, until one gives its prefixes back or is gone', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const [left, right] = twoHosts(t);
  const one = await start(t, etcdHost(server, cluster, 0), new LinuxRouteKernel(left.rt));
  const two = await start(t, etcdHost(server, cluster, 1), new LinuxRouteKernel(right.rt));
  const prefix = await one.claimFree({ pool: POOL, length: 24 }, context());
  const prefix6 = await one.claimFree({ pool: POOL6, length: 64 }, context());
  const other = await two.claimFree({ pool: POOL, length: 24 }, context());
  t.same([prefix, prefix6], ['10.64.0.0/24', 'fd64:6472:7961::/64']);
  t.equal(other, '10.64.1.0/24');
  await until('the ways are there', () => peers(right).length === 2 && peers(left).length === 1);
  t.same(peers(right), ['10.64.0.0/24 via 192.0.2.1', 'fd64:6472:7961::/64 via 2001:db8::1']);
  t.same(peers(left), ['10.64.1.0/24 via 192.0.2.2']);
  t.match(two.ownerOf('10.64.0.9'), { host: 'host-0', ours: false });
  t.same(await two.reconcile(true, context()), [], 'all is well');

  right.ip('route', 'delete', '10.64.0.0/24');
  t.match(await two.reconcile(true, context()), [{ what: /missing route 10\.64\.0\.0\/24/, repaired: true }]);
  t.equal(peers(right).length, 2);

  await one.release(prefix6, context());
  await until('its way is gone', () => peers(right).length === 1);
  await one.close(context());
  await until('the lease has ended', () => peers(right).length === 0);
  t.same(
    two.routes().map((route) => route.prefix),
    ['10.64.1.0/24'],
  );
});

t.test('twenty hosts that take a free prefix at once', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const engines = await Promise.all(Array.from({ length: 20 }, (_, n) => start(t, etcdHost(server, cluster, n))));
  const got = await Promise.all(engines.map((engine) => engine.claimFree({ pool: POOL, length: 24 }, context(30_000))));
  const wanted = Array.from({ length: 20 }, (_, n) => `10.64.${n}.0/24`);
  t.same([...got].sort(), [...wanted].sort(), 'twenty different ones, without a gap');
});

t.test('a host that was gone for longer than its lease', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const store: Store = new MemoryStore<NetworkState>();
  const peer = await start(t, etcdHost(server, cluster, 1));
  const before = await start(t, etcdHost(server, cluster, 0), new FakeKernel(), store);
  await atWork(peer);
  await before.claim('10.64.3.0/24', POOL, context());
  await before.claim('10.64.4.0/24', POOL, context());
  await before.close(context());
  await until('its prefixes are free', async () => {
    await peer.reconcile(true, context());
    return peer.routes().length === 0;
  });
  await peer.claim('10.64.4.0/22', POOL, context());
  const after = await start(t, etcdHost(server, cluster, 0), new FakeKernel(), store);

  t.test('gets back what is free', async (t) => {
    await until('it is claimed', () => peer.ownerOf('10.64.3.1')?.host === 'host-0');
    t.match(after.ownerOf('10.64.3.1'), { ours: true });
  });

  t.test('and what was taken is lost, by name, and not stolen', async (t) => {
    await until('it is known', () => after.lost().length > 0);
    t.same(after.lost(), [{ prefix: '10.64.4.0/24', owner: 'host-1', other: '10.64.4.0/22' }]);
    t.match(after.ownerOf('10.64.4.1'), { host: 'host-1', ours: false });
    t.match(peer.ownerOf('10.64.4.1'), { ours: true });
    t.match(await after.reconcile(true, context()), [{ what: /10\.64\.4\.0\/24 is lost.*host-1/, repaired: false }]);
  });

  t.test('and comes back when the other gives it up', async (t) => {
    await peer.release('10.64.4.0/22', context());
    await until('it is ours', () => after.lost().length === 0);
    await until('the peer knows', () => peer.ownerOf('10.64.4.1')?.host === 'host-0');
    t.equal(after.ownerOf('10.64.4.1')?.ours, true);
  });
});

t.test(
  'etcd down at the start: what the kernel knows stays, claims say why not, and later all is made good',
  async (t) => {
    const server = await etcd(t);
    const cluster = newCluster();
    const [left, right] = twoHosts(t);
    const store: Store = new MemoryStore<NetworkState>();
    const one = await start(t, etcdHost(server, cluster, 0, { leaseSeconds: 30 }), new LinuxRouteKernel(left.rt));
    const two = await start(t, etcdHost(server, cluster, 1), new LinuxRouteKernel(right.rt), store);
    await one.claim('10.64.0.0/24', POOL, context());
    await two.claim('10.64.1.0/24', POOL, context());
    await until('the way is there', () => peers(right).length === 1);
    await two.close(context());
    await server.kill();

    const again = await start(t, etcdHost(server, cluster, 1), new LinuxRouteKernel(right.rt), store);
    await again.claim('10.64.1.0/24', POOL, context());
    t.equal(await codeOf(again.claim('10.64.2.0/24', POOL, context())), 'PROVIDER_UNREACHABLE');
    t.equal(await codeOf(again.claimFree({ pool: POOL, length: 24 }, context())), 'PROVIDER_UNREACHABLE');
    await again.reconcile(true, context());
    t.same(peers(right), ['10.64.0.0/24 via 192.0.2.1']);
    t.match(again.status(), { reachable: false, held: ['10.64.1.0/24'] });

    await server.start();
    await atWork(again);
    await until('the claim stands', () => one.ownerOf('10.64.1.1')?.host === 'host-1');
    t.same(peers(right), ['10.64.0.0/24 via 192.0.2.1']);
    t.match(again.status(), { reachable: true, provider: 'etcd', details: { cluster } });
    t.equal(again.status().why, undefined);
    t.equal(store.get('claims', '10.64.2.0/24'), undefined, 'nothing is left of the failed claim');
  },
);

t.test('a roaming address', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const [left, right] = twoHosts(t);
  const one = await start(t, etcdHost(server, cluster, 0), new LinuxRouteKernel(left.rt));
  const two = await start(t, etcdHost(server, cluster, 1), new LinuxRouteKernel(right.rt));
  await one.claimAddress('10.64.200.7', POOL, context());
  await until('the peer leads there', () => peers(right).length === 1);
  t.same(peers(right), ['10.64.200.7 via 192.0.2.1']);

  t.test('is refused while a live host holds it, by name', async (t) => {
    const refusal = await two.claimAddress('10.64.200.7', POOL, context(20_000)).catch((error: unknown) => error);
    t.match(refusal, { code: 'ADDRESS_HELD', context: { owner: 'host-0' } });
  });

  t.test('goes to the other host as soon as its holder gives it up, and its way with it', async (t) => {
    const moving = two.claimAddress('10.64.200.7', POOL, context());
    await one.releaseAddress('10.64.200.7', context());
    await moving;
    await until('the way is turned', () => peers(left).length === 1 && peers(right).length === 0);
    t.same(peers(left), ['10.64.200.7 via 192.0.2.2']);
    t.match(one.ownerOf('10.64.200.7'), { host: 'host-1', prefix: '10.64.200.7/32', ours: false });
  });

  t.test('is refused in another host’s prefix', async (t) => {
    await two.claim('10.64.3.0/24', POOL, context());
    await until('the peer knows', () => one.ownerOf('10.64.3.9') !== undefined);
    t.equal(await codeOf(one.claimAddress('10.64.3.9', POOL, context())), 'ADDRESS_ELSEWHERE');
  });

  t.test('is free when its host has been gone for as long as its lease', async (t) => {
    await two.close(context());
    await one.claimAddress('10.64.200.7', POOL, context(20_000));
    t.match(one.ownerOf('10.64.200.7'), { ours: true });
  });
});
