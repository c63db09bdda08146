import type { Context } from '../../shared/context.ts';
import type { Fate, NextHop, Route, RouteProvider } from './provider.ts';
import { kindOf } from './route-kind.ts';

/** A target that is not gone may be by then: it is asked for again after so many milliseconds. */
const REASK_MS = 5 * 60_000;
/** Somebody waits for an address. */
const ADDRESS_MS = 2_000;

/** What became of hosts, asked once: `gone` stays true, anything else is asked for again from time to time. */
export class Fates {
  readonly #provider: RouteProvider;
  readonly #now: () => number;
  readonly #known = new Map<string, { readonly fate: Fate; readonly at: number }>();

  constructor(provider: RouteProvider, now: () => number) {
    this.#provider = provider;
    this.#now = now;
  }

  /** Can it be told without asking? `maxAgeMs` as in `of`. */
  isKnown(hop: NextHop, maxAgeMs: number): boolean {
    const known = this.#known.get(keyOf(hop));
    return known !== undefined && (known.fate === 'gone' || this.#now() - known.at < maxAgeMs);
  }

  /** `maxAgeMs`: how old an answer other than `gone` may be. `unknown` where the provider cannot tell. */
  async of(hop: NextHop, c: Context, maxAgeMs = 0): Promise<Fate> {
    const known = this.#known.get(keyOf(hop));
    if (known !== undefined && this.isKnown(hop, maxAgeMs)) return known.fate;
    const fate = (await this.#provider.fate?.(hop, c)) ?? 'unknown';
    this.#known.set(keyOf(hop), { fate, at: this.#now() });
    return fate;
  }

  /** The last answer: no I/O. */
  known(hop: NextHop): Fate | undefined {
    return this.#known.get(keyOf(hop))?.fate;
  }

  /**
   * May the route be taken over? A host's prefix when it is a blackhole and nobody will ever be behind it again; a
   * single address also when its host is stopped: whoever runs its container has it.
   */
  async isVacant(route: Route, c: Context): Promise<boolean> {
    if (route.ours || route.gateway === true) return false;
    const address = kindOf(route) === 'address';
    if (!address && route.state !== 'blackhole') return false;
    const fate = await this.of(route.nextHop, c, address ? ADDRESS_MS : REASK_MS);
    return fate === 'gone' || (address && fate === 'stopped');
  }
}

const keyOf = ({ host, target }: NextHop): string => `${host} ${target ?? ''}`;
