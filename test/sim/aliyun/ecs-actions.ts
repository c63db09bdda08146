/** The actions of ECS 2014-05-26 that tell of instances and their network interfaces. Unknown ids are left out, as the vendor does. */
import { ApiError } from '../core/api.ts';
import { type Actions, integer, jsonList, numbered, type Parameters, records, tokened, values } from './parameters.ts';
import { date } from './route-list.ts';
import type { Instance, NetworkInterface, World } from './world.ts';

type Json = Readonly<Record<string, unknown>>;

const interfaceJson = (one: NetworkInterface): Json => ({
  NetworkInterfaceId: one.id,
  MacAddress: one.mac,
  PrimaryIpAddress: one.address,
  Type: one.primary ? 'Primary' : 'Secondary',
  PrivateIpSets: { PrivateIpSet: [{ PrivateIpAddress: one.address, Primary: true }] },
  Ipv6Sets: { Ipv6Set: one.address6 === '' ? [] : [{ Ipv6Address: one.address6 }] },
});

const tagsJson = (tags: Readonly<Record<string, string>>): Json => ({
  Tag: Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })),
});

const instanceJson = (world: World, one: Instance): Json => ({
  InstanceId: one.id,
  InstanceName: one.name,
  HostName: one.hostName,
  Status: one.status,
  RegionId: world.region,
  ZoneId: world.vswitches.get(one.vswitch)?.zone,
  InstanceType: 'ecs.g7.large',
  InstanceNetworkType: 'vpc',
  VpcAttributes: {
    VpcId: one.vpc,
    VSwitchId: one.vswitch,
    NatIpAddress: '',
    PrivateIpAddress: { IpAddress: one.interfaces.filter(({ primary }) => primary).map(({ address }) => address) },
  },
  NetworkInterfaces: { NetworkInterface: one.interfaces.map(interfaceJson) },
  Tags: tagsJson(one.tags),
  CreationTime: date(one.created),
  Description: '',
  OperationLocks: { LockReason: [] },
});

export const fits = (asked: string | undefined, found: string): boolean =>
  asked === undefined || asked === '' || asked === found;

const ofTags = (parameters: Parameters, one: Instance): boolean =>
  records(parameters, 'Tag').every(
    ({ Key = '', Value }) => one.tags[Key] !== undefined && (Value === undefined || one.tags[Key] === Value),
  );

/** Pages by number, or by token when one asks for `MaxResults`. */
export const pageOf = <T extends { readonly id: string }>(parameters: Parameters, all: readonly T[], max = 100) => {
  if (parameters.MaxResults === undefined && parameters.NextToken === undefined) {
    const { page, around } = numbered(parameters, all, { max, usual: 10 });
    return { page, around: { ...around, NextToken: '' } };
  }
  const sorted = [...all].sort((a, b) => (a.id < b.id ? -1 : 1));
  const size = integer(parameters, 'MaxResults', { min: 1, max, usual: 10 });
  const bad = () => new ApiError('InvalidParameter.NextToken', 'The specified parameter "NextToken" is not valid.');
  const { page, next } = tokened(parameters, sorted, { id: ({ id }) => id, size, bad });
  return { page, around: { TotalCount: all.length, PageSize: size, NextToken: next } };
};

const describeInstances = (world: World, parameters: Parameters): Json => {
  const ids = jsonList(parameters, 'InstanceIds');
  const addresses = jsonList(parameters, 'PrivateIpAddresses');
  const found = [...world.instances.values()].filter(
    (one) =>
      (ids === undefined || ids.includes(one.id)) &&
      (addresses === undefined || one.interfaces.some(({ address }) => addresses.includes(address))) &&
      fits(parameters.VpcId, one.vpc) &&
      fits(parameters.VSwitchId, one.vswitch) &&
      fits(parameters.InstanceName, one.name) &&
      fits(parameters.Status, one.status) &&
      ofTags(parameters, one),
  );
  const { page, around } = pageOf(parameters, found);
  return { ...around, Instances: { Instance: page.map((one) => instanceJson(world, one)) } };
};

const describeInterfaces = (world: World, parameters: Parameters): Json => {
  const ids = values(parameters, 'NetworkInterfaceId');
  const found = [...world.instances.values()].flatMap((instance) =>
    instance.interfaces
      .filter(
        (one) =>
          (ids.length === 0 || ids.includes(one.id)) &&
          fits(parameters.InstanceId, instance.id) &&
          fits(parameters.VpcId, instance.vpc) &&
          fits(parameters.VSwitchId, instance.vswitch) &&
          fits(parameters.PrimaryIpAddress, one.address) &&
          fits(parameters.Type, one.primary ? 'Primary' : 'Secondary'),
      )
      .map((one) => ({ id: one.id, one, instance })),
  );
  const { page, around } = pageOf(parameters, found);
  const rows = page.map(({ one, instance }) => ({
    ...interfaceJson(one),
    InstanceId: instance.id,
    PrivateIpAddress: one.address,
    VpcId: instance.vpc,
    VSwitchId: instance.vswitch,
    ZoneId: world.vswitches.get(instance.vswitch)?.zone,
    Status: 'InUse',
    SourceDestCheck: false,
    Tags: tagsJson({}),
  }));
  return { ...around, NetworkInterfaceSets: { NetworkInterfaceSet: rows } };
};

export function ecsActions(world: World): Actions {
  const pages = ['PageNumber', 'PageSize', 'MaxResults', 'NextToken'];
  return {
    DescribeInstances: {
      required: ['RegionId'],
      optional: [
        ...['InstanceIds', 'PrivateIpAddresses', 'VpcId', 'VSwitchId', 'InstanceName', 'Status'],
        ...['Tag.N.Key', 'Tag.N.Value', ...pages],
      ],
      perform: (parameters) => describeInstances(world, parameters),
    },
    DescribeNetworkInterfaces: {
      required: ['RegionId'],
      optional: ['NetworkInterfaceId.N', 'InstanceId', 'VpcId', 'VSwitchId', 'PrimaryIpAddress', 'Type', ...pages],
      perform: (parameters) => describeInterfaces(world, parameters),
    },
  };
}
