import { contains, parseAddress, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Lost } from './claims.ts';
import { engineFindings, QUOTA_CHECK } from './engine-findings.ts';
import type { EngineDeps, EngineParts } from './engine-parts.ts';
import type { Finding, NextHop, Route } from './provider.ts';
import type { TableFill } from './quotas.ts';
import { kindOf, type RouteKind } from './route-kind.ts';
import { type RouteRow, routeRows } from './route-rows.ts';
import { strayPrefixes } from './stray-prefixes.ts';

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

/** What the engine can tell of routes and of itself. No I/O but in `findings`. */
export class Knowledge {
  readonly #deps: EngineDeps;
  readonly #parts: EngineParts;
  #self: NextHop | undefined;

  constructor(deps: EngineDeps, parts: EngineParts) {
    this.#deps = deps;
    this.#parts = parts;
  }

  /** Who this host is. */
  meet(self: NextHop): void {
    this.#self = self;
  }

  ownerOf(address: string): Owner | undefined {
    const { view, claims } = this.#parts;
    const parsed = parseAddress(address);
    const route = view.find(parsed);
    if (route !== undefined) return { host: route.nextHop.host, prefix: route.prefix, ours: route.ours };
    const own = claims.own.find((prefix) => contains(parseCidr(prefix), parsed));
    return own === undefined ? undefined : { host: 'this host', prefix: own, ours: true };
  }

  get routes(): readonly KnownRoute[] {
    return this.#parts.view.routes.map((route) => ({ ...route, kind: kindOf(route) }));
  }

  get rows(): readonly RouteRow[] {
    const { view, fates, claims } = this.#parts;
    const { peers = [], peersIn } = this.#deps;
    const self = this.#self?.host ?? 'this host';
    const inTables = peersIn === 'tables' ? peers : [];
    return routeRows({ view, fates, claims: claims.records, peers: inTables, pools: this.areas, self });
  }

  /** Of the provider, and of the engine itself. */
  async findings(c: Context): Promise<readonly Finding[]> {
    const { provider } = this.#deps;
    const { link, claims, quotas, ledger, blackholes, fates } = this.#parts;
    const own = engineFindings({
      ...{ provider: provider.name, reachable: link.reachable, why: link.why, lost: claims.lost() },
      ...{ tables: quotas.fill, missing: ledger.missing, blackholes: blackholes.all, fates },
    });
    try {
      const theirs = (await provider.findings?.(c)) ?? [];
      // Who looks at the quota just now knows better than the last reading.
      const lookedAt = theirs.some(({ check }) => check === QUOTA_CHECK);
      return [...own.filter(({ check }) => !lookedAt || check !== QUOTA_CHECK), ...theirs];
    } catch (error) {
      const { message: found, fix: remedy } = asPluginError(error);
      return [...own, { check: `what ${provider.name} needs`, state: 'unknown', found, remedy }];
    }
  }

  get pools(): readonly string[] {
    return [...new Set([...this.#drawnFrom, ...strayPrefixes(this.#parts.view.routes, this.areas)])].sort();
  }

  /** Pools of the settings, and those that are known beside them. */
  get areas(): readonly string[] {
    return [...new Set([...(this.#deps.home ?? []), ...this.#drawnFrom])];
  }

  get local(): readonly string[] {
    const { provider, peers = [] } = this.#deps;
    return [...new Set([...provider.local(), ...peers.map((peer) => peer.prefix.text)])].sort();
  }

  get status(): RouteStatus {
    const { provider } = this.#deps;
    const { view, link, claims, quotas } = this.#parts;
    const { confirmed } = view;
    const { reachable, since, why } = link;
    return {
      provider: provider.name,
      reachable,
      since: new Date(since).toISOString(),
      ...(why !== undefined && { why }),
      ...(confirmed !== undefined && { confirmed: new Date(confirmed).toISOString() }),
      held: claims.records.filter(({ phase }) => phase === 'held').map(({ prefix }) => prefix),
      lost: claims.lost(),
      tables: quotas.fill,
      details: provider.status?.() ?? {},
    };
  }

  /** Pools of claims, as far as the provider keeps them. */
  get #drawnFrom(): readonly string[] {
    const known = this.#parts.view.routes.flatMap((route) => route.pool ?? []);
    return [...new Set([...known, ...this.#parts.claims.records.map((claim) => claim.pool)])].sort();
  }
}
