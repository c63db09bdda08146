import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { Claims } from './claims.ts';
import type { Fates } from './fates.ts';
import type { Ledger } from './ledger.ts';
import type { Route, RouteProvider } from './provider.ts';
import { isTaken } from './refusals.ts';
import type { RouteView } from './route-view.ts';

export interface BlackholeDeps {
  readonly provider: RouteProvider;
  readonly view: RouteView;
  readonly claims: Claims;
  readonly ledger: Ledger;
  readonly fates: Fates;
  /** CIDRs that this cluster draws prefixes from: nothing outside of them is touched. */
  readonly pools: () => readonly string[];
  readonly now: () => number;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** A blackhole is left alone for a while (whoever claims takes it over), then one of the hosts removes it. */
const REST_MS = 2 * 60_000;
const SPREAD_MS = 10 * 60_000;
/** The fates of so many hosts are asked for in one round. */
const MOST_AT_ONCE = 4;

/**
 * Routes to hosts that are gone for good. They would pile up until a table is full, so each host removes them after a
 * time of its own. No provider can remove a route only if it leads to a stranger: it is taken over first (which only
 * one of several hosts can do, and only while it leads where it did), and what is this host's is removed.
 */
export class Blackholes {
  readonly #deps: BlackholeDeps;
  /** When this host's turn comes, by prefix and target: one host does all tables. */
  readonly #due = new Map<string, number>();

  constructor(deps: BlackholeDeps) {
    this.#deps = deps;
  }

  /** Those of other hosts in the pools. No I/O. */
  get all(): readonly { readonly table: string; readonly route: Route }[] {
    const { view, pools } = this.#deps;
    const areas = pools().map((pool) => parseCidr(pool));
    return view.tables.flatMap((table) =>
      view
        .of(table)
        .filter(({ state, ours, gateway }) => state === 'blackhole' && !ours && gateway !== true)
        .filter(({ prefix }) => areas.some((area) => contains(area, parseCidr(prefix))))
        .map((route) => ({ table, route })),
    );
  }

  /** Tells those whose hosts are gone for good, and removes them when it is this host's turn. */
  async settle(repair: boolean, c: Context): Promise<Drift[]> {
    if (this.#deps.provider.fate === undefined) return [];
    const found = this.all;
    const keys = new Set(found.map(keyOf));
    for (const key of this.#due.keys()) if (!keys.has(key)) this.#due.delete(key);
    const drift: Drift[] = [];
    let looked = 0;
    for (const one of found) {
      const { nextHop } = one.route;
      if (!this.#deps.fates.isKnown(nextHop, false)) {
        looked += 1;
        // The others' turn comes with the next rounds.
        if (looked > MOST_AT_ONCE) continue;
      }
      try {
        if (await this.#isGone(one.route, c)) drift.push(await this.#deal(one, repair, c));
      } catch (error) {
        drift.push({ what: `${textOf(one)}: ${asPluginError(error).message}`, repaired: false });
      }
    }
    return drift;
  }

  async #isGone({ nextHop }: Route, c: Context): Promise<boolean> {
    return (await this.#deps.fates.of(nextHop, c, false)) === 'gone';
  }

  async #deal(one: { readonly table: string; readonly route: Route }, repair: boolean, c: Context): Promise<Drift> {
    const { ledger, claims, now } = this.#deps;
    const { table, route } = one;
    const what = `${textOf(one)}, which is gone`;
    if (now() < this.#dueAt(keyOf(one)) || !repair || this.#isOwn(route.prefix)) return { what, repaired: false };
    const request = { prefix: route.prefix, pool: route.pool ?? route.prefix };
    try {
      const done = await claims.unlessBusy(
        route.prefix,
        async () => {
          await ledger.reap(table, request, route.nextHop, c);
          return true;
        },
        c,
      );
      return { what, repaired: done === true };
    } catch (error) {
      // Somebody else has taken it over or removed it.
      if (isTaken(error)) return { what, repaired: false };
      throw error;
    }
  }

  /** A claim of this host: repairing it is another matter. */
  #isOwn(prefix: string): boolean {
    const cidr = parseCidr(prefix);
    return this.#deps.claims.own.some((own) => overlaps(parseCidr(own), cidr));
  }

  #dueAt(key: string): number {
    const { now, random = Math.random } = this.#deps;
    const due = this.#due.get(key) ?? now() + REST_MS + random() * SPREAD_MS;
    this.#due.set(key, due);
    return due;
  }
}

const keyOf = ({ route }: { readonly route: Route }): string =>
  `${route.prefix} ${route.nextHop.target ?? route.nextHop.host}`;

const textOf = ({ table, route }: { readonly table: string; readonly route: Route }): string =>
  `${route.prefix} in ${table} is a blackhole of ${route.nextHop.host}`;
