/** CreateRoute, ReplaceRoute and DeleteRoute. */
import { type Cidr, contains, parseCidr } from '../../../shared/cidr.ts';
import { PluginError } from '../../../shared/errors.ts';
import { ApiError } from '../core/api.ts';
import type { Actions, Surroundings } from './action.ts';
import { checkId, combination, type IdKind, invalid, missing, notFound } from './errors.ts';
import type { Parameters } from './parameters.ts';
import type { StoredRoute, Table, Target, World } from './world.ts';

/** Target parameters that are simulated, and what their ids begin with. */
const targets = {
  NetworkInterfaceId: ['eni'],
  InstanceId: ['i'],
  GatewayId: ['igw', 'vgw'],
  TransitGatewayId: ['tgw'],
  VpcPeeringConnectionId: ['pcx'],
  NatGatewayId: ['nat'],
  EgressOnlyInternetGatewayId: ['eigw'],
} as const satisfies Record<string, readonly IdKind[]>;

const accepts = ['RouteTableId', 'DestinationCidrBlock', 'DestinationIpv6CidrBlock', ...Object.keys(targets)];

export const lowerFirst = (name: string): string => `${name.charAt(0).toLowerCase()}${name.slice(1)}`;

/** The table that is named; refuses an id that is malformed or unknown. */
export const tableNamed = (parameters: Parameters, world: World): Table => {
  const { RouteTableId: id } = parameters;
  if (id === undefined) throw missing('routeTableId');
  checkId('rtb', id);
  const table = world.tables.get(id);
  if (table === undefined) throw notFound('rtb', [id]);
  return table;
};

/** The destination. Bits behind the length are cut off, as the real service does. */
const destination = (parameters: Parameters): Cidr => {
  const given = (['DestinationCidrBlock', 'DestinationIpv6CidrBlock'] as const).filter((name) => name in parameters);
  const [name, other] = given;
  if (name === undefined) throw missing('destinationCidrBlock');
  if (other !== undefined)
    throw combination(`The parameter ${lowerFirst(other)} cannot be used with the parameter ${lowerFirst(name)}`);
  const text = parameters[name] ?? '';
  try {
    const cidr = parseCidr(text, { strict: false });
    if (cidr.family === (name === 'DestinationCidrBlock' ? 4 : 6)) return cidr;
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
  }
  throw invalid(`Value (${text}) for parameter ${lowerFirst(name)} is invalid. This is not a valid CIDR block.`);
};

const interfaceTarget = (id: string, table: Table, world: World): Target => {
  const found = world.interfaces.get(id);
  if (found === undefined) throw notFound('eni', [id]);
  if (found.vpc !== table.vpc) {
    throw invalid(`route table ${table.id} and network interface ${id} belong to different networks`);
  }
  return { kind: 'interface', id };
};

const instanceTarget = (id: string, table: Table, world: World): Target => {
  const instance = world.instances.get(id);
  if (instance === undefined || instance.state === 'terminated') throw notFound('i', [id]);
  const [primary, second] = world.interfacesOf(id);
  if (second !== undefined) throw severalInterfaces(id);
  if (primary === undefined) throw notFound('i', [id]);
  return interfaceTarget(primary.id, table, world);
};

export const severalInterfaces = (id: string): ApiError =>
  new ApiError(
    'InvalidInstanceID',
    `There are multiple interfaces attached to instance '${id}'. Please specify an interface ID for the operation instead.`,
  );

const gatewayKinds: Readonly<
  Record<string, Target['kind'] & ('gateway' | 'transit' | 'peering' | 'nat' | 'egress-only')>
> = {
  igw: 'gateway',
  vgw: 'gateway',
  tgw: 'transit',
  pcx: 'peering',
  nat: 'nat',
  eigw: 'egress-only',
};

const target = (parameters: Parameters, table: Table, world: World): Target => {
  const given = Object.entries(targets).filter(([name]) => parameters[name] !== undefined);
  const [first, second] = given;
  if (first === undefined) {
    throw missing('gatewayId, networkInterfaceId, instanceId, transitGatewayId or another target');
  }
  const [name, kinds] = first;
  if (second !== undefined) {
    throw combination(`The parameter ${lowerFirst(second[0])} cannot be used with the parameter ${lowerFirst(name)}`);
  }
  const id = parameters[name] ?? '';
  const kind = kinds.find((each) => id.startsWith(`${each}-`)) ?? kinds[0];
  checkId(kind, id);
  if (kind === 'eni') return interfaceTarget(id, table, world);
  if (kind === 'i') return instanceTarget(id, table, world);
  const gateway = world.gateways.get(id);
  if (gateway === undefined) throw notFound(kind, [id]);
  if (!gateway.vpcs.includes(table.vpc)) {
    throw invalid(`route table ${table.id} and gateway ${id} belong to different networks`);
  }
  return { kind: gatewayKinds[kind] ?? 'gateway', id };
};

/** Refuses what the VPC's local routes forbid. */
const checkAgainstLocal = (cidr: Cidr, wanted: Target, table: Table, world: World): void => {
  const locals = world.localCidrs(table.vpc);
  if (locals.some(({ text }) => text === cidr.text)) throw alreadyThere(cidr.text);
  if (!locals.some((local) => contains(local, cidr))) return;
  const isSubnet = [...world.subnets.values()].some(
    (subnet) => subnet.vpc === table.vpc && (subnet.cidr === cidr.text || subnet.cidr6 === cidr.text),
  );
  if (!isSubnet) {
    throw invalid(
      `The destination CIDR block ${cidr.text} is more specific than the local route and does not match any subnet CIDR blocks.`,
    );
  }
  if (wanted.kind !== 'interface') {
    throw invalid(
      `The destination CIDR block ${cidr.text} is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.`,
    );
  }
};

const alreadyThere = (prefix: string): ApiError =>
  new ApiError('RouteAlreadyExists', `The route identified by ${prefix} already exists.`);

/** Static routes of one family; propagated and local ones are not counted against the quota. */
const countRoutes = (table: Table, cidr: Cidr): number =>
  table.routes
    .entries()
    .filter(([, route]) => route.origin === 'CreateRoute' && route.prefix.includes(':') === (cidr.family === 6)).length;

const create = (parameters: Parameters, { world, quotas }: Surroundings) => {
  const table = tableNamed(parameters, world);
  const cidr = destination(parameters);
  const wanted = target(parameters, table, world);
  checkAgainstLocal(cidr, wanted, table, world);
  if (table.routes.get(cidr.text) !== undefined) throw alreadyThere(cidr.text);
  if (!quotas.fits('routes-per-table', countRoutes(table, cidr))) {
    throw new ApiError('RouteLimitExceeded', 'The maximum number of routes has been reached.');
  }
  table.routes.set(cidr.text, { prefix: cidr.text, target: wanted, origin: 'CreateRoute' });
  return { return: true };
};

const existing = (table: Table, prefix: string): StoredRoute | undefined => table.routes.get(prefix);

const replace = (parameters: Parameters, { world }: Surroundings) => {
  const table = tableNamed(parameters, world);
  const cidr = destination(parameters);
  const wanted = target(parameters, table, world);
  const found = existing(table, cidr.text);
  if (found === undefined) {
    throw invalid(`There is no route defined for '${cidr.text}' in the route table. Use CreateRoute instead.`);
  }
  table.routes.set(cidr.text, { ...found, target: wanted });
  return { return: true };
};

const remove = (parameters: Parameters, { world }: Surroundings) => {
  const table = tableNamed(parameters, world);
  const cidr = destination(parameters);
  if (world.localCidrs(table.vpc).some(({ text }) => text === cidr.text)) {
    throw invalid(`cannot remove local route ${cidr.text} in route table ${table.id}`);
  }
  if (!table.routes.delete(cidr.text)) {
    const name = cidr.family === 4 ? 'destination-cidr-block' : 'destination-ipv6-cidr-block';
    throw new ApiError('InvalidRoute.NotFound', `no route with ${name} ${cidr.text} in route table ${table.id}`);
  }
  return { return: true };
};

export const routeActions: Actions = {
  CreateRoute: { accepts, run: create },
  ReplaceRoute: { accepts, run: replace },
  DeleteRoute: { accepts: accepts.slice(0, 3), run: remove },
};
