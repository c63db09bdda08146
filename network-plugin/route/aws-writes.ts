import { overlaps, parseCidr } from '../../shared/cidr.ts';
import type { RouteInput, Table, TableRoute } from '../../shared/cloud/aws/model.ts';
import { type Ec2, isRefusal } from '../../shared/cloud/aws/routes.ts';
import { type Context, newContext, noLongerThan, now, sleep, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import { conflict, type ObstacleDeps, refuseObstacles } from './aws-obstacles.ts';
import { type AwsTables, countOf, type Reading, routeTo } from './aws-tables.ts';
import type { NextHop, RouteRequest } from './provider.ts';

export interface WriteDeps extends ObstacleDeps {
  readonly ec2: Pick<Ec2, 'call' | 'isPressed'>;
  readonly tables: AwsTables;
  readonly vpc: string;
  readonly quota: () => { readonly limit: number; readonly isLive: boolean };
  /** Longer than EC2 takes until a write is seen by everybody, in milliseconds. */
  readonly settleMs: number;
  readonly log: Logger;
}

/**
 * A reading of so many milliseconds ago is good enough for what EC2 itself checks again, and for what is looked at once
 * more after the write; an older one when EC2 has had too many calls of late.
 */
const RECENT_MS = { usual: 1_000, pressed: 60_000 };
/** Between two looks at a table that does not show a write yet. */
const POLLS = { firstMs: 250, longestMs: 1_000, random: () => 1 };

/**
 * Routes are created, replaced and removed here. EC2 creates a route to exactly one prefix for exactly one asker; all
 * else (overlaps, taking over) it leaves to its callers, and what is read may be some moments old. So who writes looks
 * again afterwards, later than any write that could not know of his, and gives way when in doubt.
 */
export class AwsWrites {
  readonly #deps: WriteDeps;
  readonly #writes = new KeyedMutex();
  /** Prefixes that are being written, by table: overlapping ones take turns. */
  readonly #pending = new Map<
    string,
    { readonly table: string; readonly prefix: string; readonly done: Promise<void> }
  >();
  /** When this host last made or removed a route, by table and prefix: readings may not know it yet. */
  readonly #recent = new Map<string, { readonly kind: 'made' | 'removed'; readonly at: number }>();

  constructor(deps: WriteDeps) {
    this.#deps = deps;
  }

  create(table: string, request: RouteRequest, c: Context): Promise<void> {
    return this.#inTurn(table, request.prefix, () => this.#create(table, request, c), c);
  }

  replace(table: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    return this.#inTurn(table, request.prefix, () => this.#replace(table, request, expected, c), c);
  }

  remove(table: string, route: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    return this.#inTurn(table, route.prefix, () => this.#remove(table, route, c), c);
  }

  async #create(id: string, request: RouteRequest, c: Context): Promise<void> {
    const { tables, own } = this.#deps;
    const target = request.via ?? own;
    let known = this.#tableIn(await tables.recent(RECENT_MS[this.#isPressed ? 'pressed' : 'usual'], c), id);
    const state = await refuseObstacles(this.#deps, known, request, c).catch(async () => {
      // Before anybody is refused, it is asked whether it still is so.
      known = this.#tableIn(await tables.fresh(c), id);
      return refuseObstacles(this.#deps, known, request, c);
    });
    // What this host removed a moment ago may still be shown; EC2 itself knows whether it is there.
    if (state === 'there' && this.#since('removed', id, request.prefix) >= this.#deps.settleMs) return;
    try {
      await this.#write('CreateRoute', { table: id, prefix: request.prefix, target }, c);
    } catch (error) {
      if (isRefusal(error, 'route-exists')) return this.#shown(id, request, c);
      throw this.#inWords(error, id, request, known);
    }
    const removed = this.#since('removed', id, request.prefix);
    this.#note('made', id, request.prefix);
    // What another host claims at the same time, EC2 has not seen: only the arbiter's order counts.
    if (id !== tables.ids[0] || request.via !== undefined) return;
    // The route that was removed may still be shown, and would be taken for the new one.
    await sleep(Math.max(0, this.#deps.settleMs - removed), c);
    await this.#confirm(id, request, c);
  }

  /** The route is there, says EC2. Whose is it? Waits until the table shows it. */
  async #shown(id: string, request: RouteRequest, c: Context): Promise<void> {
    const { tables, settleMs } = this.#deps;
    // What we removed a moment ago may still be shown as ours, and be another's.
    await sleep(Math.max(0, settleMs - this.#since('removed', id, request.prefix)), c);
    const isThere = await this.#poll(c, async () => {
      const table = this.#tableIn(await tables.fresh(c), id);
      return (await refuseObstacles(this.#deps, table, request, c)) === 'there';
    });
    if (isThere) return;
    const reason = `${id} says that it has a route to ${request.prefix}, but does not show it yet`;
    throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws', reason });
  }

  /** Waits until the table shows our new route, and withdraws it when one of another host overlaps it by then. */
  async #confirm(id: string, request: RouteRequest, c: Context): Promise<void> {
    const { tables, own, settleMs } = this.#deps;
    // Looks that would show nothing yet are for when there are calls to spare.
    if (this.#isPressed) await sleep(settleMs / 2, c);
    const isShown = await this.#poll(c, async () => {
      const table = this.#tableIn(await tables.fresh(c), id);
      if (routeTo(table, request.prefix)?.target.id !== own) return false;
      try {
        await refuseObstacles(this.#deps, table, request, c);
      } catch (error) {
        c.log.info('giving way to an overlapping route', { prefix: request.prefix, table: id });
        await this.#write('DeleteRoute', { table: id, prefix: request.prefix }, c).catch((failure: unknown) => {
          if (!isRefusal(failure, 'route-missing')) throw this.#inWords(failure, id, request, table);
        });
        this.#note('removed', id, request.prefix);
        throw error;
      }
      return true;
    });
    if (isShown) return;
    const reason = `${id} does not show the new route to ${request.prefix}`;
    throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aws', reason });
  }

  async #replace(id: string, request: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    const { tables, settleMs, own } = this.#deps;
    const { prefix } = request;
    const target = request.via ?? own;
    let isSent = false;
    for (let attempt = 1; ; attempt += 1) {
      const table = this.#tableIn(await tables.fresh(c), id);
      const route = routeTo(table, prefix);
      if (route === undefined) throw conflict(id, prefix, 'nothing');
      const isOurs = route.target.id === target;
      // An earlier attempt whose answer was lost.
      if (isOurs && isSent) break;
      if (!(await this.#leadsTo(route, expected, c))) throw conflict(id, prefix, await this.#deps.nameOf(route, c));
      if (isOurs) return;
      try {
        isSent = true;
        // From the look to the write no more may pass than leaves the others the time to see it before they look again.
        await this.#write('ReplaceRoute', { table: id, prefix, target }, newContext(c.log, settleMs / 2, c));
        break;
      } catch (error) {
        if (isRefusal(error, 'route-missing')) throw conflict(id, prefix, 'nothing');
        throwIfDone(c);
        if (!(error instanceof PluginError) || error.retry !== 'backoff')
          throw this.#inWords(error, id, request, table);
        await sleep(pauseMs(attempt, POLLS), c);
      }
    }
    this.#note('made', id, prefix);
    await this.#settled(id, request, expected, c);
  }

  /** EC2 has no compare-and-swap: of several that replaced a route, the last has it, and all see so a while later. */
  async #settled(id: string, { prefix, via }: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    const { tables, settleMs, own } = this.#deps;
    await sleep(settleMs, c);
    let found: TableRoute | undefined;
    const isOurs = await this.#poll(c, async () => {
      found = routeTo(this.#tableIn(await tables.fresh(c), id), prefix);
      if (found?.target.id === (via ?? own)) return true;
      // Still as it was before: EC2 is slow today.
      if (found !== undefined && found.target.id === expected.target) return false;
      throw conflict(id, prefix, found === undefined ? 'nothing' : await this.#deps.nameOf(found, c));
    });
    if (!isOurs) throw conflict(id, prefix, expected.host);
  }

  async #remove(id: string, { prefix, via }: Pick<RouteRequest, 'prefix' | 'via'>, c: Context): Promise<void> {
    const { tables, own, settleMs } = this.#deps;
    const look = async (reading: Reading): Promise<TableRoute | 'no table' | undefined> => {
      const table = reading.tables.find((one) => one.id === id);
      return table === undefined ? 'no table' : routeTo(table, prefix);
    };
    // EC2 removes whatever is there: never by an old reading.
    let route = await look(await tables.fresh(c));
    if (route === undefined && this.#since('made', id, prefix) < settleMs) {
      // Made a moment ago, and not shown yet.
      await this.#poll(c, async () => {
        route = await look(await tables.fresh(c));
        return route !== undefined || this.#since('made', id, prefix) >= settleMs;
      });
    }
    if (route === undefined || route === 'no table' || route.target.id !== (via ?? own)) return;
    try {
      await this.#write('DeleteRoute', { table: id, prefix }, c);
      this.#note('removed', id, prefix);
    } catch (error) {
      if (isRefusal(error, 'route-missing')) return;
      if (!isRefusal(error, 'table-missing')) throw this.#inWords(error, id, { prefix });
      tables.drop(id);
    }
  }

  get #isPressed(): boolean {
    return this.#deps.ec2.isPressed('DescribeRouteTables');
  }

  async #leadsTo(route: TableRoute, { host, target }: NextHop, c: Context): Promise<boolean> {
    return target === undefined ? (await this.#deps.nameOf(route, c)) === host : route.target.id === target;
  }

  /** One write at a time for the VPC, which is what EC2's own limits are for. */
  async #write(
    action: 'CreateRoute' | 'ReplaceRoute' | 'DeleteRoute',
    input: Omit<RouteInput, 'target'> & { readonly target?: string },
    c: Context,
  ): Promise<void> {
    const { ec2, tables, vpc } = this.#deps;
    const { target = '' } = input;
    try {
      await this.#writes.run(vpc, () => ec2.call(action, { ...input, target }, c), c);
    } finally {
      tables.age();
    }
  }

  /** Looks again and again until it is as wished (true), or for longer than EC2's lag has any right to be (false). */
  async #poll(c: Context, look: () => Promise<boolean>): Promise<boolean> {
    const until = now() + 5 * this.#deps.settleMs;
    for (let attempt = 1; ; attempt += 1) {
      if (await look()) return true;
      if (now() > until) return false;
      await sleep(Math.min(pauseMs(attempt, POLLS), this.#deps.settleMs), c);
    }
  }

  /** Runs `work` once nothing that overlaps the prefix is being written by this host in the table. */
  async #inTurn<T>(table: string, prefix: string, work: () => Promise<T>, c: Context): Promise<T> {
    const cidr = parseCidr(prefix);
    for (;;) {
      const inTheWay = [...this.#pending.values()].find(
        (one) => one.table === table && overlaps(cidr, parseCidr(one.prefix)),
      );
      if (inTheWay === undefined) break;
      await noLongerThan(c, inTheWay.done);
    }
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#pending.set(key(table, prefix), { table, prefix, done });
    try {
      return await work();
    } finally {
      this.#pending.delete(key(table, prefix));
      resolve();
    }
  }

  #tableIn({ tables }: Reading, id: string): Table {
    const found = tables.find((table) => table.id === id);
    if (found === undefined) throw this.#deps.tables.missing(id);
    return found;
  }

  #note(kind: 'made' | 'removed', table: string, prefix: string): void {
    for (const [old, { at }] of this.#recent) if (now() - at > this.#deps.settleMs) this.#recent.delete(old);
    this.#recent.set(key(table, prefix), { kind, at: now() });
  }

  /** Milliseconds since this host has made, or removed, that route. */
  #since(kind: 'made' | 'removed', table: string, prefix: string): number {
    const recent = this.#recent.get(key(table, prefix));
    return recent?.kind === kind ? now() - recent.at : Number.POSITIVE_INFINITY;
  }

  /** EC2's refusals in words that name the table and the prefix. */
  #inWords(error: unknown, id: string, request: Pick<RouteRequest, 'prefix' | 'via'>, table?: Table): unknown {
    const { tables, quota } = this.#deps;
    if (isRefusal(error, 'table-missing')) {
      tables.drop(id);
      return tables.missing(id);
    }
    if (isRefusal(error, 'table-full')) {
      const counted = table === undefined ? 0 : countOf(table, request.prefix);
      // EC2 knows best: where our number is lower, it is the quota that is not known, or the reading that is old.
      const { limit, isLive } = quota();
      const full = isLive ? Math.max(counted, limit) : counted;
      const context = { table: id, used: full, limit: isLive ? limit : full };
      return new PluginError('QUOTA_EXCEEDED', { ...context, quota: 'Service Quotas, VPC, Routes per route table' });
    }
    if (isRefusal(error, 'target-missing', 'route-missing', 'route-exists')) {
      const what = `a route to ${request.prefix}${request.via === undefined ? '' : ` via ${request.via}`}`;
      return new PluginError('PROVIDER_REFUSED', { provider: 'aws', what, reason: error.message }, { cause: error });
    }
    return error;
  }
}

const key = (table: string, prefix: string): string => `${table} ${prefix}`;
