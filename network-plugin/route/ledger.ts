import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Fates } from './fates.ts';
import type { NextHop, Route, RouteProvider, RouteRequest } from './provider.ts';
import { isMissingTable, isRefused, isTaken } from './refusals.ts';
import type { RouteView } from './route-view.ts';

export interface LedgerDeps {
  readonly provider: RouteProvider;
  readonly view: RouteView;
  readonly fates: Fates;
  readonly log: Logger;
  readonly now: () => number;
}

/**
 * Writing into the provider's tables. The first of them is the arbiter: what it grants goes into all others, which
 * are written at once. What was written is in the view right away.
 */
export class Ledger {
  readonly #deps: LedgerDeps;
  /** Tables that were not there any more when they were written to. */
  readonly #missing = new Set<string>();

  constructor(deps: LedgerDeps) {
    this.#deps = deps;
  }

  /** Tables that the provider names, and that are not there: until a reading has them again. */
  get missing(): readonly string[] {
    return [...this.#missing];
  }

  /** A reading has these tables. */
  found(tables: readonly string[]): void {
    for (const id of tables) this.#missing.delete(id);
  }

  /**
   * Claims for this host: in the arbiter, in one step out of the hands of `former` where that is given, then in the
   * followers. When one of those refuses, the claim is taken back. Errors: those of `RouteProvider.create`; whether
   * anything of it is left is in the view.
   */
  async claim(request: RouteRequest, former: NextHop | undefined, c: Context): Promise<void> {
    const { provider, view } = this.#deps;
    const [arbiter, ...followers] = await provider.tables(c);
    if (arbiter === undefined) throw new PluginError('ROUTE_TABLE_MISSING', { table: 'of any name' });
    if (former === undefined) await provider.create(arbiter, request, c);
    else await provider.replace(arbiter, request, former, c);
    await this.#note(arbiter, request, c);
    const failures = await this.#all(followers, (id) => this.#follow(id, request, c));
    const open = failures.find((error) => !isRefused(error));
    // What is open is left to the next repair: it may be there or not.
    if (open !== undefined) throw open;
    const [refusal] = failures;
    if (refusal === undefined) return;
    await this.withdraw(request.prefix, c).catch((error: unknown) => {
      c.log.warn('a claim that a table refused could not be taken back yet', { prefix: request.prefix, error });
    });
    if (view.everywhere(request.prefix).some(({ route }) => route.ours)) {
      c.log.info('what is left of a refused claim goes with the next repair', { prefix: request.prefix });
    }
    throw refusal;
  }

  /**
   * Puts a claim that is held back wherever the view does not have it, the arbiter first. Answers where it was made
   * again, and by table what a follower has in its place. Errors: those of `create` at the arbiter.
   */
  async restore(
    request: RouteRequest,
    c: Context,
  ): Promise<{ readonly made: readonly string[]; readonly refused: readonly PluginError[] }> {
    const { provider, view } = this.#deps;
    const made: string[] = [];
    const [arbiter, ...followers] = (await provider.tables(c)).filter((id) => !view.get(request.prefix, id)?.ours);
    const first = view.arbiter;
    if (arbiter !== undefined && arbiter === first) {
      await provider.create(arbiter, request, c);
      await this.#note(arbiter, request, c);
      made.push(arbiter);
    }
    const rest = arbiter === undefined || arbiter === first ? followers : [arbiter, ...followers];
    const failures = await this.#all(rest, async (id) => {
      await this.#refuseKnown(id, request.prefix, c);
      if (await this.#follow(id, request, c)) made.push(id);
    });
    return { made, refused: failures };
  }

  /** Takes ours out of every table; what is another's stays. */
  async withdraw(prefix: string, c: Context): Promise<void> {
    const [failure] = await this.#all(await this.#deps.provider.tables(c), (id) => this.remove(id, { prefix }, c));
    if (failure !== undefined) throw failure;
  }

  /** Takes over a route that nobody is behind any more, and removes it: no other step is sure not to hit another's. */
  async reap(table: string, request: RouteRequest, former: NextHop, c: Context): Promise<void> {
    await this.#deps.provider.replace(table, request, former, c);
    await this.#note(table, request, c);
    await this.remove(table, { prefix: request.prefix }, c);
  }

  /** Makes a route to a gateway in one table, in place of one to `former` where that is given. */
  async lead(table: string, request: RouteRequest & { readonly via: string }, former: NextHop | undefined, c: Context) {
    const { provider, view, now } = this.#deps;
    if (former === undefined) await provider.create(table, request, c);
    else await provider.replace(table, request, former, c);
    const { prefix, pool, via } = request;
    const nextHop = { host: via, target: via };
    view.wrote(table, prefix, { prefix, pool, nextHop, state: 'active', ours: false, gateway: true }, now());
  }

  /** Removes ours, or what leads to `via`, from one table; succeeds when the table is gone. */
  async remove(table: string, route: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    const { provider, view, now } = this.#deps;
    try {
      await provider.remove(table, route, c);
    } catch (error) {
      if (!isMissingTable(error)) throw error;
      this.#lose(table);
    }
    const known = view.get(route.prefix, table);
    if (known === undefined || !(known.ours || (route.via !== undefined && leadsTo(known, route.via)))) return;
    view.wrote(table, route.prefix, undefined, now());
  }

  /** Throws ROUTE_CONFLICT when a follower is known to lead elsewhere: that is not even asked for. */
  async #refuseKnown(table: string, prefix: string, c: Context): Promise<void> {
    const { view, fates } = this.#deps;
    const there = view.get(prefix, table);
    if (there === undefined || (await fates.isVacant(there, c, false))) return;
    throw new PluginError('ROUTE_CONFLICT', { prefix, table, target: there.nextHop.host });
  }

  /** True when it was written. Errors: ROUTE_CONFLICT naming the table, QUOTA_EXCEEDED, PROVIDER_*. */
  async #follow(table: string, request: RouteRequest, c: Context): Promise<boolean> {
    const { provider, view, fates } = this.#deps;
    try {
      await provider.create(table, request, c);
    } catch (error) {
      if (isMissingTable(error)) {
        this.#lose(table);
        return false;
      }
      if (!isTaken(error)) throw error;
      // Its former owner's, whom the arbiter does not know any more.
      const there = view.get(request.prefix, table);
      if (there === undefined || !(await fates.isVacant(there, c))) throw inFollower(error, request.prefix, table);
      await provider.replace(table, request, there.nextHop, c);
    }
    await this.#note(table, request, c);
    return true;
  }

  /** Runs it for every table at once, so that a provider can send the writes as one. Answers what failed. */
  async #all(tables: readonly string[], work: (table: string) => Promise<unknown>): Promise<readonly PluginError[]> {
    const results = await Promise.allSettled(tables.map(work));
    return results.flatMap((result) => (result.status === 'rejected' ? [asPluginError(result.reason)] : []));
  }

  async #note(table: string, { prefix, pool }: RouteRequest, c: Context): Promise<void> {
    const { provider, view, now } = this.#deps;
    const route = { prefix, pool, nextHop: await provider.self(c), state: 'active', ours: true } as const;
    view.wrote(table, prefix, route, now());
  }

  #lose(table: string): void {
    if (this.#missing.has(table)) return;
    this.#missing.add(table);
    this.#deps.log.warn('a route table is not there any more; it is left out from now on', { table });
  }
}

/** Does the route lead to this gateway? */
export const leadsTo = ({ nextHop }: Route, via: string): boolean =>
  [nextHop.target, nextHop.host, nextHop.address, nextHop.address6].includes(via);

/** Whatever is in the way there, said with the table: the arbiter has granted the prefix. */
const inFollower = (error: PluginError, prefix: string, table: string): PluginError => {
  if (error.code === 'ROUTE_CONFLICT') return error;
  const { owner, other, address } = error.context;
  const what = other ?? address;
  const target = `${owner === undefined ? 'something else' : owner}${what === undefined ? '' : ` (${what})`}`;
  return new PluginError('ROUTE_CONFLICT', { prefix, table, target }, { cause: error });
};
