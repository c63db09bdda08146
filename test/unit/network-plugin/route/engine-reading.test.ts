// Providers that do not tell of changes: what is read, how often, and what is made of readings that lag or are wrong.
import t from 'tap';
import { RouteEngine } from '../../../../network-plugin/route/engine.ts';
import { RouteView } from '../../../../network-plugin/route/route-view.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { now, sleep } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger, silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { CloudProvider, cloudWorld, errorOf, FakeCloud } from './engine-cloud.ts';
import { FakeKernel } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

const POOL = '10.64.0.0/12';
const PREFIX = '10.64.3.0/24';

t.test('steady state reads once a pass and writes nothing', async (t) => {
  const { engine, provider, cloud, kernel, clock } = await cloudWorld(t);
  await engine.claim(PREFIX, POOL, context());
  await engine.claimAddress('10.64.200.7', POOL, context());
  cloud.set('10.64.9.0/24', 'i-other').set('10.64.10.0/24', 'i-stopped').set('10.0.0.0/8', 'tgw-1');
  cloud.fates.set('i-stopped', 'stopped');
  for (let pass = 0; pass < 5; pass += 1) {
    clock.now += 30_000;
    const [reads, writes] = [provider.reads, provider.writes.length];
    t.same(await engine.reconcile(true, context()), []);
    t.equal(provider.reads - reads, 1);
    t.equal(provider.writes.length - writes, 0);
  }
  t.same(kernel.writes, []);
  t.equal(
    provider.calls.filter((call) => call.startsWith('fate')).length,
    1,
    'and asks of a stopped host now and then',
  );
});

t.test('a reading that is behind', async (t) => {
  t.test('does not make us claim again what we have just claimed, nor call it lost', async (t) => {
    const { engine, provider, cloud } = await cloudWorld(t);
    cloud.freeze();
    await engine.claim(PREFIX, POOL, context());
    const writes = provider.writes.length;
    t.same(await engine.reconcile(true, context()), []);
    t.equal(provider.writes.length, writes);
    t.match(engine.ownerOf('10.64.3.1'), { ours: true });
    t.same(engine.lost(), []);
  });

  t.test('does not make us remove again what we have just released', async (t) => {
    const { engine, provider, cloud } = await cloudWorld(t);
    await engine.claim(PREFIX, POOL, context());
    cloud.freeze();
    await engine.release(PREFIX, context());
    const writes = provider.writes.length;
    t.same(await engine.reconcile(true, context()), []);
    t.equal(provider.writes.length, writes);
    t.equal(engine.ownerOf('10.64.3.1'), undefined);
  });

  t.test('shows the former owner of what we have just taken over', async (t) => {
    const { engine, cloud } = await cloudWorld(t);
    cloud.set(PREFIX, 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    cloud.freeze();
    await engine.claim(PREFIX, POOL, context());
    t.same(await engine.reconcile(true, context()), []);
    t.same(engine.lost(), []);
  });

  t.test('is believed when it says the same later on', async (t) => {
    const { engine, cloud, clock } = await cloudWorld(t);
    await engine.claim(PREFIX, POOL, context());
    cloud.set(PREFIX, 'i-other');
    clock.now += 11_000;
    await engine.reconcile(true, context());
    t.same(engine.lost(), [{ prefix: PREFIX, owner: 'i-other', other: PREFIX }]);
    t.same(cloud.of('rtb-1'), [`${PREFIX} i-other`], 'and nothing is stolen back');
  });

  t.test('that was begun before a claim, and came after it, is no news of it', async (t) => {
    const { engine, provider, clock } = await cloudWorld(t);
    const read = provider.read.bind(provider);
    const answer = Promise.withResolvers<void>();
    provider.read = async () => {
      const found = await read();
      await answer.promise;
      return found;
    };
    const pass = engine.reconcile(true, context());
    await engine.claim(PREFIX, POOL, context());
    clock.now += 60_000;
    answer.resolve();
    t.same(await pass, []);
    t.match(engine.ownerOf('10.64.3.1'), { ours: true });
  });
});

t.test('a reading that another has overtaken says nothing', (t) => {
  const view = new RouteView();
  const route = { prefix: PREFIX, nextHop: { host: 'i-1' }, state: 'active', ours: false } as const;
  view.sync([{ id: 'rtb-1', routes: [route] }], 2, 3);
  view.sync([{ id: 'rtb-1', routes: [] }], 1, 4);
  t.equal(view.routes.length, 1);
  view.sync([{ id: 'rtb-1', routes: [] }], 3, 5);
  t.equal(view.routes.length, 0);
  t.end();
});

t.test('a table that answers empty by mistake makes no new routes and loses nothing', async (t) => {
  const { engine, provider, cloud, clock } = await cloudWorld(t);
  for (const n of [1, 2, 3]) await engine.claim(`10.64.${n}.0/24`, POOL, context());
  const before = cloud.effects.length;
  const full = [...cloud.tables].map(([id, routes]) => [id, new Map(routes)] as const);
  clock.now += 60_000;
  for (const routes of cloud.tables.values()) routes.clear();
  cloud.freeze();
  for (const [id, routes] of full) for (const [prefix, target] of routes) cloud.tables.get(id)?.set(prefix, target);
  provider.busiest = 0;
  await engine.reconcile(true, context());
  t.equal(cloud.effects.length, before, 'each was asked for again, and was there');
  t.ok(provider.busiest <= 2, 'one prefix after the other');
  t.same(engine.lost(), []);
  cloud.thaw();
  clock.now += 60_000;
  t.same(await engine.reconcile(true, context()), []);
});

t.test('a cloud that does not answer', async (t) => {
  t.test('is told, changes nothing, and is asked again at each pass', async (t) => {
    const { engine, provider, cloud } = await cloudWorld(t);
    await engine.claim(PREFIX, POOL, context());
    const read = provider.read.bind(provider);
    provider.read = async () => {
      throw new Error('no route to host');
    };
    t.match(await engine.reconcile(true, context()), [{ repaired: false }]);
    t.match(engine.status(), { reachable: false, why: String });
    t.match((await engine.findings(context()))[0], { check: 'route provider', state: 'bad' });
    await engine.claim(PREFIX, POOL, context());
    await engine.release(PREFIX, context());
    t.equal(cloud.of('rtb-1').length, 1, 'a release is kept for later');
    provider.read = read;
    await engine.reconcile(true, context());
    t.equal(engine.status().reachable, true);
    t.same(cloud.of('rtb-1'), []);
  });
});

t.test('a cloud that is not there at the start: after the first failure calls say so within a second', async (t) => {
  const cloud = new FakeCloud();
  const provider = new CloudProvider(cloud, 'i-me');
  const refusal = new PluginError('PROVIDER_UNREACHABLE', { provider: 'cloud', reason: 'no metadata service' });
  let attempts = 0;
  provider.start = async (c) => {
    attempts += 1;
    if (attempts === 1) throw refusal;
    await sleep(30_000, c);
  };
  const store = new MemoryStore<NetworkState>();
  const engine = new RouteEngine({ provider, store, kernel: new FakeKernel(), log: silentLogger, peersIn: 'tables' });
  t.teardown(() => engine.close(context()));
  await engine.start(context());
  await until('the second attempt hangs', () => attempts === 2);
  const begun = now();
  t.match(await errorOf(engine.claimFree({ pool: POOL, length: 24 }, context(30_000))), { message: refusal.message });
  t.ok(now() - begun < 1_000, `${Math.round(now() - begun)} ms`);
  t.equal(attempts, 2);
});

t.test('the route quota is hit without a word', async (t) => {
  const lines: string[] = [];
  const log = createLogger({ level: 'warn', write: (line) => lines.push(line) });
  const warnings = (): number => lines.filter((line) => /nearly full/.test(line)).length;

  t.test('it is warned of once at 80 %, and again after it fell and rose', async (t) => {
    const cloud = new FakeCloud();
    cloud.limit = 10;
    const { engine } = await cloudWorld(t, { cloud, log });
    for (let n = 0; n < 7; n += 1) cloud.set(`10.64.${n}.0/24`, 'i-other', ['rtb-2']);
    await engine.reconcile(true, context());
    t.equal(warnings(), 0);
    cloud.set('10.64.7.0/24', 'i-other', ['rtb-2']);
    for (const _ of [1, 2, 3]) await engine.reconcile(true, context());
    t.equal(warnings(), 1);
    t.match(lines.at(-1), /rtb-2.*"used":8,"limit":10/);
    t.match((await engine.findings(context()))[2], {
      check: 'route quota',
      state: 'warning',
      found: /8 of at most 10/,
    });
    cloud.tables.get('rtb-2')?.delete('10.64.7.0/24');
    await engine.reconcile(true, context());
    cloud.set('10.64.7.0/24', 'i-other', ['rtb-2']);
    await engine.reconcile(true, context());
    t.equal(warnings(), 2);
    t.match(engine.status().tables, [{ table: 'rtb-1', used: 0 }, { table: 'rtb-2', used: 8, limit: 10 }, {}]);
  });

  t.test('a claim without room is refused before anything is written, with numbers and remedy', async (t) => {
    const cloud = new FakeCloud();
    cloud.limit = 3;
    const { engine, provider, store } = await cloudWorld(t, { cloud });
    cloud.set('10.70.0.0/24', 'i-1', ['rtb-2']).set('10.70.1.0/24', 'i-1', ['rtb-2']);
    await engine.reconcile(true, context());
    await engine.claim(PREFIX, POOL, context());
    const before = provider.writes.length;
    const error = await errorOf(engine.claim('10.64.4.0/24', POOL, context()));
    t.match(error, { code: 'QUOTA_EXCEEDED', message: /rtb-2 is full: it has 3 of at most 3/, fix: /quota raised/ });
    t.equal(await codeOf(engine.claimFree({ pool: POOL, length: 24 }, context())), 'QUOTA_EXCEEDED');
    t.equal(provider.writes.length, before);
    t.equal(store.all('claims').size, 1);
    cloud.tables.get('rtb-2')?.delete('10.70.0.0/24');
    await engine.claim('10.64.4.0/24', POOL, context());
    t.equal(cloud.of('rtb-2').length, 3, 'as soon as there is room there is');
  });

  for (const [how, told, asked] of [
    ['that was raised since the last reading lets claims through, and is asked for once', 10, 1],
    ['that nobody tells refuses nobody: the router itself knows it', undefined, 1],
  ] as const) {
    t.test(`a quota ${how}`, async (t) => {
      const { cloud, engine, provider } = await cloudWorld(t);
      const read = provider.read.bind(provider);
      let questions = 0;
      Object.assign(provider, {
        read: async () => (await read()).map((table) => ({ ...table, limit: 0, used: table.routes.length })),
        quota: async () => {
          questions += 1;
          await sleep(20, context());
          return told;
        },
      });
      await engine.reconcile(true, context());
      await Promise.all([3, 4].map((n) => engine.claim(`10.64.${n}.0/24`, POOL, context())));
      t.equal(cloud.of('rtb-2').length, 2);
      t.equal(questions, asked);
    });
  }

  t.test('a quota that is as low as was thought refuses, by the number of now', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set('10.70.0.0/24', 'i-1').set('10.70.1.0/24', 'i-1');
    const read = provider.read.bind(provider);
    Object.assign(provider, {
      read: async () => (await read()).map((table) => ({ ...table, limit: 1, used: table.routes.length })),
      quota: async () => 2,
    });
    await engine.reconcile(true, context());
    t.match(await errorOf(engine.claim(PREFIX, POOL, context())), {
      code: 'QUOTA_EXCEEDED',
      message: /is full: it has 2 of at most 2/,
    });
    t.same(cloud.effects, []);
  });

  t.test('a table that is found full while writing is no reason to walk through the pool', async (t) => {
    const cloud = new FakeCloud();
    const { engine, provider, store } = await cloudWorld(t, { cloud });
    cloud.set('10.70.0.0/24', 'i-1', ['rtb-3']);
    cloud.limit = 1;
    t.equal(await codeOf(engine.claimFree({ pool: POOL, length: 24 }, context())), 'QUOTA_EXCEEDED');
    t.equal(provider.writes.filter((call) => call.startsWith('create')).length, 3, 'one prefix was tried');
    await until('nothing is left', () => store.all('claims').size === 0);
    t.same([cloud.of('rtb-1'), cloud.of('rtb-2')], [[], []]);
  });

  t.test('a full table still takes what replaces a route', async (t) => {
    const cloud = new FakeCloud();
    cloud.limit = 1;
    cloud.set(PREFIX, 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    const { engine } = await cloudWorld(t, { cloud });
    await engine.claim(PREFIX, POOL, context());
    t.same(cloud.of('rtb-2'), [`${PREFIX} i-me`]);
  });
});

t.test('many hosts that start at once', async (t) => {
  const join = async (t: { teardown(work: () => unknown): void }, pool: string, choice: number) => {
    const cloud = new FakeCloud();
    const hosts = Array.from({ length: 50 }, (_, n) => cloudWorld(t, { cloud, target: `i-${n}`, choice }));
    const worlds = await Promise.all(hosts);
    const got = await Promise.all(worlds.map(({ engine }) => engine.claimFree({ pool, length: 24 }, context())));
    const creates = worlds.map(({ provider }) => provider.writes.filter((call) => call.startsWith('create')).length);
    return { got, tries: creates.reduce((sum, n) => sum + n, 0), reads: worlds.map(({ provider }) => provider.reads) };
  };

  t.test('do not try the same prefixes', async (t) => {
    const { got, tries, reads } = await join(t, POOL, 1024);
    t.equal(new Set(got).size, 50);
    t.ok(tries < 150 + 10, `${tries} creations, 150 of them needed`);
    t.ok(Math.max(...reads) <= 3, 'and nobody reads all the time');
  });

  t.test('go apart after lost races, when they have chosen the same', async (t) => {
    const { got, tries } = await join(t, POOL, 1);
    t.equal(new Set(got).size, 50);
    t.ok(tries < 150 + 250, `${tries} creations, 150 of them needed`);
  });

  t.test('take all of a pool that is just large enough', async (t) => {
    const { got } = await join(t, '10.64.0.0/18', 1024);
    t.equal(new Set(got).size, 50);
  });
});

t.test('a host begins at the same place again', async (t) => {
  const first = await cloudWorld(t, { choice: 1024 });
  const again = await cloudWorld(t, { choice: 1024 });
  const got = await Promise.all(
    [first, again].map(({ engine }) => engine.claimFree({ pool: POOL, length: 24 }, context())),
  );
  t.equal(got[0], got[1]);
});
