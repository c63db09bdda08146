import type { Context } from '../../context.ts';
import {
  canonical,
  type Entry,
  entryOf,
  type FailedEntry,
  type Hop,
  type InstanceInfo,
  type NewEntry,
  recordOf,
  records,
  type TableInfo,
  text,
  texts,
  type VSwitchInfo,
} from './answers.ts';
import type { AliyunCaller, Body, Parameters } from './caller.ts';
import { kindOfError } from './errors.ts';

/** Most entries of CreateRouteEntries, and most ids of DescribeInstances. */
export const LARGEST_BATCH = 50;
export const MOST_INSTANCES = 100;
/** As Quota Center knows the custom routes of a table, and what it is unless raised. */
export const ROUTE_QUOTA = 'vpc_quota_route_entrys_num';
export const USUAL_ROUTE_QUOTA = 200;

/** Requests that change something. */
export const WRITES = ['CreateRouteEntry', 'CreateRouteEntries', 'DeleteRouteEntry', 'ModifyRouteEntry'] as const;
export type Write = (typeof WRITES)[number];

/** Entries that one call lists. */
export const PAGE = 100;
const SMALL_PAGE = 50;

/**
 * The typed calls. Reads are repeated until the context ends and throw PluginErrors; writes are tried once and throw
 * AliyunRefusal or AliyunSilence, for whoever makes them knows what an open outcome means.
 */
export class AliyunClient {
  readonly caller: AliyunCaller;

  constructor(caller: AliyunCaller) {
    this.caller = caller;
  }

  async tables(vpc: string, c: Context): Promise<readonly TableInfo[]> {
    const found = await this.#numbered(
      'vpc',
      'DescribeRouteTableList',
      { VpcId: vpc },
      ['RouterTableList', 'RouterTableListType'],
      c,
    );
    return found.flatMap((one) => {
      // Tables of border gateways route what comes in, not what vSwitches send.
      if (text(one, 'AssociateType') === 'Gateway') return [];
      const system = text(one, 'RouteTableType') === 'System';
      return [{ id: text(one, 'RouteTableId'), system, vswitches: texts(one, 'VSwitchIds', 'VSwitchId') }];
    });
  }

  /** All entries of a table. Errors: AliyunRefusal of kind `no-table`, PROVIDER_*. */
  async entries(table: string, c: Context): Promise<readonly Entry[]> {
    const found: Entry[] = [];
    for (let token = ''; ; ) {
      const page = { RouteTableId: table, MaxResult: String(PAGE), ...(token !== '' && { NextToken: token }) };
      const body = await this.caller.read('vpc', 'DescribeRouteEntryList', page, c);
      found.push(...records(body, 'RouteEntrys', 'RouteEntry').flatMap((one) => entryOf(one, table)));
      token = text(body, 'NextToken');
      if (token === '') return found;
    }
  }

  /** The entries of a table for exactly this destination: one at most, but for what gateways have learnt. Errors: as `entries`. */
  async entriesTo(table: string, prefix: string, c: Context): Promise<readonly Entry[]> {
    const parameters = { RouteTableId: table, DestinationCidrBlock: prefix, MaxResult: String(PAGE) };
    const body = await this.caller.read('vpc', 'DescribeRouteEntryList', parameters, c);
    const found = records(body, 'RouteEntrys', 'RouteEntry').flatMap((one) => entryOf(one, table));
    return found.filter((one) => one.prefix === prefix);
  }

  /** The VPC's own CIDRs; undefined when there is no such VPC. */
  async vpc(id: string, c: Context): Promise<readonly string[] | undefined> {
    const body = await this.caller.read('vpc', 'DescribeVpcs', { VpcId: id }, c);
    const vpc = records(body, 'Vpcs', 'Vpc').find((one) => text(one, 'VpcId') === id);
    if (vpc === undefined) return undefined;
    const all = [
      text(vpc, 'CidrBlock'),
      ...texts(vpc, 'SecondaryCidrBlocks', 'SecondaryCidrBlock'),
      text(vpc, 'Ipv6CidrBlock'),
      ...records(vpc, 'Ipv6CidrBlocks', 'Ipv6CidrBlock').map((one) => text(one, 'Ipv6CidrBlock')),
    ];
    return [...new Set(all.flatMap((one) => canonical(one) ?? []))];
  }

  async vswitches(vpc: string, c: Context): Promise<readonly VSwitchInfo[]> {
    const found = await this.#numbered('vpc', 'DescribeVSwitches', { VpcId: vpc }, ['VSwitches', 'VSwitch'], c);
    return found.map((one) => ({
      id: text(one, 'VSwitchId'),
      cidrs: [text(one, 'CidrBlock'), text(one, 'Ipv6CidrBlock')].flatMap((cidr) => canonical(cidr) ?? []),
    }));
  }

  /** Those of the instances that exist. */
  async instances(ids: readonly string[], c: Context): Promise<readonly InstanceInfo[]> {
    const found: InstanceInfo[] = [];
    for (let n = 0; n < ids.length; n += MOST_INSTANCES) {
      const some = ids.slice(n, n + MOST_INSTANCES);
      const parameters = { InstanceIds: JSON.stringify(some), PageSize: String(MOST_INSTANCES) };
      const body = await this.caller.read('ecs', 'DescribeInstances', parameters, c);
      for (const one of records(body, 'Instances', 'Instance')) {
        const id = text(one, 'InstanceId');
        const [address] = texts(recordOf(one.VpcAttributes), 'PrivateIpAddress', 'IpAddress');
        const host = text(one, 'HostName') || text(one, 'InstanceName') || id;
        found.push({ id, status: text(one, 'Status'), host, ...(address !== undefined && { address }) });
      }
    }
    return found;
  }

  /** Most custom routes of a table. Quota Center may be closed to this host, or know nothing of it: then undefined. */
  async routeQuota(c: Context): Promise<number | undefined> {
    const parameters = { ProductCode: 'vpc', QuotaActionCode: ROUTE_QUOTA, MaxResults: '10' };
    const body = await this.caller.read('quotas', 'ListProductQuotas', parameters, c);
    const all = (Array.isArray(body.Quotas) ? body.Quotas : []).map(recordOf);
    const fitting = all.filter((one) => text(one, 'QuotaActionCode') === ROUTE_QUOTA);
    const here = fitting.find((one) => text(recordOf(one.Dimensions), 'regionId') === this.caller.region);
    const total = Number((here ?? fitting[0])?.TotalQuota);
    return Number.isFinite(total) && total > 0 ? total : undefined;
  }

  /** Begins to make a route. The same token never makes a second one. */
  async createEntry(entry: NewEntry, clientToken: string, c: Context): Promise<void> {
    await this.caller.once('vpc', 'CreateRouteEntry', { ...single(entry), ClientToken: clientToken }, c);
  }

  /** Begins to make up to 50 routes; answers those that were refused. */
  async createEntries(entries: readonly NewEntry[], c: Context): Promise<readonly FailedEntry[]> {
    const parameters: Record<string, string> = {};
    for (const [index, { table, prefix, hop, description }] of entries.entries()) {
      const key = (name: string): string => `RouteEntries.${index + 1}.${name}`;
      parameters[key('RouteTableId')] = table;
      parameters[key('DstCidrBlock')] = prefix;
      parameters[key('NextHop')] = hop.id;
      parameters[key('NextHopType')] = hop.type;
      parameters[key('IpVersion')] = prefix.includes(':') ? '6' : '4';
      parameters[key('Description')] = description;
    }
    const body = await this.caller.once('vpc', 'CreateRouteEntries', parameters, c);
    const failed = (Array.isArray(body.FailedRouteEntries) ? body.FailedRouteEntries : []).map(recordOf);
    return failed.map((one) => ({
      prefix: canonical(text(one, 'DstCidrBlock')) ?? text(one, 'DstCidrBlock'),
      hop: text(one, 'NextHop'),
      code: text(one, 'FailedCode'),
      text: text(one, 'FailedMessage'),
    }));
  }

  /** Begins to delete a route, but only one with this next hop. */
  async deleteEntry({ table, prefix, hop }: Omit<NewEntry, 'description'>, c: Context): Promise<void> {
    const parameters = { RouteTableId: table, DestinationCidrBlock: prefix, NextHopId: hop.id };
    await this.caller.once('vpc', 'DeleteRouteEntry', parameters, c);
  }

  /**
   * Begins to lead a route elsewhere, unless it is later than `latest` (on the contexts' clock) by then. It is named by
   * its id: one that was made anew meanwhile has another.
   */
  async modifyEntry(
    id: string,
    { hop, description }: Pick<NewEntry, 'hop' | 'description'>,
    latest: number,
    c: Context,
  ): Promise<void> {
    const parameters = { RouteEntryId: id, NewNextHopId: hop.id, NewNextHopType: hop.type, Description: description };
    await this.caller.once('vpc', 'ModifyRouteEntry', parameters, c, latest);
  }

  /** Asks whether a write would be allowed, without doing it. True; false when the right to it is missing. */
  async mayWrite(action: Write, table: string, hop: Hop, c: Context): Promise<boolean> {
    try {
      await this.caller.once(
        'vpc',
        action,
        { ...PROBES[action]({ table, prefix: PROBE, hop, description: 'probe' }), DryRun: 'true' },
        c,
      );
      return true;
    } catch (error) {
      const kind = kindOfError(error);
      if (kind === 'permission') return false;
      // Rights are looked at first: whatever else is refused, they are there.
      if (kind === undefined || kind === 'silent' || kind === 'auth' || kind === 'expired' || kind === 'clock')
        throw this.caller.translate(error);
      if (kind === 'throttled' || kind === 'unavailable') throw this.caller.translate(error);
      return true;
    }
  }

  async #numbered(
    service: 'vpc',
    action: string,
    parameters: Parameters,
    [outer, inner]: [string, string],
    c: Context,
  ): Promise<readonly Body[]> {
    const found: Body[] = [];
    for (let page = 1; ; page += 1) {
      const asked = { ...parameters, PageNumber: String(page), PageSize: String(SMALL_PAGE) };
      const body = await this.caller.read(service, action, asked, c);
      const some = records(body, outer, inner);
      found.push(...some);
      if (some.length === 0 || found.length >= Number(body.TotalCount ?? 0)) return found;
    }
  }
}

/** For documentation (RFC 5737): nobody routes it. */
const PROBE = '192.0.2.0/24';

const single = ({ table, prefix, hop, description }: NewEntry): Parameters => ({
  RouteTableId: table,
  DestinationCidrBlock: prefix,
  NextHopId: hop.id,
  NextHopType: hop.type,
  Description: description,
});

const PROBES: Readonly<Record<Write, (entry: NewEntry) => Parameters>> = {
  CreateRouteEntry: single,
  CreateRouteEntries: ({ table, prefix, hop, description }) => ({
    'RouteEntries.1.RouteTableId': table,
    'RouteEntries.1.DstCidrBlock': prefix,
    'RouteEntries.1.NextHop': hop.id,
    'RouteEntries.1.NextHopType': hop.type,
    'RouteEntries.1.IpVersion': '4',
    'RouteEntries.1.Description': description,
  }),
  DeleteRouteEntry: ({ table, prefix, hop }) => ({
    RouteTableId: table,
    DestinationCidrBlock: prefix,
    NextHopId: hop.id,
  }),
  ModifyRouteEntry: ({ table, prefix, hop }) => ({
    RouteTableId: table,
    DestinationCidrBlock: prefix,
    NewNextHopId: hop.id,
    NewNextHopType: hop.type,
  }),
};
