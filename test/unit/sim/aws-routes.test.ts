import {
  CreateRouteCommand,
  CreateRouteTableCommand,
  DeleteRouteCommand,
  DescribeRouteTablesCommand,
  type EC2Client,
  paginateDescribeRouteTables,
  ReplaceRouteCommand,
  type Route,
} from '@aws-sdk/client-ec2';
import t from 'tap';
import type { EffectiveRoute } from '../../sim/core/routes.ts';
import { refusal } from './aws-sdk.ts';
import { awsSite, client } from './aws-site.ts';

t.setTimeout(60_000);

const prefix = '10.64.3.0/24';

const routesOf = async (ec2: EC2Client, table: string): Promise<Route[]> => {
  const { RouteTables = [] } = await ec2.send(new DescribeRouteTablesCommand({ RouteTableIds: [table] }));
  return (RouteTables[0]?.Routes ?? []).filter(({ GatewayId }) => GatewayId !== 'local');
};

t.test('a route is made, listed, replaced and deleted through the official SDK', async (t) => {
  const { ec2, table, a, b, aws } = await awsSite(t);
  const where = { RouteTableId: table, DestinationCidrBlock: prefix };
  t.match(await ec2.send(new CreateRouteCommand({ ...where, NetworkInterfaceId: a.eni })), { Return: true });
  t.same(await routesOf(ec2, table), [
    {
      DestinationCidrBlock: prefix,
      InstanceId: a.id,
      InstanceOwnerId: '123456789012',
      NetworkInterfaceId: a.eni,
      Origin: 'CreateRoute',
      State: 'active',
    },
  ]);
  await ec2.send(new ReplaceRouteCommand({ ...where, NetworkInterfaceId: b.eni }));
  t.match(await routesOf(ec2, table), [{ NetworkInterfaceId: b.eni }]);
  await ec2.send(new DeleteRouteCommand(where));
  t.same(await routesOf(ec2, table), []);
  t.same(aws.routes(table), {});
});

t.test('local routes of both families are there, and cannot be made or deleted', async (t) => {
  const { ec2, table, a } = await awsSite(t);
  const { RouteTables = [] } = await ec2.send(new DescribeRouteTablesCommand({}));
  t.match(RouteTables[0]?.Routes, [
    { DestinationCidrBlock: '10.0.0.0/16', GatewayId: 'local', Origin: 'CreateRouteTable', State: 'active' },
    { DestinationIpv6CidrBlock: 'fd00:1::/56', GatewayId: 'local', State: 'active' },
  ]);
  const local = { RouteTableId: table, DestinationCidrBlock: '10.0.0.0/16' };
  const make = (cidr: string) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: cidr, NetworkInterfaceId: a.eni }));
  await t.rejects(make('10.0.0.0/16'), refusal('RouteAlreadyExists', 400));
  await t.rejects(make('10.0.77.0/24'), refusal('InvalidParameterValue', 400), 'within the VPC, and no subnet');
  await t.rejects(ec2.send(new DeleteRouteCommand(local)), refusal('InvalidParameterValue', 400));
});

t.test('what is there already is refused, even to its owner', async (t) => {
  const { ec2, table, a } = await awsSite(t);
  const make = () =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni }));
  await make();
  await t.rejects(make(), { ...refusal('RouteAlreadyExists', 400), message: /10\.64\.3\.0\/24/ });
});

t.test('bits behind the length are cut off, as the API reference says; nonsense is refused', async (t) => {
  const { ec2, table, a } = await awsSite(t);
  const make = (cidr: string) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: cidr, NetworkInterfaceId: a.eni }));
  await make('10.64.3.77/24');
  t.match(await routesOf(ec2, table), [{ DestinationCidrBlock: prefix }]);
  for (const wrong of ['10.64.3.0', '10.64.3.0/33', '::/0', 'x/8']) {
    await t.rejects(make(wrong), refusal('InvalidParameterValue', 400), wrong);
  }
});

t.test('what is not there: a delete says so by its code, a replace by another', async (t) => {
  const { ec2, table, a } = await awsSite(t);
  const where = { RouteTableId: table, DestinationCidrBlock: prefix };
  await t.rejects(ec2.send(new DeleteRouteCommand(where)), refusal('InvalidRoute.NotFound', 400));
  await t.rejects(ec2.send(new ReplaceRouteCommand({ ...where, NetworkInterfaceId: a.eni })), {
    ...refusal('InvalidParameterValue', 400),
    message: /no route defined/,
  });
});

t.test('ids that do not exist, or could not, are refused', async (t) => {
  const { ec2, table } = await awsSite(t);
  const to = (more: { readonly RouteTableId: string } & Record<string, string>) =>
    ec2.send(new CreateRouteCommand({ DestinationCidrBlock: prefix, ...more }));
  const eni = { NetworkInterfaceId: 'eni-00000000000000000' };
  await t.rejects(to({ RouteTableId: 'rtb-00000000000000000', ...eni }), refusal('InvalidRouteTableID.NotFound', 400));
  await t.rejects(to({ RouteTableId: 'main', ...eni }), refusal('InvalidRouteTableId.Malformed', 400));
  await t.rejects(to({ RouteTableId: table, ...eni }), refusal('InvalidNetworkInterfaceID.NotFound', 400));
  await t.rejects(
    to({ RouteTableId: table, InstanceId: 'i-00000000000000000' }),
    refusal('InvalidInstanceID.NotFound', 400),
  );
  await t.rejects(
    to({ RouteTableId: table, GatewayId: 'igw-00000000000000000' }),
    refusal('InvalidInternetGatewayID.NotFound', 400),
  );
  await t.rejects(to({ RouteTableId: table }), refusal('MissingParameter', 400));
  await t.rejects(
    to({ RouteTableId: table, ...eni, GatewayId: 'igw-00000000000000000' }),
    refusal('InvalidParameterCombination', 400),
  );
});

t.test('an instance is a target only while it has one interface', async (t) => {
  const { ec2, table, a, aws, subnet } = await awsSite(t);
  const make = (cidr: string) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: cidr, InstanceId: a.id }));
  await make(prefix);
  t.match(await routesOf(ec2, table), [{ InstanceId: a.id, NetworkInterfaceId: a.eni }]);
  aws.networkInterface({ subnet: subnet.id, instance: a.id });
  await t.rejects(make('10.64.4.0/24'), refusal('InvalidInstanceID', 400));
});

t.test('gateways of four kinds are targets where they are attached', async (t) => {
  const { ec2, table, aws, vpc } = await awsSite(t);
  const other = aws.vpc({ cidr: '10.1.0.0/16' });
  const make = (third: number, target: object) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: `10.90.${third}.0/24`, ...target }));
  await make(1, { GatewayId: aws.gateway('vgw', vpc.id).id });
  await make(2, { GatewayId: aws.gateway('igw', vpc.id).id });
  await make(3, { TransitGatewayId: aws.gateway('tgw', vpc.id).id });
  await make(4, { VpcPeeringConnectionId: aws.gateway('pcx', vpc.id, other.id).id });
  await t.rejects(make(5, { GatewayId: aws.gateway('vgw', other.id).id }), refusal('InvalidParameterValue', 400));
  const listed = await routesOf(ec2, table);
  t.match(
    listed.map((route) => route.GatewayId ?? route.TransitGatewayId ?? route.VpcPeeringConnectionId),
    [/^vgw-/, /^igw-/, /^tgw-/, /^pcx-/],
  );
});

t.test('IPv6 destinations are kept and counted apart', async (t) => {
  const { ec2, table, a } = await awsSite(t, { quotas: { 'routes-per-table': 1 } });
  const target = { RouteTableId: table, NetworkInterfaceId: a.eni };
  await ec2.send(new CreateRouteCommand({ ...target, DestinationCidrBlock: prefix }));
  await ec2.send(new CreateRouteCommand({ ...target, DestinationIpv6CidrBlock: 'fd64::/64' }));
  t.match(await routesOf(ec2, table), [{ DestinationCidrBlock: prefix }, { DestinationIpv6CidrBlock: 'fd64::/64' }]);
  await t.rejects(
    ec2.send(new CreateRouteCommand({ ...target, DestinationCidrBlock: '10.64.4.0/24' })),
    refusal('RouteLimitExceeded', 400),
  );
  await ec2.send(new DeleteRouteCommand({ RouteTableId: table, DestinationIpv6CidrBlock: 'fd64::/64' }));
});

t.test('a stopped instance’s route is a blackhole until it runs again; a terminated one’s for good', async (t) => {
  const { ec2, table, a, b, aws } = await awsSite(t);
  const make = (cidr: string, eni: string) =>
    ec2.send(new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: cidr, NetworkInterfaceId: eni }));
  await make(prefix, a.eni);
  await make('10.64.4.0/24', b.eni);
  aws.stop(a.id);
  aws.terminate(b.id);
  const [first, second] = await routesOf(ec2, table);
  t.match(first, { State: 'blackhole', InstanceId: a.id });
  t.match(second, { State: 'blackhole', NetworkInterfaceId: b.eni });
  t.equal(second?.InstanceId, undefined, 'nobody holds the interface any more');
  aws.resume(a.id);
  t.match(await routesOf(ec2, table), [{ State: 'active' }, { State: 'blackhole' }]);
  await t.rejects(make('10.64.5.0/24', b.eni), refusal('InvalidNetworkInterfaceID.NotFound', 400));
});

t.test('tables are found by VPC, by subnet, and as the main one', async (t) => {
  const { ec2, aws, vpc, subnet, table } = await awsSite(t);
  const own = aws.subnet({ vpc: vpc.id, cidr: '10.0.2.0/24' });
  const extra = aws.routeTable({ vpc: vpc.id, name: 'extra', subnets: [own.id] });
  const find = async (Name: string, ...Values: string[]) => {
    const { RouteTables = [] } = await ec2.send(new DescribeRouteTablesCommand({ Filters: [{ Name, Values }] }));
    return RouteTables.map(({ RouteTableId }) => RouteTableId);
  };
  t.same(await find('vpc-id', vpc.id), [table, extra.id]);
  t.same(await find('association.subnet-id', own.id), [extra.id]);
  t.same(await find('association.subnet-id', subnet.id), [], 'it has no association of its own');
  t.same(await find('association.main', 'true'), [table]);
  t.same(await find('route-table-id', 'rtb-*'), [table, extra.id]);
  t.same(await find('tag:Name', 'extra'), [extra.id]);
  await t.rejects(find('vpc', vpc.id), refusal('InvalidParameterValue', 400), 'a filter that does not exist');
  await t.rejects(
    ec2.send(new DescribeRouteTablesCommand({ RouteTableIds: [table, 'rtb-00000000000000000'] })),
    refusal('InvalidRouteTableID.NotFound', 400),
  );
});

t.test('a listing comes in pages, and who ignores the token misses the rest', async (t) => {
  const { ec2, aws, vpc } = await awsSite(t, { pageSize: 2 });
  for (let n = 0; n < 6; n++) aws.routeTable({ vpc: vpc.id });
  const first = await ec2.send(new DescribeRouteTablesCommand({}));
  t.equal(first.RouteTables?.length, 2);
  t.ok(first.NextToken);
  const sizes: (number | undefined)[] = [];
  for await (const page of paginateDescribeRouteTables({ client: ec2, pageSize: 5 }, {})) {
    sizes.push(page.RouteTables?.length);
  }
  t.same(sizes, [5, 2]);
  await t.rejects(ec2.send(new DescribeRouteTablesCommand({ MaxResults: 4 })), refusal('InvalidParameterValue', 400));
});

t.test('a created route may not list yet, while a second create already knows it', async (t) => {
  const { ec2, table, a, clock } = await awsSite(t, { lagMs: 2000 });
  const request = { RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni };
  await ec2.send(new CreateRouteCommand(request));
  t.same(await routesOf(ec2, table), []);
  await t.rejects(ec2.send(new CreateRouteCommand(request)), refusal('RouteAlreadyExists', 400));
  clock.advance(1999);
  t.same(await routesOf(ec2, table), []);
  clock.advance(1);
  t.match(await routesOf(ec2, table), [{ DestinationCidrBlock: prefix }]);
  await ec2.send(new DeleteRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix }));
  t.match(await routesOf(ec2, table), [{ DestinationCidrBlock: prefix }], 'a deleted one still lists');
});

t.test('a propagated route is listed, and a static one for the same prefix goes before it', async (t) => {
  const { ec2, table, a, aws, vpc } = await awsSite(t);
  aws.setSourceDestCheck(a.eni, false);
  const vgw = aws.gateway('vgw', vpc.id).id;
  aws.propagate(table, prefix, vgw);
  t.match(await routesOf(ec2, table), [{ GatewayId: vgw, Origin: 'EnableVgwRoutePropagation' }]);
  await ec2.send(
    new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni }),
  );
  t.match(aws.effectiveRoutes(), [{ prefix, target: a.eni }]);
});

t.test('the same ClientToken makes one table; other parameters with it are refused', async (t) => {
  const { ec2, vpc, aws } = await awsSite(t);
  const other = aws.vpc({ cidr: '10.9.0.0/16' });
  const make = (VpcId: string) => ec2.send(new CreateRouteTableCommand({ VpcId, ClientToken: 'once' }));
  const [first, again] = [await make(vpc.id), await make(vpc.id)];
  t.equal(first.RouteTable?.RouteTableId, again.RouteTable?.RouteTableId);
  await t.rejects(make(other.id), refusal('IdempotentParameterMismatch', 400));
});

t.test('a router is told of each change before the caller is, and only with the source/dest check off', async (t) => {
  const { ec2, table, a, b, aws } = await awsSite(t);
  const applied: (readonly EffectiveRoute[])[] = [];
  await aws.attach({ apply: (routes) => void applied.push(routes) });
  t.same(applied, [[]]);
  await ec2.send(
    new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: a.eni }),
  );
  t.same(applied.at(-1), [{ table, prefix, target: a.eni, state: 'active' }], 'its interface drops them');
  aws.setSourceDestCheck(a.eni, false);
  t.same(aws.effectiveRoutes(), [{ table, prefix, target: a.eni, state: 'active', via: '10.0.1.10' }]);
  aws.setSourceDestCheck(b.eni, false);
  await aws.settled();
  const before = applied.length;
  await ec2.send(
    new ReplaceRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: b.eni }),
  );
  t.match(applied.at(-1), [{ target: b.eni, via: '10.0.1.11' }]);
  t.equal(applied.length, before + 1, 'once, and at once');
  aws.terminate(b.id);
  t.same(aws.effectiveRoutes(), [{ table, prefix, target: b.eni, state: 'blackhole' }]);
});

t.test('a hundred hosts at once: each prefix has one owner', async (t) => {
  const { ec2, table, aws, subnet } = await awsSite(t, { rates: {} });
  const enis = Array.from({ length: 100 }, (_, n) =>
    aws.networkInterface({ subnet: subnet.id, address: `10.0.1.${n + 50}` }),
  );
  const claims = await Promise.allSettled(
    enis.map(({ id }) =>
      client(aws).send(
        new CreateRouteCommand({ RouteTableId: table, DestinationCidrBlock: prefix, NetworkInterfaceId: id }),
      ),
    ),
  );
  t.equal(claims.filter(({ status }) => status === 'fulfilled').length, 1);
  t.equal(aws.count({ code: 'RouteAlreadyExists' }), 99);
  t.equal((await routesOf(ec2, table)).length, 1);
});
