/** VPCs, vSwitches, instances and the metadata service. */
import { request } from 'node:http';
import t from 'tap';
import { ManualClock } from '../../sim/core/clock.ts';
import { SimControl } from '../../sim/core/control-client.ts';
import type { EffectiveRoute } from '../../sim/core/routes.ts';
import { callerOf, cloudFor, codeOf } from './aliyun-client.ts';

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** One request to the metadata service, as if from `source`. */
const ask = (at: string, method: string, path: string, source: string, headers = {}): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const options = { method, headers, localAddress: source, agent: false };
    const sent = request(`${at}/latest/${path}`, options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end();
  });

const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds';
const TOKEN = 'X-aliyun-ecs-metadata-token';

t.test('VPC, vSwitches, tables and the one that a vSwitch uses are listed', async (t) => {
  const { sim, vpc, vswitch, table, call } = await cloudFor(t);
  const custom = sim.routeTable({ vpc, name: 'mine' });
  const second = sim.vswitch({ vpc, cidr: '10.250.1.0/24', table: custom.id });
  t.match(await call('DescribeVpcAttribute', { VpcId: vpc }), {
    VpcId: vpc,
    CidrBlock: '10.250.0.0/16',
    VSwitchIds: { VSwitchId: [vswitch, second.id] },
  });
  t.equal(await codeOf(call('DescribeVpcAttribute', { VpcId: 'vpc-none' })), 'InvalidVpcId.NotFound');
  t.match(await call('DescribeVSwitches', { VSwitchId: second.id }), {
    TotalCount: 1,
    VSwitches: { VSwitch: [{ RouteTable: { RouteTableId: custom.id, RouteTableType: 'Custom' } }] },
  });
  t.match(await call('DescribeRouteTableList', { VpcId: vpc }), {
    TotalCount: 2,
    RouterTableList: {
      RouterTableListType: [
        { RouteTableId: table, RouteTableType: 'System', VSwitchIds: { VSwitchId: [vswitch] } },
        { RouteTableId: custom.id, RouteTableType: 'Custom', VSwitchIds: { VSwitchId: [second.id] } },
      ],
    },
  });
  t.match(await call('DescribeRouteTableList', { PageSize: 1, PageNumber: 2 }), { TotalCount: 2, PageNumber: 2 });
  t.match(await call('DescribeRouteTableList', { VpcId: 'vpc-none' }), { TotalCount: 0 });
  sim.deleteTable(custom.id);
  t.match(await call('DescribeVSwitches', { VSwitchId: second.id }), {
    VSwitches: { VSwitch: [{ RouteTable: { RouteTableId: table } }] },
  });
});

t.test('instances are found by id, address and tag; unknown ids are left out', async (t) => {
  const { sim, vpc, vswitch, hosts, call } = await cloudFor(t);
  const tagged = sim.instance({ vswitch, name: 'db', tags: { team: 'red' }, secondary: 1 });
  const find = (query: object) => call('DescribeInstances', { ...query }, 'ecs');
  const [one] = hosts;
  t.match(await find({ InstanceIds: JSON.stringify([one?.id, 'i-none']) }), {
    TotalCount: 1,
    Instances: {
      Instance: [
        {
          InstanceId: one?.id,
          Status: 'Running',
          VpcAttributes: { VpcId: vpc, PrivateIpAddress: { IpAddress: [one?.address] } },
        },
      ],
    },
  });
  t.match(await find({ Tag: [{ Key: 'team', Value: 'red' }] }), { TotalCount: 1 });
  t.match(await find({ PrivateIpAddresses: JSON.stringify([one?.address]) }), { TotalCount: 1 });
  t.equal(await codeOf(find({ InstanceIds: 'i-1' })), 'InvalidInstanceIds.Malformed');
  t.match(await call('DescribeNetworkInterfaces', { InstanceId: tagged.id }, 'ecs'), {
    TotalCount: 2,
    NetworkInterfaceSets: { NetworkInterfaceSet: [{ Type: 'Primary' }, { Type: 'Secondary', InstanceId: tagged.id }] },
  });
});

t.test('a released instance leaves its route Available, as a black hole', async (t) => {
  const { sim, table, hosts, call } = await cloudFor(t);
  const [one, two] = hosts;
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24' };
  await call('CreateRouteEntry', { ...at, NextHopId: one?.id });
  sim.stop(one?.id ?? '');
  t.match(sim.effectiveRoutes(), [{ state: 'active', via: one?.address }], 'a stopped one may come back');
  const find = () => call('DescribeInstances', { InstanceIds: JSON.stringify([one?.id]) }, 'ecs');
  t.match(await find(), { Instances: { Instance: [{ Status: 'Stopped' }] } });
  sim.release(one?.id ?? '');
  t.match(await find(), { TotalCount: 0 });
  t.match(sim.effectiveRoutes(), [{ state: 'blackhole', prefix: '10.64.1.0/24', via: undefined }]);
  const entry = { Status: 'Available', NextHops: { NextHop: [{ NextHopId: one?.id }] } };
  t.match(await call('DescribeRouteEntryList', { RouteTableId: table, RouteEntryType: 'Custom' }), {
    RouteEntrys: { RouteEntry: [entry] },
  });
  await call('ModifyRouteEntry', { ...at, NewNextHopId: two?.id, NewNextHopType: 'Instance' });
  t.match(sim.effectiveRoutes(), [{ state: 'active', via: two?.address }]);
});

t.test('metadata is told by token only, to the instance that asks', async (t) => {
  const clock = new ManualClock();
  const { sim, vpc, vswitch, hosts } = await cloudFor(t, { clock });
  const [one, two] = hosts;
  const meta = sim.metadataEndpoint;
  const put = (source: string, seconds: string) => ask(meta, 'PUT', 'api/token', source, { [TTL]: seconds });
  const get = (path: string, source: string, token?: string) =>
    ask(meta, 'GET', `meta-data/${path}`, source, token === undefined ? {} : { [TOKEN]: token });
  t.match(await get('instance-id', '127.0.0.2'), { status: 403 });
  t.match(await get('instance-id', '127.0.0.2', 'stray'), { status: 401 });
  t.match(await put('127.0.0.2', '21601'), { status: 400 });
  t.match(await put('127.0.0.9', '60'), { status: 404 }, 'nobody of this cloud');
  const { body: token } = await put('127.0.0.2', '60');
  t.match(await get('instance-id', '127.0.0.2', token), { status: 200, body: one?.id });
  t.match(await get('instance-id', '127.0.0.3', token), { status: 401 }, "another instance's token");
  const { body: other } = await put('127.0.0.3', '60');
  t.match(await get('instance-id', '127.0.0.3', other), { status: 200, body: two?.id });
  const told = async (path: string) => (await get(path, '127.0.0.2', token)).body;
  t.equal(await told('region-id'), 'cn-hangzhou');
  t.equal(await told('vpc-id'), vpc);
  t.equal(await told('vswitch-id'), vswitch);
  t.equal(await told('private-ipv4'), one?.address);
  t.equal(await told('hostname'), 'host1');
  const mac = await told('mac');
  t.equal(await told('network/interfaces/macs/'), `${mac}/`);
  t.equal(await told(`network/interfaces/macs/${mac}/network-interface-id`), one?.eni);
  t.match(await get('ram/security-credentials/', '127.0.0.2', token), { status: 404 }, 'it has no role');
  clock.advance(61_000);
  t.match(await get('instance-id', '127.0.0.2', token), { status: 401 }, 'the token is over');
  sim.faults.add({ service: 'metadata', fault: { kind: 'unavailable' } });
  t.match(await put('127.0.0.2', '60'), { status: 503 });
});

t.test("a role's credentials work, end, and are replaced in time", async (t) => {
  const clock = new ManualClock();
  const { sim, vswitch } = await cloudFor(t, { clock, roleTtlMs: 12 * 60_000 });
  sim.role({ name: 'drayage', actions: ['vpc:Describe*'] });
  sim.instance({ vswitch, role: 'drayage', source: '127.0.0.8' });
  const read = async () => {
    const { body: token } = await ask(sim.metadataEndpoint, 'PUT', 'api/token', '127.0.0.8', { [TTL]: '60' });
    const path = 'meta-data/ram/security-credentials/';
    const { body: role } = await ask(sim.metadataEndpoint, 'GET', path, '127.0.0.8', { [TOKEN]: token });
    const { body } = await ask(sim.metadataEndpoint, 'GET', `${path}${role}`, '127.0.0.8', { [TOKEN]: token });
    const told = JSON.parse(body) as Record<string, string>;
    t.match(told, { Code: 'Success', Expiration: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ });
    const { AccessKeyId: id = '', AccessKeySecret: secret = '', SecurityToken: token2 = '' } = told;
    return { id, secret, token: token2, principal: { name: '', actions: [] } };
  };
  const first = await read();
  t.match(first.id, /^STS\./);
  t.equal(await codeOf(callerOf(sim, first)('DescribeVpcs')), 'none');
  t.equal(await codeOf(callerOf(sim, first)('DescribeInstances', {}, 'ecs')), 'Forbidden.RAM');
  t.equal((await read()).id, first.id, 'the same ones for a while');
  clock.advance(10.5 * 60_000);
  const second = await read();
  t.not(second.id, first.id, 'new ones before the old ones end');
  clock.advance(2 * 60_000);
  t.equal(await codeOf(callerOf(sim, first)('DescribeVpcs')), 'InvalidSecurityToken.Expired');
  t.equal(await codeOf(callerOf(sim, second)('DescribeVpcs')), 'none');
});

t.test('another process works the simulator through its control interface', async (t) => {
  const { sim, vpc, vswitch, table } = await cloudFor(t);
  const control = new SimControl(sim.control);
  const host = await control.do<{ id: string; interfaces: { address: string }[] }>('instance', { vswitch });
  const lists: (readonly EffectiveRoute[])[] = [];
  const following = await control.follow({
    apply: (routes) => {
      lists.push(routes);
    },
  });
  await control.do('addRoute', { table, prefix: '10.64.9.0/24', target: host.id });
  await control.do('release', { id: host.id });
  while (lists.at(-1)?.[0]?.state !== 'blackhole') await new Promise((resolve) => setTimeout(resolve, 5));
  await following.stop();
  t.same(lists[0], []);
  t.match(lists.at(-1), [{ prefix: '10.64.9.0/24', target: host.id }]);
  const key = await control.key({ name: 'tester' });
  t.equal(await codeOf(callerOf(sim, key)('DescribeVpcs', { VpcId: vpc })), 'none');
  t.match(await control.calls({ caller: key.id }), [{ action: 'DescribeVpcs', code: 'OK' }]);
  t.match(await control.ask('GET', 'info'), { cloud: 'aliyun', settings: { PROVIDER: 'aliyun' } });
});
