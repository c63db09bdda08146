import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Entry } from '../../shared/cloud/aliyun/answers.ts';
import { type AliyunClient, MOST_INSTANCES, PAGE } from '../../shared/cloud/aliyun/client.ts';
import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { type Context, now } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { aliyunFindings } from './aliyun-findings.ts';
import { AliyunHome, type HomeOptions } from './aliyun-home.ts';
import { AliyunHosts } from './aliyun-hosts.ts';
import { hopOf, readMark, routeOf, type Viewpoint, type Wanted, writeMark } from './aliyun-routes.ts';
import { PACE, type Pace } from './aliyun-turns.ts';
import { AliyunWriter } from './aliyun-writer.ts';
import type { Fate, Finding, NextHop, RouteProvider, RouteRequest, RouteTable } from './provider.ts';

export interface AliyunOptions extends HomeOptions {
  readonly log: Logger;
  readonly pace?: Partial<Pace>;
}

/** The VPC is looked at anew after so many milliseconds: tables come and go, quotas are raised. */
const AROUND_MS = 10 * 60_000;
/** How old the last look at the owner of a prefix that is wanted may be, in milliseconds. */
const OWNER_MS = 1_000;
/** A reading of so many milliseconds ago is good enough to try a claim by: an older one when there have been too many calls. */
const RECENT_MS = { usual: 1_000, pressed: 60_000 };

/** The vendor's own services (name servers, metadata, packages) answer there: no route may lead into it. */
const VENDOR_RANGE = parseCidr('100.64.0.0/10');

interface Parts {
  readonly hosts: AliyunHosts;
  readonly view: Viewpoint;
  readonly writer: AliyunWriter;
}

/**
 * Provider `aliyun`: prefixes are custom entries of the VPC's route tables whose next hop is the host's instance. The
 * table refuses a second entry for a destination, which makes it the lock between hosts; overlaps of other lengths are
 * looked for before and after.
 */
export class AliyunProvider implements RouteProvider {
  readonly name = 'aliyun';
  readonly installsKernelRoutes = false;
  readonly allowsNarrower = true;
  readonly #options: AliyunOptions;
  readonly #home: AliyunHome;
  #parts: Parts | undefined;
  #lookedAround = 0;
  /** The last of each table; `begun` on the contexts' clock. */
  readonly #readings = new Map<string, { readonly entries: readonly Entry[]; readonly begun: number }>();

  constructor(options: AliyunOptions) {
    this.#options = options;
    this.#home = new AliyunHome(options);
  }

  async start(c: Context): Promise<void> {
    await this.#home.find(c);
    this.#lookedAround = Date.now();
    if (this.#parts !== undefined) return;
    const { log, pace, settings } = this.#options;
    const { client, self } = this.#home.place;
    const hosts = new AliyunHosts(client, self.target);
    const view: Viewpoint = { self, pools: [settings.pool, settings.pool6], hosts };
    const writer = new AliyunWriter({
      ...{ client, view, log, pace: { ...PACE, ...pace } },
      entries: (table, context, recent = false) => this.#entries(table, context, recent ? this.#recentMs(client) : 0),
      entry: async (table, prefix, context) =>
        (await this.#named(table, () => client.entriesTo(table, prefix, context)))[0],
      isLong: (table) => (this.#readings.get(table)?.entries.length ?? 0) > PAGE,
      quota: () => this.#home.quota,
      tableLost: (table) => this.#missing(table),
    });
    this.#parts = { hosts, view, writer };
  }

  async self(): Promise<NextHop> {
    return this.#home.place.self;
  }

  async tables(): Promise<readonly string[]> {
    return this.#home.place.tables;
  }

  async read(c: Context, maxAgeMs = 0): Promise<readonly RouteTable[]> {
    const { hosts, view } = this.#ready();
    if (Date.now() - this.#lookedAround >= AROUND_MS * (0.9 + Math.random() * 0.2)) await this.#lookAround(c);
    const tables = await this.#readAll(c, maxAgeMs);
    await hosts.meet(
      tables.flatMap(({ entries }) => entries.map((entry) => entry.hop.id)),
      c,
    );
    return tables.map(({ id, entries }) => ({
      id,
      routes: entries.flatMap((entry) => routeOf(entry, view) ?? []),
      limit: this.#home.quota,
      used: entries.filter(({ type }) => type === 'Custom').length,
    }));
  }

  async create(table: string, request: RouteRequest, c: Context): Promise<void> {
    const { hosts, writer } = this.#ready();
    const wanted = this.#wanted(table, request);
    if (!wanted.gateway) this.#refuseVendor(request.prefix);
    this.#refuseVSwitch(wanted);
    try {
      await writer.create(wanted, c);
    } catch (error) {
      const target = error instanceof PluginError && error.code === 'PREFIX_OWNED' ? error.context.target : undefined;
      // Tables do not tell that an instance is released: whoever is in the way is looked at before it counts as there.
      if (typeof target === 'string') await hosts.meet([target], c, OWNER_MS);
      throw error;
    }
  }

  async replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    await this.#ready().writer.replace(this.#wanted(table, request), expected, c);
  }

  async remove(table: string, { prefix, via }: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    await this.#ready().writer.remove({ table, prefix, hop: this.#hop(via) }, c);
  }

  async fate(hop: NextHop, c: Context): Promise<Fate> {
    return hop.target === undefined ? 'unknown' : await this.#ready().hosts.fate(hop.target, c);
  }

  local(): readonly string[] {
    return this.#home.local();
  }

  async quota(c: Context): Promise<number | undefined> {
    await this.#home.askQuota(this.#home.place.client, c);
    return this.#home.quotaIsKnown ? this.#home.quota : undefined;
  }

  findings(c: Context): Promise<readonly Finding[]> {
    const { settings } = this.#options;
    return aliyunFindings({ home: this.#home, pools: [settings.pool, settings.pool6], read: () => this.read(c) }, c);
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    const { credentials, known } = this.#home;
    if (known === undefined) return { credentials: credentials.source };
    const { region, vpc, instance, tables, client } = known;
    return {
      ...{ region, vpc, instance, tables: tables.join(', '), credentials: credentials.source },
      ...{ quota: this.#home.quota, calls: client.caller.calls },
    };
  }

  async close(): Promise<void> {
    await this.#parts?.writer.close();
  }

  #ready(): Parts {
    if (this.#parts === undefined) throw new PluginError('NOT_READY', { reason: 'Aliyun was not asked yet' });
    return this.#parts;
  }

  #hop(via: string | undefined) {
    return via === undefined ? { id: this.#home.place.self.target, type: 'Instance' } : hopOf(via);
  }

  #wanted(table: string, { prefix, pool, via }: RouteRequest): Wanted {
    const { host } = this.#home.place.self;
    const description = writeMark(via === undefined ? { host, pool } : { pool });
    return { table, prefix, hop: this.#hop(via), description, gateway: via !== undefined };
  }

  #refuseVendor(prefix: string): void {
    if (!overlaps(VENDOR_RANGE, parseCidr(prefix))) return;
    const what = "the range of Aliyun's own services";
    throw new PluginError('PREFIX_IS_LOCAL', { prefix, address: VENDOR_RANGE.text, what });
  }

  /** Aliyun takes a route around a vSwitch, but none that equals one or lies in it; a claim shall not even be around. */
  #refuseVSwitch({ prefix, gateway }: Wanted): void {
    const own = parseCidr(prefix);
    for (const { id, cidrs } of this.#home.place.vswitches) {
      const hit = cidrs
        .map((cidr) => parseCidr(cidr))
        .find((cidr) => (gateway ? contains(cidr, own) : overlaps(cidr, own)));
      if (hit === undefined) continue;
      throw new PluginError('PREFIX_IS_LOCAL', { prefix, address: hit.text, what: `the vSwitch ${id} of this VPC` });
    }
  }

  /** Every table; where one that was found is gone by now, the others. */
  async #readAll(
    c: Context,
    maxAgeMs: number,
  ): Promise<readonly { readonly id: string; readonly entries: readonly Entry[] }[]> {
    const readEach = (): Promise<{ id: string; entries: readonly Entry[] }[]> =>
      Promise.all(this.#home.place.tables.map(async (id) => ({ id, entries: await this.#list(id, c, maxAgeMs) })));
    try {
      return await readEach();
    } catch (error) {
      if (!(error instanceof PluginError) || error.code !== 'ROUTE_TABLE_MISSING') throw error;
      await this.#lookAround(c);
      return await readEach();
    }
  }

  async #lookAround(c: Context): Promise<void> {
    const before = this.#home.place.tables.join(', ');
    await Promise.all([this.#home.lookAround(c), this.#home.askQuota(this.#home.place.client, c)]);
    this.#lookedAround = Date.now();
    const after = this.#home.place.tables.join(', ');
    if (before !== after) c.log.info('the route tables of the VPC have changed', { before, after });
  }

  /** For writing: with the names of whoever else is there, as far as the entries do not tell them. */
  async #entries(table: string, c: Context, maxAgeMs: number): Promise<readonly Entry[]> {
    const entries = await this.#list(table, c, maxAgeMs);
    const unnamed = entries.filter(
      (entry) => entry.hop.type === 'Instance' && readMark(entry.description) === undefined,
    );
    await this.#ready().hosts.meet(
      unnamed.slice(0, MOST_INSTANCES).map((entry) => entry.hop.id),
      c,
    );
    return entries;
  }

  #recentMs(client: AliyunClient): number {
    return RECENT_MS[client.caller.isPressed('DescribeRouteEntryList') ? 'pressed' : 'usual'];
  }

  async #list(table: string, c: Context, maxAgeMs: number): Promise<readonly Entry[]> {
    const last = this.#readings.get(table);
    if (last !== undefined && now() - last.begun < maxAgeMs) return last.entries;
    const begun = now();
    const entries = await this.#named(table, () => this.#home.place.client.entries(table, c));
    this.#readings.set(table, { entries, begun });
    return entries;
  }

  /** Names a table that is not there in what fails for that. */
  async #named<T>(table: string, look: () => Promise<T>): Promise<T> {
    try {
      return await look();
    } catch (error) {
      const refusal = asPluginError(error).cause;
      throw kindOfError(refusal) === 'no-table' ? this.#missing(table) : error;
    }
  }

  #missing(table: string): PluginError {
    return new PluginError('ROUTE_TABLE_MISSING', { table, place: this.#home.place.vpc });
  }
}
