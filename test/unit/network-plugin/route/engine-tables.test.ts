// Several route tables: one decides, the others follow.
import t from 'tap';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { context } from '../../../conformance/route-provider.ts';
import { cloudWorld, errorOf, FakeCloud } from './engine-cloud.ts';
import { until } from './etcd-world.ts';

const POOL = '10.64.0.0/12';
const PREFIX = '10.64.3.0/24';
const MINE = [`${PREFIX} i-me`];

t.test('a claim goes to the arbiter first, then into all others at once', async (t) => {
  const { provider, cloud, engine, store } = await cloudWorld(t);
  await engine.claim(PREFIX, POOL, context());
  t.same(
    provider.writes,
    ['rtb-1', 'rtb-2', 'rtb-3'].map((table) => `create ${PREFIX} in ${table}`),
  );
  t.equal(provider.busiest, 2, 'the followers were written together');
  for (const table of cloud.tables.keys()) t.same(cloud.of(table), MINE);
  t.equal(store.get('claims', PREFIX)?.phase, 'held');
});

t.test('what the arbiter refuses is written nowhere', async (t) => {
  const { provider, cloud, engine, store } = await cloudWorld(t);
  cloud.set(PREFIX, 'i-other', ['rtb-1']);
  t.match(await errorOf(engine.claim(PREFIX, POOL, context())), {
    code: 'PREFIX_OWNED',
    context: { owner: 'i-other' },
  });
  t.same(provider.writes, [`create ${PREFIX} in rtb-1`]);
  t.equal(store.all('claims').size, 0);
});

t.test('a foreign route in a follower', async (t) => {
  t.test('fails the claim, which is taken out again; the error names table and owner', async (t) => {
    const { cloud, engine, store } = await cloudWorld(t);
    cloud.set(PREFIX, 'i-other', ['rtb-2']);
    t.match(await errorOf(engine.claim(PREFIX, POOL, context())), {
      code: 'ROUTE_CONFLICT',
      message: `ROUTE_CONFLICT: ${PREFIX} in rtb-2 already points to i-other, not this host.`,
    });
    t.same([cloud.of('rtb-1'), cloud.of('rtb-2'), cloud.of('rtb-3')], [[], [`${PREFIX} i-other`], []]);
    t.equal(store.all('claims').size, 0);
  });

  t.test('makes a search go on with the next free prefix', async (t) => {
    const { cloud, engine, store } = await cloudWorld(t);
    cloud.set('10.64.0.0/24', 'i-other', ['rtb-3']);
    const got = await engine.claimFree({ pool: POOL, length: 24 }, context());
    t.not(got, '10.64.0.0/24');
    t.same([...store.all('claims').keys()], [got]);
    t.same(cloud.of('rtb-1'), [`${got} i-me`]);
    t.same(cloud.of('rtb-3').sort(), ['10.64.0.0/24 i-other', `${got} i-me`].sort());
  });

  t.test('that came later is told with its table, and not touched', async (t) => {
    const { cloud, engine, provider, clock } = await cloudWorld(t);
    await engine.claim(PREFIX, POOL, context());
    clock.now += 60_000;
    cloud.set(PREFIX, 'i-other', ['rtb-2']);
    t.match(await engine.reconcile(true, context()), [
      { what: /10\.64\.3\.0\/24 in rtb-2 .* i-other/, repaired: false },
    ]);
    t.same(cloud.of('rtb-2'), [`${PREFIX} i-other`]);
    t.same(engine.lost(), [], 'the arbiter still says that it is ours');
    t.equal(provider.writes.length, 3, 'nor asked for');
    const row = engine.rows().find(({ table }) => table === 'rtb-2');
    t.match(row, { owner: 'foreign', host: 'i-other', drift: 'this host has it on record as its own' });
  });
});

t.test('several route tables break routing: what is missing in one of them is put back', async (t) => {
  const { cloud, engine, clock } = await cloudWorld(t);
  await engine.claim(PREFIX, POOL, context());
  clock.now += 60_000;
  cloud.tables.get('rtb-3')?.clear();
  t.match(await engine.reconcile(false, context()), [{ what: `${PREFIX} is missing in rtb-3`, repaired: false }]);
  t.match(
    engine.rows().filter(({ drift }) => drift !== undefined),
    [{ table: 'rtb-3', prefix: PREFIX, state: 'missing', owner: 'ours', drift: 'missing in rtb-3' }],
  );
  t.same(await engine.reconcile(true, context()), [{ what: `${PREFIX} was missing in rtb-3`, repaired: true }]);
  t.same(cloud.of('rtb-3'), MINE);
  cloud.tables.set('rtb-4', new Map());
  t.same(await engine.reconcile(true, context()), [{ what: `${PREFIX} was missing in rtb-4`, repaired: true }]);
  t.same(cloud.of('rtb-4'), MINE, 'a table that came later');
  t.same(await engine.reconcile(true, context()), []);
});

t.test('what is ours in any one table without a record goes', async (t) => {
  const { cloud, engine, provider } = await cloudWorld(t);
  cloud.set('10.64.8.0/24', 'i-me', ['rtb-2']);
  t.match(await engine.reconcile(true, context()), [{ what: /10\.64\.8\.0\/24 .*no record/, repaired: true }]);
  t.same(cloud.of('rtb-2'), []);
  t.ok(provider.writes.every((call) => call.startsWith('remove 10.64.8.0/24')));
});

t.test('a release takes it out of all tables, and what is another host’s stays', async (t) => {
  const { cloud, engine } = await cloudWorld(t);
  await engine.claim(PREFIX, POOL, context());
  cloud.set(PREFIX, 'i-other', ['rtb-2']);
  await engine.release(PREFIX, context());
  t.same([cloud.of('rtb-1'), cloud.of('rtb-2'), cloud.of('rtb-3')], [[], [`${PREFIX} i-other`], []]);
});

t.test('a table deleted under us', async (t) => {
  t.test('is told once it is not read any more, and the others go on', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    await engine.claim(PREFIX, POOL, context());
    cloud.tables.delete('rtb-3');
    t.match(await engine.reconcile(true, context()), [{ what: 'route table rtb-3 is not there any more' }]);
    t.same(await engine.reconcile(true, context()), []);
    await engine.claim('10.64.4.0/24', POOL, context());
    t.equal(cloud.of('rtb-2').length, 2);
  });

  t.test('that the settings still name is left out of claims and repairs, and told each time', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    cloud.stubborn.push('rtb-9');
    await engine.claim(PREFIX, POOL, context());
    t.same(cloud.of('rtb-2'), MINE);
    for (const _ of [1, 2]) {
      t.same(await engine.reconcile(true, context()), [
        { what: 'route table rtb-9 is not there any more', repaired: false },
      ]);
    }
    t.match(await engine.findings(context()), [
      { state: 'good' },
      { check: 'route table', state: 'bad', found: /rtb-9/, remedy: /ROUTE_TABLES/ },
    ]);
    cloud.stubborn.pop();
    cloud.tables.set('rtb-9', new Map());
    t.match(await engine.reconcile(true, context()), [{ what: `${PREFIX} was missing in rtb-9`, repaired: true }]);
  });
});

t.test('process killed between two tables', async (t) => {
  const calls = ['rtb-1', 'rtb-2', 'rtb-3'].map((table) => `create ${PREFIX} in ${table}`);
  for (const [when, granted] of [
    ['before', false],
    ['after', true],
  ] as const) {
    for (const [n, dying] of calls.entries()) {
      t.test(`${when} ${dying}`, async (t) => {
        const cloud = new FakeCloud();
        const store = new MemoryStore<NetworkState>();
        const doomed = await cloudWorld(t, { cloud, store });
        doomed.provider[when] = (call) => (call === dying ? new Promise<void>(() => undefined) : undefined);
        void doomed.engine.claim(PREFIX, POOL, context()).catch(() => undefined);
        await until('it hangs', () => doomed.provider.active > 0 && doomed.provider.calls.includes(dying));
        await until('what can be done is done', () => doomed.provider.active === 1);
        const records = [...store.all('claims').values()];
        t.match(records, [{ prefix: PREFIX, phase: 'claiming' }]);
        const survivors = new MemoryStore<NetworkState>();
        for (const record of records) await survivors.update((tx) => tx.put('claims', record.prefix, record));
        const { engine } = await cloudWorld(t, { cloud, store: survivors });
        await engine.reconcile(true, context());
        const held = n > 0 || granted;
        t.equal(survivors.get('claims', PREFIX)?.phase, held ? 'held' : undefined);
        for (const table of cloud.tables.keys()) t.same(cloud.of(table), held ? MINE : [], table);
        t.same(await engine.reconcile(true, context()), []);
      });
    }
  }

  t.test('and a follower has been taken meanwhile: it is withdrawn', async (t) => {
    const cloud = new FakeCloud();
    const store = new MemoryStore<NetworkState>();
    cloud.set(PREFIX, 'i-me', ['rtb-1']);
    cloud.set(PREFIX, 'i-other', ['rtb-2']);
    const since = new Date(0).toISOString();
    await store.update((tx) => tx.put('claims', PREFIX, { prefix: PREFIX, pool: POOL, phase: 'claiming', since }));
    const { engine } = await cloudWorld(t, { cloud, store });
    await engine.reconcile(true, context());
    t.same([cloud.of('rtb-1'), cloud.of('rtb-2'), cloud.of('rtb-3')], [[], [`${PREFIX} i-other`], []]);
    t.equal(store.all('claims').size, 0);
  });
});

t.test('a follower whose answer got lost leaves nothing behind', async (t) => {
  const { cloud, engine, provider, store } = await cloudWorld(t);
  provider.after = (call) => {
    provider.after = undefined;
    if (call.endsWith('rtb-2')) throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'cloud' });
    provider.after = (next) => {
      if (!next.startsWith('create') || !next.endsWith('rtb-2')) return;
      throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'cloud' });
    };
  };
  t.match(await errorOf(engine.claim(PREFIX, POOL, context())), { code: 'PROVIDER_UNREACHABLE' });
  await until('it is withdrawn', () => store.all('claims').size === 0);
  for (const table of cloud.tables.keys()) t.same(cloud.of(table), []);
});

t.test('two hosts claiming at once (100 rounds): never two owners', async (t) => {
  const cloud = new FakeCloud();
  const one = await cloudWorld(t, { cloud, target: 'i-1' });
  const two = await cloudWorld(t, { cloud, target: 'i-2' });
  let won = 0;
  for (let round = 0; round < 100; round += 1) {
    const exact = round % 2 === 0;
    const results = await Promise.allSettled(
      [one, two].map(async ({ engine }) => {
        if (!exact) return await engine.claimFree({ pool: '10.65.0.0/22', length: 24 }, context());
        await engine.claim(PREFIX, POOL, context());
        return PREFIX;
      }),
    );
    const got = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    if (got.length !== (exact ? 1 : 2) || new Set(got).size !== got.length) t.fail(`round ${round}: ${got.join(' ')}`);
    for (const table of cloud.tables.keys()) {
      if (cloud.of(table).join() !== cloud.of('rtb-1').join()) t.fail(`round ${round}: ${table} differs`);
    }
    const held = [one, two].map(
      ({ store }) => [...store.all('claims').values()].filter((c) => c.phase === 'held').length,
    );
    if (held[0] === 1 && exact) won += 1;
    if ((held[0] ?? 0) + (held[1] ?? 0) !== got.length) t.fail(`round ${round}: records ${held.join(' ')}`);
    await Promise.all(got.flatMap((prefix) => [one, two].map(({ engine }) => engine.release(prefix, context()))));
    if (cloud.of('rtb-1').length > 0) t.fail(`round ${round}: something is left`);
  }
  t.ok(won > 5 && won < 45, `each host wins at times: the first ${won} of 50`);
});

t.test('API throttling in a loop: what a table refuses is not asked for again before there are news', async (t) => {
  const { cloud, engine, provider, clock } = await cloudWorld(t);
  await engine.claim(PREFIX, POOL, context());
  clock.now += 60_000;
  cloud.tables.get('rtb-3')?.clear();
  cloud.limit = 0;
  t.match(await engine.reconcile(true, context()), [{ what: /QUOTA_EXCEEDED.*rtb-3/, repaired: false }]);
  const { length } = provider.calls;
  for (let n = 0; n < 5; n += 1) await engine.settle(true, context());
  t.equal(provider.calls.length, length, 'however often the kernel changes');
  cloud.limit = undefined;
  t.match(await engine.reconcile(true, context()), [{ repaired: true }]);
});
