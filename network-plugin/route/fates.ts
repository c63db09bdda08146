import type { Context } from '../../shared/context.ts';
import type { Fate, NextHop, Route, RouteProvider } from './provider.ts';
import { kindOf } from './route-kind.ts';

/**
 * How old an answer may be, in milliseconds, where nobody waits for it. A cloud may call a host alive for a while whose
 * routes are blackholes already; a stopped one mostly stays so.
 */
const USABLE_MS: Readonly<Record<Fate, number>> = {
  ...{ alive: 30_000, unknown: 30_000, stopped: 10 * 60_000, gone: Number.POSITIVE_INFINITY },
};
/** The same where somebody waits. */
const FRESH_MS = 2_000;

/** What became of hosts, asked once: `gone` stays true, anything else is asked for again from time to time. */
export class Fates {
  readonly #provider: RouteProvider;
  readonly #now: () => number;
  readonly #known = new Map<string, { readonly fate: Fate; readonly at: number }>();

  constructor(provider: RouteProvider, now: () => number) {
    this.#provider = provider;
    this.#now = now;
  }

  /** Can it be told without asking? */
  isKnown(hop: NextHop, urgent: boolean): boolean {
    const known = this.#known.get(keyOf(hop));
    if (known === undefined) return false;
    const usable = urgent && known.fate !== 'gone' ? FRESH_MS : USABLE_MS[known.fate];
    return this.#now() - known.at < usable;
  }

  /** `urgent`: somebody waits for it, so that it must not be old. `unknown` where the provider cannot tell. */
  async of(hop: NextHop, c: Context, urgent: boolean): Promise<Fate> {
    const known = this.#known.get(keyOf(hop));
    if (known !== undefined && this.isKnown(hop, urgent)) return known.fate;
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
   * single address also when its host is stopped: whoever runs its container has it. `urgent` as in `of`.
   */
  async isVacant(route: Route, c: Context, urgent = true): Promise<boolean> {
    if (route.ours || route.gateway === true) return false;
    const address = kindOf(route) === 'address';
    if (!address && route.state !== 'blackhole') return false;
    const fate = await this.of(route.nextHop, c, urgent);
    return fate === 'gone' || (address && fate === 'stopped');
  }
}

const keyOf = ({ host, target }: NextHop): string => `${host} ${target ?? ''}`;
