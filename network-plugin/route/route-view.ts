import { type Address, type Cidr, contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Route, RouteEvent } from './provider.ts';

interface Entry {
  readonly route: Route;
  readonly cidr: Cidr;
}

/** The cluster's routes as they were last heard of. */
export class RouteView {
  #entries = new Map<string, Entry>();
  #confirmed: number | undefined;

  /** Epoch milliseconds of the last whole view; undefined before the first: then nothing may be taken for gone. */
  get confirmed(): number | undefined {
    return this.#confirmed;
  }

  get routes(): readonly Route[] {
    return [...this.#entries.values()].map((entry) => entry.route);
  }

  get(prefix: string): Route | undefined {
    return this.#entries.get(prefix)?.route;
  }

  /** Unconfirmed knowledge from before, so that addresses have owners until the provider answers. */
  seed(routes: readonly Route[]): void {
    for (const route of routes) this.#put(route);
  }

  apply(event: RouteEvent, now: number): void {
    if (event.kind === 'sync') {
      this.#entries = new Map();
      for (const route of event.routes) this.#put(route);
      this.#confirmed = now;
    } else if (event.kind === 'put') {
      this.#put(event.route);
    } else if (event.kind === 'remove') {
      this.#entries.delete(event.prefix);
    }
  }

  /** Narrowest first does not matter: routes of one table never overlap. */
  find(address: Address): Route | undefined {
    for (const { route, cidr } of this.#entries.values()) if (contains(cidr, address)) return route;
    return undefined;
  }

  overlapping(prefix: Cidr): readonly Route[] {
    return [...this.#entries.values()].filter(({ cidr }) => overlaps(cidr, prefix)).map(({ route }) => route);
  }

  #put(route: Route): void {
    this.#entries.set(route.prefix, { route, cidr: parseCidr(route.prefix) });
  }
}
