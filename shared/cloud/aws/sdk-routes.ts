import {
  CreateRouteCommand,
  type CreateRouteCommandInput,
  DeleteRouteCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandOutput,
  DescribeNetworkInterfacesCommand,
  type DescribeNetworkInterfacesCommandOutput,
  DescribeRouteTablesCommand,
  type DescribeRouteTablesCommandOutput,
  ModifyNetworkInterfaceAttributeCommand,
  ReplaceRouteCommand,
  type Route as SdkRoute,
  type RouteTable as SdkRouteTable,
} from '@aws-sdk/client-ec2';
import { parseCidr } from '../../cidr.ts';
import type { Calls, RouteInput, Table, TableRoute, Target, Wire } from './model.ts';
import { chunks, dry, instanceOf, nextToken, openSdk, pages, type Senders } from './sdk.ts';
import type { SdkOptions } from './sdk-config.ts';
import { within } from './sdk-config.ts';
import { getServiceQuota } from './sdk-quota.ts';

/** The calls for routes, through the vendor's client. */

const PAGE = 100;

const targetOf = (route: SdkRoute): Target | undefined => {
  const { NetworkInterfaceId: id, InstanceId: instance } = route;
  if (id !== undefined) return { kind: 'interface', id, ...(instance !== undefined && { instance }) };
  const gateway =
    route.GatewayId ??
    route.TransitGatewayId ??
    route.NatGatewayId ??
    route.VpcPeeringConnectionId ??
    route.EgressOnlyInternetGatewayId ??
    route.CarrierGatewayId ??
    route.LocalGatewayId ??
    route.CoreNetworkArn ??
    instance;
  return gateway === undefined ? undefined : { kind: 'gateway', id: gateway };
};

const ORIGINS: Readonly<Record<string, TableRoute['origin']>> = {
  CreateRouteTable: 'local',
  EnableVgwRoutePropagation: 'propagated',
};

const routeOf = (route: SdkRoute): TableRoute | undefined => {
  const destination = route.DestinationCidrBlock ?? route.DestinationIpv6CidrBlock;
  // Routes to a managed prefix list name no prefix, and none of ours is one.
  if (destination === undefined) return undefined;
  const target = targetOf(route);
  return {
    prefix: parseCidr(destination, { strict: false }).text,
    // A target that is gone altogether may be named no more.
    target: target ?? { kind: 'gateway', id: 'nothing' },
    state: route.State === 'blackhole' ? 'blackhole' : 'active',
    origin: target?.id === 'local' ? 'local' : (ORIGINS[route.Origin ?? ''] ?? 'static'),
  };
};

const tableOf = (table: SdkRouteTable): Table => {
  const associations = table.Associations ?? [];
  return {
    id: table.RouteTableId ?? '',
    vpc: table.VpcId ?? '',
    main: associations.some((one) => one.Main === true),
    subnets: associations.flatMap((one) => one.SubnetId ?? []),
    routes: (table.Routes ?? []).flatMap((route) => routeOf(route) ?? []),
  };
};

const destination = (prefix: string) =>
  parseCidr(prefix).family === 4 ? { DestinationCidrBlock: prefix } : { DestinationIpv6CidrBlock: prefix };

type TargetParameter = Exclude<
  keyof CreateRouteCommandInput,
  'RouteTableId' | 'DryRun' | `Destination${string}` | 'OdbNetworkArn'
>;

/** Beginnings of ids → the parameter that they are given in. */
const PARAMETERS: readonly (readonly [RegExp, TargetParameter])[] = [
  [/^eni-/, 'NetworkInterfaceId'],
  [/^i-/, 'InstanceId'],
  [/^tgw-/, 'TransitGatewayId'],
  [/^pcx-/, 'VpcPeeringConnectionId'],
  [/^nat-/, 'NatGatewayId'],
  [/^vpce-/, 'VpcEndpointId'],
  [/^lgw-/, 'LocalGatewayId'],
  [/^cagw-/, 'CarrierGatewayId'],
  [/^eigw-/, 'EgressOnlyInternetGatewayId'],
  [/^arn:/, 'CoreNetworkArn'],
];

const routeInput = ({ table, prefix, target }: RouteInput) => {
  // Internet gateways (igw-) and VPN gateways (vgw-) are just gateways.
  const parameter = PARAMETERS.find(([pattern]) => pattern.test(target))?.[1] ?? 'GatewayId';
  return { RouteTableId: table, ...destination(prefix), [parameter]: target };
};

const senders: Senders<Calls> = {
  DescribeRouteTables: async (client, { vpc, ids }, options) => {
    const Filters = [
      { Name: 'vpc-id', Values: [vpc] },
      ...(ids === undefined ? [] : [{ Name: 'route-table-id', Values: [...ids] }]),
    ];
    const found = await pages<DescribeRouteTablesCommandOutput>((token) =>
      client.send(
        new DescribeRouteTablesCommand({ Filters, MaxResults: PAGE, ...nextToken(token), ...dry(options) }),
        within(options),
      ),
    );
    return found.flatMap((page) => (page.RouteTables ?? []).map(tableOf));
  },
  DescribeInstances: async (client, input, options) => {
    const [Name, values] =
      'ids' in input ? ['instance-id', input.ids] : ['network-interface.network-interface-id', input.interfaces];
    const all: DescribeInstancesCommandOutput[] = [];
    for (const Values of chunks(values)) {
      const found = await pages<DescribeInstancesCommandOutput>((token) =>
        client.send(
          new DescribeInstancesCommand({ Filters: [{ Name, Values }], ...nextToken(token), ...dry(options) }),
          within(options),
        ),
      );
      all.push(...found);
    }
    return all.flatMap((page) => (page.Reservations ?? []).flatMap((one) => (one.Instances ?? []).map(instanceOf)));
  },
  DescribeNetworkInterfaces: async (client, { ids }, options) => {
    const all: DescribeNetworkInterfacesCommandOutput[] = [];
    for (const Values of chunks(ids)) {
      const Filters = [{ Name: 'network-interface-id', Values }];
      const found = await pages<DescribeNetworkInterfacesCommandOutput>((token) =>
        client.send(
          new DescribeNetworkInterfacesCommand({ Filters, ...nextToken(token), ...dry(options) }),
          within(options),
        ),
      );
      all.push(...found);
    }
    return all.flatMap((page) =>
      (page.NetworkInterfaces ?? []).map((one) => {
        const instance = one.Attachment?.InstanceId;
        return {
          id: one.NetworkInterfaceId ?? '',
          ...(instance !== undefined && { instance }),
          sourceDestCheck: one.SourceDestCheck ?? true,
        };
      }),
    );
  },
  CreateRoute: async (client, input, options) => {
    await client.send(new CreateRouteCommand({ ...routeInput(input), ...dry(options) }), within(options));
    return undefined;
  },
  ReplaceRoute: async (client, input, options) => {
    await client.send(new ReplaceRouteCommand({ ...routeInput(input), ...dry(options) }), within(options));
    return undefined;
  },
  DeleteRoute: async (client, { table, prefix }, options) => {
    const command = new DeleteRouteCommand({ RouteTableId: table, ...destination(prefix), ...dry(options) });
    await client.send(command, within(options));
    return undefined;
  },
  ModifyNetworkInterfaceAttribute: async (client, { networkInterface }, options) => {
    const command = new ModifyNetworkInterfaceAttributeCommand({
      NetworkInterfaceId: networkInterface,
      SourceDestCheck: { Value: false },
      ...dry(options),
    });
    await client.send(command, within(options));
    return undefined;
  },
  GetServiceQuota: (client, _, options) => getServiceQuota(client, options),
};

export const openRoutes = (options: SdkOptions): Wire<Calls> => openSdk(senders, options);
