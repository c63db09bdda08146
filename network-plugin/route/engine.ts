import { hostCidr, parseAddress, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { Lost } from './claims.ts';
import { Knowledge, type KnownRoute, type Owner, type RouteStatus } from './engine-knowledge.ts';
import { assembleEngine, type EngineDeps, type EngineParts } from './engine-parts.ts';
import type { FreePrefix } from './free-prefix.ts';
import type { Finding, RouteEvent } from './provider.ts';
import { isAddress } from './route-kind.ts';
import type { RouteRow } from './route-rows.ts';

export type { KnownRoute, Owner, RouteStatus } from './engine-knowledge.ts';
export type { EngineDeps } from './engine-parts.ts';

/** What the start itself has read so recently is the first view, in milliseconds: nothing of ours was written since. */
const START_MS = 60_000;
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
  readonly #parts: EngineParts;
  readonly #knowledge: Knowledge;
  readonly #end = new AbortController();
  /** Prefixes that came of searches when nobody waited for them any more, and what was asked for. */
  readonly #found = new Map<string, string>();
  #bringUp: Promise<void> | undefined;
  #stopWatch: (() => void) | undefined;

  /** Errors: SETTING_INVALID for PEERS. */
  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
    this.#peers = deps.peers ?? [];
    this.#parts = assembleEngine(deps, {
      begin: (c) => this.#begin(c),
      freshen: (c, maxAgeMs) => this.#freshen(c, maxAgeMs),
      pools: () => this.#knowledge.areas,
      end: this.#end.signal,
    });
    this.#knowledge = new Knowledge(deps, this.#parts);
  }

  /** Never waits for a dead provider: what the kernel knows of peers is good until the provider says otherwise. */
  async start(c: Context): Promise<void> {
    const { provider, kernel } = this.#deps;
    const gateways = new Map(this.#peers.map(({ prefix, via }) => [prefix.text, via]));
    for (const { prefix, via } of await kernel.peers(c)) {
      if (gateways.get(prefix) === via) continue;
      this.#parts.view.seed([{ prefix, nextHop: { host: via, address: via }, state: 'active', ours: false }]);
    }
    for (const { prefix, pool, phase } of this.#parts.claims.records) {
      if (phase !== 'held') continue;
      this.#parts.view.seed([{ prefix, pool, nextHop: { host: 'this host' }, state: 'active', ours: true }]);
    }
    this.#stopWatch = provider.watch?.((event) => this.#hear(event));
    this.#bringUp = this.#parts.link.bringUp();
  }

  /**
   * Claims exactly this prefix; succeeds when this host holds it. Errors: PREFIX_OWNED, PREFIX_OVERLAP,
   * PREFIX_IS_LOCAL, ROUTE_CONFLICT, QUOTA_EXCEEDED, NODE_NAME_TAKEN, STILL_WORKING, PROVIDER_*, DEADLINE, DRY_RUN.
   */
  async claim(prefix: string, pool: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    // A record that is held costs nothing, also while the provider is down.
    if (!this.#parts.claims.isHeld(text) && this.#deps.dryRun !== true) await this.#parts.link.ready(c);
    this.#found.delete(text);
    const work = (inner: Context): Promise<void> => this.#parts.claims.claim(text, pool, {}, inner);
    await this.#parts.unattended.run(`claim ${text}`, `claiming ${text}`, work, c);
  }

  /** Claims a free prefix of the pool, `preferred` first, and answers it. Errors: those of `claim`, POOL_EXHAUSTED. */
  async claimFree(wanted: FreePrefix, c: Context): Promise<string> {
    const { pool, length, within } = wanted;
    await this.#parts.link.ready(c);
    const key = `free ${parseCidr(pool).text} ${length} ${within ?? ''}`;
    const what = `claiming a prefix of length /${length} in ${within ?? pool}`;
    const prefix =
      this.#takeFound(key) ??
      (await this.#parts.unattended.run(
        ...([key, what, (inner: Context) => this.#parts.free.claim(wanted, inner), c] as const),
        (found) => this.#found.set(found, key),
      ));
    this.#found.delete(prefix);
    return prefix;
  }

  /** A prefix that was found when nobody waited for it any more. */
  #takeFound(key: string): string | undefined {
    for (const [prefix, asked] of this.#found) {
      if (!this.#parts.claims.isHeld(prefix)) this.#found.delete(prefix);
      else if (asked === key) return prefix;
    }
    return undefined;
  }

  /** Idempotent. What cannot be done in time, or while the provider is down, is done later. Errors: DRY_RUN. */
  async release(prefix: string, c: Context): Promise<void> {
    const { text } = parseCidr(prefix);
    const work = (inner: Context): Promise<void> => this.#parts.claims.release(text, inner);
    try {
      await this.#parts.unattended.run(`release ${text}`, `releasing ${text}`, work, c);
    } catch (error) {
      const intended = this.#parts.claims.record(text)?.phase === 'releasing';
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
    await this.#parts.link.ready(c);
    const work = (inner: Context): Promise<void> => this.#parts.addresses.claim(text, pool, inner);
    await this.#parts.unattended.run(`address ${text}`, `claiming ${text}`, work, c);
  }

  /** Idempotent, like `release`; an address that another host has taken meanwhile stays that host's. Errors: DRY_RUN. */
  releaseAddress(address: string, c: Context): Promise<void> {
    return this.release(hostCidr(parseAddress(address)).text, c);
  }

  /** Goes work on a claim of exactly this prefix, also when nobody waits for it? It must not be given back meanwhile. No I/O. */
  isClaiming(prefix: string): boolean {
    const cidr = parseCidr(prefix);
    const { claims, unattended } = this.#parts;
    const address = isAddress(cidr) && unattended.has(`address ${cidr.text.split('/')[0]}`);
    return address || claims.isBusy(cidr.text) || unattended.has(`claim ${cidr.text}`);
  }

  /** Whose prefix or roaming address it is; gateways own nothing. From the cached view: no I/O. */
  ownerOf(address: string): Owner | undefined {
    return this.#knowledge.ownerOf(address);
  }

  /** Those of the table that decides. */
  routes(): readonly KnownRoute[] {
    return this.#knowledge.routes;
  }

  /** Every route of the pools and of PEERS, table by table, with what is not as it should be. No I/O. */
  rows(): readonly RouteRow[] {
    return this.#knowledge.rows;
  }

  /** What an operator should know: of the provider, and of the engine itself. Never rejects for what is found. */
  findings(c: Context): Promise<readonly Finding[]> {
    return this.#knowledge.findings(c);
  }

  /** Pools that some host has drawn from, sorted; where the provider does not keep them, the prefix itself. */
  pools(): readonly string[] {
    return this.#knowledge.pools;
  }

  /** CIDRs reached without address translation, beside the pools, sorted. */
  local(): readonly string[] {
    return this.#knowledge.local;
  }

  /** Claims that another host has by now; addresses until they are released or claimed again. */
  lost(): readonly Lost[] {
    return this.#parts.claims.lost();
  }

  /** Calls back, some time after, when the view of routes or hosts has changed; the answer stops it. */
  onChange(listener: () => void): () => void {
    return this.#parts.rounds.onChange(listener);
  }

  /**
   * One pass over claims, what the host needs of its cloud and the ways to peers, after at most one reading. Writes
   * nothing when all is well. `routine`: nobody asked for it, so that what costs calls of its own is not looked at each time.
   */
  async reconcile(repair: boolean, c: Context, routine = false): Promise<Drift[]> {
    const drift: Drift[] = [];
    const { provider } = this.#deps;
    const before = this.#parts.view.confirmed === undefined ? [] : this.#parts.view.tables;
    // One that watches says by itself when it is back; another one has to be asked.
    if (this.#parts.link.started && (this.#parts.link.reachable || provider.watch === undefined)) {
      try {
        await this.#refresh(c);
        this.#parts.link.set(true);
        drift.push(...(await this.#parts.needs.check(repair, routine, c)));
      } catch (error) {
        const why = asPluginError(error).message;
        if (provider.watch === undefined) this.#parts.link.set(false, why);
        drift.push({ what: why, repaired: false });
      }
    } else {
      const why = this.#parts.link.why ?? 'it is just beginning';
      drift.push({ what: `route provider ${provider.name} is not at work: ${why}`, repaired: false });
    }
    const gone = before.filter((table) => !this.#parts.view.tables.includes(table));
    const tables = new Set([...gone, ...this.#parts.ledger.missing]);
    drift.push(...[...tables].map((id) => ({ what: `route table ${id} is not there any more`, repaired: false })));
    return [...drift, ...(await this.#parts.rounds.settle(repair, c))];
  }

  /** The same from what is known, without a question to the provider. */
  settle(repair: boolean, c: Context): Promise<Drift[]> {
    return this.#parts.rounds.settle(repair, c, true);
  }

  status(): RouteStatus {
    return this.#knowledge.status;
  }

  /** Stops background work; claims and routes stay as they are. */
  async close(_c: Context): Promise<void> {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is being stopped' }));
    this.#stopWatch?.();
    await this.#deps.provider.close();
    await this.#bringUp;
    await this.#parts.rounds.settled();
    await this.#parts.unattended.settled(CLOSE_MS);
  }

  /** The provider has just come to work. */
  async #begin(c: Context): Promise<void> {
    const { provider } = this.#deps;
    this.#knowledge.meet(await provider.self(c));
    this.#parts.view.name(await provider.tables(c));
    if (this.#parts.view.confirmed === undefined || provider.watch === undefined) await this.#refresh(c, START_MS);
    this.#parts.rounds.nudge();
  }

  /** Reads anew what is older than that. One that watches is never behind. */
  async #freshen(c: Context, maxAgeMs = 0): Promise<void> {
    const { confirmed } = this.#parts.view;
    if (confirmed !== undefined && this.#deps.provider.watch !== undefined) return;
    if (confirmed === undefined || this.#now() - confirmed >= maxAgeMs) await this.#refresh(c);
  }

  /** Reads everything from the provider. One that watches tells the differences itself, in order with its other news. */
  async #refresh(c: Context, maxAgeMs = 0): Promise<void> {
    const { provider } = this.#deps;
    const begun = this.#now();
    const tables = await provider.read(c, maxAgeMs);
    this.#parts.ledger.found(tables.map(({ id }) => id));
    if (provider.watch !== undefined && this.#parts.view.confirmed !== undefined) return;
    this.#parts.view.sync(tables, begun, this.#now());
    this.#parts.quotas.watch();
  }

  #hear(event: RouteEvent): void {
    if (event.kind === 'unreachable') {
      this.#parts.link.set(false, event.why);
      return;
    }
    if (event.kind === 'reachable') this.#parts.link.set(true);
    else this.#parts.view.apply(event, this.#now());
    // Our own claims come back as news too: nothing is to be done about them.
    if (event.kind !== 'put' || !event.route.ours) this.#parts.rounds.nudge();
  }
}
