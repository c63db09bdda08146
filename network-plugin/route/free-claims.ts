import { type Cidr, contains, overlaps, parseCidr, subnetCount } from '../../shared/cidr.ts';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Claims } from './claims.ts';
import type { Fates } from './fates.ts';
import { type FreePrefix, findFree } from './free-prefix.ts';
import type { Obstacles } from './obstacles.ts';
import type { NextHop, RouteProvider } from './provider.ts';
import { isTaken } from './refusals.ts';
import type { RouteView } from './route-view.ts';

export interface FreeClaimDeps {
  readonly provider: RouteProvider;
  readonly view: RouteView;
  readonly claims: Claims;
  readonly fates: Fates;
  readonly obstacles: Obstacles;
  /** Brings the provider to work, or throws why not. */
  readonly ready: (c: Context) => Promise<void>;
  /** Reads the whole view from the provider, unless it was read within `maxAgeMs`. */
  readonly freshen: (c: Context, maxAgeMs?: number) => Promise<void>;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** A view that is younger will do for a second try, in milliseconds. */
const FRESH_MS = 5_000;
/** How many free places a host chooses among after its first lost race; four times as many after each further one. */
const FIRST_CHOICE = 64;
const WIDEST_CHOICE = 65_536;

/** What is asked for, and what was found out about it. */
interface Search {
  readonly area: Cidr;
  readonly pool: string;
  readonly length: number;
  readonly tried: string[];
}

/** Claims prefixes that nobody has: free ones, and when there are none those of hosts that are gone for good. */
export class FreeClaims {
  readonly #deps: FreeClaimDeps;
  readonly #locks = new KeyedMutex();

  constructor(deps: FreeClaimDeps) {
    this.#deps = deps;
  }

  claim(wanted: FreePrefix, c: Context): Promise<string> {
    const pool = parseCidr(wanted.pool);
    return this.#locks.run(`pool ${pool.text}`, () => this.#claim(pool, wanted, c), c);
  }

  async #claim(pool: Cidr, { length, within, preferred }: FreePrefix, c: Context): Promise<string> {
    const { view, ready, freshen } = this.#deps;
    const area = within === undefined ? pool : parseCidr(within);
    // Checks the length, too.
    const room = subnetCount(area, length);
    await ready(c);
    if (view.confirmed === undefined) await freshen(c);
    const search: Search = { area, pool: pool.text, length, tried: [] };
    const wish = preferred === undefined ? undefined : parseCidr(preferred);
    if (wish !== undefined && wish.length === length && contains(area, wish)) {
      if (await this.#try(search, wish.text, undefined, c)) return wish.text;
    }
    const found = (await this.#free(search, c)) ?? (await this.#vacated(search, c));
    if (found !== undefined) return found;
    throw await this.#exhausted(search, room, c);
  }

  async #free(search: Search, c: Context): Promise<string | undefined> {
    const { freshen } = this.#deps;
    let races = 0;
    for (let fresh = false; ; ) {
      throwIfDone(c);
      const candidate = await this.#candidate(search, races, c);
      if (candidate === undefined && fresh) return undefined;
      if (candidate === undefined) {
        // What looks full may have room by now.
        await freshen(c, FRESH_MS);
        fresh = true;
      } else {
        if (await this.#try(search, candidate.text, undefined, c)) return candidate.text;
        races += 1;
        await freshen(c, FRESH_MS);
      }
    }
  }

  /**
   * The first free place; after lost races one at random, in ever more of them, where hosts do not hear of each other's
   * claims: many that start at once would otherwise try the same places one after the other.
   */
  async #candidate({ area, length, tried }: Search, races: number, c: Context): Promise<Cidr | undefined> {
    const { provider, obstacles, claims, random = Math.random } = this.#deps;
    const { claimed, local } = await obstacles.taken(area, length, c);
    const taken = [...new Set([...claimed, ...claims.own, ...local, ...tried])].map((text) => parseCidr(text));
    const choice = Math.min(WIDEST_CHOICE, FIRST_CHOICE * 4 ** (races - 1));
    const skip = provider.watch !== undefined || races === 0 ? 0 : Math.floor(random() * choice);
    return findFree(area, length, taken, skip) ?? (skip === 0 ? undefined : findFree(area, length, taken));
  }

  /** Prefixes whose hosts are gone, one after the other. */
  async #vacated({ tried, ...search }: Search, c: Context): Promise<string | undefined> {
    const { view, fates, provider } = this.#deps;
    if (provider.fate === undefined) return undefined;
    for (const route of view.routes) {
      const cidr = parseCidr(route.prefix);
      if (cidr.length !== search.length || !contains(search.area, cidr) || tried.includes(cidr.text)) continue;
      if (!(await fates.isVacant(route, c))) continue;
      if (await this.#try({ tried, ...search }, cidr.text, route.nextHop, c)) return cidr.text;
    }
    return undefined;
  }

  /** False when somebody else has it. */
  async #try({ pool, tried }: Search, prefix: string, former: NextHop | undefined, c: Context): Promise<boolean> {
    try {
      await this.#deps.claims.claim(prefix, pool, { former, free: true }, c);
      return true;
    } catch (error) {
      if (!isTaken(error)) throw error;
      tried.push(prefix);
      return false;
    }
  }

  async #exhausted({ area, length }: Search, room: bigint, c: Context): Promise<PluginError> {
    const { obstacles, claims } = this.#deps;
    const { claimed, local } = await obstacles.taken(area, length, c);
    const inPool = (texts: readonly string[]): number =>
      new Set(texts.filter((one) => overlaps(area, parseCidr(one)))).size;
    const held = inPool([...claimed, ...claims.own]);
    const reason = `it has room for ${room}; ${held} are held by hosts and ${inPool(local)} networks of hosts lie in it`;
    return new PluginError('POOL_EXHAUSTED', { pool: area.text, kind: `prefix of length /${length}`, reason });
  }
}
