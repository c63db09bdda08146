import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import { type AwsWorld, awsWorld } from './aws-world.ts';

t.setTimeout(120_000);

const pool = '10.64.0.0/12';
const claim = (prefix: string) => ({ prefix, pool });

/** The providers of all hosts, started. */
const started = async (world: AwsWorld, settleMs?: number) => {
  const providers = world.hosts.map((_, n) => world.provider(n, settleMs === undefined ? {} : { settleMs }));
  await Promise.all(providers.map((provider) => provider.start(context())));
  return providers;
};

const ec2 = (world: AwsWorld, action: string): number => world.sim.count({ service: 'ec2', action });

t.test('two hosts claim the same prefix at once, 100 rounds: never two owners', async (t) => {
  const world = await awsWorld(t, 2);
  const providers = await started(world);
  const owners: string[] = [];
  for (let round = 0; round < 100; round += 1) {
    const prefix = `10.64.${round}.0/24`;
    const codes = await Promise.all(providers.map((each) => codeOf(each.create(world.main, claim(prefix), context()))));
    if (codes.filter((code) => code === 'none').length !== 1) t.fail(`${prefix}: ${codes.join(' ')}`);
    const winner = world.hosts[codes.indexOf('none')]?.eni;
    if (world.sim.routes(world.main)[prefix] !== winner) t.fail(`${prefix} does not lead to its owner`);
    owners.push(winner ?? '');
  }
  t.equal(owners.length, 100);
});

t.test('prefixes of different lengths at once: never two that overlap, though EC2 would take both', async (t) => {
  const world = await awsWorld(t, 3, { lagMs: 40 });
  const providers = await started(world);
  let granted = 0;
  for (let round = 0; round < 20; round += 1) {
    const asked = [`10.64.${round}.0/24`, `10.64.${round}.128/25`, `10.64.${round}.192/26`];
    const codes = await Promise.all(
      providers.map((each, n) => codeOf(each.create(world.main, claim(asked[n] ?? ''), context()))),
    );
    const left = Object.keys(world.sim.routes(world.main)).filter((prefix) => prefix.startsWith(`10.64.${round}.`));
    granted += left.length;
    if (left.length > 1) t.fail(`${left.join(' ')} (${codes.join(' ')})`);
    if (codes.some((code) => code !== 'none' && code !== 'PREFIX_OWNED')) t.fail(codes.join(' '));
    if (codes.filter((code) => code === 'none').length !== left.length) t.fail(`${codes.join(' ')}, ${left.join(' ')}`);
  }
  t.ok(granted <= 20);
});

t.test('a claim waits until others can see it, however late EC2 shows it', async (t) => {
  const world = await awsWorld(t, 2, { lagMs: 250 });
  const [one, two] = await started(world, 600);
  if (one === undefined || two === undefined) return;
  await one.create(world.main, claim('10.64.3.0/24'), context());
  t.match(await routesOf(two), [{ prefix: '10.64.3.0/24', ours: false }]);
  // Its own prefix again, and another's: what EC2 shows late is waited for.
  await one.create(world.main, claim('10.64.3.0/24'), context());
  await one.remove(world.main, { prefix: '10.64.3.0/24' }, context());
  // Until it shows that the route is gone, EC2's word stands.
  t.equal(await codeOf(two.create(world.main, claim('10.64.3.0/24'), context())), 'PREFIX_OWNED');
  await pause(300);
  await two.create(world.main, claim('10.64.3.0/24'), context());
  t.equal(await codeOf(one.create(world.main, claim('10.64.3.0/24'), context())), 'PREFIX_OWNED');
  t.equal(world.sim.routes(world.main)['10.64.3.0/24'], world.hosts[1]?.eni);
});

t.test('what this host has just made is removed, though EC2 does not show it yet', async (t) => {
  const world = await awsWorld(t, 1, { lagMs: 300 });
  const follower = world.controls.addTable();
  const [one] = await started(world, 800);
  await one?.create(follower, claim('10.64.3.0/24'), context());
  await one?.remove(follower, { prefix: '10.64.3.0/24' }, context());
  t.same(world.sim.routes(follower), {});
});

t.test('what this host has just removed is made again, though EC2 still shows it', async (t) => {
  const world = await awsWorld(t, 1, { lagMs: 300 });
  const [one] = await started(world, 600);
  if (one === undefined) return;
  const at = { prefix: '10.64.3.0/24' };
  await one.create(world.main, claim(at.prefix), context());
  await one.remove(world.main, at, context());
  await one.create(world.main, claim(at.prefix), context());
  t.equal(world.sim.routes(world.main)[at.prefix], world.hosts[0]?.eni);
});

t.test('the reply to CreateRoute is lost: the claim is found to be ours', async (t) => {
  const world = await awsWorld(t, 2, { lagMs: 100 });
  const [one, two] = await started(world);
  if (one === undefined || two === undefined) return;
  world.sim.faults.add({ fault: { kind: 'lose-reply' }, action: 'CreateRoute' });
  await one.create(world.main, claim('10.64.3.0/24'), context());
  t.same(world.sim.routes(world.main), { '10.64.3.0/24': world.hosts[0]?.eni });
  t.equal(await codeOf(two.create(world.main, claim('10.64.3.0/24'), context())), 'PREFIX_OWNED');
});

t.test('the reply to ReplaceRoute is lost: the route is found to be ours', async (t) => {
  const world = await awsWorld(t, 2, { lagMs: 50 });
  const [one, two] = await started(world);
  if (one === undefined || two === undefined) return;
  await one.create(world.main, claim('10.64.3.0/24'), context());
  world.sim.faults.add({ fault: { kind: 'lose-reply' }, action: 'ReplaceRoute' });
  await two.replace(world.main, claim('10.64.3.0/24'), await one.self(), context());
  t.same(world.sim.routes(world.main), { '10.64.3.0/24': world.hosts[1]?.eni });
});

t.test('the reply to DeleteRoute is lost: the route is gone, which is what was asked', async (t) => {
  const world = await awsWorld(t, 1);
  const [one] = await started(world);
  await one?.create(world.main, claim('10.64.3.0/24'), context());
  world.sim.faults.add({ fault: { kind: 'lose-reply' }, action: 'DeleteRoute' });
  await one?.remove(world.main, { prefix: '10.64.3.0/24' }, context());
  t.same(world.sim.routes(world.main), {});
});

t.test('who is overtaken between the look and the write loses, and knows it', async (t) => {
  const world = await awsWorld(t, 3);
  const [one, two, three] = await started(world);
  if (one === undefined || two === undefined || three === undefined) return;
  for (let round = 0; round < 5; round += 1) {
    const prefix = `10.64.${round}.0/24`;
    await one.create(world.main, claim(prefix), context());
    const holder = await one.self();
    const takers = [two, three];
    world.sim.faults.add({ fault: { kind: 'delay', ms: 60 }, action: 'ReplaceRoute', nth: 1 + (round % 2) });
    const codes = await Promise.all(
      takers.map((each) => codeOf(each.replace(world.main, claim(prefix), holder, context()))),
    );
    t.same([...codes].sort(), ['ROUTE_CONFLICT', 'none'], prefix);
    t.equal(world.sim.routes(world.main)[prefix], world.hosts[1 + codes.indexOf('none')]?.eni, prefix);
  }
});

t.test('a table is full: the refusal has the number, the limit and the remedy', async (t) => {
  const world = await awsWorld(t, 1);
  world.sim.quotas.set('routes-per-table', 3);
  const [one] = await started(world);
  if (one === undefined) return;
  for (let n = 0; n < 3; n += 1) await one.create(world.main, claim(`10.64.${n}.0/24`), context());
  const [table] = await one.read(context());
  t.match(table, { used: 3, limit: 3 });
  const refusal = await one.create(world.main, claim('10.64.9.0/24'), context()).catch((error: unknown) => error);
  t.match(refusal, { code: 'QUOTA_EXCEEDED', context: { used: 3, limit: 3 }, fix: /Service Quotas/ });
  const finding = (await one.findings(context())).find(({ check }) => check === 'route quota');
  t.match(finding, { state: 'bad', found: /3 of 3/, remedy: /Service Quotas/ });
  await one.create(world.main, { prefix: 'fd64:6472:7961:3::/64', pool: 'fd64:6472:7961::/48' }, context());
});

t.test('the VPN gateway’s own routes are not counted, and are nobody’s prefix', async (t) => {
  const world = await awsWorld(t, 1);
  const vgw = world.controls.gateway();
  world.sim.propagate(world.main, '10.96.0.0/16', vgw);
  const [one] = await started(world);
  t.match(await one?.read(context()), [{ used: 0, routes: [{ prefix: '10.96.0.0/16', gateway: true }] }]);
});

t.test('a VPN gateway that propagates the prefix of a host takes nothing from it', async (t) => {
  const world = await awsWorld(t, 1);
  const [one] = await started(world);
  if (one === undefined) throw new Error('no host');
  await one.create(world.main, claim('10.64.3.0/24'), context());
  world.sim.propagate(world.main, '10.64.3.0/24', world.controls.gateway());
  t.match(await routesOf(one), [{ prefix: '10.64.3.0/24', ours: true }]);
  t.equal((await routesOf(one)).length, 1);
  await one.create(world.main, claim('10.64.3.0/24'), context());
  await one.remove(world.main, { prefix: '10.64.3.0/24' }, context());
  t.match(await routesOf(one), [{ prefix: '10.64.3.0/24', ours: false, gateway: true }], 'now it is the gateway’s');
});

t.test('a reading is one call, whatever the number of tables and routes; names are asked for once', async (t) => {
  const world = await awsWorld(t, 12, { pageSize: 5 });
  for (let n = 0; n < 3; n += 1) world.controls.addTable();
  const providers = await started(world);
  await Promise.all(providers.map((each, n) => each.create(world.main, claim(`10.64.${n}.0/24`), context())));
  const [one] = providers;
  if (one === undefined) return;
  const names = (await routesOf(one)).map((route) => route.nextHop.host);
  t.same(names.sort(), world.hosts.map((_, n) => `host-${n}`).sort());
  world.sim.clearCalls();
  for (let n = 0; n < 5; n += 1) await one.read(context());
  t.equal(ec2(world, 'DescribeRouteTables'), 5);
  t.equal(world.sim.count({ service: 'ec2' }), 5, 'and nothing else');
  await Promise.all(Array.from({ length: 10 }, () => one.read(context())));
  t.ok(ec2(world, 'DescribeRouteTables') <= 7, 'those who ask at once share it');
});

t.test('two hundred routes are read with one call, and stand in nobody’s way but that of their prefixes', async (t) => {
  const world = await awsWorld(t, 2, { pageSize: 1_000 });
  const [one, other] = await started(world);
  if (one === undefined || other === undefined) throw new Error('no hosts');
  const prefixes = Array.from({ length: 200 }, (_, n) => `10.65.${n}.0/24`);
  await Promise.all(prefixes.map((prefix) => other.create(world.main, claim(prefix), context())));
  world.sim.clearCalls();
  t.match(await one.read(context()), [{ id: world.main, used: 200, limit: 500 }]);
  t.equal(ec2(world, 'DescribeRouteTables'), 1);
  t.equal(await codeOf(one.create(world.main, claim('10.65.199.128/25'), context())), 'PREFIX_OWNED');
  await one.create(world.main, claim('10.65.200.0/24'), context());
  t.equal((await routesOf(one)).filter(({ ours }) => ours).length, 1);
});

t.test('hosts of one name are told apart', async (t) => {
  const world = await awsWorld(t, 0);
  for (let n = 0; n < 2; n += 1) await world.add({ name: 'web' });
  await world.add({ name: '' });
  const [one, two, three] = await started(world);
  if (one === undefined || two === undefined || three === undefined) return;
  for (const [n, each] of [one, two, three].entries())
    await each.create(world.main, claim(`10.64.${n}.0/24`), context());
  const hosts = (await routesOf(one)).map((route) => route.nextHop.host);
  t.match(hosts, [`web (${world.hosts[0]?.id})`, `web (${world.hosts[1]?.id})`, /^ip-10-0-1-\d+\./]);
});

t.test('a route of somebody else’s is named and left, whatever it leads to', async (t) => {
  const world = await awsWorld(t, 1);
  const [one] = await started(world);
  if (one === undefined) return;
  const lonely = world.sim.networkInterface({ subnet: world.subnet });
  world.sim.world.table(world.main).routes.set('10.64.3.0/24', {
    prefix: '10.64.3.0/24',
    target: { kind: 'interface', id: lonely.id },
    origin: 'CreateRoute',
  });
  const refusal = await one.create(world.main, claim('10.64.3.0/24'), context()).catch((error: unknown) => error);
  t.match(refusal, { code: 'PREFIX_OWNED', context: { owner: lonely.id } });
  t.equal(await one.fate({ host: lonely.id, target: lonely.id }, context()), 'stopped');
  t.equal(await one.fate({ host: 'x', target: 'eni-00000000000000000' }, context()), 'gone');
  t.equal(await one.fate({ host: 'x', target: 'vgw-00000000000000000' }, context()), 'unknown');
  t.equal(world.sim.routes(world.main)['10.64.3.0/24'], lonely.id);
});

t.test('an interface that PEERS name is a gateway, not a host', async (t) => {
  const world = await awsWorld(t, 2);
  const via = world.hosts[1]?.eni ?? '';
  const one = world.provider(0, { gateways: [via] });
  await one.start(context());
  await one.create(world.main, { prefix: '10.72.0.0/14', pool, via }, context());
  t.match(await routesOf(one), [{ gateway: true, nextHop: { target: via } }]);
  await one.create(world.main, claim('10.72.3.0/24'), context());
});

t.test('a gateway that is not there, or not of this VPC, is refused with EC2’s reason', async (t) => {
  const world = await awsWorld(t, 1);
  const [one] = await started(world);
  const via = 'tgw-0123456789abcdef0';
  const refusal = await one?.create(world.main, { ...claim('10.72.0.0/14'), via }, context()).catch((e: unknown) => e);
  t.match(refusal, { code: 'PROVIDER_REFUSED', message: /10\.72\.0\.0\/14 via tgw-.*does not exist/ });
});

t.test('PEERS may name each kind of gateway', async (t) => {
  const world = await awsWorld(t, 1);
  const [one] = await started(world);
  if (one === undefined) return;
  const kinds = ['igw', 'vgw', 'tgw', 'pcx', 'nat', 'eigw'] as const;
  for (const [n, kind] of kinds.entries()) {
    const via = world.sim.gateway(kind, world.vpc).id;
    const prefix = kind === 'eigw' ? 'fd99::/48' : `10.${70 + n}.0.0/16`;
    await one.create(world.main, { prefix, pool, via }, context());
    t.equal(world.sim.routes(world.main)[prefix], via);
  }
  t.ok((await routesOf(one)).every((route) => route.gateway === true && !route.ours));
});
