// Connections that something on the way has forgotten: a cut that healed, a firewall that was restarted.
import t from 'tap';
import type { RouteEvent } from '../../../../network-plugin/route/provider.ts';
import { startEtcd } from '../../../conformance/etcd-server.ts';
import { context } from '../../../conformance/route-provider.ts';
import { etcdHost, newCluster, until } from './etcd-world.ts';
import { startRelay } from './tcp-relay.ts';

t.setTimeout(60_000);

const request = (prefix: string) => ({ prefix, pool: '10.64.0.0/12' });

t.test('connections that lead nowhere are replaced before anybody is told of trouble, the watch too', async (t) => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  const way = await startRelay(server.endpoint);
  t.teardown(() => way.close());
  const cluster = newCluster();
  const one = etcdHost(server, cluster, 1);
  const two = etcdHost(server, cluster, 2, { etcd: { endpoints: [way.endpoint], attemptMs: 700 } });
  const events: RouteEvent[] = [];
  two.watch((event) => events.push(event));
  t.teardown(() => Promise.all([one.close(), two.close()]));
  await Promise.all([one.start(context()), two.start(context())]);
  const knows = (prefix: string): boolean =>
    events.some(
      (event) =>
        (event.kind === 'put' && event.route.prefix === prefix) ||
        (event.kind === 'sync' && event.routes.some((route) => route.prefix === prefix)),
    );

  await two.create('main', request('10.64.0.0/24'), context());
  way.forget();
  await two.create('main', request('10.64.1.0/24'), context());
  await one.create('main', request('10.64.2.0/24'), context());
  await until('the watch works', () => knows('10.64.2.0/24'), 3_000);
  t.ok(knows('10.64.0.0/24') && knows('10.64.1.0/24'));
  t.notOk(
    events.some(({ kind }) => kind === 'unreachable' || kind === 'remove'),
    'nothing was lost, and nothing was out of reach',
  );
});

t.test('what was done although its answer was lost counts as done', async (t) => {
  const server = await startEtcd();
  t.teardown(() => server.stop());
  const way = await startRelay(server.endpoint);
  t.teardown(() => way.close());
  const cluster = newCluster();
  const one = etcdHost(server, cluster, 1);
  const two = etcdHost(server, cluster, 2, { etcd: { endpoints: [way.endpoint], attemptMs: 700 } });
  t.teardown(() => Promise.all([one.close(), two.close()]));
  await Promise.all([one.start(context()), two.start(context())]);
  const holders = async (): Promise<string[]> => {
    const [table] = await one.read(context());
    return (table?.routes ?? []).map(({ prefix, nextHop }) => `${prefix} ${nextHop.host}`).sort();
  };
  await one.create('main', request('10.64.9.0/24'), context());
  // There is a kept connection to lose the answer on.
  await two.read(context());
  way.loseAnswerTo('/v3/kv/txn');
  await two.create('main', request('10.64.0.0/24'), context());
  t.same(await holders(), ['10.64.0.0/24 host-2', '10.64.9.0/24 host-1']);
  way.loseAnswerTo('/v3/kv/txn');
  await two.replace('main', request('10.64.9.0/24'), await one.self(), context());
  t.same(await holders(), ['10.64.0.0/24 host-2', '10.64.9.0/24 host-2']);
  way.loseAnswerTo('/v3/kv/txn');
  await two.remove('main', request('10.64.9.0/24'), context());
  t.same(await holders(), ['10.64.0.0/24 host-2']);
});
