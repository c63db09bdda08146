import { Credentials } from '../../shared/cloud/aws/credentials.ts';
import type { AccessKey, TableRoute } from '../../shared/cloud/aws/model.ts';
import { Ec2 } from '../../shared/cloud/aws/routes.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import type { Rate } from '../../shared/cloud/token-bucket.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import { type AwsLooks, lookAround } from './aws-findings.ts';
import { AwsHosts } from './aws-hosts.ts';
import { type AwsIdentity, identify } from './aws-identity.ts';
import { AwsQuota } from './aws-quota.ts';
import { AwsTables, type Reading, routesOf, usedOf } from './aws-tables.ts';
import { AwsWrites } from './aws-writes.ts';
import type { Fate, Finding, NextHop, Route, RouteProvider, RouteRequest, RouteTable } from './provider.ts';

export interface AwsProviderOptions {
  /** That of the metadata service by default. */
  readonly region?: string;
  /** Of EC2's API; the region's public one by default. */
  readonly endpoint?: string;
  readonly metadataEndpoint?: string;
  /** Else the profile file, else the role of the instance. */
  readonly key?: AccessKey;
  readonly file?: { readonly path: string; readonly profile: string };
  /** Ids of the tables; those that the VPC's subnets use when empty. */
  readonly tables: readonly string[];
  /** This host's name, instead of its Name tag. */
  readonly host?: string;
  /** Addresses of the uplink: they tell which of several interfaces packets come in by. */
  readonly addresses: readonly string[];
  /** Interfaces that routes of PEERS lead to: they are gateways, not hosts. */
  readonly gateways: readonly string[];
  /** Where containers' prefixes come from, to look for overlaps. */
  readonly pools: readonly string[];
  /** Longer than EC2 takes until a write is seen by everybody, in milliseconds. */
  readonly settleMs?: number;
  /** Longest wait for one answer of EC2, in milliseconds. */
  readonly attemptMs?: number;
  /** How often each API may be called; a part of what an account may by default. */
  readonly rateOf?: (api: string) => Rate;
  readonly log: Logger;
}

/** What is known once the metadata service has answered. */
interface Place {
  readonly identity: AwsIdentity;
  readonly ec2: Ec2;
  readonly tables: AwsTables;
  readonly hosts: AwsHosts;
  readonly writes: AwsWrites;
  readonly quota: AwsQuota;
}

const SETTLE_MS = 2_000;
/** A start that is repeated goes on from what it has read so recently. */
const START_MS = 60_000;

/**
 * Provider `aws`: the VPC's own routers carry the packets. A claim is a route to this host's network interface, in every
 * table that the VPC's subnets use; EC2 creates it for exactly one asker.
 */
export class AwsProvider implements RouteProvider {
  readonly name = 'aws';
  readonly installsKernelRoutes = false;
  readonly allowsNarrower = true;
  readonly #options: AwsProviderOptions;
  readonly #metadata: Metadata;
  readonly #credentials: Credentials;
  #place: Place | undefined;

  constructor(options: AwsProviderOptions) {
    const { metadataEndpoint: endpoint, key, file } = options;
    this.#options = options;
    this.#metadata = new Metadata({ cloud: 'aws', endpoint });
    this.#credentials = new Credentials({
      metadata: this.#metadata,
      ...(key !== undefined && { key }),
      ...(file !== undefined && { file }),
    });
  }

  /** Errors: also ROUTE_TABLE_MISSING. */
  async start(c: Context): Promise<void> {
    const { region, addresses } = this.#options;
    this.#place ??= this.#open(await identify(this.#metadata, addresses, region, c));
    const { tables, hosts, identity } = this.#place;
    const self = { kind: 'interface', id: identity.networkInterface } as const;
    await Promise.all([tables.recent(START_MS, c), hosts.learn([self], c)]);
  }

  async self(): Promise<NextHop> {
    return this.#self(this.#started());
  }

  async tables(): Promise<readonly string[]> {
    return this.#started().tables.ids;
  }

  async read(c: Context, maxAgeMs = 0): Promise<readonly RouteTable[]> {
    const place = this.#started();
    const read = maxAgeMs > 0 ? place.tables.recent(maxAgeMs, c) : place.tables.fresh(c);
    const [reading] = await Promise.all([read, place.quota.refresh(c)]);
    // Names are only to be read by people: in a storm of hundreds of new hosts the calls are for something better.
    if (!place.ec2.isPressed('DescribeRouteTables')) await place.hosts.learn(targetsOf(reading), c);
    return reading.tables.map((table) => ({
      id: table.id,
      routes: routesOf(table).map((route) => this.#routeOf(place, route)),
      limit: place.quota.limit,
      used: usedOf(table),
    }));
  }

  create(table: string, request: RouteRequest, c: Context): Promise<void> {
    return this.#withPlace(({ writes }) => writes.create(table, request, c));
  }

  replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    return this.#withPlace(({ writes }) => writes.replace(table, request, expected, c));
  }

  remove(table: string, route: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    return this.#withPlace(({ writes }) => writes.remove(table, route, c));
  }

  async fate({ target }: NextHop, c: Context): Promise<Fate> {
    return target === undefined ? 'unknown' : this.#started().hosts.fate(target, c);
  }

  /** The VPC's blocks: of the metadata service, and as soon as tables were read those of the routes that EC2 keeps. */
  local(): readonly string[] {
    const { identity, tables } = this.#place ?? {};
    const [arbiter] = tables?.last?.tables ?? [];
    const routes = (arbiter?.routes ?? []).flatMap(({ origin, prefix }) => (origin === 'local' ? [prefix] : []));
    return [...new Set(routes.length > 0 ? routes : (identity?.blocks ?? []))];
  }

  /** Turns the source/dest check of the interface off, where it is on. */
  async prepareHost(repair: boolean, c: Context): Promise<readonly Drift[]> {
    const { ec2, identity } = this.#started();
    const { networkInterface } = identity;
    const [found] = await ec2.call('DescribeNetworkInterfaces', { ids: [networkInterface] }, c);
    if (found?.sourceDestCheck === false) return [];
    if (repair) await ec2.call('ModifyNetworkInterfaceAttribute', { networkInterface }, c);
    const what = `the source/dest check was on on ${networkInterface}: AWS drops what containers send and get`;
    return [{ what, repaired: repair }];
  }

  async quota(c: Context): Promise<number | undefined> {
    const { quota } = this.#started();
    await quota.refresh(c, true);
    return quota.isLive ? quota.limit : undefined;
  }

  async findings(c: Context): Promise<readonly Finding[]> {
    const { pools } = this.#options;
    const looks = { metadata: this.#metadata, source: this.#credentials.source, pools };
    const place: AwsLooks | undefined = this.#place && { ...this.#place, vpcBlocks: this.local() };
    return lookAround(looks, place, c);
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    const credentials = this.#credentials.source;
    if (this.#place === undefined) return { metadata: this.#metadata.endpoint, credentials };
    const { identity, ec2, tables, quota } = this.#place;
    const { instance, networkInterface, vpc, subnet, region, zone } = identity;
    return {
      ...{ instance, networkInterface, vpc, subnet, region, zone, credentials, endpoint: ec2.endpoint },
      tables: tables.ids.join(', '),
      routesPerTable: quota.limit,
      ...ec2.counts,
      ...(ec2.clock.text !== undefined && { clock: ec2.clock.text }),
    };
  }

  async close(): Promise<void> {
    this.#place?.tables.close();
    this.#place?.ec2.close();
  }

  #open(identity: AwsIdentity): Place {
    const { endpoint, attemptMs, rateOf, tables: named, settleMs = SETTLE_MS, log } = this.#options;
    const { region, vpc, networkInterface: own } = identity;
    const ec2 = new Ec2({
      ...{ region, credentials: this.#credentials, log },
      ...(endpoint !== undefined && { endpoint }),
      ...(attemptMs !== undefined && { attemptMs }),
      ...(rateOf !== undefined && { rateOf }),
    });
    const tables = new AwsTables({ ec2, vpc, named, log });
    const hosts = new AwsHosts(ec2);
    const quota = new AwsQuota(ec2);
    const writes = new AwsWrites({
      ...{ ec2, tables, own, vpc, settleMs, log },
      quota: () => quota,
      isGateway: (route) => this.#isGateway(route),
      nameOf: async ({ target }, c) => {
        // With one call for all that are not known: the next refusal is likely to be another one's.
        const { last } = tables;
        await hosts.learn(last === undefined ? [target] : [target, ...targetsOf(last)], c);
        return hosts.name(target.id);
      },
    });
    log.info('this host is known to AWS', { ...identity });
    return { identity, ec2, tables, hosts, writes, quota };
  }

  #started(): Place {
    if (this.#place !== undefined) return this.#place;
    throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws', reason: 'it has not been started yet' });
  }

  /** Rejects, where it would else throw at once. */
  async #withPlace<T>(work: (place: Place) => Promise<T>): Promise<T> {
    return work(this.#started());
  }

  #self({ identity, hosts }: Place): NextHop {
    const { networkInterface: target } = identity;
    return { host: this.#options.host ?? hosts.name(target), target };
  }

  #isGateway({ target }: TableRoute): boolean {
    return target.kind === 'gateway' || this.#options.gateways.includes(target.id);
  }

  #routeOf(place: Place, route: TableRoute): Route {
    const { prefix, state, target } = route;
    if (this.#isGateway(route)) {
      return { prefix, state, ours: false, gateway: true, nextHop: { host: target.id, target: target.id } };
    }
    const ours = target.id === place.identity.networkInterface;
    const nextHop = ours ? this.#self(place) : { host: place.hosts.name(target.id), target: target.id };
    return { prefix, state, ours, nextHop };
  }
}

const targetsOf = ({ tables }: Reading) => tables.flatMap((table) => routesOf(table).map((one) => one.target));
