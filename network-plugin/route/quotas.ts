import type { Cidr, Family } from '../../shared/cidr.ts';
import { parseCidr } from '../../shared/cidr.ts';
import { Coalescer } from '../../shared/coalesce.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { RouteProvider } from './provider.ts';
import type { RouteView } from './route-view.ts';

/** How full a table is. */
export interface TableFill {
  readonly table: string;
  readonly used: number;
  readonly limit: number;
}

/** The part of a table's quota from which on it is warned of. */
const NEARLY_FULL = 0.8;

/** Keeps an eye on how many routes the tables take: says once when one is nearly full, and refuses what has no room. */
export class Quotas {
  readonly #view: RouteView;
  readonly #log: Logger;
  readonly #warned = new Set<string>();
  readonly #provider: Pick<RouteProvider, 'quota'>;
  readonly #asked = new Coalescer<number | undefined>();

  constructor(provider: Pick<RouteProvider, 'quota'>, view: RouteView, log: Logger) {
    this.#provider = provider;
    this.#view = view;
    this.#log = log;
  }

  /** Of the tables whose quota is known. */
  get fill(): readonly TableFill[] {
    return this.#view.tables.flatMap((table) => {
      const { used, limit } = this.#view.fill(table);
      return used === undefined || limit === undefined ? [] : [{ table, used, limit }];
    });
  }

  /** Tables that are nearly full. */
  get scarce(): readonly TableFill[] {
    return this.fill.filter(isScarce);
  }

  /** After each reading: warns of a table once, and again when it was emptier in between. */
  watch(): void {
    const fill = this.fill;
    for (const table of this.#warned) {
      if (!fill.some((one) => one.table === table && isScarce(one))) this.#warned.delete(table);
    }
    for (const { table, used, limit } of fill.filter(isScarce)) {
      if (this.#warned.has(table)) continue;
      this.#warned.add(table);
      this.#log.warn('a route table is nearly full: have the quota raised, or use larger prefixes', {
        ...{ table, used, limit },
      });
    }
  }

  /** Throws QUOTA_EXCEEDED when a table has no room for one more prefix of this family, as far as is known. */
  refuse(prefix: Cidr): void {
    this.#refuse(prefix, this.fill);
  }

  /** The same, by the quota of this moment: it may have been raised, or never been told. Errors: also PROVIDER_*, DEADLINE. */
  async refuseNow(prefix: Cidr, c: Context): Promise<void> {
    const { quota } = this.#provider;
    try {
      this.refuse(prefix);
    } catch (error) {
      if (quota === undefined) throw error;
      const limit = await this.#asked.run('quota', async () => this.#provider.quota?.(c));
      // Where nobody tells, the router itself knows.
      if (limit === undefined) return;
      const fill = this.fill.map((table) => ({ ...table, limit }));
      this.#refuse(prefix, fill);
    }
  }

  #refuse(prefix: Cidr, fill: readonly TableFill[]): void {
    for (const { table, used, limit } of fill) {
      if (used < limit || this.#view.get(prefix.text, table)?.ours === true) continue;
      // The count is that of the family with more routes, and families are counted apart.
      if (this.#count(table, prefix.family) < this.#count(table, prefix.family === 4 ? 6 : 4)) continue;
      throw new PluginError('QUOTA_EXCEEDED', { table, used, limit });
    }
  }

  #count(table: string, family: Family): number {
    return this.#view.of(table).filter(({ prefix }) => parseCidr(prefix).family === family).length;
  }
}

const isScarce = ({ used, limit }: TableFill): boolean => used >= limit * NEARLY_FULL;
