import { parseCidr } from '../../shared/cidr.ts';
import type { Table, TableRoute } from '../../shared/cloud/aws/model.ts';
import type { Ec2 } from '../../shared/cloud/aws/routes.ts';
import { type Context, newContext, noLongerThan, now } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';

/** A reading of all tables. Nothing that was written before `begun` is missing in it for longer than EC2's lag. */
export interface Reading {
  /** In our order: the arbiter first. */
  readonly tables: readonly Table[];
  /** When it was begun, on the clock of contexts. */
  readonly begun: number;
}

export interface TablesOptions {
  readonly ec2: Pick<Ec2, 'call' | 'region'>;
  readonly vpc: string;
  /** Those that the settings name; all that subnets use when empty. */
  readonly named: readonly string[];
  readonly log: Logger;
}

/** Longest time of a reading, in milliseconds: who waits for it has a deadline of his own, and the next one joins it. */
const READ_MS = 4 * 60_000;

/** The route tables of the VPC that the cluster's routes go into. One call reads them all. */
export class AwsTables {
  readonly #options: TablesOptions;
  #last: Reading | undefined;
  #running: Promise<Reading> | undefined;
  #next: Promise<Reading> | undefined;
  readonly #end = new AbortController();

  constructor(options: TablesOptions) {
    this.#options = options;
  }

  /** Of the last reading. */
  get ids(): readonly string[] {
    return (this.#last?.tables ?? []).map((table) => table.id);
  }

  get last(): Reading | undefined {
    return this.#last;
  }

  /**
   * A reading that is begun after this call; those who ask while one is under way share the next one. Errors:
   * ROUTE_TABLE_MISSING, PROVIDER_*.
   */
  fresh(c: Context): Promise<Reading> {
    this.#next ??= this.#after(this.#running);
    return noLongerThan(c, this.#next);
  }

  /** The last reading, if it is not older than `ms`; else a fresh one. */
  recent(ms: number, c: Context): Promise<Reading> {
    const last = this.#last;
    return last !== undefined && now() - last.begun <= ms ? Promise.resolve(last) : this.fresh(c);
  }

  /** The last reading is not good any more, such as after a write of ours. */
  age(): void {
    if (this.#last !== undefined) this.#last = { ...this.#last, begun: Number.NEGATIVE_INFINITY };
  }

  /** One of the tables is not there any more. */
  drop(id: string): void {
    if (this.#last !== undefined) {
      this.#last = { ...this.#last, tables: this.#last.tables.filter((table) => table.id !== id) };
    }
  }

  /** Ends what is under way. */
  close(): void {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
  }

  missing(table: string): PluginError {
    const { vpc, ec2 } = this.#options;
    return new PluginError('ROUTE_TABLE_MISSING', { table, place: `${vpc} in ${ec2.region}` });
  }

  async #after(running: Promise<Reading> | undefined): Promise<Reading> {
    await running?.catch(() => undefined);
    this.#next = undefined;
    const reading = this.#read();
    this.#running = reading;
    try {
      return await reading;
    } finally {
      if (this.#running === reading) this.#running = undefined;
    }
  }

  async #read(): Promise<Reading> {
    const { ec2, vpc, named, log } = this.#options;
    const begun = now();
    const life = { requestId: 'routes', signal: this.#end.signal, deadline: Number.POSITIVE_INFINITY, log };
    const c = newContext(log, READ_MS, life);
    const found = await ec2.call('DescribeRouteTables', { vpc, ...(named.length > 0 && { ids: named }) }, c);
    for (const id of named) if (!found.some((table) => table.id === id)) throw this.missing(id);
    const tables = inOrder(named.length > 0 ? found : found.filter((table) => table.main || table.subnets.length > 0));
    if (tables.length === 0) throw this.missing('of any name');
    this.#last = { tables, begun };
    return this.#last;
  }
}

/** The same on every host, whatever order EC2 lists them in: the main one, then by id. */
const inOrder = (tables: readonly Table[]): readonly Table[] =>
  [...tables].sort((a, b) => Number(b.main) - Number(a.main) || (a.id < b.id ? -1 : 1));

/** Is it a route that somebody made to somewhere: not the VPC's own, and not the way out? */
export const isRoute = ({ prefix, origin }: TableRoute): boolean => origin !== 'local' && parseCidr(prefix).length > 0;

/** Routes as they count: one that was made stands before one to the same prefix that a VPN gateway has propagated. */
export const routesOf = ({ routes }: Table): readonly TableRoute[] => {
  const made = new Set(routes.filter(({ origin }) => origin === 'static').map(({ prefix }) => prefix));
  return routes.filter((route) => isRoute(route) && (route.origin === 'static' || !made.has(route.prefix)));
};

/** The route of exactly this prefix; one that was made stands before one that a VPN gateway has propagated. */
export const routeTo = (table: Table, prefix: string): TableRoute | undefined => {
  const found = table.routes.filter((route) => route.prefix === prefix && isRoute(route));
  return found.find((route) => route.origin === 'static') ?? found[0];
};

/** Routes of the family of the prefix that count against the quota: a VPN gateway's and the VPC's own do not. */
export const countOf = ({ routes }: Table, prefix: string): number => {
  const { family } = parseCidr(prefix);
  return routes.filter((route) => route.origin === 'static' && parseCidr(route.prefix).family === family).length;
};

/** The quota is for each family of its own: the larger number. */
export const usedOf = (table: Table): number => Math.max(countOf(table, '0.0.0.0/0'), countOf(table, '::/0'));
