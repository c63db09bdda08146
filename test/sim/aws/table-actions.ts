/** DescribeRouteTables, CreateRouteTable, DeleteRouteTable and AssociateRouteTable. */
import { ApiError } from '../core/api.ts';
import type { Actions, Surroundings } from './action.ts';
import { checkId, missing, notFound } from './errors.ts';
import { type FilterTable, filtered, listOf, type Parameters, page, tagSet } from './parameters.ts';
import { tableNamed } from './route-actions.ts';
import type { StoredRoute, Table, Target, World } from './world.ts';
import type { Xml } from './xml.ts';

/** Elements that name a target. The instance behind an interface is named as well, as long as there is one. */
const targetElements = (world: World, { kind, id }: Target): Record<string, Xml> => {
  switch (kind) {
    case 'interface': {
      const instance = world.interfaces.get(id)?.instance;
      const owner = instance === undefined ? {} : { instanceId: instance, instanceOwnerId: world.account };
      return { ...owner, networkInterfaceId: id };
    }
    case 'gateway':
      return { gatewayId: id };
    case 'transit':
      return { transitGatewayId: id };
    case 'peering':
      return { vpcPeeringConnectionId: id };
    case 'nat':
      return { natGatewayId: id };
    case 'egress-only':
      return { egressOnlyInternetGatewayId: id };
  }
};

const destinationElement = (prefix: string): Record<string, Xml> =>
  prefix.includes(':') ? { destinationIpv6CidrBlock: prefix } : { destinationCidrBlock: prefix };

const routeElements = (world: World, { prefix, target, origin }: StoredRoute): Record<string, Xml> => ({
  ...destinationElement(prefix),
  ...targetElements(world, target),
  state: world.stateOf(target),
  origin,
});

const routesOf = (world: World, table: Table): Record<string, Xml>[] => [
  ...world.localCidrs(table.vpc).map(({ text }) => ({
    ...destinationElement(text),
    gatewayId: 'local',
    state: 'active',
    origin: 'CreateRouteTable',
  })),
  ...table.routes.visible().map(([, route]) => routeElements(world, route)),
];

const associations = (table: Table): Record<string, Xml>[] => [
  ...(table.main === undefined ? [] : [{ routeTableAssociationId: table.main, routeTableId: table.id, main: true }]),
  ...[...table.subnets].map(([id, subnetId]) => ({
    routeTableAssociationId: id,
    routeTableId: table.id,
    subnetId,
    main: false,
  })),
];

const tableElements = (world: World, table: Table): Record<string, Xml> => ({
  routeTableId: table.id,
  vpcId: table.vpc,
  ownerId: world.account,
  routeSet: routesOf(world, table),
  associationSet: associations(table).map((each) => ({ ...each, associationState: { state: 'associated' } })),
  propagatingVgwSet: [],
  tagSet: tagSet(tagsOf(table)),
});

const tagsOf = ({ name }: Table): Record<string, string> => (name === '' ? {} : { Name: name });

/** The values of one element in a list of them. */
const values = (items: readonly Record<string, Xml>[], name: string): string[] =>
  items.flatMap((item) => (item[name] === undefined ? [] : [String(item[name])]));

const filterTable = (world: World): FilterTable<Table> => {
  const ofRoutes = (name: string) => (table: Table) => values(routesOf(world, table), name);
  const ofAssociations = (name: string) => (table: Table) => values(associations(table), name);
  return {
    'vpc-id': ({ vpc }) => [vpc],
    'route-table-id': ({ id }) => [id],
    'owner-id': () => [world.account],
    'association.main': ofAssociations('main'),
    'association.subnet-id': ofAssociations('subnetId'),
    'association.route-table-id': ofAssociations('routeTableId'),
    'association.route-table-association-id': ofAssociations('routeTableAssociationId'),
    'route.destination-cidr-block': ofRoutes('destinationCidrBlock'),
    'route.destination-ipv6-cidr-block': ofRoutes('destinationIpv6CidrBlock'),
    'route.gateway-id': ofRoutes('gatewayId'),
    'route.instance-id': ofRoutes('instanceId'),
    'route.nat-gateway-id': ofRoutes('natGatewayId'),
    'route.transit-gateway-id': ofRoutes('transitGatewayId'),
    'route.vpc-peering-connection-id': ofRoutes('vpcPeeringConnectionId'),
    'route.origin': ofRoutes('origin'),
    'route.state': ofRoutes('state'),
  };
};

/** The named ones, or all; refuses ids that are unknown. */
const chosen = (parameters: Parameters, world: World): Table[] => {
  const ids = listOf(parameters, 'RouteTableId');
  for (const id of ids) checkId('rtb', id);
  const unknown = ids.filter((id) => !world.tables.has(id));
  if (unknown.length > 0) throw notFound('rtb', unknown);
  return [...world.tables.values()].filter(({ id }) => ids.length === 0 || ids.includes(id));
};

const describe = (parameters: Parameters, { world, pageSize }: Surroundings) => {
  const found = filtered(chosen(parameters, world), parameters, filterTable(world), tagsOf);
  const { items, next } = page(found, parameters, { least: 5, most: 100, usual: pageSize, ids: 'RouteTableId' });
  return { routeTableSet: items.map((table) => tableElements(world, table)), nextToken: next };
};

const create = (parameters: Parameters, { world, tokens }: Surroundings) => {
  const { VpcId, ClientToken, ...rest } = parameters;
  if (VpcId === undefined) throw missing('vpcId');
  if (ClientToken !== undefined) {
    const earlier = tokens.recall('CreateRouteTable', ClientToken, { VpcId, ...rest });
    if (earlier === 'mismatch') {
      throw new ApiError(
        'IdempotentParameterMismatch',
        'The request uses the same client token as a previous, but non-identical request.',
      );
    }
    if (earlier !== undefined) return earlier.result;
  }
  checkId('vpc', VpcId);
  if (!world.vpcs.has(VpcId)) throw notFound('vpc', [VpcId]);
  const result = { routeTable: tableElements(world, world.addTable(VpcId, '')), clientToken: ClientToken };
  if (ClientToken !== undefined) tokens.remember('CreateRouteTable', ClientToken, { VpcId, ...rest }, result);
  return result;
};

const remove = (parameters: Parameters, { world }: Surroundings) => {
  const table = tableNamed(parameters, world);
  if (table.main !== undefined || table.subnets.size > 0) {
    throw new ApiError('DependencyViolation', `The routeTable '${table.id}' has dependencies and cannot be deleted.`);
  }
  world.tables.delete(table.id);
  return { return: true };
};

const associate = (parameters: Parameters, { world }: Surroundings) => {
  const table = tableNamed(parameters, world);
  const { SubnetId: subnet } = parameters;
  if (subnet === undefined) throw missing('subnetId');
  checkId('subnet', subnet);
  if (!world.subnets.has(subnet)) throw notFound('subnet', [subnet]);
  world.associate(table.id, subnet);
  const [association] = [...table.subnets].find(([, id]) => id === subnet) ?? [''];
  return { associationId: association, associationState: { state: 'associated' } };
};

export const tableActions: Actions = {
  DescribeRouteTables: { accepts: ['Filter', 'RouteTableId', 'MaxResults', 'NextToken'], run: describe },
  CreateRouteTable: { accepts: ['VpcId', 'ClientToken'], run: create },
  DeleteRouteTable: { accepts: ['RouteTableId'], run: remove },
  AssociateRouteTable: { accepts: ['RouteTableId', 'SubnetId'], run: associate },
};
