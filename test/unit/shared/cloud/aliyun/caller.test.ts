import t from 'tap';
import { AliyunCaller, endpointOf } from '../../../../../shared/cloud/aliyun/caller.ts';
import { AliyunClient } from '../../../../../shared/cloud/aliyun/client.ts';
import { Credentials } from '../../../../../shared/cloud/aliyun/credentials.ts';
import { kindOfError } from '../../../../../shared/cloud/aliyun/errors.ts';
import { Metadata } from '../../../../../shared/cloud/metadata.ts';
import { newContext, now } from '../../../../../shared/context.ts';
import { PluginError } from '../../../../../shared/errors.ts';
import { silentLogger } from '../../../../../shared/log.ts';
import { startAliyunSim } from '../../../../sim/aliyun/sim.ts';
import { listen } from '../../../../sim/core/http.ts';

t.setTimeout(60_000);

const context = (ms = 5_000) => newContext(silentLogger, ms);

const world = async (t: { teardown(work: () => unknown): void }, endpoint?: string) => {
  const sim = await startAliyunSim({ rates: {} });
  t.teardown(() => sim.close());
  const vpc = sim.vpc({});
  const { id: accessKeyId, secret: accessKeySecret } = sim.key();
  const metadata = new Metadata({ cloud: 'aliyun', endpoint: sim.metadataEndpoint });
  const credentials = new Credentials({ accessKeyId, accessKeySecret, credentialsProfile: 'default' }, metadata);
  const caller = new AliyunCaller({
    credentials,
    region: 'cn-hangzhou',
    endpoint: endpoint ?? sim.endpoint,
    retry: { firstMs: 10, longestMs: 40 },
  });
  return { sim, vpc, caller, client: new AliyunClient(caller), secrets: [accessKeyId, accessKeySecret] };
};

t.test('each service has an endpoint of its own, in all partitions', async (t) => {
  t.equal(endpointOf('vpc', 'cn-hangzhou'), 'https://vpc.cn-hangzhou.aliyuncs.com');
  t.equal(endpointOf('ecs', 'eu-central-1'), 'https://ecs.eu-central-1.aliyuncs.com');
  t.equal(endpointOf('quotas', 'ap-southeast-1'), 'https://quotas.aliyuncs.com');
  const inside = 'https://vpc-vpc.cn-beijing.aliyuncs.com';
  t.equal(endpointOf('vpc', 'cn-beijing', inside), inside);
  t.equal(endpointOf('ecs', 'cn-beijing', inside), 'https://ecs-vpc.cn-beijing.aliyuncs.com');
  t.equal(endpointOf('nas', 'cn-beijing', inside), 'https://nas-vpc.cn-beijing.aliyuncs.com');
  t.equal(endpointOf('quotas', 'cn-beijing', inside), 'https://quotas.aliyuncs.com');
  t.equal(endpointOf('ecs', 'cn-beijing', 'http://127.0.0.1:8080'), 'http://127.0.0.1:8080');
});

t.test('reads are repeated through throttling, 503 and cut connections; writes are not', async (t) => {
  const { sim, vpc, client } = await world(t);
  sim.faults.throttle('DescribeVpcs');
  sim.faults.drop('DescribeVpcs');
  sim.faults.fail('DescribeVpcs', 'ServiceUnavailable', {});
  sim.faults.fail('DescribeVpcs', 'UnknownError', {});
  t.same(await client.vpc(vpc.id, context()), [vpc.cidr]);
  sim.faults.throttle('DeleteRouteEntry');
  const removal = { table: vpc.systemTable, prefix: '10.64.0.0/24', hop: { id: 'i-1', type: 'Instance' } };
  t.equal(await client.deleteEntry(removal, context()).catch(kindOfError), 'throttled');
  t.equal(sim.count({ action: 'DeleteRouteEntry' }), 1);
});

t.test('what is sent too late for what was read is not sent', async (t) => {
  const { sim, client } = await world(t);
  const late = client.modifyEntry(
    'rte-1',
    { hop: { id: 'i-1', type: 'Instance' }, description: '' },
    now() - 1,
    context(),
  );
  t.equal(await late.catch(kindOfError), 'silent');
  t.equal(sim.count({ action: 'ModifyRouteEntry' }), 0);
});

t.test('the clock is compared with each answer', async (t) => {
  const { vpc, client, caller } = await world(t);
  t.equal(caller.clock.ms, undefined);
  await client.vpc(vpc.id, context());
  t.ok(Math.abs(caller.clock.ms ?? Number.NaN) < 2_000);
});

t.test('DryRun tells what is allowed, and changes nothing', async (t) => {
  const { sim, vpc, client } = await world(t);
  const hop = { id: 'i-nobody', type: 'Instance' };
  for (const action of ['CreateRouteEntry', 'CreateRouteEntries', 'DeleteRouteEntry', 'ModifyRouteEntry'] as const) {
    t.equal(await client.mayWrite(action, vpc.systemTable, hop, context()), true, action);
  }
  t.same(sim.routes(), []);
});

t.test('an answer that is not theirs is no answer, and its text is not shown', async (t) => {
  const server = await listen(async () => ({
    status: 502,
    headers: { 'Content-Type': 'text/html' },
    body: '<b>proxy</b>',
  }));
  t.teardown(() => server.close());
  const { client, secrets } = await world(t, server.url);
  const error = await client.vpc('vpc-1', context(1_500)).catch((thrown: unknown) => thrown);
  t.match(error, { code: 'PROVIDER_UNREACHABLE' });
  const text = error instanceof PluginError ? error.toUserText() : '';
  for (const secret of [...secrets, 'proxy']) t.notOk(text.includes(secret));
});
