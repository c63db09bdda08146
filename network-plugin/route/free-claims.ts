import { type Cidr, contains, overlaps, parseCidr, subnetCount } from '../../shared/cidr.ts';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Claims } from './claims.ts';
import type { Fates } from './fates.ts';
import { countFree, type FreePrefix, findFree } from './free-prefix.ts';
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
  /** How many free places a host chooses among, where hosts do not hear of each other; four times as many after a lost race. */
  readonly choice?: number;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** A view that is younger will do for a second try, in milliseconds. */
const FRESH_MS = 5_000;
/** Fifty hosts that start together rarely choose the same of so many. */
const CHOICE = 1024;

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
   * The first free place, where hosts hear of each other's claims at once or there is one only. In a cloud many that start together would try
   * the same places one after the other: each begins at one of its own, and goes on at random after lost races.
   */
  async #candidate({ area, length, tried }: Search, races: number, c: Context): Promise<Cidr | undefined> {
    const { provider, obstacles, claims, choice = CHOICE, random = Math.random } = this.#deps;
    const { claimed, local } = await obstacles.taken(area, length, c);
    const taken = [...new Set([...claimed, ...claims.own, ...local, ...tried])].map((text) => parseCidr(text));
    if (provider.watch !== undefined || provider.fate === undefined) return findFree(area, length, taken);
    const free = Number(countFree(area, length, taken));
    if (free === 0) return undefined;
    const own = fractionOf(`${(await provider.self(c)).host} ${area.text} ${claims.own.length}`);
    const places = Math.min(free, choice * 4 ** races);
    return findFree(area, length, taken, BigInt(Math.floor((races === 0 ? own : random()) * places)));
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

/** The same number in [0, 1) for the same text, spread evenly (FNV-1a). */
const fractionOf = (text: string): number => {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash / 2 ** 32;
};
