import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { AutoProvider } from '../../../../network-plugin/route/auto.ts';
import type { AwsProvider } from '../../../../network-plugin/route/aws.ts';
import type { RouteProvider } from '../../../../network-plugin/route/provider.ts';
import { Metadata } from '../../../../shared/cloud/metadata.ts';
import { newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { createLogger, silentLogger } from '../../../../shared/log.ts';
import { codeOf, context, routesOf } from '../../../conformance/route-provider.ts';
import { ManualClock } from '../../../sim/core/clock.ts';
import { awsWorld } from './aws-world.ts';

t.setTimeout(120_000);

const claim = (n: number) => ({ prefix: `10.64.${n}.0/24`, pool: '10.64.0.0/12' });
const failure = (promise: Promise<unknown>): Promise<PluginError> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: unknown) => (error instanceof PluginError ? error : Promise.reject(error)),
  );
const up = async (provider: AwsProvider): Promise<AwsProvider> => {
  await provider.start(context());
  return provider;
};

t.test('throttling in a loop does not happen: a storm is waited out', async (t) => {
  const world = await awsWorld(t, 1);
  const one = await up(world.provider(0));
  world.sim.faults.add({ fault: { kind: 'throttle' }, action: 'CreateRoute', times: 4 });
  world.sim.faults.add({ fault: { kind: 'unavailable' }, action: 'DescribeRouteTables', times: 2 });
  await one.create(world.main, claim(1), context(30_000));
  t.match(await routesOf(one), [{ prefix: '10.64.1.0/24', ours: true }]);
  t.match(one.status(), { throttled: 4 });
});

t.test('a storm that outlasts the command is told as such, in time', async (t) => {
  const world = await awsWorld(t, 1);
  const one = await up(world.provider(0));
  world.sim.faults.add({ fault: { kind: 'throttle' }, action: 'CreateRoute', times: 10_000 });
  const started = Date.now();
  const error = await failure(one.create(world.main, claim(1), context(1_500)));
  t.match(error, { code: 'PROVIDER_THROTTLED', message: /RequestLimitExceeded for CreateRoute/ });
  t.ok(Date.now() - started < 2_500);
  t.ok(world.sim.count({ service: 'ec2', action: 'CreateRoute' }) < 15, 'with pauses that grow');
});

t.test('EC2 that does not answer is unreachable after a while; the outcome is open', async (t) => {
  const world = await awsWorld(t, 1);
  const one = await up(world.provider(0, { attemptMs: 150 }));
  const hang = world.sim.faults.add({ fault: { kind: 'hang' }, action: 'CreateRoute', times: 100 });
  t.match(await failure(one.create(world.main, claim(1), context())), {
    code: 'PROVIDER_UNREACHABLE',
    message: /CreateRoute at http.*no answer within 0\.15 s/,
  });
  hang.remove();
  const drop = world.sim.faults.add({ fault: { kind: 'drop' }, action: 'CreateRoute', times: 100 });
  t.equal(await codeOf(one.create(world.main, claim(1), context())), 'PROVIDER_UNREACHABLE');
  drop.remove();
  await one.create(world.main, claim(1), context());
});

const needed = {
  CreateRoute: (one: RouteProvider, table: string) => one.create(table, claim(9), context()),
  ReplaceRoute: async (one: RouteProvider, table: string) =>
    one.replace(table, claim(2), (await routesOf(one))[1]?.nextHop ?? { host: '' }, context()),
  DeleteRoute: (one: RouteProvider, table: string) => one.remove(table, { prefix: claim(1).prefix }, context()),
  DescribeRouteTables: (one: RouteProvider) => one.read(context()),
  DescribeNetworkInterfaces: (one: RouteProvider) => one.prepareHost?.(true, context()) ?? Promise.resolve(),
  ModifyNetworkInterfaceAttribute: (one: RouteProvider) => one.prepareHost?.(true, context()) ?? Promise.resolve(),
};

t.test('a role without one permission: the error and the doctor name it, and the role', async (t) => {
  for (const [action, use] of Object.entries(needed)) {
    const world = await awsWorld(t, 2);
    const [one, two] = [await up(world.provider(0)), await up(world.provider(1))];
    await one.create(world.main, claim(1), context());
    await two.create(world.main, claim(2), context());
    const role = world.sim.world.instance(world.hosts[0]?.id ?? '').role;
    if (role === undefined) throw new Error('no role');
    const all = ['CreateRoute', 'ReplaceRoute', 'DeleteRoute', 'Describe*', 'Modify*', 'GetServiceQuota'];
    const others = [...all, ...Object.keys(needed), 'DescribeInstances'].filter(
      (name) => name !== action && !(name.endsWith('*') && action.startsWith(name.slice(0, -1))),
    );
    role.actions = others;
    const error = await failure(Promise.resolve(use(one, world.main)));
    t.match(error, { code: 'PROVIDER_PERMISSION', context: { permission: `ec2:${action}`, role: 'drayage' } }, action);
    t.match(error.toUserText(), /drayage policy aws/);
    const bad = (await one.findings(context())).filter(
      ({ check, state }) => check === 'permissions' && state === 'bad',
    );
    t.match(bad, [{ found: new RegExp(`ec2:${action} is missing`), remedy: /drayage policy aws/ }], action);
    t.equal(bad.length, 1, action);
  }
});

t.test('without the permission to name hosts, and to read the quota, the rest works', async (t) => {
  const world = await awsWorld(t, 1);
  await world.add({
    name: 'poor',
    role: {
      actions: ['CreateRoute', 'ReplaceRoute', 'DeleteRoute', 'DescribeRouteTables', 'DescribeNetworkInterfaces'],
    },
  });
  const [one, poor] = [await up(world.provider(0)), await up(world.provider(1))];
  await one.create(world.main, claim(1), context());
  await poor.create(world.main, claim(2), context());
  const [table] = await poor.read(context());
  t.match(table, { limit: 500, routes: [{ nextHop: { host: world.hosts[0]?.eni } }, { ours: true }] });
  t.equal(await poor.quota(context()), undefined, 'nobody is refused by a number that is only usual');
  world.sim.quotas.set('routes-per-table', 750);
  t.equal(await one.quota(context()), 750, 'asked for, it is that of the moment');
});

t.test('the role’s keys are renewed before they end, and at once when they are refused', async (t) => {
  const world = await awsWorld(t, 1, { roleTtlMs: 6 * 60_000 });
  const one = await up(world.provider(0));
  const keys = (): string[] => [...new Set(world.sim.calls({ service: 'ec2' }).map((call) => call.caller))];
  const [first] = keys();
  world.sim.faults.add({ fault: { kind: 'expire-credentials' }, action: 'CreateRoute' });
  await one.create(world.main, claim(1), context());
  t.equal(keys().length, 2);
  t.not(keys()[1], first);
});

t.test('a role whose keys end in the middle of a run never sends old ones', async (t) => {
  // Keys of four minutes are always about to end.
  const world = await awsWorld(t, 1, { roleTtlMs: 4 * 60_000 });
  const one = await up(world.provider(0));
  const before = world.sim.count({ service: 'metadata', action: 'meta-data/iam*' });
  await one.read(context());
  t.ok(world.sim.count({ service: 'metadata', action: 'meta-data/iam*' }) > before);
  t.equal(world.sim.count({ service: 'ec2', code: 'RequestExpired' }), 0);
});

t.test(
  'a metadata service that is gone when keys are due is told soon, and not asked until the deadline',
  async (t) => {
    const world = await awsWorld(t, 1, { roleTtlMs: 1_000 });
    const one = await up(world.provider(0));
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    world.sim.faults.add({ fault: { kind: 'unavailable' }, service: 'metadata', times: 1_000 });
    const started = Date.now();
    t.match(await failure(one.read(context(25_000))), { code: 'PROVIDER_UNREACHABLE', message: /metadata service/ });
    t.ok(Date.now() - started < 8_000);
  },
);

t.test('keys of the settings and of a file are used; wrong ones are refused by name of their source', async (t) => {
  const world = await awsWorld(t, 1);
  const { id, secret } = world.sim.key({ name: 'operator' });
  await up(world.provider(0, { key: { id, secret } }));
  t.equal(world.sim.count({ service: 'ec2', caller: id }), world.sim.count({ service: 'ec2' }));
  const wrong = await failure(world.provider(0, { key: { id, secret: 'not the secret' } }).start(context()));
  t.match(wrong, { code: 'PROVIDER_AUTH', message: /SignatureDoesNotMatch.*ACCESS_KEY_ID.*eu-central-1/ });
  const unknown = await failure(world.provider(0, { key: { id: 'AKIANOBODY1234567890', secret } }).start(context()));
  t.match(unknown, { code: 'PROVIDER_AUTH', message: /AuthFailure/ });

  const folder = await mkdtemp(join(tmpdir(), 'drayage-aws-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'credentials');
  const profile = (key: string, value: string) =>
    `[other]\naws_access_key_id = x\n\n[drayage]\naws_access_key_id = ${key}\naws_secret_access_key = ${value}\n`;
  await writeFile(path, profile('AKIAOLD1234567890123', 'old'));
  const provider = world.provider(0, { file: { path, profile: 'drayage' } });
  t.match(await failure(provider.start(context())), { code: 'PROVIDER_AUTH', message: /profile drayage of / });
  await writeFile(path, profile(id, secret));
  await provider.start(context());
});

t.test('an instance without a role says what to do', async (t) => {
  const world = await awsWorld(t, 0);
  await world.add({ name: 'bare', role: false });
  const error = await failure(world.provider(0).start(context()));
  t.match(error, { code: 'PROVIDER_AUTH', message: /no role, and neither ACCESS_KEY_ID nor CREDENTIALS_FILE/ });
});

t.test('the wrong region is named', async (t) => {
  const world = await awsWorld(t, 1);
  const error = await failure(world.provider(0, { region: 'us-west-2' }).start(context()));
  t.match(error, { code: 'PROVIDER_AUTH', message: /region us-west-2/ });
});

t.test('other partitions work alike', async (t) => {
  for (const region of ['cn-north-1', 'us-gov-west-1']) {
    const world = await awsWorld(t, 1, { region });
    const one = await up(world.provider(0));
    await one.create(world.main, claim(1), context());
    t.match(await one.read(context()), [{ routes: [{ ours: true }], limit: 500 }], region);
  }
});

t.test('a VPC without tables, and tables that are not there, are refused with their names', async (t) => {
  const world = await awsWorld(t, 1);
  const missing = 'rtb-0123456789abcdef0';
  const named = await failure(world.provider(0, { tables: [world.main, missing] }).start(context()));
  t.match(named, { code: 'ROUTE_TABLE_MISSING', context: { table: missing }, message: new RegExp(world.vpc) });
  world.sim.deleteTable(world.main);
  t.match(await failure(world.provider(0).start(context())), {
    code: 'ROUTE_TABLE_MISSING',
    message: /in eu-central-1/,
  });
});

t.test('several route tables do not break routing: those that no subnet uses are left out', async (t) => {
  const world = await awsWorld(t, 1);
  const more = world.controls.addTable();
  const unused = world.sim.routeTable({ vpc: world.vpc }).id;
  const elsewhere = world.sim.vpc({ cidr: '10.99.0.0/16' });
  t.same(await (await up(world.provider(0))).tables(), [world.main, more]);
  t.same(await (await up(world.provider(0, { tables: [unused, world.main] }))).tables(), [world.main, unused]);
  t.not(world.vpc, elsewhere.id);
});

t.test('a table is deleted under us: its claim says so, the next reading leaves it out', async (t) => {
  const world = await awsWorld(t, 1);
  const follower = world.controls.addTable();
  const one = await up(world.provider(0));
  await one.create(follower, claim(1), context());
  world.sim.deleteTable(follower);
  t.match(await failure(one.create(follower, claim(2), context())), {
    code: 'ROUTE_TABLE_MISSING',
    context: { table: follower },
  });
  t.same(await one.tables(), [world.main]);
  await one.remove(follower, { prefix: claim(1).prefix }, context());
  t.same(
    (await one.read(context())).map((table) => table.id),
    [world.main],
  );
});

t.test('clock skew: the call is made all the same, and the doctor says how far off the clock is', async (t) => {
  const clock = new ManualClock(Date.now() + 20 * 60_000);
  const world = await awsWorld(t, 1, { clock });
  const one = await up(world.provider(0));
  await one.create(world.main, claim(1), context());
  t.match(
    (await one.findings(context())).find(({ check }) => check === 'clock'),
    { state: 'bad', found: /1(199|200|201) s behind/, remedy: /chrony/ },
  );
});

t.test('nobody answers for metadata: the plugin’s start is not held up, and the reason is told', async (t) => {
  const world = await awsWorld(t, 1);
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const address = silent.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const metadataEndpoint = `http://127.0.0.1:${address.port}`;
  const before = Date.now();
  const provider = world.provider(0, { metadataEndpoint });
  t.ok(Date.now() - before < 100, 'construction asks nobody');
  t.match(await failure(provider.start(context())), {
    code: 'PROVIDER_UNREACHABLE',
    message: new RegExp(`metadata service at ${metadataEndpoint}`),
  });
  t.ok(Date.now() - before < 3_000);
  const short = Date.now();
  await failure(provider.start(context(300)));
  t.ok(Date.now() - short < 1_000);
  t.equal(await codeOf(provider.create(world.main, claim(1), context())), 'PROVIDER_UNREACHABLE');
  t.match(await provider.findings(context()), [{ check: 'metadata', state: 'bad', remedy: /hop-limit/ }]);
  t.same(provider.local(), []);
  t.match(provider.status(), { metadata: metadataEndpoint });
});

t.test('auto finds the cloud whose metadata service answers, or names both', async (t) => {
  const world = await awsWorld(t, 1);
  const opened: string[] = [];
  const candidates = (endpoint: string) =>
    (['aliyun', 'aws'] as const).map((cloud) => ({
      name: cloud,
      metadata: new Metadata({ cloud, endpoint, timeoutMs: 200 }),
      open: async () => {
        opened.push(cloud);
        return world.provider(0);
      },
    }));
  const auto = new AutoProvider(candidates(world.hosts[0]?.metadata ?? ''), silentLogger);
  t.equal(auto.name, 'auto');
  await auto.start(context());
  t.same(opened, ['aws']);
  await auto.create(world.main, claim(1), context());
  t.match(await routesOf(auto), [{ prefix: '10.64.1.0/24', ours: true }]);
  t.match(auto.status(), { cloud: 'aws' });

  const nowhere = new AutoProvider(candidates('http://127.0.0.1:9'), silentLogger);
  t.match(await failure(nowhere.start(context())), {
    code: 'PROVIDER_UNREACHABLE',
    message: /aliyun \(.*ECONNREFUSED.*aws \(.*ECONNREFUSED.*set PROVIDER=/,
  });
  t.equal(await codeOf(nowhere.create(world.main, claim(1), context())), 'PROVIDER_UNREACHABLE');
  t.match(await nowhere.findings(context()), [{ check: 'cloud', state: 'bad', remedy: /PROVIDER/ }]);
});

t.test(
  'the source/dest check is turned off on the uplink’s interface, once, and again when somebody turns it on',
  async (t) => {
    const world = await awsWorld(t, 0);
    const host = await world.add({
      name: 'two-legged',
      address: '10.0.1.20',
      more: [{ subnet: world.subnet, address: '10.0.1.21' }],
    });
    const [first, second] = world.sim.world.interfacesOf(host.id).map((each) => each.id);
    const one = await up(world.provider(0, { addresses: ['10.0.1.21'] }));
    t.equal((await one.self()).target, second);
    const drift = { what: new RegExp(`source/dest check was on on ${second}`) };
    t.match(await one.prepareHost(false, context()), [{ ...drift, repaired: false }]);
    t.equal(world.sim.sourceDestCheck(second ?? ''), true, 'a dry run changes nothing');
    t.match(await one.prepareHost(true, context()), [{ ...drift, repaired: true }]);
    t.equal(world.sim.sourceDestCheck(second ?? ''), false);
    t.equal(world.sim.sourceDestCheck(first ?? ''), true, 'the other is left as it is');
    t.same(await one.prepareHost(true, context()), []);
    t.equal(world.sim.count({ action: 'ModifyNetworkInterfaceAttribute' }), 1);
    world.sim.setSourceDestCheck(second ?? '', true);
    t.match(await one.prepareHost(true, context()), [{ ...drift, repaired: true }]);
    t.equal(world.sim.sourceDestCheck(second ?? ''), false);
  },
);

t.test('secrets are never in logs, errors, findings or the status', async (t) => {
  const world = await awsWorld(t, 1);
  const lines: string[] = [];
  const log = createLogger({ level: 'debug', write: (line) => lines.push(line) });
  const texts: string[] = [];
  const metadata = new Metadata({ cloud: 'aws', endpoint: world.hosts[0]?.metadata ?? '' });
  const ofRole: string[] = [];
  const noteRole = async (): Promise<void> => {
    const keys = JSON.parse((await metadata.get('meta-data/iam/security-credentials/drayage', context())) ?? '{}');
    ofRole.push(keys.SecretAccessKey, keys.Token);
  };
  await noteRole();
  const lasting = world.sim.key({ name: 'operator' });
  const session = world.sim.key({ name: 'visitor', ttlMs: 3_600_000 });
  const keys = [
    undefined,
    { id: lasting.id, secret: lasting.secret },
    { id: lasting.id, secret: `${lasting.secret}wrong` },
    { id: session.id, secret: session.secret, token: session.token ?? '' },
    { id: session.id, secret: session.secret, token: 'FAKETOKENFAKETOKENFAKETOKEN' },
  ];
  const faults = ['expire-credentials', 'fail', 'throttle', 'drop', 'lose-reply'] as const;
  for (const key of keys) {
    const provider = world.provider(0, { ...(key !== undefined && { key }), log, attemptMs: 200 });
    const c = () => newContext(log, 2_000);
    const note = async (work: Promise<unknown>): Promise<void> => {
      try {
        texts.push(JSON.stringify(await work) ?? '');
      } catch (error) {
        log.error('it failed', { error });
        texts.push(
          error instanceof PluginError ? `${error.toUserText()} ${JSON.stringify(error.context)}` : String(error),
        );
      }
    };
    await note(provider.start(c()));
    for (const kind of faults) {
      const fault = kind === 'fail' ? ({ kind, code: 'AuthFailure' } as const) : { kind };
      const rule = world.sim.faults.add({ fault, action: '*', times: 3 });
      await note(provider.create(world.main, claim(1), c()));
      rule.remove();
    }
    await note(provider.findings(c()));
    texts.push(JSON.stringify(provider.status()));
  }
  await noteRole();
  const all = [...lines, ...texts].join('\n');
  t.ok(all.length > 5_000);
  const secrets = [lasting.secret, session.secret, session.token ?? '', 'FAKETOKENFAKETOKEN'];
  t.equal(new Set(ofRole).size, 4, 'two of the role');
  for (const secret of [...secrets, ...ofRole]) {
    t.notOk(all.includes(secret), 'no secret');
  }
  t.notMatch(all, /X-Amz-Security-Token|Signature=|SecretAccessKey/i);
});
