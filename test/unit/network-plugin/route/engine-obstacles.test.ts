// What is in the way of claims beside those of living hosts: gateways, PEERS, reserved ranges, hosts that are gone.
import t from 'tap';
import { checkPeers } from '../../../../network-plugin/route/gateways.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { cloudWorld, errorOf, FakeCloud } from './engine-cloud.ts';

const POOL = '10.64.0.0/12';
const PREFIX = '10.64.3.0/24';
const MINUTE = 60_000;

t.test('routes to gateways', async (t) => {
  t.test('wider ones do not stop a claim where the provider allows it', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    cloud.set('10.0.0.0/8', 'tgw-1');
    cloud.set('0.0.0.0/0', 'igw-1');
    await engine.reconcile(true, context());
    await engine.claim(PREFIX, POOL, context());
    t.equal(await engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.0.0/24');
    t.same(engine.lost(), []);
    t.equal(engine.ownerOf('10.70.0.1'), undefined, 'a gateway owns no address');
    t.same(
      engine.rows().map(({ prefix }) => prefix),
      ['rtb-1', 'rtb-2', 'rtb-3'].flatMap(() => [PREFIX, '10.64.0.0/24']),
      'what is wider than the pools is not shown',
    );
  });

  t.test('equal and narrower ones are in the way, in whichever table, and are named', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set(PREFIX, 'vgw-1', ['rtb-2']);
    cloud.set('10.64.4.128/25', 'pcx-1', ['rtb-1']);
    cloud.set('10.64.0.0/24', 'vgw-2', ['rtb-3']);
    t.equal(
      (await errorOf(engine.claim(PREFIX, POOL, context()))).message,
      `ROUTE_CONFLICT: ${PREFIX} in rtb-2 already points to vgw-1, not this host.`,
    );
    const before = provider.writes.length;
    await engine.reconcile(true, context());
    t.equal(
      (await errorOf(engine.claim('10.64.4.0/24', POOL, context()))).message,
      'ROUTE_CONFLICT: 10.64.4.0/24 in rtb-1 already points to pcx-1 (10.64.4.128/25), not this host.',
    );
    t.equal(provider.writes.length, before, 'what is known is refused without a write');
    t.equal(await engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.1.0/24');
  });

  t.test('wider ones stop it where the provider does not allow that', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    provider.allowsNarrower = false;
    cloud.set('10.64.0.0/16', 'tgw-1');
    await engine.reconcile(true, context());
    t.equal(await codeOf(engine.claim(PREFIX, POOL, context())), 'ROUTE_CONFLICT');
    t.equal(await engine.claimFree({ pool: POOL, length: 24 }, context()), '10.65.0.0/24');
  });

  t.test('one that has been deleted since the last look refuses nobody', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    cloud.set(PREFIX, 'vgw-1');
    await engine.reconcile(true, context());
    for (const routes of cloud.tables.values()) routes.clear();
    await engine.claim(PREFIX, POOL, context());
    t.same(cloud.of('rtb-1'), [`${PREFIX} i-me`]);
  });
});

t.test('roaming ranges are not given away', async (t) => {
  const { engine } = await cloudWorld(t, { reserved: () => ['10.64.0.0/24'] });
  t.equal(await engine.claimFree({ pool: POOL, length: 24 }, context()), '10.64.1.0/24');
  t.match(await errorOf(engine.claim('10.64.0.128/25', POOL, context())), {
    code: 'PREFIX_OVERLAP',
    message: /10\.64\.0\.0\/24, which belongs to roaming addresses/,
  });
  await engine.claimAddress('10.64.0.7', POOL, context());
});

t.test('a blackhole', async (t) => {
  t.test('of a host that is gone for good is taken over in one step, in all tables', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set(PREFIX, 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    await engine.claim(PREFIX, POOL, context());
    for (const table of cloud.tables.keys()) t.same(cloud.of(table), [`${PREFIX} i-me`]);
    t.notOk(
      provider.writes.some((call) => call.startsWith('remove')),
      'never deleted and made again',
    );
    t.match(cloud.effects, [/replace .* rtb-1/, /replace/, /replace/]);
  });

  t.test('that is known already is taken over without trying to create it', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set(PREFIX, 'i-gone', ['rtb-1']);
    cloud.fates.set('i-gone', 'gone');
    await engine.reconcile(false, context());
    await engine.claim(PREFIX, POOL, context());
    t.equal(provider.writes[0], `replace ${PREFIX} in rtb-1`);
    t.same(cloud.of('rtb-3'), [`${PREFIX} i-me`]);
  });

  for (const fate of ['stopped', 'unknown'] as const) {
    t.test(`of a host whose fate is ${fate} is never stolen: the error names the owner`, async (t) => {
      const { cloud, engine, store } = await cloudWorld(t);
      cloud.set(PREFIX, 'i-away');
      cloud.fates.set('i-away', fate);
      const refusal = { code: 'PREFIX_OWNED', context: { owner: 'i-away' } };
      t.match(await errorOf(engine.claim(PREFIX, POOL, context())), refusal);
      await engine.reconcile(true, context());
      t.match(await errorOf(engine.claim(PREFIX, POOL, context())), refusal);
      t.same(cloud.of('rtb-1'), [`${PREFIX} i-away`]);
      t.equal(store.all('claims').size, 0);
    });
  }

  t.test('is taken by a search only when nothing is free, and only of hosts that are gone', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    const pool = '10.64.0.0/22';
    cloud.set('10.64.0.0/24', 'i-stopped');
    cloud.set('10.64.1.0/24', 'i-gone');
    cloud.set('10.64.2.0/24', 'i-alive');
    cloud.fates.set('i-gone', 'gone').set('i-stopped', 'stopped');
    await engine.reconcile(false, context());
    t.equal(await engine.claimFree({ pool, length: 24 }, context()), '10.64.3.0/24');
    t.equal(await engine.claimFree({ pool, length: 24 }, context()), '10.64.1.0/24');
    t.equal(await codeOf(engine.claimFree({ pool, length: 24 }, context())), 'POOL_EXHAUSTED');
    t.same(cloud.of('rtb-1'), [
      '10.64.0.0/24 i-stopped',
      '10.64.1.0/24 i-me',
      '10.64.2.0/24 i-alive',
      '10.64.3.0/24 i-me',
    ]);
  });

  t.test('that somebody else takes over first is lost, and the search goes on with the next', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set('10.64.0.0/24', 'i-gone').set('10.64.1.0/24', 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    await engine.reconcile(false, context());
    provider.before = (call) => {
      if (call === 'replace 10.64.0.0/24 in rtb-1') cloud.set('10.64.0.0/24', 'i-other', ['rtb-1']);
    };
    t.equal(await engine.claimFree({ pool: '10.64.0.0/23', length: 24 }, context()), '10.64.1.0/24');
    t.equal(cloud.of('rtb-1')[0], '10.64.0.0/24 i-other');
  });
});

t.test('blackhole routes pile up', async (t) => {
  t.test('those of hosts that are gone are told, and removed when it is this host’s turn', async (t) => {
    const { cloud, engine, provider, clock } = await cloudWorld(t);
    cloud.set('10.64.8.0/24', 'i-gone').set('10.64.9.0/24', 'i-stopped').set('172.16.0.0/24', 'i-gone');
    cloud.fates.set('i-gone', 'gone').set('i-stopped', 'stopped');
    const tables = ['rtb-1', 'rtb-2', 'rtb-3'];
    const told = tables.map((table) => ({ what: `10.64.8.0/24 in ${table} is a blackhole of i-gone, which is gone` }));
    t.match(
      await engine.reconcile(true, context()),
      told.map((one) => ({ ...one, repaired: false })),
    );
    t.same(provider.writes, [], 'not at once: whoever claims takes it over');
    t.match(
      engine.rows().filter(({ table }) => table === 'rtb-1'),
      [
        { prefix: '10.64.8.0/24', state: 'blackhole', owner: 'foreign', drift: 'blackhole of a terminated host' },
        { prefix: '10.64.9.0/24', state: 'blackhole', owner: 'foreign', drift: 'blackhole of a stopped host' },
      ],
    );
    clock.now += 15 * MINUTE;
    t.match(
      await engine.reconcile(true, context()),
      told.map((one) => ({ ...one, repaired: true })),
    );
    t.same(cloud.of('rtb-1'), ['10.64.9.0/24 i-stopped', '172.16.0.0/24 i-gone'], 'stopped ones and other pools stay');
    t.same(await engine.reconcile(true, context()), []);
    t.notOk(provider.writes.some((call) => call.startsWith('create')));
  });

  t.test('hosts that are only stopped do not hide one that is gone', async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    for (let n = 0; n < 9; n += 1) {
      cloud.set(`10.64.${n}.0/24`, `i-stopped-${n}`, ['rtb-1']);
      cloud.fates.set(`i-stopped-${n}`, 'stopped');
    }
    cloud.set('10.64.9.0/24', 'i-gone', ['rtb-1']);
    cloud.fates.set('i-gone', 'gone');
    const told: string[] = [];
    for (let pass = 0; pass < 4; pass += 1) {
      for (const { what } of await engine.reconcile(true, context())) told.push(what);
    }
    t.same([...new Set(told)], ['10.64.9.0/24 in rtb-1 is a blackhole of i-gone, which is gone']);
    t.equal(provider.calls.filter((call) => call.startsWith('fate')).length, 10, 'each was asked for once');
  });

  t.test(
    'a host that the cloud still calls alive is asked for again soon, and at once when somebody waits',
    async (t) => {
      const { cloud, engine, clock, provider } = await cloudWorld(t);
      cloud.set('10.64.8.0/24', 'i-late', ['rtb-1']).set('10.64.9.0/24', 'i-late', ['rtb-1']);
      cloud.fates.set('i-late', 'gone');
      const fate = provider.fate.bind(provider);
      provider.fate = async () => 'alive';
      t.same(await engine.reconcile(true, context()), []);
      t.equal(await codeOf(engine.claim('10.64.8.0/24', POOL, context())), 'PREFIX_OWNED');
      provider.fate = fate;
      clock.now += 3_000;
      await engine.claim('10.64.8.0/24', POOL, context());
      clock.now += 30_000;
      t.match(await engine.reconcile(true, context()), [{ what: /10\.64\.9\.0\/24 .* which is gone/ }]);
    },
  );

  t.test('one that comes back to life in the meantime is left alone', async (t) => {
    const { cloud, engine, clock } = await cloudWorld(t);
    cloud.set('10.64.8.0/24', 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    await engine.reconcile(true, context());
    clock.now += 15 * MINUTE;
    cloud.freeze();
    cloud.set('10.64.8.0/24', 'i-new');
    t.match(await engine.reconcile(true, context()), [{ repaired: false }, { repaired: false }, { repaired: false }]);
    t.same(cloud.of('rtb-1'), ['10.64.8.0/24 i-new']);
  });

  t.test('hosts do not all set about it at the same time', async (t) => {
    const cloud = new FakeCloud();
    const worlds = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => cloudWorld(t, { cloud, target: `i-${n}` })));
    cloud.set('10.64.8.0/24', 'i-gone');
    cloud.fates.set('i-gone', 'gone');
    for (let minute = 0; minute < 15; minute += 1) {
      for (const { engine, clock } of worlds) {
        await engine.reconcile(true, context());
        clock.now += MINUTE;
      }
    }
    t.same(cloud.of('rtb-1'), []);
    t.equal(worlds.filter(({ provider }) => provider.writes.length > 0).length, 1, 'one did it');
  });
});

t.test('PEERS in route tables', async (t) => {
  const peers = [{ prefix: parseCidr('10.72.0.0/16'), via: 'vgw-1' }];
  const ROUTE = '10.72.0.0/16 vgw-1';

  t.test('are made, put back, and count as local', async (t) => {
    const { cloud, engine, store, clock, kernel } = await cloudWorld(t, { peers });
    for (const table of cloud.tables.keys()) t.same(cloud.of(table), [ROUTE]);
    t.match(store.get('gateways', '10.72.0.0/16'), { via: 'vgw-1' });
    t.same(engine.local(), ['10.72.0.0/16']);
    t.same(await engine.reconcile(true, context()), []);
    clock.now += MINUTE;
    cloud.tables.get('rtb-2')?.clear();
    t.same(await engine.reconcile(true, context()), [
      { what: '10.72.0.0/16 via vgw-1 is missing in rtb-2', repaired: true },
    ]);
    t.same(cloud.of('rtb-2'), [ROUTE]);
    t.same(kernel.writes, []);
    t.match(engine.rows()[0], { kind: 'gateway', owner: 'gateway', state: 'active', nextHop: 'vgw-1' });
  });

  t.test('that lead elsewhere are told and never touched', async (t) => {
    const cloud = new FakeCloud();
    cloud.set('10.72.0.0/16', 'tgw-9', ['rtb-2']);
    const { engine, provider } = await cloudWorld(t, { cloud, peers });
    t.same(await engine.reconcile(true, context()), [
      { what: '10.72.0.0/16 in rtb-2 leads to tgw-9, not to vgw-1', repaired: false },
    ]);
    t.same(cloud.of('rtb-2'), ['10.72.0.0/16 tgw-9']);
    t.notOk(provider.writes.some((call) => call.endsWith('rtb-2')));
    t.equal(engine.rows().find(({ table }) => table === 'rtb-2')?.drift, 'PEERS says vgw-1');
  });

  t.test('are no place for a host’s prefix', async (t) => {
    const { engine } = await cloudWorld(t, { peers: [{ prefix: parseCidr('10.64.0.0/16'), via: 'vgw-1' }] });
    t.equal(await codeOf(engine.claim('10.64.0.0/13', POOL, context())), 'ROUTE_CONFLICT');
    t.equal(await engine.claimFree({ pool: POOL, length: 24 }, context()), '10.65.0.0/24');
    t.match(await errorOf(engine.claim(PREFIX, POOL, context())), { code: 'ROUTE_CONFLICT', message: /PEERS .*vgw-1/ });
    t.equal(await codeOf(engine.claimAddress('10.64.0.9', POOL, context())), 'ROUTE_CONFLICT');
  });

  t.test('taken out of the setting are removed where this host made them and they still lead there', async (t) => {
    const cloud = new FakeCloud();
    const store = new MemoryStore<NetworkState>();
    const before = await cloudWorld(t, { cloud, store, peers });
    await before.engine.close(context());
    cloud.set('10.72.0.0/16', 'tgw-9', ['rtb-2']);
    cloud.set('10.73.0.0/16', 'vgw-1');
    await cloudWorld(t, { cloud, store });
    t.same(
      [cloud.of('rtb-1'), cloud.of('rtb-2')],
      [['10.73.0.0/16 vgw-1'], ['10.72.0.0/16 tgw-9', '10.73.0.0/16 vgw-1']],
    );
    t.equal(store.all('gateways').size, 0);
  });

  t.test('that change their gateway are led there in one step', async (t) => {
    const cloud = new FakeCloud();
    const store = new MemoryStore<NetworkState>();
    await cloudWorld(t, { cloud, store, peers });
    const changed = [{ prefix: parseCidr('10.72.0.0/16'), via: 'tgw-2' }];
    const { provider, engine } = await cloudWorld(t, { cloud, store, peers: changed });
    for (const table of cloud.tables.keys()) t.same(cloud.of(table), ['10.72.0.0/16 tgw-2']);
    t.ok(provider.writes.every((call) => call.startsWith('replace')));
    t.equal(store.get('gateways', '10.72.0.0/16')?.via, 'tgw-2');
    t.same(await engine.reconcile(true, context()), []);
  });

  t.test('a dry run makes none', async (t) => {
    const { engine, provider, store } = await cloudWorld(t, { peers, dryRun: true });
    const drift = await engine.reconcile(true, context());
    t.match(drift, [{ repaired: false }, { repaired: false }, { repaired: false }]);
    t.same(provider.writes, []);
    t.equal(store.all('gateways').size, 0);
  });

  t.test('an address is refused at the start', async (t) => {
    const wrong = [{ prefix: parseCidr('10.72.0.0/16'), via: '192.168.1.1' }];
    t.throws(() => checkPeers(wrong, 'tables'), {
      code: 'SETTING_INVALID',
      message: /PEERS=10\.72\.0\.0\/16 via 192\.168\.1\.1/,
    });
    t.throws(() => checkPeers([...peers, ...peers], 'tables'), { code: 'SETTING_INVALID', message: /named twice/ });
  });
});
