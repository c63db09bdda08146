import { contains, hostCidr, parseAddress, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { NetworkState } from '../state.ts';
import { Addresses } from './addresses.ts';
import { Blackholes } from './blackholes.ts';
import { Claims, type Lost } from './claims.ts';
import { engineFindings } from './engine-findings.ts';
import { Fates } from './fates.ts';
import { FreeClaims } from './free-claims.ts';
import type { FreePrefix } from './free-prefix.ts';
import { checkPeers, Gateways, poolAround } from './gateways.ts';
import type { RouteKernel } from './kernel.ts';
import { Ledger } from './ledger.ts';
import { Obstacles } from './obstacles.ts';
import type { Finding, NextHop, Route, RouteEvent, RouteProvider } from './provider.ts';
import { ProviderLink } from './provider-link.ts';
import { Quotas, type TableFill } from './quotas.ts';
import { Rounds } from './rounds.ts';
import { kindOf, type RouteKind } from './route-kind.ts';
import { type RouteRow, routeRows } from './route-rows.ts';
import { RouteView } from './route-view.ts';
import { Unattended } from './unattended.ts';

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
  /** How full the tables are whose quota is known. */
  readonly tables: readonly TableFill[];
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface KnownRoute extends Route {
  readonly kind: RouteKind;
}

export interface EngineDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly kernel: RouteKernel;
  readonly log: Logger;
  /** Refuse, or only report, every effect. */
  readonly dryRun?: boolean;
  /** The pools of the settings. */
  readonly home?: readonly string[];
  /** Prefixes that live elsewhere, and what leads there (PEERS). */
  readonly peers?: readonly GatewayRoute[];
  /** Where those routes belong: into the provider's tables, or into this host's kernel. */
  readonly peersIn?: 'kernel' | 'tables';
  /** CIDRs that no host may claim a prefix in: the roaming ranges of this host's networks. Asked at each claim. */
  readonly reserved?: () => readonly string[];
  readonly now?: () => number;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** Longest time for work to end when the engine is closed, in milliseconds. */
const CLOSE_MS = 1_000;

/**
 * Claims, withdraws and repairs this host's prefixes, knows whose the others are, and has the kernel lead there.
 * Nothing here waits for a provider that is down, but calls that cannot do without it; what takes longer than a call
 * goes on without it, and the next such call joins it (STILL_WORKING).
 */
export class RouteEngine {
  readonly #deps: EngineDeps;
  readonly #now: () => number;
  readonly #peers: readonly GatewayRoute[];
  readonly #view = new RouteView();
  readonly #fates: Fates;
  readonly #ledger: Ledger;
  readonly #quotas: Quotas;
  readonly #claims: Claims;
  readonly #free: FreeClaims;
  readonly #addresses: Addresses;
  readonly #blackholes: Blackholes;
  readonly #link: ProviderLink;
  readonly #unattended: Unattended;
  readonly #rounds: Rounds;
  readonly #end = new AbortController();
  #bringUp: Promise<void> | undefined;
  #stopWatch: (() => void) | undefined;
  #self: NextHop | undefined;

  /** Errors: SETTING_INVALID for PEERS. */
  constructor(deps: EngineDeps) {
    const { provider, store, kernel, log, dryRun = false, peers = [], reserved = () => [], now = Date.now } = deps;
    checkPeers(peers, deps.peersIn ?? 'kernel');
    this.#deps = deps;
    this.#now = now;
    this.#peers = peers;
    const view = this.#view;
    const end = this.#end.signal;
    const ready = (c: Context): Promise<void> => this.#link.ready(c);
    const freshen = (c: Context, maxAgeMs?: number): Promise<void> => this.#freshen(c, maxAgeMs);
    this.#fates = new Fates(provider, now);
    const fates = this.#fates;
    this.#ledger = new Ledger({ provider, view, fates, log, now });
    const ledger = this.#ledger;
    this.#quotas = new Quotas(view, log);
    const obstacles = new Obstacles({ provider, kernel, view, peers, reserved });
    this.#claims = new Claims({
      ...{ provider, store, view, ledger, fates, obstacles, dryRun, now, ready, freshen },
      quotas: this.#quotas,
      reachable: () => this.#link.reachable,
      leave: () => this.#rounds.nudge(),
    });
    const claims = this.#claims;
    const chance = deps.random === undefined ? {} : { random: deps.random };
    this.#free = new FreeClaims({ provider, view, claims, fates, obstacles, ready, freshen, ...chance });
    this.#addresses = new Addresses({ claims, view, fates, ready, freshen });
    const pools = (): readonly string[] => this.#areas();
    const poolOf = (prefix: string): string => poolAround(prefix, pools());
    this.#blackholes = new Blackholes({ provider, view, claims, ledger, fates, pools, now, ...chance });
    this.#link = new ProviderLink({ provider, log, dryRun, now, end, onStart: (c) => this.#begin(c) });
    this.#unattended = new Unattended(log, end);
    const inTables = deps.peersIn === 'tables';
    this.#rounds = new Rounds({
      ...{ provider, kernel, view, claims, ledger, log, dryRun, end, blackholes: this.#blackholes, link: this.#link },
      gateways: inTables ? new Gateways({ provider, store, view, ledger, peers, poolOf, now }) : undefined,
      ways: inTables ? [] : peers.map(({ prefix, via }) => ({ prefix: prefix.text, via })),
    });
  }

  /** Never waits for a dead provider: what the kernel knows of peers is good until the provider says otherwise. */
  async start(c: Context): Promise<void> {
    const { provider, kernel } = this.#deps;
    const gateways = new Map(this.#peers.map(({ prefix, via }) => [prefix.text, via]));
    for (const { prefix, via } of await kernel.peers(c)) {
      if (gateways.get(prefix) === via) continue;
      this.#view.seed([{ prefix, nextHop: { host: via, address: via }, state: 'active', ours: false }]);
    }
    for (const { prefix, pool, phase } of this.#claims.records) {
      if (phase !== 'held') continue;
      this.#view.seed([{ prefix, pool, nextHop: { host: 'this host' }, state: 'active', ours: true }]);
    }
    this.#stopWatch = provider.watch?.((event) => this.#hear(event));
    this.#bringUp = this.#link.bringUp();
  }

  /**
   * Claims exactly this prefix; succeeds when this host holds it. Errors: PREFIX_OWNED, PREFIX_OVERLAP,
   * PREFIX_IS_LOCAL, ROUTE_CONFLICT, QUOTA_EXCEEDED, NODE_NAME_TAKEN, STILL_WORKING, PROVIDER_*, DEADLINE, DRY_RUN.
   */
  async claim(prefix: string, pool: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    // A record that is held costs nothing, also while the provider is down.
    if (!this.#claims.isHeld(text) && this.#deps.dryRun !== true) await this.#link.ready(c);
    const work = (inner: Context): Promise<void> => this.#claims.claim(text, pool, {}, inner);
    await this.#unattended.run(`claim ${text}`, `claiming ${text}`, work, c);
  }

  /** Claims a free prefix of the pool, `preferred` first, and answers it. Errors: those of `claim`, POOL_EXHAUSTED. */
  async claimFree(wanted: FreePrefix, c: Context): Promise<string> {
    const { pool, length, within } = wanted;
    await this.#link.ready(c);
    const key = `free ${parseCidr(pool).text} ${length} ${within ?? ''}`;
    const what = `claiming a prefix of length /${length} in ${within ?? pool}`;
    return await this.#unattended.run(key, what, (inner) => this.#free.claim(wanted, inner), c);
  }

  /** Idempotent. What cannot be done in time, or while the provider is down, is done later. Errors: DRY_RUN. */
  async release(prefix: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    const work = (inner: Context): Promise<void> => this.#claims.release(text, inner);
    try {
      await this.#unattended.run(`release ${text}`, `releasing ${text}`, work, c);
    } catch (error) {
      const intended = this.#claims.record(text)?.phase === 'releasing';
      if (!intended || !(error instanceof PluginError) || error.code !== 'STILL_WORKING') throw error;
    }
  }

  /**
   * Claims a single (roaming) address of the pool for this host: free ones, those of hosts that are stopped or gone,
   * and, after a short wait, one that another host is just giving up. Succeeds when this host holds it, or a prefix
   * that it lies in. Errors: ADDRESS_HELD (a live host has it), ADDRESS_ELSEWHERE (it lies in another host's prefix),
   * and those of `claim`.
   */
  async claimAddress(address: string, pool: string, c: Context): Promise<void> {
    const { text } = parseAddress(address);
    await this.#link.ready(c);
    const work = (inner: Context): Promise<void> => this.#addresses.claim(text, pool, inner);
    await this.#unattended.run(`address ${text}`, `claiming ${text}`, work, c);
  }

  /** Idempotent, like `release`; an address that another host has taken meanwhile stays that host's. Errors: DRY_RUN. */
  releaseAddress(address: string, c: Context): Promise<void> {
    return this.release(hostCidr(parseAddress(address)).text, c);
  }

  /** Whose prefix or roaming address it is; gateways own nothing. From the cached view: no I/O. */
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

  /** Every route of the pools and of PEERS, table by table, with what is not as it should be. No I/O. */
  rows(): readonly RouteRow[] {
    const { records: claims } = this.#claims;
    const self = this.#self?.host ?? 'this host';
    const peers = this.#deps.peersIn === 'tables' ? this.#peers : [];
    return routeRows({ view: this.#view, fates: this.#fates, claims, peers, pools: this.#areas(), self });
  }

  /** What an operator should know: of the provider, and of the engine itself. Never rejects for what is found. */
  async findings(c: Context): Promise<readonly Finding[]> {
    const { provider } = this.#deps;
    const own = engineFindings({
      ...{ provider: provider.name, reachable: this.#link.reachable, why: this.#link.why, lost: this.lost() },
      ...{ tables: this.#quotas.fill, missing: this.#ledger.missing },
      ...{ blackholes: this.#blackholes.all, fates: this.#fates },
    });
    return [...own, ...((await provider.findings?.(c)) ?? [])];
  }

  /** Pools that some host has drawn from, as far as the provider keeps them, sorted. */
  pools(): readonly string[] {
    const known = this.#view.routes.flatMap((route) => route.pool ?? []);
    return [...new Set([...known, ...this.#claims.records.map((claim) => claim.pool)])].sort();
  }

  /** CIDRs reached without address translation, beside the pools, sorted. */
  local(): readonly string[] {
    return [...new Set([...this.#deps.provider.local(), ...this.#peers.map((peer) => peer.prefix.text)])].sort();
  }

  /** Claims that another host has by now; addresses until they are released or claimed again. */
  lost(): readonly Lost[] {
    return this.#claims.lost();
  }

  /** Calls back, some time after, when the view of routes or hosts has changed; the answer stops it. */
  onChange(listener: () => void): () => void {
    return this.#rounds.onChange(listener);
  }

  /** One pass over claims and the ways to peers, after at most one reading. Writes nothing when all is well. */
  async reconcile(repair: boolean, c: Context): Promise<Drift[]> {
    const drift: Drift[] = [];
    const { provider } = this.#deps;
    const before = this.#view.confirmed === undefined ? [] : this.#view.tables;
    // One that watches says by itself when it is back; another one has to be asked.
    if (this.#link.started && (this.#link.reachable || provider.watch === undefined)) {
      try {
        await this.#refresh(c);
        this.#link.set(true);
      } catch (error) {
        const why = asPluginError(error).message;
        if (provider.watch === undefined) this.#link.set(false, why);
        drift.push({ what: why, repaired: false });
      }
    } else {
      const why = this.#link.why ?? 'it is just beginning';
      drift.push({ what: `route provider ${provider.name} is not at work: ${why}`, repaired: false });
    }
    const gone = before.filter((table) => !this.#view.tables.includes(table));
    const tables = new Set([...gone, ...this.#ledger.missing]);
    drift.push(...[...tables].map((id) => ({ what: `route table ${id} is not there any more`, repaired: false })));
    return [...drift, ...(await this.settle(repair, c))];
  }

  /** The same from what is known, without a question to the provider. */
  settle(repair: boolean, c: Context): Promise<Drift[]> {
    return this.#rounds.settle(repair, c);
  }

  status(): RouteStatus {
    const { provider } = this.#deps;
    const { confirmed } = this.#view;
    const { reachable, since, why } = this.#link;
    return {
      provider: provider.name,
      reachable,
      since: new Date(since).toISOString(),
      ...(why !== undefined && { why }),
      ...(confirmed !== undefined && { confirmed: new Date(confirmed).toISOString() }),
      held: this.#claims.records.filter(({ phase }) => phase === 'held').map(({ prefix }) => prefix),
      lost: this.lost(),
      tables: this.#quotas.fill,
      details: provider.status?.() ?? {},
    };
  }

  /** Stops background work; claims and routes stay as they are. */
  async close(_c: Context): Promise<void> {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is being stopped' }));
    this.#stopWatch?.();
    await this.#deps.provider.close();
    await this.#bringUp;
    await this.#rounds.settled();
    await this.#unattended.settled(CLOSE_MS);
  }

  /** The provider has just come to work. */
  async #begin(c: Context): Promise<void> {
    const { provider } = this.#deps;
    this.#self = await provider.self(c);
    this.#view.name(await provider.tables(c));
    if (this.#view.confirmed === undefined || provider.watch === undefined) await this.#refresh(c);
    this.#rounds.nudge();
  }

  /** Pools of the settings, and those that are known beside them. */
  #areas(): readonly string[] {
    return [...new Set([...(this.#deps.home ?? []), ...this.pools()])];
  }

  /** Reads anew what is older than that. One that watches is never behind. */
  async #freshen(c: Context, maxAgeMs = 0): Promise<void> {
    const { confirmed } = this.#view;
    if (confirmed !== undefined && this.#deps.provider.watch !== undefined) return;
    if (confirmed === undefined || this.#now() - confirmed >= maxAgeMs) await this.#refresh(c);
  }

  /** Reads everything from the provider. One that watches tells the differences itself, in order with its other news. */
  async #refresh(c: Context): Promise<void> {
    const { provider } = this.#deps;
    const begun = this.#now();
    const tables = await provider.read(c);
    this.#ledger.found(tables.map(({ id }) => id));
    if (provider.watch !== undefined && this.#view.confirmed !== undefined) return;
    this.#view.sync(tables, begun, this.#now());
    this.#quotas.watch();
  }

  #hear(event: RouteEvent): void {
    if (event.kind === 'unreachable') {
      this.#link.set(false, event.why);
      return;
    }
    if (event.kind === 'reachable') this.#link.set(true);
    else this.#view.apply(event, this.#now());
    // Our own claims come back as news too: nothing is to be done about them.
    if (event.kind !== 'put' || !event.route.ours) this.#rounds.nudge();
  }
}
