import { type Cidr, contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import { type LocalUse, type RouteKernel, refuseLocal } from './kernel.ts';
import type { Route, RouteProvider } from './provider.ts';
import { isAddress } from './route-kind.ts';
import type { RouteView } from './route-view.ts';

export interface ObstacleDeps {
  readonly provider: RouteProvider;
  readonly kernel: RouteKernel;
  readonly view: RouteView;
  readonly peers: readonly GatewayRoute[];
  /** CIDRs that no host may claim a prefix in. */
  readonly reserved: () => readonly string[];
}

/** What keeps prefixes from being claimed, beside the claims of hosts. */
export class Obstacles {
  readonly #deps: ObstacleDeps;

  constructor(deps: ObstacleDeps) {
    this.#deps = deps;
  }

  /** Throws ROUTE_CONFLICT, PREFIX_OVERLAP or PREFIX_IS_LOCAL when this host may not ask for the prefix at all. */
  async refuse(prefix: Cidr, c: Context): Promise<void> {
    const { provider, peers, reserved } = this.#deps;
    const peer = peers.find((one) => overlaps(one.prefix, prefix));
    if (peer !== undefined) {
      const target = `${peer.via}, where ${peer.prefix.text} lives`;
      throw new PluginError('ROUTE_CONFLICT', { prefix: prefix.text, table: 'PEERS', target });
    }
    const range = isAddress(prefix) ? undefined : reserved().find((one) => overlaps(parseCidr(one), prefix));
    if (range !== undefined) {
      throw new PluginError('PREFIX_OVERLAP', { prefix: prefix.text, other: range, owner: 'roaming addresses' });
    }
    refuseLocal(prefix.text, await this.#uses(c), provider.allowsNarrower);
  }

  /** Throws ROUTE_CONFLICT when a table leads the prefix to a gateway, as far as is known. */
  refuseGateway(prefix: Cidr): void {
    const { view } = this.#deps;
    for (const table of view.tables) {
      const found = view.overlapping(prefix, table).find((route) => this.#blocks(route, prefix.length));
      if (found === undefined) continue;
      const wider = found.prefix === prefix.text ? '' : ` (${found.prefix})`;
      const target = `${found.nextHop.target ?? found.nextHop.host}${wider}`;
      throw new PluginError('ROUTE_CONFLICT', { prefix: prefix.text, table, target });
    }
  }

  /** Is a gateway in the way of prefixes of this length? One may be cut out of a wider route where that is allowed. */
  #blocks(route: Route, length: number): boolean {
    if (route.gateway !== true) return false;
    return !(this.#deps.provider.allowsNarrower && parseCidr(route.prefix).length < length);
  }

  /** What a free prefix of this length in the area must not overlap: what others have there, and what is local. */
  async taken(
    area: Cidr,
    length: number,
    c: Context,
  ): Promise<{ claimed: readonly string[]; local: readonly string[] }> {
    const { provider, view, peers, reserved } = this.#deps;
    const routes = view.tables.flatMap((table) => view.of(table));
    const claimed = routes.filter((route) => route.gateway !== true || this.#blocks(route, length));
    const uses = (await this.#uses(c)).filter((use) => !(provider.allowsNarrower && covers(use, area)));
    return {
      claimed: [...new Set(claimed.map((route) => route.prefix))],
      local: [...uses.map((use) => use.prefix), ...peers.map((peer) => peer.prefix.text), ...reserved()],
    };
  }

  async #uses(c: Context): Promise<readonly LocalUse[]> {
    const { provider, kernel } = this.#deps;
    const what = `local to the route provider ${provider.name}`;
    const local = provider.local().map((prefix): LocalUse => ({ prefix, kind: 'address', gateway: false, what }));
    return [...local, ...(await kernel.uses(c))];
  }
}

/** A route to a gateway that the whole pool lies in, and that prefixes are cut out of. */
const covers = (use: LocalUse, pool: Cidr): boolean => use.gateway && contains(parseCidr(use.prefix), pool);
