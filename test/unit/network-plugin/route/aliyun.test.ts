import t from 'tap';
import { parseCidr } from '../../../../shared/cidr.ts';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import { newWorld, oneHost, started, thrown } from './aliyun-world.ts';

t.setTimeout(60_000);

const prefix = '10.64.3.0/24';
const POOL = '10.64.0.0/12';
const request = { prefix, pool: POOL };

t.test('the entry says who made it, and leads to the instance', async (t) => {
  const { world, provider, table } = await oneHost(t);
  await provider.create(table, request, context());
  const { id, hostName } = world.instance(0);
  t.match(world.sim.routes(table), [
    {
      prefix,
      hop: { kind: 'Instance', id },
      description: `drayage host=${hostName} pool=${POOL}`,
      status: 'Available',
    },
  ]);
  t.match(await routesOf(provider), [{ pool: POOL, ours: true }]);
});

t.test('a claim is granted only when its entry is Available', async (t) => {
  const { world, provider, table } = await oneHost(t, { timing: { settleMs: 150 } });
  await provider.create(table, request, context());
  t.match(world.sim.routes(table), [{ status: 'Available' }]);
  await provider.remove(table, { prefix }, context());
  t.same(world.sim.routes(table), [], 'and given back only when it is gone');
});

t.test('a pending entry of ours is waited for, not made again', async (t) => {
  const { world, provider, table } = await oneHost(t, { timing: { settleMs: 200 } });
  const again = await started(t, world);
  await Promise.all([provider.create(table, request, context()), again.create(table, request, context())]);
  t.equal(world.sim.routes(table).length, 1);
});

t.test('what is claimed at the same time goes as one batch', async (t) => {
  const { world, provider, table } = await oneHost(t);
  await Promise.all(
    Array.from({ length: 8 }, (_, n) => provider.create(table, { prefix: `10.64.${n}.0/24`, pool: POOL }, context())),
  );
  t.equal(world.sim.count({ action: 'CreateRouteEntries', code: 'OK' }), 1);
  t.equal(world.sim.count({ action: 'CreateRouteEntry' }), 0);
  t.equal(world.sim.routes(table).length, 8);
});

t.test('of a batch that fails in part each gets its own answer', async (t) => {
  // What others have made a moment ago does not show yet: the API itself has to refuse it.
  const { world, provider, table } = await oneHost(t, { lagMs: 150 });
  world.sim.addRoute({ table, prefix: '10.64.1.0/24', target: world.instance(1).id });
  const codes = await Promise.all(
    [0, 1, 2].map((n) => codeOf(provider.create(table, { prefix: `10.64.${n}.0/24`, pool: POOL }, context()))),
  );
  t.same(codes, ['none', 'PREFIX_OWNED', 'none']);
  t.equal(world.sim.count({ action: 'CreateRouteEntries' }), 1);
  t.equal(world.sim.count({ action: 'CreateRouteEntry' }), 0);
});

t.test('one prefix in several tables at once, taken in one of them: that one is refused', async (t) => {
  const world = await newWorld(t, 2, { lagMs: 150 });
  const follower = world.cloud.addTable();
  const provider = await started(t, world);
  const [arbiter = ''] = await provider.tables();
  world.sim.addRoute({ table: follower, prefix, target: world.instance(1).id });
  const codes = await Promise.all([arbiter, follower].map((id) => codeOf(provider.create(id, request, context()))));
  t.same(codes, ['none', 'PREFIX_OWNED']);
  t.ok(world.sim.count({ action: 'CreateRouteEntries' }) >= 1);
});

t.test('one entry that is refused for good does not take the batch with it', async (t) => {
  const { world, provider, table } = await oneHost(t);
  const via = world.sim.gateway({ vpc: world.vpc.id, kind: 'VpcPeer' }).id;
  const results = await Promise.all([
    codeOf(provider.create(table, request, context())),
    codeOf(provider.create(table, { prefix: '10.80.0.0/16', pool: POOL, via: 'vpn-nobody' }, context())),
    codeOf(provider.create(table, { prefix: '10.81.0.0/16', pool: POOL, via }, context())),
  ]);
  t.same(results, ['none', 'PROVIDER_REFUSED', 'none']);
});

t.test('writes that meet those of others are tried again', async (t) => {
  const { world, provider, table } = await oneHost(t);
  for (const code of [
    'TaskConflict',
    'OperationConflict',
    'IncorrectRouteEntryStatus',
    'SystemBusy',
    'IncorrectVpcStatus',
  ])
    world.sim.faults.fail('CreateRouteEntry', code);
  await provider.create(table, request, context());
  world.sim.faults.fail('DeleteRouteEntry', 'taskconflict');
  await provider.remove(table, { prefix }, context());
  t.same(world.sim.routes(table), []);
});

t.test('every code that means "there is one already" is compared by value: ours is success', async (t) => {
  const { world, provider, table } = await oneHost(t);
  const codes = [
    'InvalidCIDRBlock.Duplicate',
    'RouterEntryConflict.Duplicated',
    'InvalidRouteEntry.Duplicate',
    'Duplicated.VpcNextHop',
  ];
  for (const [n, duplicate] of codes.entries()) {
    world.sim.timing({ duplicate: duplicate as 'Duplicated.VpcNextHop' });
    // The answer is lost, and reads are late: the second attempt meets the first.
    world.sim.lagMs = 120;
    world.sim.faults.loseReply('CreateRouteEntry');
    await provider.create(table, { prefix: `10.64.${n}.0/24`, pool: POOL }, context());
    world.sim.lagMs = 0;
  }
  t.equal(world.sim.routes(table).length, codes.length);
});

t.test('a lost answer makes no second route, nor a lost claim', async (t) => {
  const { world, provider, table } = await oneHost(t);
  world.sim.faults.loseReply('CreateRouteEntry');
  await provider.create(table, request, context());
  world.sim.faults.loseReply('CreateRouteEntries');
  await Promise.all([4, 5].map((n) => provider.create(table, { prefix: `10.64.${n}.0/24`, pool: POOL }, context())));
  t.equal(world.sim.routes(table).length, 3);
  world.sim.faults.loseReply('DeleteRouteEntry');
  await provider.remove(table, { prefix }, context());
  t.equal(world.sim.routes(table).length, 2);
  t.equal(world.sim.count({ action: 'DeleteRouteEntry' }), 1);
});

t.test('a route is led to us although the answer was lost', async (t) => {
  const { world, provider, table } = await oneHost(t);
  const other = await started(t, world, 1);
  await other.create(table, request, context());
  world.sim.faults.loseReply('ModifyRouteEntry');
  await provider.replace(table, request, await other.self(), context());
  t.match(world.sim.routes(table), [{ hop: { id: world.instance(0).id } }]);
});

t.test('reads that are late do not give a prefix to two, nor take one from its holder', async (t) => {
  const { world, provider, table } = await oneHost(t, { lagMs: 100 });
  const other = await started(t, world, 1);
  const codes = await Promise.all([provider, other].map((each) => codeOf(each.create(table, request, context()))));
  t.same([...codes].sort(), ['PREFIX_OWNED', 'none']);
  const wider = { prefix: '10.64.0.0/20', pool: POOL };
  t.equal(await codeOf(other.create(table, wider, context())), codes[1] === 'none' ? 'PREFIX_OVERLAP' : 'PREFIX_OWNED');
  t.equal(world.sim.routes(table).length, 1);
});

t.test('tables are those that vSwitches use, or those that are named', async (t) => {
  const world = await newWorld(t, 1);
  const used = world.cloud.addTable();
  const unused = world.sim.routeTable({ vpc: world.vpc.id }).id;
  t.same(await (await started(t, world)).tables(), [world.vpc.systemTable, used]);
  const named = await started(t, world, 0, { settings: { routeTables: [unused] } });
  t.same(await named.tables(), [unused]);
  const wrong = world.host(0, { settings: { routeTables: ['vtb-nobody'] } });
  t.match(await thrown(wrong.start(context())), { code: 'ROUTE_TABLE_MISSING', message: /vtb-nobody in vpc-/ });
});

t.test('a full table is refused with the number, the limit and the way out', async (t) => {
  const { world, provider, table } = await oneHost(t, { quotas: { vpc_quota_route_entrys_num: 5 } });
  for (let n = 0; n < 5; n += 1) {
    world.sim.addRoute({ table, prefix: `10.70.${n}.0/24`, target: world.instance(1).id });
  }
  const error = await thrown(provider.create(table, request, context()));
  t.match(error, { code: 'QUOTA_EXCEEDED', context: { table, used: 5, limit: 5 } });
  t.match(error.fix, /vpc_quota_route_entrys_num/);
  t.match(await provider.read(context()), [{ used: 5, limit: 5 }]);
});

t.test('two hundred routes are read page by page, their hosts looked up at once and then remembered', async (t) => {
  const { world, provider, table } = await oneHost(t, { quotas: { vpc_quota_route_entrys_num: 300 } });
  for (let n = 0; n < 200; n += 1) {
    const { id } = world.sim.instance({ vswitch: world.vswitch, name: `node-${n}` });
    world.sim.addRoute({ table, prefix: `10.64.${n}.0/24`, target: id });
  }
  world.sim.clearCalls();
  const routes = await routesOf(provider);
  t.equal(routes.length, 200);
  t.match(routes.at(-1), { nextHop: { host: 'node-199' }, ours: false, state: 'active' });
  t.equal(world.sim.count({ action: 'DescribeRouteEntryList' }), 3);
  t.equal(world.sim.count({ action: 'DescribeInstances' }), 3);
  await provider.read(context());
  t.equal(world.sim.count({ action: 'DescribeInstances' }), 3);
});

t.test('in a steady state there is one describe a table, and nothing is written', async (t) => {
  const world = await newWorld(t, 2);
  const tables = [world.vpc.systemTable, world.cloud.addTable()];
  const provider = await started(t, world);
  for (const table of tables) await provider.create(table, request, context());
  await provider.read(context());
  world.sim.clearCalls();
  for (let round = 0; round < 5; round += 1) await provider.read(context());
  t.same(
    world.sim.calls().map(({ action }) => action),
    Array.from({ length: 10 }, () => 'DescribeRouteEntryList'),
  );
});

t.test('what others lead to instances outside of the pool is no host’s claim, ours neither', async (t) => {
  const { world, provider, table } = await oneHost(t);
  world.sim.addRoute({ table, prefix: '172.20.0.0/16', target: world.instance(0).id });
  world.sim.addRoute({ table, prefix: '10.64.9.0/24', target: world.instance(0).id });
  t.match(
    (await routesOf(provider)).map(({ prefix, ours, gateway }) => ({ prefix, ours, gateway: gateway === true })),
    [
      { prefix: '172.20.0.0/16', ours: false, gateway: true },
      { prefix: '10.64.9.0/24', ours: true, gateway: false },
    ],
  );
});

t.test('vSwitches and the vendor’s range cannot be claimed', async (t) => {
  const { world, provider, table } = await oneHost(t);
  for (const local of ['192.168.0.0/24', '192.168.0.128/25', '192.168.0.0/23', '100.64.3.0/24', '100.0.0.0/8']) {
    t.equal(await codeOf(provider.create(table, { prefix: local, pool: POOL }, context())), 'PREFIX_IS_LOCAL', local);
  }
  // One that was made a moment ago is known to the API alone.
  world.sim.vswitch({ vpc: world.vpc.id, cidr: '192.168.64.0/24' });
  t.equal(
    await codeOf(provider.create(table, { prefix: '192.168.64.0/25', pool: POOL }, context())),
    'PREFIX_IS_LOCAL',
  );
});

t.test('the pool may lie in the VPC: what is left of it is local, and its vSwitches', async (t) => {
  const world = await newWorld(t, 1);
  const provider = await started(t, world, 0, { settings: { pool: parseCidr('192.168.128.0/17') } });
  t.same([...provider.local()].sort(), ['192.168.0.0/17', '2001:db8:1::/56']);
  await provider.create(world.vpc.systemTable, { prefix: '192.168.200.0/24', pool: '192.168.128.0/17' }, context());
});

t.test('IPv6 is refused by a custom table, and the refusal says why', async (t) => {
  const world = await newWorld(t, 1);
  const custom = world.cloud.addTable();
  const provider = await started(t, world);
  const wanted = { prefix: 'fd64:6472:7961:3::/64', pool: 'fd64:6472:7961::/48' };
  t.match(await thrown(provider.create(custom, wanted, context())), {
    code: 'PROVIDER_REFUSED',
    message: /custom route table/,
  });
});
