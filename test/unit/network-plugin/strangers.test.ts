import t from 'tap';
import type { Stranger } from '../../../network-plugin/datapath/datapath.ts';
import { isVacant, Strangers } from '../../../network-plugin/strangers.ts';
import { parseCidr } from '../../../shared/cidr.ts';
import { context } from './fakes.ts';
import { withReconciler } from './reconciler-scene.ts';

const stranger = (n: number): Stranger => ({
  endpoint: String(n).repeat(64),
  link: `dry${String(n).repeat(11)}`,
  addresses: [`10.64.3.${n}`],
});

/** A host whose records are gone, and the calls of the engine. */
const scene = () => {
  const { reconciler, ...all } = withReconciler();
  const detached: string[] = [];
  Object.assign(all.path, {
    detach: async (id: string) => {
      detached.push(id);
      all.path.strange = all.path.strange.filter(({ endpoint }) => endpoint !== id);
    },
  });
  const strangers = new Strangers({
    store: all.store,
    path: all.path,
    answered: async () => ['10.64.3.0/24', '10.64.8.0/24'],
    home: { pool: parseCidr('10.64.0.0/12'), pool6: parseCidr('fd64::/48') },
    pass: (c) => reconciler.run(true, c),
  });
  const called: string[] = [];
  const handler = (name: string) => async () => {
    called.push(name);
    return {};
  };
  const names = [
    'NetworkDriver.CreateNetwork',
    'IpamDriver.RequestPool',
    'NetworkDriver.Leave',
    'NetworkDriver.DeleteEndpoint',
  ];
  const methods = strangers.guard(Object.fromEntries(names.map((name) => [`/${name}`, handler(name)])));
  const call = async (name: string, body: unknown = {}) => methods[`/${name}`]?.(body, context());
  return { ...all, strangers, reconciler, detached, called, call };
};

t.test('the prefixes of containers that no record knows are held, and no others', async (t) => {
  const { strangers, path, store } = scene();
  path.strange = [stranger(5), stranger(6)];
  await strangers.adopt(context());
  t.match(
    [...store.all('claims').values()],
    [{ prefix: '10.64.3.0/24', pool: '10.64.0.0/12', phase: 'held', adopted: true }],
  );
});

t.test('a roaming address that no record knows is held too, as long as its container is there', async (t) => {
  const { strangers, path, store } = scene();
  path.strange = [{ ...stranger(5), addresses: ['10.64.200.7', 'fd64::7'] }];
  await strangers.adopt(context());
  const claims = [...store.all('claims').values()];
  t.match(claims, [
    { prefix: '10.64.200.7/32', pool: '10.64.0.0/12', adopted: true },
    { prefix: 'fd64::7/128', pool: 'fd64::/48', adopted: true },
  ]);
  t.same(
    claims.map((claim) => [isVacant(claim, path.strange), isVacant(claim, [])]),
    [
      [false, true],
      [false, true],
    ],
  );
});

t.test('beside them nothing new begins, and who is in the way is named', async (t) => {
  const { path, call, called } = scene();
  path.strange = [stranger(5)];
  await t.rejects(call('NetworkDriver.CreateNetwork'), {
    code: 'STATE_LOST',
    message: /one container .*dry55555555555/,
  });
  await t.rejects(call('IpamDriver.RequestPool'), { code: 'STATE_LOST' });
  t.same(called, []);
  path.strange = [];
  await call('IpamDriver.RequestPool');
  t.same(called, ['IpamDriver.RequestPool']);
});

t.test('as Docker tells of their end they are cleared away, and after the last one nothing is held', async (t) => {
  const { strangers, path, store, call, detached, filter, reconciler } = scene();
  path.strange = [stranger(5), stranger(6)];
  await strangers.adopt(context());
  Object.assign(filter, { model: { networks: [] } });
  const ids = (n: number) => ({ NetworkID: 'a'.repeat(64), EndpointID: String(n).repeat(64) });
  await call('NetworkDriver.Leave', ids(7));
  await call('NetworkDriver.Leave', ids(5));
  await call('NetworkDriver.DeleteEndpoint', ids(5));
  t.ok(detached.includes('5'.repeat(64)));
  await reconciler.run(true, context());
  t.equal(store.all('claims').size, 1, 'the other one still needs it');
  t.ok(filter.model, 'and the rules');
  await call('NetworkDriver.Leave', ids(6));
  t.ok(detached.includes('6'.repeat(64)));
  t.notOk(filter.model);
});

t.test('a claim for strangers goes when a pass finds none in it, however they ended', async (t) => {
  const { strangers, path, routes, reconciler } = scene();
  path.strange = [stranger(5)];
  await strangers.adopt(context());
  routes.held.set('10.64.3.0/24', '10.64.0.0/12');
  await reconciler.run(true, context());
  t.equal(routes.held.size, 1);
  path.strange = [];
  t.match(await reconciler.run(true, context()), [
    { what: /nothing uses the prefix 10\.64\.3\.0\/24/, repaired: true },
  ]);
  t.equal(routes.held.size, 0);
});

t.test('a link whose record alone was lost goes with its container, and that of a known one stays', async (t) => {
  const { path, store, call, detached } = scene();
  path.strange = [stranger(5)];
  await store.update((tx) => {
    tx.put('networks', 'a'.repeat(64), {
      ...{ id: 'a'.repeat(64), phase: 'ready', pools: ['10.64.0.0/12'], prefixes: ['10.64.3.0/24'], claims: [] },
      ...{ masquerade: 'auto', ingress: 'vpc', allow: [], internal: false, since: 0 },
    });
    tx.put('endpoints', '6'.repeat(64), {
      ...{ id: '6'.repeat(64), network: 'a'.repeat(64), phase: 'joined', mac: '', link: '', since: 0, ports: [] },
    });
  });
  const ids = (n: number) => ({ NetworkID: 'a'.repeat(64), EndpointID: String(n).repeat(64) });
  await call('NetworkDriver.Leave', ids(6));
  t.same(detached, []);
  await call('NetworkDriver.Leave', ids(5));
  t.same(detached, ['5'.repeat(64)]);
});
