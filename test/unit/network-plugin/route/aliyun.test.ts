import t from 'tap';
import type { AliyunProvider } from '../../../../network-plugin/route/aliyun.ts';
import { parseCidr } from '../../../../shared/cidr.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/log.ts';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import type { AliyunConfig } from '../../../sim/aliyun/sim.ts';
import { type AliyunWorld, type HostOptions, newWorld, ROLE } from './aliyun-world.ts';

t.setTimeout(60_000);

const prefix = '10.64.3.0/24';
const POOL = '10.64.0.0/12';
const request = { prefix, pool: POOL };

const started = async (
  t: { teardown(work: () => unknown): void },
  world: AliyunWorld,
  n = 0,
  options: HostOptions = {},
): Promise<AliyunProvider> => {
  const provider = world.host(n, options);
  t.teardown(() => provider.close());
  await provider.start(context());
  return provider;
};

/** A world, its first host at work, and the arbiter's id. */
const one = async (
  t: { teardown(work: () => unknown): void },
  config: AliyunConfig = {},
  options: HostOptions = {},
) => {
  const world = await newWorld(t, 2, config);
  const provider = await started(t, world, 0, options);
  return { world, provider, table: world.vpc.systemTable };
};

const thrown = (work: Promise<unknown>): Promise<PluginError> =>
  work.then(
    () => Promise.reject(new Error('nothing was thrown')),
    (error: unknown) => {
      if (error instanceof PluginError) return error;
      throw error;
    },
  );

t.test('the entry says who made it, and leads to the instance', async (t) => {
  const { world, provider, table } = await one(t);
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
  const { world, provider, table } = await one(t, { timing: { settleMs: 150 } });
  await provider.create(table, request, context());
  t.match(world.sim.routes(table), [{ status: 'Available' }]);
  await provider.remove(table, { prefix }, context());
  t.same(world.sim.routes(table), [], 'and given back only when it is gone');
});

t.test('a pending entry of ours is waited for, not made again', async (t) => {
  const { world, provider, table } = await one(t, { timing: { settleMs: 200 } });
  const again = await started(t, world);
  await Promise.all([provider.create(table, request, context()), again.create(table, request, context())]);
  t.equal(world.sim.routes(table).length, 1);
});

t.test('what is claimed at the same time goes as one batch', async (t) => {
  const { world, provider, table } = await one(t);
  await Promise.all(
    Array.from({ length: 8 }, (_, n) => provider.create(table, { prefix: `10.64.${n}.0/24`, pool: POOL }, context())),
  );
  t.equal(world.sim.count({ action: 'CreateRouteEntries', code: 'OK' }), 1);
  t.equal(world.sim.count({ action: 'CreateRouteEntry' }), 0);
  t.equal(world.sim.routes(table).length, 8);
});

t.test('of a batch that fails in part each gets its own answer', async (t) => {
  // What others have made a moment ago does not show yet: the API itself has to refuse it.
  const { world, provider, table } = await one(t, { lagMs: 150 });
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
  const { world, provider, table } = await one(t);
  const via = world.sim.gateway({ vpc: world.vpc.id, kind: 'VpcPeer' }).id;
  const results = await Promise.all([
    codeOf(provider.create(table, request, context())),
    codeOf(provider.create(table, { prefix: '10.80.0.0/16', pool: POOL, via: 'vpn-nobody' }, context())),
    codeOf(provider.create(table, { prefix: '10.81.0.0/16', pool: POOL, via }, context())),
  ]);
  t.same(results, ['none', 'PROVIDER_REFUSED', 'none']);
});

t.test('writes that meet those of others are tried again', async (t) => {
  const { world, provider, table } = await one(t);
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
  const { world, provider, table } = await one(t);
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
  const { world, provider, table } = await one(t);
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
  const { world, provider, table } = await one(t);
  const other = await started(t, world, 1);
  await other.create(table, request, context());
  world.sim.faults.loseReply('ModifyRouteEntry');
  await provider.replace(table, request, await other.self(), context());
  t.match(world.sim.routes(table), [{ hop: { id: world.instance(0).id } }]);
});

t.test('reads that are late do not give a prefix to two, nor take one from its holder', async (t) => {
  const { world, provider, table } = await one(t, { lagMs: 100 });
  const other = await started(t, world, 1);
  const codes = await Promise.all([provider, other].map((each) => codeOf(each.create(table, request, context()))));
  t.same([...codes].sort(), ['PREFIX_OWNED', 'none']);
  const wider = { prefix: '10.64.0.0/20', pool: POOL };
  t.equal(await codeOf(other.create(table, wider, context())), codes[1] === 'none' ? 'PREFIX_OVERLAP' : 'PREFIX_OWNED');
  t.equal(world.sim.routes(table).length, 1);
});

t.test('throttling and 503 storms are sat out within the deadline, and named after it', async (t) => {
  const { world, provider, table } = await one(t);
  world.sim.faults.throttle('*', { times: 3 });
  world.sim.faults.storm(200);
  await provider.create(table, request, context());
  t.match(await routesOf(provider), [{ prefix }]);
  const storm = world.sim.faults.throttle('DescribeRouteEntryList', { times: 1000 });
  t.equal(await codeOf(provider.read(context(300))), 'PROVIDER_THROTTLED');
  storm.remove();
  world.sim.faults.storm(2_000);
  t.equal(await codeOf(provider.read(context(300))), 'PROVIDER_UNREACHABLE');
});

t.test('what keeps a claim from ending in time is named', async (t) => {
  const { world, provider, table } = await one(t);
  world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { times: 1000 });
  t.match(await thrown(provider.create(table, request, context(300))), {
    code: 'PROVIDER_THROTTLED',
    message: /TaskConflict/,
  });
});

t.test('an answer that never comes ends with the deadline', async (t) => {
  const { world, provider, table } = await one(t);
  world.sim.faults.hang('DescribeRouteEntryList', { times: 10 });
  const begun = performance.now();
  t.match(await codeOf(provider.create(table, request, context(400))), /DEADLINE|PROVIDER_UNREACHABLE/);
  t.ok(performance.now() - begun < 1_000);
});

t.test('a right that is missing is named, with the role that lacks it', async (t) => {
  const { world, provider, table } = await one(t);
  const all = ['vpc:*', 'ecs:*', 'quotas:*'];
  await provider.create(table, { prefix: '10.65.0.0/24', pool: POOL }, context());
  world.sim.role({ name: ROLE, actions: ['vpc:Describe*', 'ecs:*'] });
  const cases: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['vpc:CreateRouteEntry', () => provider.create(table, request, context())],
    ['vpc:DeleteRouteEntry', () => provider.remove(table, { prefix: '10.65.0.0/24' }, context())],
  ];
  for (const [permission, work] of cases) {
    t.match(await thrown(work()), { code: 'PROVIDER_PERMISSION', context: { permission, role: ROLE } }, permission);
  }
  world.sim.role({ name: ROLE, actions: ['vpc:Create*'] });
  const reading = await thrown(provider.read(context()));
  t.match(reading, { code: 'PROVIDER_PERMISSION', context: { permission: 'vpc:DescribeRouteEntryList' } });
  t.match(reading.fix, /drayage policy aliyun.*drayage/);
  world.sim.role({ name: ROLE, actions: all });
});

t.test('without the right to see hosts routes are read all the same, and nobody is held to be gone', async (t) => {
  const { world, provider, table } = await one(t);
  world.sim.addRoute({ table, prefix, target: world.instance(1).id });
  world.sim.role({ name: ROLE, actions: ['vpc:*'] });
  t.match(await routesOf(provider), [
    { prefix, state: 'active', ours: false, nextHop: { host: world.instance(1).id } },
  ]);
  const hop = { host: 'x', target: world.instance(1).id };
  t.match(await thrown(provider.fate(hop, context())), { context: { permission: 'ecs:DescribeInstances' } });
});

t.test('credentials that end in the middle are replaced', async (t) => {
  const { world, provider, table } = await one(t);
  for (const action of ['CreateRouteEntry', 'DescribeRouteEntryList', 'DeleteRouteEntry']) {
    world.sim.faults.expireCredentials(action);
  }
  await provider.create(table, request, context());
  await provider.remove(table, { prefix }, context());
  t.equal(world.sim.count({ code: 'InvalidSecurityToken.Expired' }), 3);
});

t.test('wrong keys are refused without a word of them', async (t) => {
  const world = await newWorld(t, 1);
  const secret = 'Wr0ngS3cretWr0ngS3cret';
  for (const accessKeyId of [world.sim.key().id, 'LTAI5tNobodyKnowsThis']) {
    const provider = world.host(0, { settings: { accessKeyId, accessKeySecret: secret } });
    const error = await thrown(provider.start(context()));
    t.equal(error.code, 'PROVIDER_AUTH');
    t.notMatch(`${error.toUserText()} ${error.message}`, new RegExp(`${secret}|${accessKeyId}`));
  }
});

t.test('a table that is deleted under us is left out, and named when it is written to', async (t) => {
  const world = await newWorld(t, 2);
  const follower = world.cloud.addTable();
  const provider = await started(t, world);
  t.same(await provider.tables(), [world.vpc.systemTable, follower]);
  world.sim.deleteTable(follower);
  t.match(await thrown(provider.create(follower, request, context())), {
    code: 'ROUTE_TABLE_MISSING',
    context: { table: follower },
  });
  t.equal((await provider.read(context())).length, 1);
  t.same(await provider.tables(), [world.vpc.systemTable]);
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

t.test('a wrong region is told from the instance', async (t) => {
  const world = await newWorld(t, 1);
  const wrong = world.host(0, { settings: { region: 'cn-beijing' } });
  t.match(await thrown(wrong.start(context())), { code: 'SETTING_INVALID', message: /REGION=cn-beijing.*cn-hangzhou/ });
});

t.test('a metadata service that is not there is named within two seconds', async (t) => {
  const world = await newWorld(t, 1);
  const begun = performance.now();
  for (const metadataEndpoint of ['http://127.0.0.1:9', world.sim.endpoint]) {
    const error = await thrown(world.host(0, { settings: { metadataEndpoint } }).start(context()));
    t.match(error, { code: 'PROVIDER_UNREACHABLE', message: /metadata service at http:\/\/127\.0\.0\.1/ });
  }
  t.ok(performance.now() - begun < 2_000);
});

t.test('an API that is not there is named', async (t) => {
  const world = await newWorld(t, 1);
  const provider = world.host(0, { settings: { cloudEndpoint: 'http://127.0.0.1:9' } });
  t.match(await thrown(provider.start(context(1_500))), { code: 'PROVIDER_UNREACHABLE', message: /ECONNREFUSED/ });
});

t.test('a clock that is off is named as what it is', async (t) => {
  const { world, provider } = await one(t);
  world.sim.clock.advance(20 * 60_000);
  t.match(await thrown(provider.read(context())), { code: 'PROVIDER_AUTH', message: /clock of this host/ });
});

t.test('a full table is refused with the number, the limit and the way out', async (t) => {
  const { world, provider, table } = await one(t, { quotas: { vpc_quota_route_entrys_num: 5 } });
  for (let n = 0; n < 5; n += 1) {
    world.sim.addRoute({ table, prefix: `10.70.${n}.0/24`, target: world.instance(1).id });
  }
  const error = await thrown(provider.create(table, request, context()));
  t.match(error, { code: 'QUOTA_EXCEEDED', context: { table, used: 5, limit: 5 } });
  t.match(error.fix, /vpc_quota_route_entrys_num/);
  t.match(await provider.read(context()), [{ used: 5, limit: 5 }]);
});

t.test('the quota is the usual one where Quota Center may not be asked', async (t) => {
  const world = await newWorld(t, 1, { quotas: { vpc_quota_route_entrys_num: 321 } });
  t.match(await (await started(t, world)).read(context()), [{ limit: 321 }]);
  world.sim.role({ name: ROLE, actions: ['vpc:*', 'ecs:*'] });
  t.match(await (await started(t, world)).read(context()), [{ limit: 200 }]);
});

t.test('two hundred routes are read page by page, their hosts looked up at once and then remembered', async (t) => {
  const { world, provider, table } = await one(t, { quotas: { vpc_quota_route_entrys_num: 300 } });
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
  const { world, provider, table } = await one(t);
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
  const { world, provider, table } = await one(t);
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

t.test('a host that a limited policy hides is not held to be gone', async (t) => {
  const { world, provider, table } = await one(t);
  const other = await started(t, world, 1);
  await other.create(table, request, context());
  // As with a policy for some instances only: not even this host sees itself.
  world.sim.release(world.instance(0).id);
  world.sim.release(world.instance(1).id);
  t.equal(await provider.fate(await other.self(), context()), 'unknown');
});

t.test('neither log, errors nor status have a secret in them', async (t) => {
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  const world = await newWorld(t, 2);
  const provider = await started(t, world, 0, { log });
  const table = world.vpc.systemTable;
  world.sim.faults.fail('CreateRouteEntry', 'SignatureDoesNotMatch', {});
  const errors: unknown[] = [];
  const note = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => errors.push(error));
  await note(provider.create(table, request, context()));
  for (const fault of ['throttle', 'drop', 'loseReply', 'expireCredentials'] as const)
    world.sim.faults[fault]('CreateRouteEntry');
  await note(provider.create(table, request, context()));
  world.sim.role({ name: ROLE, actions: [] });
  await note(provider.read(context()));
  for (const error of errors) log.error('seen', { error });
  const findings = await provider.findings(context());
  const all = `${lines.join('')} ${JSON.stringify([provider.status(), findings, errors])} ${errors.map((error) => (error instanceof PluginError ? error.toUserText() : String(error))).join(' ')}`;
  t.ok(errors.length > 0 && lines.length > 0);
  const keys = world.sim.core.credentials.all();
  t.ok(keys.length > 0);
  for (const { secret, token } of keys) {
    t.notOk(all.includes(secret), 'no secret');
    t.notOk(token !== undefined && all.includes(token), 'no token');
  }
});
