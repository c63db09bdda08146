import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import type { ClaimRecord } from '../state.ts';
import type { Fates } from './fates.ts';
import { leadsTo } from './ledger.ts';
import type { Route } from './provider.ts';
import { isAddress, kindOf, type RouteKind } from './route-kind.ts';
import type { RouteView } from './route-view.ts';

/** One prefix in one table, as it was last heard of. */
export interface RouteRow {
  readonly table: string;
  readonly prefix: string;
  readonly kind: RouteKind;
  /** The pool that it was drawn from, where that is known. */
  readonly pool?: string;
  /** The router's name of the target, or its address. */
  readonly nextHop: string;
  /** Name of the host, or of the gateway. */
  readonly host: string;
  /** `missing`: it should be there. */
  readonly state: 'active' | 'blackhole' | 'missing';
  readonly owner: 'ours' | 'foreign' | 'gateway';
  /** What is not as it should be, in words. */
  readonly drift?: string;
}

export interface RowSources {
  readonly view: RouteView;
  readonly fates: Fates;
  readonly claims: readonly ClaimRecord[];
  readonly peers: readonly GatewayRoute[];
  /** The cluster's pools: what lies outside is not of interest. */
  readonly pools: readonly string[];
  /** The name of this host. */
  readonly self: string;
}

/** Every route of the pools and of PEERS, table by table, with what is missing there. No I/O. */
export const routeRows = (sources: RowSources): readonly RouteRow[] => {
  const { view, pools } = sources;
  const areas = pools.map((pool) => parseCidr(pool));
  const wanted = expected(sources);
  return view.tables.flatMap((table) => {
    const rows = view
      .of(table)
      .filter(({ prefix, gateway }) => {
        const cidr = parseCidr(prefix);
        // A way out that the whole pool lies in is none of ours.
        return wanted.has(prefix) || areas.some((area) => (gateway ? contains(area, cidr) : overlaps(area, cidr)));
      })
      .map((route) => rowOf(sources, table, route, wanted.get(route.prefix)));
    const there = new Set(rows.map((row) => row.prefix));
    const missing = [...wanted.values()].filter((row) => !there.has(row.prefix));
    const absent = missing.map((row): RouteRow => ({ ...row, table, drift: `missing in ${table}` }));
    return [...rows, ...absent];
  });
};

type Expected = Omit<RouteRow, 'table'> & { readonly via?: string };

/** What every table should have: claims of this host, PEERS, and the claims of others that the arbiter has. */
const expected = ({ view, claims, peers, self }: RowSources): ReadonlyMap<string, Expected> => {
  const state = 'missing' as const;
  const found = new Map<string, Expected>();
  for (const { prefix, pool, nextHop, ours, gateway, state: now } of view.routes) {
    if (ours || gateway === true || now === 'blackhole') continue;
    const common = { prefix, nextHop: targetOf(nextHop), host: nextHop.host, kind: kindOf({ prefix }), state };
    found.set(prefix, { ...common, owner: 'foreign', ...(pool !== undefined && { pool }) });
  }
  for (const { prefix: cidr, via } of peers) {
    const common = { prefix: cidr.text, nextHop: via, host: via, via, state };
    found.set(cidr.text, { ...common, kind: 'gateway', owner: 'gateway' });
  }
  for (const { prefix, pool, phase } of claims) {
    if (phase !== 'held') continue;
    const kind = isAddress(parseCidr(prefix)) ? 'address' : 'prefix';
    found.set(prefix, { prefix, pool, nextHop: '', host: self, kind, state, owner: 'ours' });
  }
  return found;
};

const rowOf = (sources: RowSources, table: string, route: Route, wanted: Expected | undefined): RouteRow => {
  const { prefix, nextHop, state, ours, gateway, pool } = route;
  const drift = driftOf(sources, route, wanted);
  return {
    ...{ table, prefix, kind: kindOf(route), nextHop: targetOf(nextHop), host: nextHop.host, state },
    owner: ours ? 'ours' : gateway === true ? 'gateway' : 'foreign',
    ...(pool !== undefined && { pool }),
    ...(drift !== undefined && { drift }),
  };
};

const driftOf = ({ view, fates }: RowSources, route: Route, wanted: Expected | undefined): string | undefined => {
  const { nextHop, state, ours, gateway, prefix } = route;
  if (wanted?.owner === 'ours' && !ours) return 'this host has it on record as its own';
  if (wanted?.via !== undefined) return leadsTo(route, wanted.via) ? undefined : `PEERS says ${wanted.via}`;
  if (ours && wanted === undefined) return 'this host has no record of it';
  if (state === 'blackhole') {
    const fate = fates.known(nextHop);
    if (ours) return 'a blackhole, although it leads to this host';
    if (gateway === true) return 'a blackhole: the gateway is gone';
    return fate === 'gone'
      ? 'blackhole of a terminated host'
      : `blackhole of ${fate === 'stopped' ? 'a stopped' : 'an unreachable'} host`;
  }
  const arbiter = view.get(prefix);
  if (ours || gateway === true || arbiter?.nextHop.host === nextHop.host) return undefined;
  return arbiter === undefined ? `not in ${view.arbiter}` : `${view.arbiter} leads to ${arbiter.nextHop.host}`;
};

const targetOf = ({ target, address, address6, host }: Route['nextHop']): string =>
  target ?? address ?? address6 ?? host;
