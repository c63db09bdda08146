import { type Cidr, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { ClaimRecord, NetworkState } from '../state.ts';
import type { Fates } from './fates.ts';
import type { Ledger } from './ledger.ts';
import type { Obstacles } from './obstacles.ts';
import type { NextHop, RouteProvider } from './provider.ts';
import type { Quotas } from './quotas.ts';
import { isRefused, isTaken } from './refusals.ts';
import type { RouteView } from './route-view.ts';

/** A prefix that this host's records say it holds, and that is somebody else's now. */
export interface Lost {
  readonly prefix: string;
  /** The other host, or in words what is in the way. */
  readonly owner: string;
  /** The other's prefix. */
  readonly other: string;
}

export interface ClaimDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly view: RouteView;
  readonly ledger: Ledger;
  readonly fates: Fates;
  readonly obstacles: Obstacles;
  readonly quotas: Quotas;
  readonly dryRun: boolean;
  readonly now: () => number;
  /** Brings the provider to work, or throws why not. */
  readonly ready: (c: Context) => Promise<void>;
  /** Reads the whole view from the provider, unless it was read within `maxAgeMs`. */
  readonly freshen: (c: Context, maxAgeMs?: number) => Promise<void>;
  readonly reachable: () => boolean;
  /** Something is left for the next round of repairs. */
  readonly leave: () => void;
}

/**
 * This host's claims: the records and the provider, kept in step. Before a claim or its release the record says what
 * is about to happen; whatever is cut off there is finished by the next round of repairs.
 */
export class Claims {
  readonly #deps: ClaimDeps;
  readonly #locks = new KeyedMutex();
  /** Claims that could not be made good again, and why. */
  readonly #lost = new Map<string, Lost>();

  constructor(deps: ClaimDeps) {
    this.#deps = deps;
  }

  /** What this host has a record of. */
  get own(): readonly string[] {
    return [...this.#deps.store.all('claims').keys()];
  }

  get records(): readonly ClaimRecord[] {
    return [...this.#deps.store.all('claims').values()];
  }

  record(prefix: string): ClaimRecord | undefined {
    return this.#deps.store.get('claims', prefix);
  }

  /** Is it on record as held, and nothing known against it? No I/O. */
  isHeld(prefix: string): boolean {
    return this.record(prefix)?.phase === 'held' && !this.lost().some((one) => one.prefix === prefix);
  }

  /** Is it being claimed or released at this moment? No I/O. */
  isBusy(prefix: string): boolean {
    return this.#locks.isHeld(prefix);
  }

  /** Runs what changes a claim, one at a time; undefined when somebody is at it already. */
  async unlessBusy<T>(prefix: string, work: () => Promise<T>, c: Context): Promise<T | undefined> {
    return this.isBusy(prefix) ? undefined : await this.#locks.run(prefix, work, c);
  }

  /**
   * Claims a prefix. `former`: it is taken out of those hands in one step. A blackhole that nobody is behind any more
   * is taken over, unless `free` says that only free ones are wanted.
   */
  claim(
    prefix: string,
    pool: string,
    how: { readonly former?: NextHop | undefined; readonly free?: boolean },
    c: Context,
  ): Promise<void> {
    const cidr = parseCidr(prefix);
    return this.#locks.run(cidr.text, () => this.#claim(cidr, parseCidr(pool).text, how, c), c);
  }

  async release(prefix: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    await this.#locks.run(
      text,
      async () => {
        this.#lost.delete(text);
        const record = this.record(text);
        if (record === undefined) return;
        if (this.#deps.dryRun) throw new PluginError('DRY_RUN', { what: `release ${text}` });
        await this.save({ ...record, phase: 'releasing' });
        if (!this.#deps.reachable()) return;
        try {
          await this.withdraw(text, c);
        } catch (error) {
          c.log.warn('a prefix could not be released now; it will be', { prefix: text, error });
          this.#deps.leave();
        }
      },
      c,
    );
  }

  /** Claims that are another's by what is known now: those of the records, and addresses given up for that. */
  lost(): readonly Lost[] {
    const { view } = this.#deps;
    const found = new Map(this.#lost);
    for (const { prefix, phase } of this.records) {
      if (phase !== 'held' || view.get(prefix)?.ours === true) continue;
      const cidr = parseCidr(prefix);
      const other = view.overlapping(cidr).find((route) => !route.ours && !isWider(route.gateway, route.prefix, cidr));
      if (other !== undefined) found.set(prefix, { prefix, owner: other.nextHop.host, other: other.prefix });
    }
    return [...found.values()];
  }

  /** Notes a loss. True when it is news. */
  lose(lost: Lost): boolean {
    const news = !this.#lost.has(lost.prefix);
    this.#lost.set(lost.prefix, lost);
    return news;
  }

  /** All is well with it again. */
  regain(prefix: string): void {
    this.#lost.delete(prefix);
  }

  /** Takes ours out of all tables and forgets the record. Errors: PROVIDER_*. */
  async withdraw(prefix: string, c: Context): Promise<void> {
    await this.#deps.ledger.withdraw(prefix, c);
    await this.forget(prefix);
  }

  async forget(prefix: string): Promise<void> {
    if (this.record(prefix) !== undefined) await this.#deps.store.update((tx) => tx.delete('claims', prefix));
  }

  save(record: Omit<ClaimRecord, 'since'>): Promise<void> {
    const since = new Date(this.#deps.now()).toISOString();
    return this.#deps.store.update((tx) => tx.put('claims', record.prefix, { ...record, since }));
  }

  async #claim(
    cidr: Cidr,
    pool: string,
    { former, free = false }: { readonly former?: NextHop | undefined; readonly free?: boolean },
    c: Context,
  ): Promise<void> {
    const { provider, obstacles, dryRun } = this.#deps;
    const prefix = cidr.text;
    const record = this.record(prefix);
    if (record?.phase === 'held') {
      const lost = this.lost().find((one) => one.prefix === prefix);
      if (lost === undefined) return;
      throw new PluginError('PREFIX_OWNED', { prefix, owner: lost.owner, other: lost.other });
    }
    const other = this.own.find((one) => one !== prefix && overlaps(parseCidr(one), cidr));
    if (other !== undefined) throw new PluginError('PREFIX_OVERLAP', { prefix, other, owner: 'this host' });
    await obstacles.refuse(cidr, c);
    if (dryRun) throw new PluginError('DRY_RUN', { what: `claim ${prefix} at ${provider.name}` });
    await this.#deps.ready(c);
    const taken = former ?? (await this.#vacated(cidr, c));
    if (taken === undefined) await this.#refuseWithoutRoom(cidr, c);
    await this.save({ prefix, pool, phase: 'claiming' });
    try {
      await this.#acquire(cidr, pool, taken, free || former !== undefined, c);
    } catch (error) {
      await this.#clear({ prefix, pool }, record, error);
      throw error;
    }
    await this.save({ prefix, pool, phase: 'held' });
    this.#lost.delete(prefix);
  }

  /** Refusals are checked against a fresh view: nobody is sent away for what is not so any more. */
  async #refuseWithoutRoom(cidr: Cidr, c: Context): Promise<void> {
    const { obstacles, quotas, freshen } = this.#deps;
    try {
      obstacles.refuseGateway(cidr);
      quotas.refuse(cidr);
    } catch {
      await freshen(c);
      obstacles.refuseGateway(cidr);
      await quotas.refuseNow(cidr, c);
    }
  }

  async #acquire(cidr: Cidr, pool: string, former: NextHop | undefined, strict: boolean, c: Context): Promise<void> {
    const { ledger, freshen, provider, fates, view } = this.#deps;
    const request = { prefix: cidr.text, pool };
    try {
      await ledger.claim(request, former, c);
    } catch (error) {
      if (strict || former !== undefined || provider.fate === undefined || !isTaken(error)) throw error;
      // What is in the way may have become a blackhole since the last look; where routers do not tell, hosts do.
      const there = view.get(cidr.text);
      if (there !== undefined && !there.ours && there.gateway !== true) await fates.of(there.nextHop, c, true);
      await freshen(c);
      const vacated = await this.#vacated(cidr, c);
      if (vacated === undefined) throw error;
      await ledger.claim(request, vacated, c);
    }
  }

  /** Whom exactly this prefix leads to, when nobody is there any more. */
  async #vacated({ text }: Cidr, c: Context): Promise<NextHop | undefined> {
    const { view, fates } = this.#deps;
    const route = view.get(text);
    return route !== undefined && (await fates.isVacant(route, c)) ? route.nextHop : undefined;
  }

  /** After a claim that failed: forgets it when nothing was written, and has the rest withdrawn otherwise. */
  async #clear(
    failed: Pick<ClaimRecord, 'prefix' | 'pool'>,
    former: ClaimRecord | undefined,
    error: unknown,
  ): Promise<void> {
    const { view, leave } = this.#deps;
    const isOurs = view.everywhere(failed.prefix).some(({ route }) => route.ours);
    if (isRefused(error) && former === undefined && !isOurs) await this.forget(failed.prefix);
    // Whether it was made is not known, or a release is still due: either way it has to be withdrawn.
    else await this.save({ ...failed, phase: 'releasing' });
    // Also, while it was on record the way to who was quicker was not set.
    leave();
  }
}

/** A way out that the prefix is cut out of. */
const isWider = (gateway: boolean | undefined, other: string, prefix: Cidr): boolean =>
  gateway === true && parseCidr(other).length < prefix.length;
