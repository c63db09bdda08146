/** Route tables through the vendor's client: what is written, what is refused, and how long it takes. */
import t from 'tap';
import { ManualClock } from '../../sim/core/clock.ts';
import { callerOf, cloudFor, codeOf, entries } from './aliyun-client.ts';

const SLOW = { settleMs: 1_000, conflictMs: 400 };

t.test('an entry is Pending, then Available, and can then be changed and deleted', async (t) => {
  const clock = new ManualClock();
  const { sim, table, hosts, call } = await cloudFor(t, { clock, timing: SLOW });
  const [one, two] = hosts;
  const made = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24' };
  const { RouteEntryId: id } = await call('CreateRouteEntry', { ...made, NextHopId: one?.id, NextHopType: 'Instance' });
  t.match(id, /^rte-/);
  t.same(await entries(call, table), [`10.64.1.0/24 ${one?.id} Pending`]);
  t.same(sim.effectiveRoutes(), [], 'a pending entry carries nothing');
  clock.advance(1_000);
  t.same(await entries(call, table), [`10.64.1.0/24 ${one?.id} Available`]);
  t.match(sim.effectiveRoutes(), [{ table, prefix: '10.64.1.0/24', target: one?.id, via: one?.address }]);

  await call('ModifyRouteEntry', { ...made, NewNextHopId: two?.eni, NewNextHopType: 'NetworkInterface' });
  t.same(await entries(call, table), [`10.64.1.0/24 ${one?.id} Modifying`]);
  t.match(sim.effectiveRoutes(), [{ via: one?.address }], 'the old way is open until the new one is');
  clock.advance(1_000);
  t.match(sim.effectiveRoutes(), [{ target: two?.eni, via: two?.address }]);

  const wrong = codeOf(call('DeleteRouteEntry', { ...made, NextHopId: one?.id }));
  t.equal(await wrong, 'InvalidRouteEntry.NotFound', 'only with the next hop that it has');
  await call('DeleteRouteEntry', { ...made, NextHopId: two?.eni });
  t.same(await entries(call, table), [`10.64.1.0/24 ${two?.eni} Deleting`]);
  clock.advance(1_000);
  t.same(await entries(call, table), []);
  t.same(sim.effectiveRoutes(), []);
  t.equal(await codeOf(call('DeleteRouteEntry', { ...made, NextHopId: two?.eni })), 'InvalidRouteEntry.NotFound');
  t.equal(await codeOf(call('DeleteRouteEntry', { RouteEntryId: id })), 'InvalidRouteEntryId.NotFound');
});

t.test('concurrent writes in a VPC fail on Aliyun (TaskConflict), in other VPCs they do not', async (t) => {
  const clock = new ManualClock();
  const { sim, table, hosts, call } = await cloudFor(t, { clock, timing: SLOW });
  const [host] = hosts;
  const other = sim.vpc({ cidr: '10.251.0.0/16' });
  const there = sim.instance({ vswitch: sim.vswitch({ vpc: other.id, cidr: '10.251.0.0/24' }).id });
  const custom = sim.routeTable({ vpc: sim.world.tables.get(table)?.vpc ?? '' });
  const create = (at: string, prefix: string, hop = host?.id) =>
    codeOf(call('CreateRouteEntry', { RouteTableId: at, DestinationCidrBlock: prefix, NextHopId: hop }));
  const both = await Promise.all([create(table, '10.64.1.0/24'), create(custom.id, '10.64.2.0/24')]);
  t.same(both.sort(), ['TaskConflict', 'none']);
  t.equal(await create(other.systemTable, '10.64.1.0/24', there.id), 'none');
  clock.advance(400);
  t.equal(await create(custom.id, '10.64.2.0/24'), 'none', 'the conflict is over before the entry is Available');
  clock.advance(400);
  t.equal(
    await create(custom.id, '10.64.3.0/24'),
    'IncorrectRouteEntryStatus',
    'another entry of the table is Pending',
  );
  clock.advance(1_000);
  sim.timing({ conflict: 'OperationConflict' });
  t.equal(await create(table, '10.64.4.0/24'), 'none');
  t.equal(await create(table, '10.64.5.0/24'), 'OperationConflict');
});

t.test('what is not Available is neither deleted nor changed', async (t) => {
  const clock = new ManualClock();
  const { table, hosts, call } = await cloudFor(t, { clock, timing: { settleMs: 1_000, conflictMs: 0 } });
  const [one, two] = hosts;
  const at = { RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24' };
  await call('CreateRouteEntry', { ...at, NextHopId: one?.id });
  const remove = () => codeOf(call('DeleteRouteEntry', { ...at, NextHopId: one?.id }));
  const modify = () => codeOf(call('ModifyRouteEntry', { ...at, NewNextHopId: two?.id, NewNextHopType: 'Instance' }));
  t.equal(await remove(), 'IncorrectRouteEntryStatus');
  t.equal(await modify(), 'IncorrectRouteEntryStatus');
  clock.advance(1_000);
  t.equal(await remove(), 'none');
  t.equal(await modify(), 'IncorrectRouteEntryStatus', 'while it is Deleting');
});

t.test('prefixes that are taken or not allowed are refused', async (t) => {
  const { sim, table, hosts, call } = await cloudFor(t);
  const [one, two] = hosts;
  const create = (prefix: string, hop = one?.id) =>
    codeOf(call('CreateRouteEntry', { RouteTableId: table, DestinationCidrBlock: prefix, NextHopId: hop }));
  t.equal(await create('10.64.1.0/24'), 'none');
  t.equal(await create('10.64.1.0/24'), 'InvalidCIDRBlock.Duplicate', 'even for the same next hop');
  sim.timing({ duplicate: 'RouterEntryConflict.Duplicated' });
  t.equal(await create('10.64.1.0/24', two?.id), 'RouterEntryConflict.Duplicated');
  t.equal(await create('10.64.0.0/16'), 'none', 'wider and narrower ones are others');
  t.equal(await create('10.64.1.7'), 'none', 'without a length it is one address');
  t.equal(await create('10.64.1.7/32'), 'RouterEntryConflict.Duplicated');
  t.equal(await create('10.250.0.0/24'), 'InvalidCidrBlock', 'a vSwitch');
  t.equal(await create('10.250.0.128/25'), 'InvalidCidrBlock', 'a part of one');
  t.equal(await create('10.250.0.0/16'), 'none', 'what contains one is allowed');
  t.equal(await create('100.64.0.0/10'), 'InvalidCidrBlock');
  t.equal(await create('100.100.0.0/16'), 'InvalidCidrBlock');
  t.equal(await create('10.64.1.1/24'), 'InvalidCidrBlock.Malformed');
  t.equal(await create('nonsense'), 'InvalidCidrBlock.Malformed');
  t.equal(await create('fd64::/64'), 'OperationDenied.VpcIpv6NotEnabled');
});

t.test('ids that do not exist are refused', async (t) => {
  const { sim, table, hosts, call } = await cloudFor(t);
  const [host] = hosts;
  const other = sim.vpc({ cidr: '10.251.0.0/16' });
  const there = sim.instance({ vswitch: sim.vswitch({ vpc: other.id, cidr: '10.251.0.0/24' }).id });
  const gateway = sim.gateway({ vpc: other.id, kind: 'VpnGateway' });
  const create = (changes: Record<string, unknown>) =>
    codeOf(
      call('CreateRouteEntry', {
        ...{ RouteTableId: table, DestinationCidrBlock: '10.64.1.0/24', NextHopId: host?.id },
        ...changes,
      }),
    );
  t.equal(await create({ RouteTableId: 'vtb-none' }), 'InvalidRouteTableId.NotFound');
  t.equal(await create({ NextHopId: 'i-none' }), 'InvalidNextHopId.NotFound');
  t.equal(await create({ NextHopId: host?.id, NextHopType: 'NetworkInterface' }), 'InvalidNetworkInterface.NotFound');
  t.equal(await create({ NextHopId: there.id }), 'OperationFailed.InstanceDismatchCurrentVpc');
  t.equal(await create({ NextHopType: 'Camel' }), 'InvalidNextHopType');
  t.equal(await create({ NextHopId: gateway.id, NextHopType: 'VpnGateway' }), 'InvalidNextHopId.NotFound');
  const near = sim.gateway({ vpc: sim.world.tables.get(table)?.vpc ?? '', kind: 'VpnGateway' });
  t.equal(await create({ NextHopId: near.id, NextHopType: 'VpnGateway' }), 'none');
  t.equal(await codeOf(call('DescribeRouteEntryList', { RouteTableId: 'vtb-none' })), 'InvalidRouteTable.NotFound');
  const modify = { RouteTableId: table, DestinationCidrBlock: '10.9.9.0/24', NewNextHopType: 'Instance' };
  t.equal(await codeOf(call('ModifyRouteEntry', { ...modify, NewNextHopId: host?.id })), 'InvalidRouteEntry.NotFound');
  const service = { RouteTableId: table, DestinationCidrBlock: '100.64.0.0/10', NextHopId: 'x' };
  t.equal(await codeOf(call('DeleteRouteEntry', service)), 'OperationDenied', 'system entries stay');
});

t.test('the route quota is hit with the number of entries of the table', async (t) => {
  const { sim, table, hosts, call } = await cloudFor(t, { quotas: { vpc_quota_route_entrys_num: 2 } });
  const create = (n: number) =>
    codeOf(
      call('CreateRouteEntry', {
        RouteTableId: table,
        DestinationCidrBlock: `10.64.${n}.0/24`,
        NextHopId: hosts[0]?.id,
      }),
    );
  t.same([await create(1), await create(2), await create(3)], ['none', 'none', 'QuotaExceeded']);
  const asked = { ProductCode: 'vpc', QuotaActionCode: 'vpc_quota_route_entrys_num' };
  t.match(await call('GetProductQuota', asked, 'quotas'), { Quota: { TotalQuota: 2, QuotaActionCode: String } });
  sim.quotas.set('vpc_quota_route_entrys_num', 3);
  t.match(await call('ListProductQuotas', asked, 'quotas'), { TotalCount: 1, Quotas: [{ TotalQuota: 3 }] });
  t.equal(await create(3), 'none');
  t.equal(await codeOf(call('GetProductQuota', { ...asked, QuotaActionCode: 'x' }, 'quotas')), 'QUOTA.NOT.EXIST');
});

t.test('IPv6 entries need a block, the system table and a host with an address', async (t) => {
  const { sim } = await cloudFor(t);
  const vpc = sim.vpc({ cidr: '10.252.0.0/16', cidr6: 'fd00:252::/56' });
  const vswitch = sim.vswitch({ vpc: vpc.id, cidr: '10.252.0.0/24', cidr6: 'fd00:252::/64' });
  const bare = sim.instance({ vswitch: sim.vswitch({ vpc: vpc.id, cidr: '10.252.1.0/24' }).id });
  const host = sim.instance({ vswitch: vswitch.id });
  const custom = sim.routeTable({ vpc: vpc.id });
  const call = callerOf(sim, sim.key());
  const create = (hop: string, kind = 'Instance', at = vpc.systemTable, prefix = 'fd64::/64') =>
    codeOf(
      call('CreateRouteEntry', {
        RouteTableId: at,
        DestinationCidrBlock: prefix,
        NextHopId: hop,
        NextHopType: kind,
      }),
    );
  t.equal(await create(bare.id), 'OperationFailed.NotSupportIPV6');
  t.equal(
    await create(host.interfaces[0]?.id ?? '', 'NetworkInterface'),
    'OperationUnsupported.Ipv6EntryOnPrimaryNetworkInterface',
  );
  t.equal(await create(host.id, 'Instance', custom.id), 'OperationDenied.Ipv6EntryOnCustomTable');
  const within = await create(host.id, 'Instance', vpc.systemTable, 'fd00:252::8000:0:0:0/65');
  t.equal(within, 'OperationUnsupported.DestinationCidrBlockOverlapWithVSwitch');
  t.equal(await create(host.id), 'none');
  t.match(sim.effectiveRoutes(), [{ prefix: 'fd64::/64', via: host.interfaces[0]?.address6 }]);
});
