import { contains, parseAddress, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { GatewayRecord, NetworkState } from '../state.ts';
import { type Ledger, leadsTo } from './ledger.ts';
import type { NextHop, Route, RouteProvider } from './provider.ts';
import type { RouteView } from './route-view.ts';

export interface GatewayDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly view: RouteView;
  readonly ledger: Ledger;
  readonly peers: readonly GatewayRoute[];
  /** The pool that a prefix belongs to. */
  readonly poolOf: (prefix: string) => string;
  readonly now: () => number;
}

/**
 * Throws SETTING_INVALID when PEERS does not fit where the routes are kept: `kernel`, where a next hop is an address,
 * or `tables`, where it is the cloud's name of a gateway.
 */
export const checkPeers = (peers: readonly GatewayRoute[], where: 'kernel' | 'tables'): void => {
  const invalid = ({ prefix, via }: GatewayRoute, reason: string, allowed: string): PluginError =>
    new PluginError('SETTING_INVALID', {
      ...{ option: 'PEERS', value: `${prefix.text} via ${via}`, reason, allowed },
      example: `"${prefix.text} via ${where === 'kernel' ? '192.168.1.1' : 'vgw-0a1b2c3d'}"`,
    });
  const seen = new Set<string>();
  for (const peer of peers) {
    if (seen.has(peer.prefix.text)) throw invalid(peer, 'the prefix is named twice', 'each prefix once');
    seen.add(peer.prefix.text);
    const family = familyOf(peer.via);
    if (where === 'tables' && family !== undefined) {
      throw invalid(
        peer,
        "a cloud's route tables lead to gateways, not to addresses",
        'CIDR via the name of a gateway',
      );
    }
    if (where === 'kernel' && family === undefined) {
      throw invalid(peer, 'this provider has routes in the kernel only, which leads to addresses', 'CIDR via ADDRESS');
    }
    if (where === 'kernel' && family !== peer.prefix.family) {
      throw invalid(peer, 'prefix and address are of different families', 'CIDR via an ADDRESS of the same family');
    }
  }
};

const familyOf = (via: string): 4 | 6 | undefined => {
  try {
    return parseAddress(via).family;
  } catch {
    return undefined;
  }
};

/**
 * Routes of PEERS in a cloud's tables: made where they are missing, and those that this host made and that PEERS does
 * not name any more are removed, as long as they still lead there. What leads elsewhere is told and not touched.
 */
export class Gateways {
  readonly #deps: GatewayDeps;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
  }

  async settle(repair: boolean, c: Context): Promise<Drift[]> {
    const drift: Drift[] = [];
    for (const record of this.#former) drift.push(...(await this.#withdraw(record, repair, c)));
    for (const peer of this.#deps.peers) {
      for (const table of await this.#tables(c)) drift.push(...(await this.#settleOne(table, peer, repair, c)));
    }
    return drift;
  }

  /** Made by this host, and not asked for any more. */
  get #former(): readonly GatewayRecord[] {
    const wanted = new Set(this.#deps.peers.map(({ prefix }) => prefix.text));
    return [...this.#deps.store.all('gateways').values()].filter(({ prefix }) => !wanted.has(prefix));
  }

  async #tables(c: Context): Promise<readonly string[]> {
    const { provider, ledger } = this.#deps;
    return (await provider.tables(c)).filter((table) => !ledger.missing.includes(table));
  }

  async #settleOne(table: string, peer: GatewayRoute, repair: boolean, c: Context): Promise<Drift[]> {
    const { store, view } = this.#deps;
    const { text } = peer.prefix;
    const there = view.get(text, table);
    if (there !== undefined && leadsTo(there, peer.via)) return [];
    const made = store.get('gateways', text);
    if (there === undefined) {
      return await this.#lead(table, peer, undefined, `${text} via ${peer.via} is missing in ${table}`, repair, c);
    }
    if (made !== undefined && made.via !== peer.via && leadsTo(there, made.via)) {
      const what = `${text} in ${table} leads to ${made.via}, as PEERS said before`;
      return await this.#lead(table, peer, there.nextHop, what, repair, c);
    }
    return [{ what: `${text} in ${table} leads to ${targetOf(there)}, not to ${peer.via}`, repaired: false }];
  }

  async #lead(
    table: string,
    { prefix, via }: GatewayRoute,
    former: NextHop | undefined,
    what: string,
    repair: boolean,
    c: Context,
  ): Promise<Drift[]> {
    if (!repair) return [{ what, repaired: false }];
    const { store, ledger, poolOf, now } = this.#deps;
    const { text } = prefix;
    try {
      const known = store.get('gateways', text);
      // Written down before, and only with the new target once no table leads to the former one: see below.
      if (known === undefined) await this.#save(text, via, now());
      await ledger.lead(table, { prefix: text, pool: poolOf(text), via }, former, c);
      await this.#follow(text, via);
      return [{ what, repaired: true }];
    } catch (error) {
      return [{ what: `${what}: ${asPluginError(error).message}`, repaired: false }];
    }
  }

  /** The record names the new target as soon as nothing leads to the former one any more. */
  async #follow(prefix: string, via: string): Promise<void> {
    const { store, view, now } = this.#deps;
    const known = store.get('gateways', prefix);
    if (known === undefined || known.via === via) return;
    if (view.everywhere(prefix).some(({ route }) => leadsTo(route, known.via))) return;
    await this.#save(prefix, via, now());
  }

  async #withdraw({ prefix, via }: GatewayRecord, repair: boolean, c: Context): Promise<Drift[]> {
    const { store, ledger } = this.#deps;
    const what = `${prefix} via ${via} is not in PEERS any more`;
    if (!repair) return [{ what, repaired: false }];
    try {
      for (const table of await this.#tables(c)) await ledger.remove(table, { prefix, via }, c);
      await store.update((tx) => tx.delete('gateways', prefix));
      return [{ what, repaired: true }];
    } catch (error) {
      return [{ what: `${what}: ${asPluginError(error).message}`, repaired: false }];
    }
  }

  #save(prefix: string, via: string, at: number): Promise<void> {
    const since = new Date(at).toISOString();
    return this.#deps.store.update((tx) => tx.put('gateways', prefix, { prefix, via, since }));
  }
}

const targetOf = ({ nextHop: { host, target } }: Route): string =>
  target === undefined || target === host ? host : `${host} (${target})`;

/** The widest of the pools that a prefix lies in, or itself. */
export const poolAround = (prefix: string, pools: readonly string[]): string => {
  const cidr = parseCidr(prefix);
  const around = pools.map((pool) => parseCidr(pool)).filter((pool) => contains(pool, cidr));
  return around.sort((a, b) => a.length - b.length)[0]?.text ?? prefix;
};
