/** The route entry actions of VPC 2016-04-28. */
import { ApiError } from '../core/api.ts';
import { ClientTokens } from './client-tokens.ts';
import { type Actions, type Asker, flag, type Parameters, records } from './parameters.ts';
import { listEntries } from './route-list.ts';
import type { Named, Routing, Wanted } from './routing.ts';
import type { World } from './world.ts';

/** Most entries that one batch takes. */
const BATCH = 50;

const dryRun = (parameters: Parameters): void => {
  if (flag(parameters, 'DryRun')) {
    throw new ApiError('DryRunOperation', 'Request validation has been passed with DryRun flag set.');
  }
};

/** Another entry is on its way. */
const unsettled = (): ApiError =>
  new ApiError('IncorrectRouteEntryStatus', 'Some route entry status blocked this operation.');

const missing = (): ApiError => new ApiError('MissingParameter', 'Miss mandatory parameter.');

const create = (routing: Routing, tokens: ClientTokens, parameters: Parameters, asker: Asker) => {
  const repeated = tokens.recall(parameters, asker);
  if (repeated !== undefined) return { RouteEntryId: repeated };
  const wanted: Wanted = {
    table: parameters.RouteTableId ?? '',
    destination: parameters.DestinationCidrBlock ?? '',
    hop: { kind: parameters.NextHopType ?? 'Instance', id: parameters.NextHopId ?? '' },
    name: parameters.RouteEntryName ?? '',
    description: parameters.Description ?? '',
  };
  if (wanted.hop.id === '') throw missing();
  routing.checkForm(wanted);
  const table = routing.table(wanted.table);
  routing.checkFree(table.vpc);
  routing.checkNew(wanted, false);
  if (!routing.settled(table, 'table')) throw unsettled();
  dryRun(parameters);
  routing.lock(table.vpc);
  const { id } = routing.create(wanted);
  tokens.remember(parameters, asker, id);
  return { RouteEntryId: id };
};

/** Runs `one` for each; what it refuses becomes a row of FailedRouteEntries. */
const each = <T, R>(items: readonly T[], one: (item: T) => R, failed: (item: T, error: ApiError) => unknown) => {
  const done: R[] = [];
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      done.push(one(item));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failures.push(failed(item, error));
    }
  }
  return { done, failures, counts: { SuccessCount: done.length, FailedCount: failures.length } };
};

/** The codes of a batch's rows: three are documented; for others the code of the single action is assumed. */
const FAILED: Readonly<Record<string, string>> = {
  IncorrectRouteEntryStatus: 'VPC_ROUTE_ENTRY_STATUS_ERROR',
  'InvalidRouteEntry.NotFound': 'VPC_ROUTER_ENTRY_NOT_EXIST',
  'InvalidRouteEntryId.NotFound': 'VPC_ROUTER_ENTRY_NOT_EXIST',
  'InvalidCIDRBlock.Duplicate': 'VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE',
  'RouterEntryConflict.Duplicated': 'VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE',
  'InvalidRouteEntry.Duplicate': 'VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE',
  'Duplicated.VpcNextHop': 'VPC_ROUTE_ENTRY_CIDR_BLOCK_DUPLICATE',
};

const failure = (error: ApiError, destination: string, hop: string) => ({
  DstCidrBlock: destination,
  NextHop: hop,
  FailedCode: FAILED[error.code] ?? error.code,
  FailedMessage:
    error.code === 'InvalidCIDRBlock.Duplicate'
      ? `Specified CIDR block is already exists, entry.cidrBlock=${destination}`
      : FAILED[error.code] === 'VPC_ROUTER_ENTRY_NOT_EXIST'
        ? 'vRouterEntry not exists'
        : error.message,
});

const batch = (parameters: Parameters): Record<string, string>[] => {
  const all = records(parameters, 'RouteEntries');
  // How the service refuses more than 50 is not documented.
  if (all.length > BATCH)
    throw new ApiError('IllegalParam.RouteEntries', `At most ${BATCH} route entries are allowed.`);
  if (all.some(({ RouteTableId = '' }) => RouteTableId === '')) {
    throw new ApiError('MissingParam.RouteTableId', 'The parameter RouteTableId is missing.');
  }
  return all;
};

const createMany = (routing: Routing, parameters: Parameters) => {
  const all = batch(parameters).map((row): Wanted => {
    const { DstCidrBlock = '', NextHop = '', NextHopType = '' } = row;
    if (DstCidrBlock === '' || NextHop === '' || NextHopType === '') throw missing();
    const rest = { name: row.Name ?? '', description: row.Description ?? '' };
    return {
      table: row.RouteTableId ?? '',
      destination: DstCidrBlock,
      hop: { kind: NextHopType, id: NextHop },
      ...rest,
    };
  });
  const vpcs = new Set(all.map(({ table }) => routing.table(table).vpc));
  for (const wanted of all) routing.checkForm(wanted);
  for (const vpc of vpcs) routing.checkFree(vpc);
  dryRun(parameters);
  const moving = new Set(all.map(({ table }) => table).filter((id) => !routing.settled(routing.table(id), 'table')));
  const { done, failures, counts } = each(
    all,
    (wanted) => {
      routing.checkNew(wanted, true);
      if (moving.has(wanted.table)) throw unsettled();
      return routing.create(wanted).id;
    },
    ({ destination, hop }, error) => failure(error, destination, hop.id),
  );
  if (done.length > 0) for (const vpc of vpcs) routing.lock(vpc);
  return { ...counts, FailedRouteEntries: failures, RouteEntryIds: done };
};

const named = (id: string, table: string, destination: string, hop: string): Named => {
  if (id !== '' && destination !== '') {
    throw new ApiError(
      'ParamExclusive.RouteEntryIdAndRouteTableIdOrDestCidrBlock',
      'RouteEntryId excludes RouteTableId and DestinationCidrBlock.',
    );
  }
  if (id === '' && (table === '' || destination === '')) throw missing();
  return { id, table, destination, hop };
};

const remove = (routing: Routing, parameters: Parameters) => {
  const { RouteEntryId: id = '', RouteTableId: table = '', DestinationCidrBlock: destination = '' } = parameters;
  const { NextHopId: hop = '' } = parameters;
  const which = named(id, table, destination, hop);
  if (id === '' && hop === '') {
    throw new ApiError('InvalidNextHop', 'Specified nexthop and nexthop list cannot both null.');
  }
  const entry = routing.find(which);
  const at = routing.table(entry.table);
  routing.checkFree(at.vpc);
  routing.checkAvailable(entry);
  if (!routing.settled(at, 'vpc')) throw unsettled();
  dryRun(parameters);
  routing.lock(at.vpc);
  routing.delete(entry);
  return {};
};

const removeMany = (routing: Routing, parameters: Parameters) => {
  const all = batch(parameters).map((row) => {
    const { RouteEntryId: id = '', DstCidrBlock = '', NextHop = '' } = row;
    if (id === '' && (DstCidrBlock === '' || NextHop === '')) throw missing();
    return { id, table: row.RouteTableId ?? '', destination: id === '' ? DstCidrBlock : '', hop: NextHop };
  });
  const tables = all.map(({ table }) => routing.table(table));
  const vpcs = new Set(tables.map(({ vpc }) => vpc));
  for (const vpc of vpcs) routing.checkFree(vpc);
  dryRun(parameters);
  const moving = new Set(tables.filter((table) => !routing.settled(table, 'vpc')).map(({ id }) => id));
  const { done, failures, counts } = each(
    all,
    (which) => {
      const entry = routing.find(which);
      routing.checkAvailable(entry);
      if (moving.has(entry.table)) throw unsettled();
      routing.delete(entry);
    },
    ({ id, destination, hop }, error) => ({ RouteEntryId: id, ...failure(error, destination, hop) }),
  );
  if (done.length > 0) for (const vpc of vpcs) routing.lock(vpc);
  return { ...counts, FailedRouteEntries: failures };
};

/** Since 2024 the next hop can be changed, too; it takes no condition on the old one, and no ClientToken. */
const modify = (routing: Routing, parameters: Parameters) => {
  const { RouteEntryId: id = '', RouteTableId: table = '', DestinationCidrBlock: destination = '' } = parameters;
  const entry = routing.find(named(id, table, destination, ''));
  const at = routing.table(entry.table);
  const { NewNextHopId, NewNextHopType, RouteEntryName, Description } = parameters;
  if ((NewNextHopId === undefined) !== (NewNextHopType === undefined)) throw missing();
  const hop = { kind: NewNextHopType ?? entry.hop.kind, id: NewNextHopId ?? entry.hop.id };
  routing.checkForm({ destination: entry.prefix, hop });
  routing.checkFree(at.vpc);
  routing.checkAvailable(entry);
  if (!routing.settled(at, 'table')) throw unsettled();
  if (NewNextHopId !== undefined) {
    if (hop.id === entry.hop.id) {
      throw new ApiError(
        'OperationDenied.NextHopNotChanged',
        'The operation is not allowed because of NextHopNotChanged.',
      );
    }
    routing.checkHop(hop, at, entry.prefix);
  }
  dryRun(parameters);
  routing.lock(at.vpc);
  routing.modify(entry, { hop, name: RouteEntryName ?? entry.name, description: Description ?? entry.description });
  return {};
};

export function routeActions(world: World, routing: Routing): Actions {
  const tokens = new ClientTokens(world, routing);
  const rows = (names: readonly string[]) => names.map((name) => `RouteEntries.N.${name}`);
  return {
    DescribeRouteEntryList: {
      required: ['RegionId', 'RouteTableId'],
      optional: [
        ...['RouteEntryId', 'DestinationCidrBlock', 'RouteEntryName', 'IpVersion', 'RouteEntryType', 'NextHopId'],
        ...['NextHopType', 'MaxResult', 'NextToken', 'ServiceType', 'DestCidrBlockList.N'],
      ],
      perform: (parameters) => listEntries(world, parameters),
    },
    CreateRouteEntry: {
      required: ['RouteTableId', 'DestinationCidrBlock'],
      optional: ['NextHopId', 'NextHopType', 'ClientToken', 'RouteEntryName', 'Description', 'DryRun'],
      perform: (parameters, asker) => create(routing, tokens, parameters, asker),
    },
    CreateRouteEntries: {
      required: ['RegionId', 'RouteEntries.N.RouteTableId'],
      optional: [
        ...rows(['DstCidrBlock', 'RouteTableId', 'IpVersion', 'NextHop', 'NextHopType', 'Name', 'Description']),
        'DryRun',
      ],
      perform: (parameters) => createMany(routing, parameters),
    },
    DeleteRouteEntry: {
      required: [],
      optional: ['RouteTableId', 'RouteEntryId', 'DestinationCidrBlock', 'NextHopId', 'DryRun'],
      perform: (parameters) => remove(routing, parameters),
    },
    DeleteRouteEntries: {
      required: ['RegionId', 'RouteEntries.N.RouteTableId'],
      optional: [...rows(['RouteTableId', 'RouteEntryId', 'DstCidrBlock', 'NextHop']), 'DryRun'],
      perform: (parameters) => removeMany(routing, parameters),
    },
    ModifyRouteEntry: {
      required: ['RegionId'],
      optional: [
        ...['RouteEntryId', 'RouteTableId', 'DestinationCidrBlock', 'NewNextHopId', 'NewNextHopType'],
        ...['RouteEntryName', 'Description', 'DryRun'],
      ],
      perform: (parameters) => modify(routing, parameters),
    },
  };
}
