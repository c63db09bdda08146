import t from 'tap';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger } from '../../../../shared/log.ts';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import { newWorld, oneHost, ROLE, started, thrown } from './aliyun-world.ts';

t.setTimeout(60_000);

const prefix = '10.64.3.0/24';
const POOL = '10.64.0.0/12';
const request = { prefix, pool: POOL };

t.test('throttling and 503 storms are sat out within the deadline, and named after it', async (t) => {
  const { world, provider, table } = await oneHost(t);
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
  const { world, provider, table } = await oneHost(t);
  world.sim.faults.fail('CreateRouteEntry', 'TaskConflict', { times: 1000 });
  t.match(await thrown(provider.create(table, request, context(300))), {
    code: 'PROVIDER_THROTTLED',
    message: /TaskConflict/,
  });
});

t.test('an answer that never comes ends with the deadline', async (t) => {
  const { world, provider, table } = await oneHost(t);
  world.sim.faults.hang('DescribeRouteEntryList', { times: 10 });
  const begun = performance.now();
  t.match(await codeOf(provider.create(table, request, context(400))), /DEADLINE|PROVIDER_UNREACHABLE/);
  t.ok(performance.now() - begun < 1_000);
});

t.test('a right that is missing is named, with the role that lacks it', async (t) => {
  const { world, provider, table } = await oneHost(t);
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
  const { world, provider, table } = await oneHost(t);
  world.sim.addRoute({ table, prefix, target: world.instance(1).id });
  world.sim.role({ name: ROLE, actions: ['vpc:*'] });
  t.match(await routesOf(provider), [
    { prefix, state: 'active', ours: false, nextHop: { host: world.instance(1).id } },
  ]);
  const hop = { host: 'x', target: world.instance(1).id };
  t.match(await thrown(provider.fate(hop, context())), { context: { permission: 'ecs:DescribeInstances' } });
});

t.test('credentials that end in the middle are replaced', async (t) => {
  const { world, provider, table } = await oneHost(t);
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
  const { world, provider } = await oneHost(t);
  world.sim.clock.advance(20 * 60_000);
  t.match(await thrown(provider.read(context())), {
    code: 'PROVIDER_AUTH',
    message: /clock of this host is more than 15/,
  });
  const found = await provider.findings(context());
  t.match(
    found.find(({ check }) => check === 'clock'),
    { state: 'bad', remedy: /chrony/ },
  );
});

t.test('the quota is the usual one where Quota Center may not be asked', async (t) => {
  const world = await newWorld(t, 1, { quotas: { vpc_quota_route_entrys_num: 321 } });
  t.match(await (await started(t, world)).read(context()), [{ limit: 321 }]);
  const provider = await started(t, world);
  world.sim.quotas.set('vpc_quota_route_entrys_num', 400);
  t.equal(await provider.quota(context()), 400, 'asked for, it is that of the moment');
  world.sim.role({ name: ROLE, actions: ['vpc:*', 'ecs:*'] });
  t.equal(await provider.quota(context()), 400, 'and the last one that was told');
  const blind = await started(t, world);
  t.match(await blind.read(context()), [{ limit: 200 }]);
  t.equal(await blind.quota(context()), undefined, 'nobody is refused by a number that is only usual');
});

t.test('the doctor goes by the quota of the moment, and says why it cannot be read', async (t) => {
  const world = await newWorld(t, 1, { quotas: { vpc_quota_route_entrys_num: 321 } });
  const provider = await started(t, world);
  world.sim.quotas.set('vpc_quota_route_entrys_num', 400);
  const found = (await provider.findings(context())).filter(({ check }) => check === 'route quota');
  t.match(found, [{ state: 'good', found: /of at most 400/ }]);
  world.sim.role({ name: ROLE, actions: ['vpc:*', 'ecs:*'] });
  const troubles = (await provider.findings(context())).filter(({ state }) => state !== 'good');
  t.match(troubles, [
    { state: 'warning', found: /lacks the permission quotas:ListProductQuotas/, remedy: /drayage policy aliyun/ },
  ]);
  t.equal(troubles.length, 1);
});

t.test('a host that a limited policy hides is not held to be gone', async (t) => {
  const { world, provider, table } = await oneHost(t);
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
