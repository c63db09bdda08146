import { contains, parseAddress, parseCidr } from '../../shared/cidr.ts';
import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { NetworkState } from '../state.ts';
import { Addresses } from './addresses.ts';
import { Claims, isAddress, type Lost } from './claims.ts';
import type { FreePrefix } from './free-prefix.ts';
import type { RouteKernel } from './kernel.ts';
import { reconcilePeers } from './peer-routes.ts';
import type { Route, RouteEvent, RouteProvider } from './provider.ts';
import { RouteView } from './route-view.ts';
import { noLongerThan } from './wait.ts';

/** Whose prefix an address lies in. */
export interface Owner {
  readonly host: string;
  readonly prefix: string;
  readonly ours: boolean;
}

export interface RouteStatus {
  readonly provider: string;
  readonly reachable: boolean;
  /** ISO time of the last change of `reachable`. */
  readonly since: string;
  /** Why it is not reachable. */
  readonly why?: string;
  /** When the provider's whole view was last confirmed; absent before the first time. */
  readonly confirmed?: string;
  readonly held: readonly string[];
  readonly lost: readonly Lost[];
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface EngineDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly kernel: RouteKernel;
  readonly log: Logger;
  /** Refuse, or only report, every effect. */
  readonly dryRun?: boolean;
  /** CIDRs that no host may claim a prefix in: the roaming ranges of this host's networks. Asked at each claim. */
  readonly reserved?: () => readonly string[];
  readonly now?: () => number;
}

/** What a route is for: a host's prefix, a single roaming address, or a way out of the cluster. */
export type RouteKind = 'prefix' | 'address' | 'gateway';

export interface KnownRoute extends Route {
  readonly kind: RouteKind;
}

/** Longest time for one attempt to bring the provider to work, and for one round of repairs, in milliseconds. */
const ATTEMPT_MS = 15_000;
const ROUND_MS = 30_000;
const STILL_STARTING = 'the first answer has not come yet';

/**
 * Claims, withdraws and repairs this host's prefixes, knows whose the others are, and has the kernel lead there.
 * Nothing here waits for a provider that is down, but calls that cannot do without it.
 */
export class RouteEngine {
  readonly #deps: EngineDeps;
  readonly #now: () => number;
  readonly #view = new RouteView();
  readonly #claims: Claims;
  readonly #addresses: Addresses;
  readonly #rounds = new KeyedMutex();
  readonly #listeners = new Set<() => void>();
  readonly #end = new AbortController();
  #background: Promise<void>[] = [];
  #starting: Promise<void> | undefined;
  #started = false;
  #stopWatch: (() => void) | undefined;
  #nudged = false;
  #reachable = false;
  #since: number;
  #why: string | undefined = STILL_STARTING;

  constructor(deps: EngineDeps) {
    const { provider, store, kernel, log, dryRun = false, reserved = () => [], now = Date.now } = deps;
    this.#deps = deps;
    this.#now = now;
    this.#since = now();
    this.#claims = new Claims({
      ...{ provider, store, kernel, log, dryRun, reserved, now, view: this.#view },
      ready: (c) => this.#ready(c),
      refresh: (c) => this.#refresh(c),
      reachable: () => this.#reachable,
      leave: () => this.#nudge(),
    });
    const { provider: at } = deps;
    this.#addresses = new Addresses({
      provider: at,
      claims: this.#claims,
      view: this.#view,
      refresh: (c) => this.#refresh(c),
    });
  }

  /** Never waits for a dead provider: what the kernel knows of peers is good until the provider says otherwise. */
  async start(c: Context): Promise<void> {
    const { provider, kernel, store } = this.#deps;
    const peers = await kernel.peers(c);
    this.#view.seed(
      peers.map(({ prefix, via }) => ({ prefix, nextHop: { host: via, address: via }, state: 'active', ours: false })),
    );
    for (const { prefix, pool, phase } of store.all('claims').values()) {
      if (phase !== 'held') continue;
      this.#view.seed([{ prefix, pool, nextHop: { host: 'this host' }, state: 'active', ours: true }]);
    }
    this.#stopWatch = provider.watch?.((event) => this.#hear(event));
    this.#background.push(this.#bringUp());
  }

  /**
   * Claims exactly this prefix; succeeds when this host holds it. Errors: PREFIX_OWNED, PREFIX_OVERLAP,
   * PREFIX_IS_LOCAL, ROUTE_CONFLICT, NODE_NAME_TAKEN, PROVIDER_UNREACHABLE, PROVIDER_AUTH, DEADLINE, DRY_RUN.
   */
  claim(prefix: string, pool: string, c: Context): Promise<void> {
    return this.#claims.claim(prefix, pool, c);
  }

  /** Claims a free prefix of the pool, `preferred` first, and answers it. Errors: those of `claim`, POOL_EXHAUSTED. */
  claimFree(wanted: FreePrefix, c: Context): Promise<string> {
    return this.#claims.claimFree(wanted, c);
  }

  /** Idempotent. When the provider is down the intent is kept, and finished later. Errors: DRY_RUN. */
  release(prefix: string, c: Context): Promise<void> {
    return this.#claims.release(prefix, c);
  }

  /**
   * Claims a single (roaming) address of the pool for this host: free ones, those of hosts that are stopped or gone,
   * and, after a short wait, one that another host is just giving up. Succeeds when this host holds it, or a prefix
   * that it lies in. Errors: ADDRESS_HELD (a live host has it), ADDRESS_ELSEWHERE (it lies in another host's prefix),
   * and those of `claim`.
   */
  claimAddress(address: string, pool: string, c: Context): Promise<void> {
    return this.#addresses.claim(address, pool, c);
  }

  /** Idempotent, like `release`; an address that another host has taken meanwhile stays that host's. Errors: DRY_RUN. */
  releaseAddress(address: string, c: Context): Promise<void> {
    return this.#addresses.release(address, c);
  }

  /** From the cached view: no I/O. */
  ownerOf(address: string): Owner | undefined {
    const parsed = parseAddress(address);
    const route = this.#view.find(parsed);
    if (route !== undefined) return { host: route.nextHop.host, prefix: route.prefix, ours: route.ours };
    const own = this.#claims.own.find((prefix) => contains(parseCidr(prefix), parsed));
    return own === undefined ? undefined : { host: 'this host', prefix: own, ours: true };
  }

  routes(): readonly KnownRoute[] {
    return this.#view.routes.map((route) => ({ ...route, kind: kindOf(route) }));
  }

  /** Pools that some host has drawn from, as far as the provider keeps them, sorted. */
  pools(): readonly string[] {
    const known = this.#view.routes.flatMap((route) => route.pool ?? []);
    const own = [...this.#deps.store.all('claims').values()].map((claim) => claim.pool);
    return [...new Set([...known, ...own])].sort();
  }

  /** CIDRs reached without address translation, beside the pools, sorted. */
  local(): readonly string[] {
    return [...this.#deps.provider.local()].sort();
  }

  lost(): readonly Lost[] {
    return this.#claims.lost();
  }

  /** Calls back, some time after, when the view of routes or hosts has changed; the answer stops it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** One pass over claims and the ways to peers. Writes nothing when all is well. */
  async reconcile(repair: boolean, c: Context): Promise<Drift[]> {
    const drift: Drift[] = [];
    const { provider } = this.#deps;
    // One that watches says by itself when it is back; another one has to be asked.
    if (this.#started && (this.#reachable || provider.watch === undefined)) {
      try {
        await this.#refresh(c);
        this.#setReachable(true);
      } catch (error) {
        const why = asPluginError(error).message;
        if (provider.watch === undefined) this.#setReachable(false, why);
        drift.push({ what: why, repaired: false });
      }
    } else {
      drift.push({ what: `route provider ${provider.name} is not at work: ${this.#why}`, repaired: false });
    }
    return [...drift, ...(await this.settle(repair, c))];
  }

  status(): RouteStatus {
    const { provider, store } = this.#deps;
    const { confirmed } = this.#view;
    return {
      provider: provider.name,
      reachable: this.#reachable,
      since: new Date(this.#since).toISOString(),
      ...(this.#why !== undefined && { why: this.#why }),
      ...(confirmed !== undefined && { confirmed: new Date(confirmed).toISOString() }),
      held: [...store.all('claims').values()].filter(({ phase }) => phase === 'held').map(({ prefix }) => prefix),
      lost: this.lost(),
      details: provider.status?.() ?? {},
    };
  }

  /** Stops background work; claims and routes stay as they are. */
  async close(_c: Context): Promise<void> {
    this.#end.abort(new Error('the route engine is closed'));
    this.#stopWatch?.();
    await this.#deps.provider.close();
    await Promise.allSettled(this.#background);
  }

  /** In the background, until it works or the engine is closed. */
  async #bringUp(): Promise<void> {
    for (let attempt = 1; !this.#end.signal.aborted; attempt += 1) {
      const c = this.#backgroundContext(ATTEMPT_MS);
      try {
        await this.#ready(c);
        return;
      } catch (error) {
        if (this.#end.signal.aborted) return;
        this.#setReachable(false, asPluginError(error).message);
      }
      await sleep(100 + pauseMs(attempt), this.#backgroundContext(ATTEMPT_MS)).catch(() => undefined);
    }
  }

  /** The provider is at work, or an error says why not; callers at the same time share the attempt. */
  async #ready(c: Context): Promise<void> {
    if (this.#started) return;
    this.#starting ??= this.#startProvider(c).finally(() => {
      this.#starting = undefined;
    });
    await noLongerThan(c, this.#starting);
  }

  async #startProvider(c: Context): Promise<void> {
    const { provider, dryRun = false } = this.#deps;
    await provider.start(c);
    if (!dryRun) await provider.prepareHost?.(c);
    if (this.#view.confirmed === undefined || provider.watch === undefined) await this.#refresh(c);
    this.#started = true;
    this.#setReachable(true);
    this.#nudge();
  }

  /** Reads everything from the provider. One that watches tells the differences itself, in order with its other news. */
  async #refresh(c: Context): Promise<void> {
    const { provider } = this.#deps;
    const found = new Map<string, Route>();
    for (const { routes } of await provider.read(c)) for (const route of routes) found.set(route.prefix, route);
    if (provider.watch !== undefined && this.#view.confirmed !== undefined) return;
    this.#view.apply({ kind: 'sync', routes: [...found.values()] }, this.#now());
  }

  #hear(event: RouteEvent): void {
    if (event.kind === 'unreachable') {
      this.#setReachable(false, event.why);
      return;
    }
    if (event.kind === 'reachable') this.#setReachable(true);
    else this.#view.apply(event, this.#now());
    // Our own claims come back as news too: nothing is to be done about them.
    if (event.kind !== 'put' || !event.route.ours) this.#nudge();
  }

  #setReachable(reachable: boolean, why?: string): void {
    const { provider, log } = this.#deps;
    const changed = this.#reachable !== reachable || this.#why !== why;
    if (!changed) return;
    if (this.#reachable !== reachable) this.#since = this.#now();
    this.#reachable = reachable;
    this.#why = why;
    if (reachable) log.info('the route provider is at work', { provider: provider.name });
    else log.warn('the route provider is not at work; what is known stays in force', { provider: provider.name, why });
  }

  /** Repairs soon, once for all news of the moment. */
  #nudge(): void {
    if (this.#nudged || this.#end.signal.aborted) return;
    this.#nudged = true;
    const round = (async () => {
      const { log, dryRun = false } = this.#deps;
      const c = this.#backgroundContext(ROUND_MS);
      await sleep(10, c).catch(() => undefined);
      this.#nudged = false;
      if (this.#end.signal.aborted) return;
      for (const listener of this.#listeners) listener();
      try {
        for (const { what, repaired } of await this.settle(!dryRun, c)) log.info('routes', { what, repaired });
      } catch (error) {
        if (!this.#end.signal.aborted) log.warn('routes could not be brought up to date', { error });
      }
    })();
    this.#background.push(round);
    void round.finally(() => {
      this.#background = this.#background.filter((one) => one !== round);
    });
  }

  /** The same from what is known, without asking. Nothing is concluded from a view that was never confirmed. */
  async settle(repair: boolean, c: Context): Promise<Drift[]> {
    if (this.#view.confirmed === undefined) return [];
    const { provider, kernel, dryRun = false } = this.#deps;
    const effective = repair && !dryRun;
    return this.#rounds.run(
      'round',
      async () => {
        const claims = this.#reachable ? await this.#claims.settle(effective, c) : [];
        const routes = provider.installsKernelRoutes ? this.#view.routes : [];
        // The way to a single address that another host has taken is set: its container here is not reached any more.
        const gone = new Set(this.lost().map(({ prefix }) => prefix));
        const own = this.#claims.own.filter((prefix) => !(gone.has(prefix) && isAddress(parseCidr(prefix))));
        return [...claims, ...(await reconcilePeers(kernel, routes, own, effective, c))];
      },
      c,
    );
  }

  #backgroundContext(ms: number): Context {
    const { log } = this.#deps;
    const deadline = Number.POSITIVE_INFINITY;
    return newContext(log, ms, { requestId: 'routes', signal: this.#end.signal, deadline, log });
  }
}

const kindOf = (route: Route): RouteKind =>
  route.gateway === true ? 'gateway' : isAddress(parseCidr(route.prefix)) ? 'address' : 'prefix';
