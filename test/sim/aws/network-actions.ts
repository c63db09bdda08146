/** DescribeVpcs and DescribeSubnets. */
import type { Actions, Surroundings } from './action.ts';
import { named } from './machine-actions.ts';
import { filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import type { Subnet, Vpc } from './world.ts';
import type { Xml } from './xml.ts';

const nameTag = ({ name }: { readonly name: string }): Record<string, string> => (name === '' ? {} : { Name: name });

const associated = (id: string, n: number): Record<string, Xml> => ({
  associationId: `${id.replace(/^(vpc|subnet)-/, '$1-cidr-assoc-')}${n}`,
});

const vpcElements = (account: string, { id, name, cidrs, cidrs6 }: Vpc): Xml => ({
  vpcId: id,
  ownerId: account,
  state: 'available',
  cidrBlock: cidrs[0],
  cidrBlockAssociationSet: cidrs.map((cidrBlock, n) => ({
    ...associated(id, n),
    cidrBlock,
    cidrBlockState: { state: 'associated' },
  })),
  ipv6CidrBlockAssociationSet: cidrs6.map((ipv6CidrBlock, n) => ({
    ...associated(id, cidrs.length + n),
    ipv6CidrBlock,
    ipv6CidrBlockState: { state: 'associated' },
  })),
  dhcpOptionsId: 'dopt-0123456789abcdef0',
  instanceTenancy: 'default',
  isDefault: false,
  tagSet: tagSet(nameTag({ name })),
});

const describeVpcs = (parameters: Parameters, { world, pageSize }: Surroundings) => {
  const all = named(world.vpcs, 'vpc', listOf(parameters, 'VpcId'));
  const filters = {
    'vpc-id': ({ id }: Vpc) => [id],
    cidr: ({ cidrs }: Vpc) => cidrs.slice(0, 1),
    'cidr-block-association.cidr-block': ({ cidrs }: Vpc) => cidrs,
    'ipv6-cidr-block-association.ipv6-cidr-block': ({ cidrs6 }: Vpc) => cidrs6,
    'owner-id': () => [world.account],
    state: () => ['available'],
    'is-default': () => ['false'],
  };
  const found = filtered(all, parameters, filters, nameTag);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'VpcId' });
  return { vpcSet: items.map((vpc) => vpcElements(world.account, vpc)), nextToken: next };
};

const subnetElements = (account: string, subnet: Subnet): Xml => ({
  subnetId: subnet.id,
  vpcId: subnet.vpc,
  ownerId: account,
  state: 'available',
  cidrBlock: subnet.cidr,
  ipv6CidrBlockAssociationSet:
    subnet.cidr6 === undefined
      ? []
      : [
          {
            ...associated(subnet.id, 0),
            ipv6CidrBlock: subnet.cidr6,
            ipv6CidrBlockState: { state: 'associated' },
          },
        ],
  availabilityZone: subnet.zone,
  defaultForAz: false,
  mapPublicIpOnLaunch: false,
  tagSet: tagSet(nameTag(subnet)),
});

const describeSubnets = (parameters: Parameters, { world, pageSize }: Surroundings) => {
  const all = named(world.subnets, 'subnet', listOf(parameters, 'SubnetId'));
  const filters = {
    'subnet-id': ({ id }: Subnet) => [id],
    'vpc-id': ({ vpc }: Subnet) => [vpc],
    'cidr-block': ({ cidr }: Subnet) => [cidr],
    'availability-zone': ({ zone }: Subnet) => [zone],
    'owner-id': () => [world.account],
    state: () => ['available'],
  };
  const found = filtered(all, parameters, filters, nameTag);
  const { items, next } = page(found, parameters, { least: 5, most: 1000, usual: pageSize, ids: 'SubnetId' });
  return { subnetSet: items.map((subnet) => subnetElements(world.account, subnet)), nextToken: next };
};

export const networkActions: Actions = {
  DescribeVpcs: { accepts: ['Filter', 'VpcId', 'MaxResults', 'NextToken'], run: describeVpcs },
  DescribeSubnets: { accepts: ['Filter', 'SubnetId', 'MaxResults', 'NextToken'], run: describeSubnets },
};
