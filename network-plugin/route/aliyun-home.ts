import { contains, overlaps, parseCidr, subtract } from '../../shared/cidr.ts';
import type { VSwitchInfo } from '../../shared/cloud/aliyun/answers.ts';
import { AliyunCaller, type CallerOptions } from '../../shared/cloud/aliyun/caller.ts';
import { AliyunClient, USUAL_ROUTE_QUOTA } from '../../shared/cloud/aliyun/client.ts';
import { Credentials } from '../../shared/cloud/aliyun/credentials.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { regionOf } from '../../shared/cloud/settings.ts';
import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Settings } from '../options.ts';
import type { NextHop } from './provider.ts';

export type AliyunSettings = Pick<
  Settings,
  | ('routeTables' | 'region' | 'cloudEndpoint' | 'metadataEndpoint' | 'pool' | 'pool6')
  | ('accessKeyId' | 'accessKeySecret' | 'securityToken' | 'credentialsFile' | 'credentialsProfile')
>;

export interface HomeOptions {
  readonly settings: AliyunSettings;
  /** This host's name in the cluster. */
  readonly host: string;
  /** Instead of the usual, for tests. */
  readonly calls?: Pick<CallerOptions, 'rateOf' | 'retry'>;
}

/** The network that this host's instance is in. */
interface Surroundings {
  readonly tables: readonly string[];
  readonly cidrs: readonly string[];
  readonly vswitches: readonly VSwitchInfo[];
}

/** What this host is to Aliyun. */
interface Place extends Surroundings {
  readonly client: AliyunClient;
  readonly region: string;
  readonly vpc: string;
  readonly instance: string;
  readonly self: NextHop & { readonly target: string };
}

/** Longest time for asking for a quota that one can do without, in milliseconds. */
const QUOTA_MS = 3_000;

const byId = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** Who this host is, and what of the VPC concerns it: found out at the start, and again when a table is gone. */
export class AliyunHome {
  readonly metadata: Metadata;
  readonly credentials: Credentials;
  readonly #options: HomeOptions;
  #place: Place | undefined;
  #quota: number | undefined;
  #quotaTrouble: PluginError | undefined;

  constructor(options: HomeOptions) {
    this.#options = options;
    this.metadata = new Metadata({ cloud: 'aliyun', endpoint: options.settings.metadataEndpoint });
    this.credentials = new Credentials(options.settings, this.metadata);
  }

  /** Undefined before the first `find`. */
  get known(): Place | undefined {
    return this.#place;
  }

  /** Throws NOT_READY before the first `find`. */
  get place(): Place {
    if (this.#place === undefined) throw new PluginError('NOT_READY', { reason: 'Aliyun was not asked yet' });
    return this.#place;
  }

  /** Most custom routes of a table. */
  get quota(): number {
    return this.#quota ?? USUAL_ROUTE_QUOTA;
  }

  /** The quota is what Quota Center says, not just what is usual. */
  get quotaIsKnown(): boolean {
    return this.#quota !== undefined;
  }

  /** Why it was not told when it was last asked for. */
  get quotaTrouble(): PluginError | undefined {
    return this.#quotaTrouble;
  }

  /** Errors: PROVIDER_*, SETTING_INVALID (region), ROUTE_TABLE_MISSING, DEADLINE. */
  async find(c: Context): Promise<void> {
    const { settings, host, calls } = this.#options;
    const [instance, vpc, here, address] = await Promise.all([
      this.metadata.must('meta-data/instance-id', c),
      this.metadata.must('meta-data/vpc-id', c),
      this.metadata.must('meta-data/region-id', c),
      this.metadata.must('meta-data/private-ipv4', c),
    ]);
    const region = regionOf(settings, here);
    const { credentials } = this;
    const caller = new AliyunCaller({ ...calls, credentials, region, endpoint: settings.cloudEndpoint });
    const client = this.#place?.client ?? new AliyunClient(caller);
    const [surroundings] = await Promise.all([
      this.#surroundings(client, vpc, region, c),
      this.#place === undefined ? this.askQuota(client, c) : undefined,
    ]);
    this.#place = { ...surroundings, client, region, vpc, instance, self: { host, address, target: instance } };
  }

  /** Looks at the VPC again. Errors: PROVIDER_*, ROUTE_TABLE_MISSING, DEADLINE. */
  async lookAround(c: Context): Promise<void> {
    const { client, vpc, region } = this.place;
    this.#place = { ...this.place, ...(await this.#surroundings(client, vpc, region, c)) };
  }

  /** Does without when it may not be read. */
  async askQuota(client: AliyunClient, c: Context): Promise<void> {
    try {
      this.#quota = (await client.routeQuota(newContext(c.log, QUOTA_MS, c))) ?? this.#quota;
      this.#quotaTrouble = undefined;
    } catch (error) {
      if (c.signal.aborted) throw error;
      this.#quotaTrouble = asPluginError(error);
      c.log.debug('the quota of routes could not be read', { error: this.#quotaTrouble.message });
    }
  }

  /**
   * What is reached without translation: the VPC, but for the pool where it lies in it (Aliyun routes prefixes inside of
   * a VPC that no vSwitch has), and all of the vSwitches.
   */
  local(): readonly string[] {
    const { settings } = this.#options;
    const pools = [settings.pool, settings.pool6];
    const { cidrs = [], vswitches = [] } = this.#place ?? {};
    const around = cidrs
      .map((text) => parseCidr(text))
      .flatMap((cidr) => {
        const pool = pools.find((one) => overlaps(one, cidr));
        return pool === undefined ? [cidr] : subtract(cidr, pool);
      });
    const inside = vswitches.flatMap((one) => one.cidrs.map((cidr) => parseCidr(cidr)));
    const apart = inside.filter((one) => !around.some((cidr) => contains(cidr, one)));
    return [...new Set([...around, ...apart].map((cidr) => cidr.text))];
  }

  async #surroundings(client: AliyunClient, vpc: string, region: string, c: Context): Promise<Surroundings> {
    const [all, cidrs, vswitches] = await Promise.all([
      client.tables(vpc, c),
      client.vpc(vpc, c),
      client.vswitches(vpc, c),
    ]);
    if (cidrs === undefined || all.length === 0) {
      throw new PluginError('ROUTE_TABLE_MISSING', { table: `of ${vpc}`, place: region });
    }
    const named = this.#options.settings.routeTables ?? [];
    // One that goes while we are at work is left out; one that was never there is a mistake.
    const lost = named.filter((table) => !all.some(({ id }) => id === table));
    if (lost.length > 0 && (this.#place === undefined || lost.length === named.length)) {
      throw new PluginError('ROUTE_TABLE_MISSING', { table: lost.join(', '), place: vpc });
    }
    const used = all.filter(({ id, system, vswitches: users }) =>
      named.length > 0 ? named.includes(id) : system || users.length > 0,
    );
    // The system table is the arbiter: every VPC has exactly one, and it cannot be deleted.
    const system = used.filter((one) => one.system).map(({ id }) => id);
    const custom = used.filter((one) => !one.system).map(({ id }) => id);
    return { tables: [...system, ...custom.sort(byId)], cidrs, vswitches };
  }
}
