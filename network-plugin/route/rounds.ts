import { parseCidr } from '../../shared/cidr.ts';
import { type Context, sleep } from '../../shared/context.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { Blackholes } from './blackholes.ts';
import type { Claims } from './claims.ts';
import type { Gateways } from './gateways.ts';
import type { PeerRoute, RouteKernel } from './kernel.ts';
import type { Ledger } from './ledger.ts';
import { reconcilePeers } from './peer-routes.ts';
import type { RouteProvider } from './provider.ts';
import type { ProviderLink } from './provider-link.ts';
import { isAddress } from './route-kind.ts';
import type { RouteView } from './route-view.ts';
import { settleClaims } from './settle.ts';

export interface RoundDeps {
  readonly provider: RouteProvider;
  readonly kernel: RouteKernel;
  readonly view: RouteView;
  readonly claims: Claims;
  readonly ledger: Ledger;
  readonly blackholes: Blackholes;
  /** PEERS, where they are kept in the provider's tables. */
  readonly gateways: Gateways | undefined;
  /** PEERS, where they are kept in this host's kernel. */
  readonly ways: readonly PeerRoute[];
  readonly link: ProviderLink;
  readonly log: Logger;
  readonly dryRun: boolean;
  readonly end: AbortSignal;
}

/** Longest time for one round in the background, and the pause before it in which more news may come. */
const ROUND_MS = 30_000;
const GATHER_MS = 10;

/** Rounds of repairs, one at a time: asked for, or soon after something has changed. */
export class Rounds {
  readonly #deps: RoundDeps;
  readonly #turn = new KeyedMutex();
  readonly #listeners = new Set<() => void>();
  #background: Promise<void>[] = [];
  #nudged = false;
  /** Version of the view after the last round. */
  #settled = -1;

  constructor(deps: RoundDeps) {
    this.#deps = deps;
  }

  /** Calls back before each round in the background; the answer stops it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * From what is known; a view that was never confirmed proves nothing. `touchUp`: the provider's part is left out while
   * nothing new has been heard of it, so that what it refuses is not asked for again and again.
   */
  async settle(repair: boolean, c: Context, touchUp = false): Promise<Drift[]> {
    const { view, link, dryRun } = this.#deps;
    if (view.confirmed === undefined) return [];
    const effective = repair && !dryRun;
    return this.#turn.run(
      'round',
      async () => {
        const isDue = link.reachable && !(touchUp && view.version === this.#settled);
        const drift = isDue ? await this.#settleTables(effective, c) : [];
        return [...drift, ...(await this.#leadToPeers(effective, c))];
      },
      c,
    );
  }

  /** Repairs soon, once for all news of the moment. */
  nudge(): void {
    if (this.#nudged || this.#deps.end.aborted) return;
    this.#nudged = true;
    const round = this.#soon();
    this.#background.push(round);
    void round.finally(() => {
      this.#background = this.#background.filter((one) => one !== round);
    });
  }

  /** Waits for the rounds in the background. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#background);
  }

  async #settleTables(repair: boolean, c: Context): Promise<Drift[]> {
    const { claims, gateways, blackholes, view } = this.#deps;
    const drift = [
      ...(await settleClaims({ ...this.#deps, claims }, repair, c)),
      ...((await gateways?.settle(repair, c)) ?? []),
      ...(await blackholes.settle(repair, c)),
    ];
    this.#settled = view.version;
    return drift;
  }

  async #soon(): Promise<void> {
    const { log, dryRun, link, end } = this.#deps;
    const c = link.context(ROUND_MS);
    await sleep(GATHER_MS, c).catch(() => undefined);
    this.#nudged = false;
    if (end.aborted) return;
    for (const listener of this.#listeners) listener();
    try {
      for (const { what, repaired } of await this.settle(!dryRun, c)) log.info('routes', { what, repaired });
    } catch (error) {
      if (!end.aborted) log.warn('routes could not be brought up to date', { error });
    }
  }

  async #leadToPeers(repair: boolean, c: Context): Promise<Drift[]> {
    const { provider, kernel, view, claims, ways } = this.#deps;
    const routes = provider.installsKernelRoutes ? view.routes : [];
    // The way to a single address that another host has taken is set: its container here is not reached any more.
    const gone = new Set(claims.lost().map(({ prefix }) => prefix));
    const own = claims.own.filter((prefix) => !(gone.has(prefix) && isAddress(parseCidr(prefix))));
    return reconcilePeers(kernel, { routes, gateways: ways, own }, repair, c);
  }
}
