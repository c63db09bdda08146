/** The actions of VPC 2016-04-28 that tell of VPCs, vSwitches and route tables. */
import { ApiError } from '../core/api.ts';
import { type Actions, listed, numbered, type Parameters } from './parameters.ts';
import { date } from './route-list.ts';
import type { RouteTable, Vpc, VSwitch, World } from './world.ts';

type Json = Readonly<Record<string, unknown>>;

const PAGES = { max: 50, usual: 10 };

const vpcJson = (world: World, vpc: Vpc): Json => ({
  VpcId: vpc.id,
  VpcName: vpc.name,
  VRouterId: vpc.routerId,
  RegionId: world.region,
  Status: 'Available',
  CidrBlock: vpc.cidr,
  SecondaryCidrBlocks: { SecondaryCidrBlock: vpc.secondary },
  Ipv6CidrBlock: vpc.cidr6,
  UserCidrs: { UserCidr: [] },
  VSwitchIds: { VSwitchId: world.vswitchesOf(vpc.id).map(({ id }) => id) },
  RouterTableIds: {
    RouterTableIds: [...world.tables.values()].filter((table) => table.vpc === vpc.id).map(({ id }) => id),
  },
  IsDefault: false,
  CreationTime: date(vpc.created),
  Description: '',
  ResourceGroupId: 'rg-default',
});

const vswitchJson = (world: World, vswitch: VSwitch): Json => ({
  VSwitchId: vswitch.id,
  VSwitchName: vswitch.name,
  VpcId: vswitch.vpc,
  ZoneId: vswitch.zone,
  CidrBlock: vswitch.cidr,
  Ipv6CidrBlock: vswitch.cidr6,
  Status: 'Available',
  RouteTable: { RouteTableId: vswitch.table, RouteTableType: world.tables.get(vswitch.table)?.kind },
  IsDefault: false,
  CreationTime: date(vswitch.created),
  Description: '',
  ResourceGroupId: 'rg-default',
});

const tableJson = (world: World, table: RouteTable): Json => ({
  RouteTableId: table.id,
  RouteTableName: table.name,
  RouteTableType: table.kind,
  RouterId: world.vpcs.get(table.vpc)?.routerId,
  RouterType: 'VRouter',
  VpcId: table.vpc,
  VSwitchIds: {
    VSwitchId: world.vswitchesOf(table.vpc).flatMap((one) => (one.table === table.id ? [one.id] : [])),
  },
  AssociateType: 'VSwitch',
  Status: 'Available',
  CreationTime: date(table.created),
  Description: '',
  ResourceGroupId: 'rg-default',
});

/** An empty or absent parameter asks for all; several ids are separated by commas. */
const wanted = (parameters: Parameters, name: string, found: string | undefined): boolean => {
  const asked = listed(parameters[name]);
  return asked.length === 0 || asked.includes(found ?? '');
};

const describeTables = (world: World, parameters: Parameters): Json => {
  const tables = [...world.tables.values()].filter(
    (table) =>
      wanted(parameters, 'VpcId', table.vpc) &&
      wanted(parameters, 'RouterId', world.vpcs.get(table.vpc)?.routerId) &&
      wanted(parameters, 'RouterType', 'VRouter') &&
      wanted(parameters, 'RouteTableId', table.id) &&
      wanted(parameters, 'RouteTableName', table.name) &&
      wanted(parameters, 'RouteTableType', table.kind),
  );
  const { page, around } = numbered(parameters, tables, PAGES);
  // `Code` and `Success` come with this one action, also when all went well.
  const extra = { Code: '200', Message: 'successful', Success: true };
  return { ...around, ...extra, RouterTableList: { RouterTableListType: page.map((one) => tableJson(world, one)) } };
};

const describeVpcs = (world: World, parameters: Parameters): Json => {
  const vpcs = [...world.vpcs.values()].filter(
    (vpc) => wanted(parameters, 'VpcId', vpc.id) && wanted(parameters, 'VpcName', vpc.name),
  );
  const { page, around } = numbered(parameters, vpcs, PAGES);
  return { ...around, Vpcs: { Vpc: page.map((one) => vpcJson(world, one)) } };
};

const describeVpc = (world: World, parameters: Parameters): Json => {
  const vpc = world.vpcs.get(parameters.VpcId ?? '');
  if (vpc === undefined)
    throw new ApiError('InvalidVpcId.NotFound', 'Specified value of VpcId is not found in our record.', 404);
  return vpcJson(world, vpc);
};

const describeVSwitches = (world: World, parameters: Parameters): Json => {
  const vswitches = [...world.vswitches.values()].filter(
    (one) =>
      wanted(parameters, 'VpcId', one.vpc) &&
      wanted(parameters, 'VSwitchId', one.id) &&
      wanted(parameters, 'VSwitchName', one.name) &&
      wanted(parameters, 'RouteTableId', one.table) &&
      wanted(parameters, 'ZoneId', one.zone),
  );
  const { page, around } = numbered(parameters, vswitches, PAGES);
  return { ...around, VSwitches: { VSwitch: page.map((one) => vswitchJson(world, one)) } };
};

export function vpcActions(world: World): Actions {
  const pages = ['PageNumber', 'PageSize'];
  return {
    DescribeRouteTableList: {
      required: ['RegionId'],
      optional: ['VpcId', 'RouterId', 'RouterType', 'RouteTableId', 'RouteTableName', 'RouteTableType', ...pages],
      perform: (parameters) => describeTables(world, parameters),
    },
    DescribeVpcs: {
      required: ['RegionId'],
      optional: ['VpcId', 'VpcName', ...pages],
      perform: (parameters) => describeVpcs(world, parameters),
    },
    DescribeVpcAttribute: {
      required: ['RegionId', 'VpcId'],
      optional: [],
      perform: (parameters) => describeVpc(world, parameters),
    },
    DescribeVSwitches: {
      required: [],
      optional: ['VpcId', 'VSwitchId', 'VSwitchName', 'RouteTableId', 'ZoneId', ...pages],
      perform: (parameters) => describeVSwitches(world, parameters),
    },
  };
}
