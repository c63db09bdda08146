import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import type { EtcdProvider } from '../../../../network-plugin/route/etcd.ts';
import type { RouteEvent } from '../../../../network-plugin/route/provider.ts';
import { type EtcdServer, startEtcd } from '../../../conformance/etcd-server.ts';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import { etcdHost, newCluster, until } from './etcd-world.ts';
import { startRelay, type TcpRelay } from './tcp-relay.ts';

t.setTimeout(120_000);

type Ending = { teardown(work: () => unknown): void };

const request = (prefix: string) => ({ prefix, pool: '10.64.0.0/12' });
const etcd = async (t: Ending): Promise<EtcdServer> => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  return server;
};
const relay = async (t: Ending, server: EtcdServer): Promise<TcpRelay> => {
  const made = await startRelay(server.endpoint);
  t.teardown(() => made.close());
  return made;
};
const through = (way: TcpRelay) => ({ etcd: { endpoints: [way.endpoint], attemptMs: 500 } });

/** A started host and what it tells. */
const host = async (t: Ending, provider: EtcdProvider): Promise<{ provider: EtcdProvider; events: RouteEvent[] }> => {
  const events: RouteEvent[] = [];
  provider.watch((event) => events.push(event));
  t.teardown(() => provider.close());
  await provider.start(context());
  return { provider, events };
};
const has = (events: readonly RouteEvent[], prefix: string): boolean =>
  events.some(
    (event) =>
      (event.kind === 'put' && event.route.prefix === prefix) ||
      (event.kind === 'sync' && event.routes.some((route) => route.prefix === prefix)),
  );
const lastSync = (events: readonly RouteEvent[]) => events.findLast((event) => event.kind === 'sync');

t.test('etcd killed and started again: leases, claims and the watch go on', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const one = await host(t, etcdHost(server, cluster, 1));
  const two = await host(t, etcdHost(server, cluster, 2));
  await one.provider.create('main', request('10.64.0.0/24'), context());
  await server.kill();
  t.equal(await codeOf(one.provider.create('main', request('10.64.1.0/24'), context())), 'PROVIDER_UNREACHABLE');
  await until('it is noticed', () => two.events.some((event) => event.kind === 'unreachable'));
  await server.start();
  await until('all is well', () => two.events.at(-1)?.kind === 'reachable');
  t.match(lastSync(two.events), { routes: [{ prefix: '10.64.0.0/24', nextHop: { host: 'host-1' } }] });
  await one.provider.create('main', request('10.64.1.0/24'), context());
  await until('the watch works', () => has(two.events, '10.64.1.0/24'));
});

t.test('claims under fire: etcd is killed in the middle, and no prefix is held twice', async (t) => {
  const server = await etcd(t);
  const cluster = newCluster();
  const hosts = await Promise.all(Array.from({ length: 6 }, (_, n) => host(t, etcdHost(server, cluster, n))));
  const claim = async ({ provider }: { provider: EtcdProvider }): Promise<string> => {
    const c = context(30_000);
    for (let n = 0; ; ) {
      const code = await codeOf(provider.create('main', request(`10.64.${n}.0/24`), c));
      if (code === 'none') return `10.64.${n}.0/24`;
      if (code === 'PREFIX_OWNED') n += 1;
      else if (code === 'PROVIDER_UNREACHABLE') await pause(50);
      else throw new Error(code);
    }
  };
  const claims = Promise.all(hosts.map(claim));
  await pause(15);
  await server.kill();
  await pause(200);
  await server.start();
  const got = await claims;
  t.equal(new Set(got).size, hosts.length, got.join(' '));
  for (const [n, { provider }] of hosts.entries()) {
    const ours = (await routesOf(provider)).filter((route) => route.ours);
    t.same(
      ours.map((route) => route.prefix),
      [got[n]],
      'the host knows exactly its own',
    );
  }
});

t.test('a frozen etcd: every call ends with an error at its deadline', async (t) => {
  const server = await etcd(t);
  const { provider } = await host(t, etcdHost(server, newCluster(), 1));
  server.freeze();
  t.teardown(() => server.thaw());
  for (const call of [
    () => provider.create('main', request('10.64.0.0/24'), context(400)),
    () => provider.remove('main', { prefix: '10.64.0.0/24' }, context(400)),
    () => provider.read(context(400)),
  ]) {
    const begun = Date.now();
    t.match(await codeOf(call()), /^(PROVIDER_UNREACHABLE|DEADLINE)$/);
    t.ok(Date.now() - begun < 700, `took ${Date.now() - begun} ms`);
  }
});

t.test('etcd frozen until that is noticed, then thawed: the host takes its place again', async (t) => {
  const server = await etcd(t);
  const one = await host(t, etcdHost(server, newCluster(), 1));
  server.freeze();
  await until('it is noticed', () => one.events.some((event) => event.kind === 'unreachable'));
  server.thaw();
  await until('all is well', () => one.events.at(-1)?.kind === 'reachable');
  await one.provider.create('main', request('10.64.0.0/24'), context());
  t.match(await routesOf(one.provider), [{ prefix: '10.64.0.0/24', ours: true }]);
});

t.test('a watch that is cut misses nothing', async (t) => {
  const server = await etcd(t);
  const way = await relay(t, server);
  const cluster = newCluster();
  const one = await host(t, etcdHost(server, cluster, 1));
  const two = await host(t, etcdHost(server, cluster, 2, through(way)));
  for (let n = 0; n < 10; n += 1) {
    if (n % 3 === 1) way.cut();
    await one.provider.create('main', request(`10.64.${n}.0/24`), context());
  }
  await until('all are known', () =>
    Array.from({ length: 10 }, (_, n) => `10.64.${n}.0/24`).every((prefix) => has(two.events, prefix)),
  );
  t.notOk(two.events.some((event) => event.kind === 'remove'));
});

t.test('a compaction while the watch is cut off: everything is read again', async (t) => {
  const server = await etcd(t);
  const way = await relay(t, server);
  const cluster = newCluster();
  const one = await host(t, etcdHost(server, cluster, 1));
  const two = await host(t, etcdHost(server, cluster, 2, through(way)));
  await one.provider.create('main', request('10.64.0.0/24'), context());
  await until('heard of', () => has(two.events, '10.64.0.0/24'));
  way.block();
  await one.provider.remove('main', { prefix: '10.64.0.0/24' }, context());
  await one.provider.create('main', request('10.64.7.0/24'), context());
  await server.ctl('compact', (await server.ctl('get', 'x', '-w', 'fields')).match(/"Revision" : (\d+)/)?.[1] ?? '');
  way.unblock();
  await until('the new claim is known', () => has(two.events, '10.64.7.0/24'));
  t.match(lastSync(two.events), { routes: [{ prefix: '10.64.7.0/24' }] });
});

t.test(
  'a partition longer than the lease: what was taken meanwhile stays taken, the rest can be claimed again',
  async (t) => {
    const server = await etcd(t);
    const way = await relay(t, server);
    const cluster = newCluster();
    const one = await host(t, etcdHost(server, cluster, 1, through(way)));
    const two = await host(t, etcdHost(server, cluster, 2));
    await one.provider.create('main', request('10.64.0.0/24'), context());
    await one.provider.create('main', request('10.64.1.0/24'), context());
    way.block();
    await until('the lease has ended', async () => (await routesOf(two.provider)).length === 0);
    t.ok(has(one.events, '10.64.0.0/24'));
    t.notOk(
      one.events.some((event) => event.kind === 'remove'),
      'the cut-off host concludes nothing',
    );
    await two.provider.create('main', request('10.64.0.0/16'), context());
    await two.provider.remove('main', { prefix: '10.64.0.0/16' }, context());
    await two.provider.create('main', request('10.64.0.0/24'), context());
    way.unblock();
    await until('all is well', () => one.events.at(-1)?.kind === 'reachable');
    t.match(lastSync(one.events), { routes: [{ prefix: '10.64.0.0/24', ours: false, nextHop: { host: 'host-2' } }] });
    t.equal(await codeOf(one.provider.create('main', request('10.64.0.0/24'), context())), 'PREFIX_OWNED');
    await one.provider.create('main', request('10.64.1.0/24'), context());
  },
);

t.test('a start with etcd down fails with the reason, and succeeds later', async (t) => {
  const server = await etcd(t);
  await server.kill();
  const provider = etcdHost(server, newCluster(), 1);
  t.teardown(() => provider.close());
  t.match(await provider.start(context()).catch((error: unknown) => error), {
    code: 'PROVIDER_UNREACHABLE',
    message: /ECONNREFUSED/,
  });
  await server.start();
  await provider.start(context());
  await provider.create('main', request('10.64.0.0/24'), context());
});
