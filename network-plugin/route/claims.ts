import { type Cidr, contains, overlaps, parseCidr, subnetCount, width } from '../../shared/cidr.ts';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { asPluginError, type ErrorCode, PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { ClaimRecord, NetworkState } from '../state.ts';
import { type FreePrefix, findFree } from './free-prefix.ts';
import { type LocalUse, type RouteKernel, refuseLocal } from './kernel.ts';
import type { NextHop, RouteProvider } from './provider.ts';
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
  readonly kernel: RouteKernel;
  readonly view: RouteView;
  readonly log: Logger;
  readonly dryRun: boolean;
  readonly now: () => number;
  /** CIDRs that no prefix may be claimed in. */
  readonly reserved: () => readonly string[];
  /** Brings the provider to work, or throws why not. */
  readonly ready: (c: Context) => Promise<void>;
  /** Reads the whole view from the provider. */
  readonly refresh: (c: Context) => Promise<void>;
  readonly reachable: () => boolean;
  /** Something is left for `settle`. */
  readonly leave: () => void;
}

/** The prefix is somebody else's: asking again for the same one changes nothing. */
const TAKEN: ReadonlySet<ErrorCode> = new Set(['PREFIX_OWNED', 'PREFIX_OVERLAP', 'PREFIX_IS_LOCAL', 'ROUTE_CONFLICT']);
/** Nothing was written. */
const REFUSED: ReadonlySet<ErrorCode> = new Set([...TAKEN, 'NODE_NAME_TAKEN', 'PROVIDER_AUTH']);

const isOneOf = (codes: ReadonlySet<ErrorCode>, error: unknown): error is PluginError =>
  error instanceof PluginError && codes.has(error.code);

/**
 * This host's claims: the records and the provider, kept in step. Before a claim or its release the record says what
 * is about to happen; whatever is cut off there is finished by `settle`.
 */
export class Claims {
  readonly #deps: ClaimDeps;
  readonly #locks = new KeyedMutex();
  /** Claims that could not be made good again, and why. */
  readonly #lost = new Map<string, Lost>();

  constructor(deps: ClaimDeps) {
    this.#deps = deps;
  }

  /** Prefixes that this host has a record of. */
  get own(): readonly string[] {
    return [...this.#deps.store.all('claims').keys()];
  }

  claim(prefix: string, pool: string, c: Context): Promise<void> {
    const cidr = parseCidr(prefix);
    return this.#locks.run(cidr.text, () => this.#claim(cidr, pool, c), c);
  }

  claimFree(wanted: FreePrefix, c: Context): Promise<string> {
    const pool = parseCidr(wanted.pool);
    return this.#locks.run(`pool ${pool.text}`, () => this.#claimFree(pool, wanted, c), c);
  }

  /** Claims a prefix, in one step out of the hands of `former` where that is given. Errors: those of `claim`. */
  take(prefix: string, pool: string, former: NextHop | undefined, c: Context): Promise<void> {
    const cidr = parseCidr(prefix);
    return this.#locks.run(cidr.text, () => this.#claim(cidr, pool, c, former), c);
  }

  release(prefix: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    return this.#locks.run(
      text,
      async () => {
        const record = this.#record(text);
        if (record === undefined) return;
        if (this.#deps.dryRun) throw new PluginError('DRY_RUN', { what: `release ${text}` });
        await this.#save({ ...record, phase: 'releasing' });
        if (!this.#deps.reachable()) return;
        try {
          await this.#withdraw(text, c);
        } catch (error) {
          c.log.warn('a prefix could not be released now; it will be', { prefix: text, error });
          this.#deps.leave();
        }
      },
      c,
    );
  }

  /** Whatever the view says of prefixes that the records call held. */
  lost(): readonly Lost[] {
    const found: Lost[] = [];
    for (const { prefix, phase } of this.#deps.store.all('claims').values()) {
      if (phase !== 'held') continue;
      const other = this.#deps.view.overlapping(parseCidr(prefix)).find((route) => !route.ours);
      const known = this.#lost.get(prefix);
      if (other !== undefined) found.push({ prefix, owner: other.nextHop.host, other: other.prefix });
      else if (known !== undefined) found.push(known);
    }
    return found;
  }

  /** Finishes what was cut off, claims again what has vanished, and gives back what no record knows. */
  async settle(repair: boolean, c: Context): Promise<Drift[]> {
    const drift: Drift[] = [];
    const { view, provider } = this.#deps;
    const each = async (prefix: string, work: () => Promise<Drift[]>): Promise<void> => {
      // Somebody is at it.
      if (this.#locks.isHeld(prefix)) return;
      try {
        drift.push(...(await this.#locks.run(prefix, work, c)));
      } catch (error) {
        drift.push({ what: `${prefix} at ${provider.name}: ${asPluginError(error).message}`, repaired: false });
      }
    };
    for (const prefix of this.own) await each(prefix, () => this.#settleOne(prefix, repair, c));
    for (const { prefix } of view.routes.filter((route) => route.ours && this.#record(route.prefix) === undefined)) {
      await each(prefix, async () => {
        if (this.#record(prefix) !== undefined || view.get(prefix)?.ours !== true) return [];
        if (repair) await this.#withdraw(prefix, c);
        return [
          { what: `${prefix} at ${provider.name} belongs to this host, but no record knows it`, repaired: repair },
        ];
      });
    }
    return drift;
  }

  async #settleOne(prefix: string, repair: boolean, c: Context): Promise<Drift[]> {
    const record = this.#record(prefix);
    if (record === undefined) return [];
    const { view, provider, log } = this.#deps;
    if (record.phase !== 'held') {
      if (repair) await this.#withdraw(prefix, c);
      return [{ what: `${prefix} was left ${record.phase}`, repaired: repair }];
    }
    if (view.get(prefix)?.ours === true) {
      this.#lost.delete(prefix);
      return [];
    }
    const what = `this host's claim of ${prefix} is not at ${provider.name} any more`;
    if (!repair) return [{ what, repaired: false }];
    try {
      await this.#create(prefix, record.pool, c);
      this.#lost.delete(prefix);
      log.info('a claim that had vanished was made again', { prefix });
      return [{ what, repaired: true }];
    } catch (error) {
      if (!isOneOf(TAKEN, error)) throw error;
      const { owner, target, what: local, other, address } = error.context;
      const lost = { prefix, owner: String(owner ?? target ?? local), other: String(other ?? address ?? prefix) };
      if (!this.#lost.has(prefix)) {
        log.error('PREFIX LOST: somebody else holds it now. Running containers go on, new ones are refused', {
          ...lost,
        });
      }
      this.#lost.set(prefix, lost);
      return [{ what: `${prefix} is lost: ${error.message}`, repaired: false }];
    }
  }

  async #claim(cidr: Cidr, pool: string, c: Context, holder?: NextHop): Promise<void> {
    const { provider, store, dryRun } = this.#deps;
    const prefix = cidr.text;
    const former = this.#record(prefix);
    if (former?.phase === 'held') {
      const lost = this.lost().find((one) => one.prefix === prefix);
      if (lost === undefined) return;
      throw new PluginError('PREFIX_OWNED', { prefix, owner: lost.owner, other: lost.other });
    }
    const other = this.own.find((one) => one !== prefix && overlaps(parseCidr(one), cidr));
    if (other !== undefined) throw new PluginError('PREFIX_OVERLAP', { prefix, other, owner: 'this host' });
    const reserved = isAddress(cidr) ? undefined : this.#deps.reserved().find((one) => overlaps(parseCidr(one), cidr));
    if (reserved !== undefined)
      throw new PluginError('PREFIX_OVERLAP', { prefix, other: reserved, owner: 'roaming addresses' });
    refuseLocal(prefix, await this.#uses(c), provider.allowsNarrower);
    if (dryRun) throw new PluginError('DRY_RUN', { what: `claim ${prefix} at ${provider.name}` });
    await this.#deps.ready(c);
    await this.#save({ prefix, pool: parseCidr(pool).text, phase: 'claiming' });
    try {
      if (holder === undefined) await this.#create(prefix, pool, c);
      else await this.#replace(prefix, pool, holder, c);
    } catch (error) {
      if (isOneOf(REFUSED, error) && former === undefined) {
        await store.update((tx) => tx.delete('claims', prefix));
        // While it was on record, the way to who was quicker was not set.
        this.#deps.leave();
      } else {
        // Whether it was made is not known, or a release is still due: either way it has to be withdrawn.
        await this.#save({ prefix, pool: parseCidr(pool).text, phase: 'releasing' });
        this.#deps.leave();
      }
      throw error;
    }
    await this.#save({ prefix, pool: parseCidr(pool).text, phase: 'held' });
  }

  async #claimFree(pool: Cidr, { length, within, preferred }: FreePrefix, c: Context): Promise<string> {
    const area = within === undefined ? pool : parseCidr(within);
    // Checks the length, too.
    const room = subnetCount(area, length);
    await this.#deps.ready(c);
    if (this.#deps.view.confirmed === undefined) await this.#deps.refresh(c);
    const tried: string[] = [];
    const wish = preferred === undefined ? undefined : parseCidr(preferred);
    if (wish !== undefined && wish.length === length && contains(area, wish)) {
      if (await this.#try(wish, pool.text, c)) return wish.text;
      tried.push(wish.text);
    }
    for (;;) {
      throwIfDone(c);
      const uses = (await this.#uses(c)).filter((use) => !(this.#deps.provider.allowsNarrower && covers(use, area)));
      const claimed = [...this.#deps.view.routes.map((route) => route.prefix), ...this.own, ...this.#deps.reserved()];
      const taken = [...claimed, ...tried, ...uses.map((use) => use.prefix)].map((text) => parseCidr(text));
      const candidate = findFree(area, length, taken);
      if (candidate === undefined) throw this.#exhausted(area, length, room, claimed, uses);
      if (await this.#try(candidate, pool.text, c)) return candidate.text;
      tried.push(candidate.text);
    }
  }

  /** False when somebody else has it. */
  async #try(prefix: Cidr, pool: string, c: Context): Promise<boolean> {
    try {
      await this.claim(prefix.text, pool, c);
      return true;
    } catch (error) {
      if (isOneOf(TAKEN, error)) return false;
      throw error;
    }
  }

  #exhausted(pool: Cidr, length: number, room: bigint, claimed: readonly string[], uses: readonly LocalUse[]) {
    const inPool = (texts: readonly string[]): number =>
      new Set(texts.filter((one) => overlaps(pool, parseCidr(one)))).size;
    const local = inPool(uses.map((use) => use.prefix));
    const reason = `it has room for ${room}; ${inPool(claimed)} are held by hosts and ${local} networks of hosts lie in it`;
    return new PluginError('POOL_EXHAUSTED', { pool: pool.text, kind: `prefix of length /${length}`, reason });
  }

  async #uses(c: Context): Promise<readonly LocalUse[]> {
    const what = `local to the route provider ${this.#deps.provider.name}`;
    const local = this.#deps.provider
      .local()
      .map((prefix): LocalUse => ({ prefix, kind: 'address', gateway: false, what }));
    return [...local, ...(await this.#deps.kernel.uses(c))];
  }

  async #create(prefix: string, pool: string, c: Context): Promise<void> {
    const { provider, view, now } = this.#deps;
    for (const id of await provider.tables(c)) await provider.create(id, { prefix, pool }, c);
    const route = { prefix, pool, nextHop: await provider.self(c), state: 'active', ours: true } as const;
    view.apply({ kind: 'put', route }, now());
  }

  async #replace(prefix: string, pool: string, holder: NextHop, c: Context): Promise<void> {
    const { provider, view, now } = this.#deps;
    for (const id of await provider.tables(c)) await provider.replace(id, { prefix, pool }, holder, c);
    const route = { prefix, pool, nextHop: await provider.self(c), state: 'active', ours: true } as const;
    view.apply({ kind: 'put', route }, now());
  }

  async #withdraw(prefix: string, c: Context): Promise<void> {
    const { provider, view, store, now } = this.#deps;
    for (const id of await provider.tables(c)) await provider.remove(id, { prefix }, c);
    if (view.get(prefix)?.ours === true) view.apply({ kind: 'remove', prefix }, now());
    this.#lost.delete(prefix);
    if (this.#record(prefix) !== undefined) await store.update((tx) => tx.delete('claims', prefix));
  }

  #record(prefix: string): ClaimRecord | undefined {
    return this.#deps.store.get('claims', prefix);
  }

  #save(record: Omit<ClaimRecord, 'since'>): Promise<void> {
    const since = new Date(this.#deps.now()).toISOString();
    return this.#deps.store.update((tx) => tx.put('claims', record.prefix, { ...record, since }));
  }
}

/** A claim of a single address, not of a host's prefix. */
export const isAddress = (cidr: Cidr): boolean => cidr.length === width(cidr.family);

/** A route to a gateway that the whole pool lies in, and that prefixes are cut out of. */
const covers = (use: LocalUse, pool: Cidr): boolean => use.gateway && contains(parseCidr(use.prefix), pool);
