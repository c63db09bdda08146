/** DescribeRouteEntryList: what a table holds, custom entries and the vendor's own, page by page. */
import { ApiError } from '../core/api.ts';
import { integer, type Parameters, tokened, values } from './parameters.ts';
import { type RouteEntry, SERVICE_RANGE, type World } from './world.ts';

/** As the vendor writes times. */
export const date = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** One row of DescribeRouteEntryList. */
interface Row {
  readonly order: string;
  readonly id: string;
  readonly prefix: string;
  readonly kind: 'Custom' | 'System';
  readonly hop: { readonly kind: string; readonly id: string };
  readonly name: string;
  readonly json: Readonly<Record<string, unknown>>;
}

const rowOf = (
  row: Omit<Row, 'json'> & { status: string; description: string; table: string; modified: number },
): Row => ({
  ...row,
  json: {
    RouteEntryId: row.id,
    RouteEntryName: row.name,
    Description: row.description,
    RouteTableId: row.table,
    DestinationCidrBlock: row.prefix,
    IpVersion: row.prefix.includes(':') ? 'IPv6' : 'IPv4',
    Type: row.kind,
    Status: row.status,
    Origin: row.kind === 'System' ? 'SystemCreate' : 'CustomCreate',
    GmtModified: date(row.modified),
    NextHops: { NextHop: [{ NextHopType: row.hop.kind, NextHopId: row.hop.id, Enabled: 1, Weight: 0 }] },
  },
});

/** What the vendor puts into every table by itself: the vSwitches and the range of its own services. */
const systemRows = (world: World, table: string): Row[] => {
  const at = world.tables.get(table);
  if (at === undefined) return [];
  const local = world.vswitchesOf(at.vpc).flatMap(({ cidr, cidr6 }) => [cidr, cidr6]);
  const prefixes = [...local.filter((one) => one !== ''), SERVICE_RANGE.text];
  return prefixes.map((prefix, n) => {
    const hop = { kind: prefix === SERVICE_RANGE.text ? 'service' : 'local', id: '' };
    const order = `0 ${String(n).padStart(6, '0')}`;
    const rest = { name: '', description: 'Created with VSwitch by system.', table, modified: at.created };
    return rowOf({ order, id: `rte-system-${n}`, prefix, kind: 'System', hop, status: 'Available', ...rest });
  });
};

const customRow = (entry: RouteEntry): Row =>
  rowOf({ ...entry, order: `1 ${String(entry.order).padStart(9, '0')}`, kind: 'Custom' });

export const listEntries = (world: World, parameters: Parameters): Readonly<Record<string, unknown>> => {
  const table = parameters.RouteTableId ?? '';
  if (!world.tables.has(table))
    throw new ApiError('InvalidRouteTable.NotFound', 'The specified RouteTable was not found.');
  const kind = parameters.RouteEntryType;
  if (kind !== undefined && !['Custom', 'System', 'BGP', 'CEN', 'ECR'].includes(kind)) {
    throw new ApiError('IllegalParam.RouteEntryType', 'The parameter of RouteEntryType is illegal.');
  }
  const family = parameters.IpVersion?.toLowerCase();
  if (family !== undefined && family !== 'ipv4' && family !== 'ipv6') {
    throw new ApiError('IllegalParam.IpVersion', 'Param IpVersion illegal.');
  }
  const blocks = values(parameters, 'DestCidrBlockList');
  const is = (wanted: string | undefined, found: string) => wanted === undefined || wanted === '' || wanted === found;
  const rows = [...systemRows(world, table), ...world.shown(table).map(customRow)].filter(
    (row) =>
      is(kind, row.kind) &&
      is(parameters.RouteEntryId, row.id) &&
      is(parameters.RouteEntryName, row.name) &&
      is(parameters.DestinationCidrBlock, row.prefix) &&
      is(parameters.NextHopId, row.hop.id) &&
      is(parameters.NextHopType, row.hop.kind) &&
      (family === undefined || (family === 'ipv6') === row.prefix.includes(':')) &&
      (blocks.length === 0 || blocks.includes(row.prefix)),
  );
  const { page, next } = tokened(parameters, rows, {
    id: ({ order }) => order,
    size: integer(parameters, 'MaxResult', { min: 1, max: 100, usual: 10 }),
    bad: () => new ApiError('IllegalParam.NextToken', 'User nextToken is illegal.'),
  });
  return { NextToken: next, RouteEntrys: { RouteEntry: page.map(({ json }) => json) } };
};
