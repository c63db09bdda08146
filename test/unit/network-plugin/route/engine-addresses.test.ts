// Roaming addresses: claims of one address that follow their container from host to host.
import t from 'tap';
import type { RouteEngine } from '../../../../network-plugin/route/engine.ts';
import { now } from '../../../../shared/context.ts';
import { codeOf, context } from '../../../conformance/route-provider.ts';
import { cloudWorld, errorOf, FakeCloud } from './engine-cloud.ts';
import { startedWorld } from './engine-fakes.ts';

const POOL = '10.64.0.0/12';
const ADDRESS = '10.64.200.7';
const ROUTE = `${ADDRESS}/32`;

const claim = (engine: RouteEngine): Promise<void> => engine.claimAddress(ADDRESS, POOL, context());

t.test('a free address is claimed in all tables, held, and given back', async (t) => {
  const { cloud, engine, store } = await cloudWorld(t);
  await claim(engine);
  for (const table of cloud.tables.keys()) t.same(cloud.of(table), [`${ROUTE} i-me`]);
  t.match(engine.routes(), [{ prefix: ROUTE, kind: 'address', ours: true }]);
  t.match(engine.ownerOf(ADDRESS), { ours: true, prefix: ROUTE });
  await engine.releaseAddress(ADDRESS, context());
  await engine.releaseAddress(ADDRESS, context());
  t.same(cloud.of('rtb-2'), []);
  t.equal(store.all('claims').size, 0);
});

t.test('an IPv6 address is claimed as /128', async (t) => {
  const { cloud, engine } = await cloudWorld(t);
  await engine.claimAddress('fd64:0::7', 'fd64::/48', context());
  t.same(cloud.of('rtb-1'), ['fd64::7/128 i-me']);
});

for (const fate of ['gone', 'stopped'] as const) {
  t.test(`an address of a host that is ${fate} is taken over in one step`, async (t) => {
    const { cloud, engine, provider } = await cloudWorld(t);
    cloud.set(ROUTE, 'i-old');
    cloud.fates.set('i-old', fate);
    await claim(engine);
    for (const table of cloud.tables.keys()) t.same(cloud.of(table), [`${ROUTE} i-me`]);
    t.notOk(provider.writes.some((call) => call.startsWith('remove')));
  });
}

t.test('two live holders are refused: the error names the host that has it, after a short wait', async (t) => {
  const { cloud, engine, store } = await cloudWorld(t);
  cloud.set(ROUTE, 'i-other');
  const begun = now();
  t.match(await errorOf(engine.claimAddress(ADDRESS, POOL, context(20_000))), {
    code: 'ADDRESS_HELD',
    message: `ADDRESS_HELD: ${ADDRESS} is held by host i-other.`,
  });
  const took = now() - begun;
  t.ok(took > 5_000 && took < 8_000, `${Math.round(took)} ms`);
  t.same(cloud.of('rtb-1'), [`${ROUTE} i-other`]);
  t.equal(store.all('claims').size, 0);
});

t.test('an address that the other host is just giving up follows within a second', async (t) => {
  const cloud = new FakeCloud();
  const old = await cloudWorld(t, { cloud, target: 'i-old' });
  const young = await cloudWorld(t, { cloud, target: 'i-young' });
  await claim(old.engine);
  const moving = claim(young.engine);
  await new Promise((resolve) => setTimeout(resolve, 700));
  const begun = now();
  await old.engine.releaseAddress(ADDRESS, context());
  await moving;
  t.ok(now() - begun < 1_500, `${Math.round(now() - begun)} ms`);
  for (const table of cloud.tables.keys()) t.same(cloud.of(table), [`${ROUTE} i-young`]);
});

t.test('an address in the prefix of another host is that host’s', async (t) => {
  const { cloud, engine, provider } = await cloudWorld(t);
  cloud.set('10.64.200.0/24', 'i-other');
  t.equal(await codeOf(claim(engine)), 'ADDRESS_ELSEWHERE');
  const writes = provider.writes.length;
  t.match(await errorOf(claim(engine)), {
    code: 'ADDRESS_ELSEWHERE',
    context: { owner: 'i-other', prefix: '10.64.200.0/24' },
  });
  t.equal(provider.writes.length, writes, 'what is known is refused without a write');
});

t.test('an address in a prefix of this host needs no claim', async (t) => {
  const { engine, store } = await cloudWorld(t);
  await engine.claim('10.64.200.0/24', POOL, context());
  await claim(engine);
  t.equal(store.all('claims').size, 1);
});

t.test('an address that leads elsewhere now', async (t) => {
  t.test('is given up: what is left of ours goes, it is told, and nobody fights', async (t) => {
    const { cloud, engine, store, clock } = await cloudWorld(t);
    await claim(engine);
    clock.now += 60_000;
    cloud.set(ROUTE, 'i-other', ['rtb-1', 'rtb-2']);
    t.same(await engine.reconcile(true, context()), [
      { what: `${ROUTE} leads to i-other now: this host has given it up`, repaired: true },
    ]);
    t.same([cloud.of('rtb-1'), cloud.of('rtb-3')], [[`${ROUTE} i-other`], []]);
    t.equal(store.all('claims').size, 0);
    t.same(engine.lost(), [{ prefix: ROUTE, owner: 'i-other', other: ROUTE }]);
    clock.now += 60_000;
    t.same(await engine.reconcile(true, context()), []);
    await engine.releaseAddress(ADDRESS, context());
    t.same(engine.lost(), []);
    t.same(cloud.of('rtb-1'), [`${ROUTE} i-other`]);
  });

  t.test('is not taken for ours by what the record says', async (t) => {
    const { cloud, engine } = await cloudWorld(t);
    await claim(engine);
    for (const routes of cloud.tables.values()) routes.clear();
    cloud.set(ROUTE, 'i-other');
    const world = await cloudWorld(t, { cloud });
    t.equal(await codeOf(world.engine.claimAddress(ADDRESS, POOL, context(1_000))), 'STILL_WORKING');
  });

  t.test('and whose host is gone comes back to this one', async (t) => {
    const { cloud, engine, clock } = await cloudWorld(t);
    await claim(engine);
    clock.now += 60_000;
    cloud.set(ROUTE, 'i-other');
    cloud.fates.set('i-other', 'gone');
    await claim(engine);
    t.same(cloud.of('rtb-3'), [`${ROUTE} i-me`]);
    t.same(engine.lost(), []);
  });
});

t.test('an address that vanishes is claimed again', async (t) => {
  const { cloud, engine, clock } = await cloudWorld(t);
  await claim(engine);
  clock.now += 60_000;
  for (const routes of cloud.tables.values()) routes.clear();
  t.match(await engine.reconcile(true, context()), [{ what: /10\.64\.200\.7\/32 is not at cloud/, repaired: true }]);
  t.same(cloud.of('rtb-2'), [`${ROUTE} i-me`]);
});

t.test('an address is nobody’s prefix: a search does not take it for one', async (t) => {
  const { engine } = await cloudWorld(t);
  await claim(engine);
  t.equal(await engine.claimFree({ pool: POOL, length: 24, preferred: ROUTE }, context()), '10.64.0.0/24');
});

t.test('with a provider that tells of changes, an address is claimed as soon as it is free', async (t) => {
  const { provider, engine } = await startedWorld(t);
  provider.other('host-2', ROUTE);
  const moving = claim(engine);
  setTimeout(() => provider.vanish(ROUTE), 300);
  await moving;
  t.equal(provider.routes.get(ROUTE)?.ours, true);
  provider.other('host-3', '10.64.201.0/24');
  t.equal(await codeOf(engine.claimAddress('10.64.201.9', POOL, context())), 'ADDRESS_ELSEWHERE');
});

t.test('an address that was given up a moment ago is free at once, whatever the last reading said', async (t) => {
  const { cloud, engine, provider, clock } = await cloudWorld(t);
  cloud.set(ROUTE, 'i-old');
  await engine.reconcile(true, context());
  clock.now += 20_000;
  for (const routes of cloud.tables.values()) routes.clear();
  const { reads } = provider;
  await claim(engine);
  t.same([provider.reads - reads, provider.calls.filter((call) => call.startsWith('fate')).length], [1, 0]);
});
