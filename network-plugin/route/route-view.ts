import { type Address, type Cidr, contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Route, RouteEvent, RouteTable } from './provider.ts';

interface Entry {
  readonly route: Route;
  readonly cidr: Cidr;
}

interface Table {
  readonly entries: Map<string, Entry>;
  limit: number | undefined;
  used: number | undefined;
}

/** A write of this host, which a reading may not show yet; no route: removed. */
interface Write {
  readonly table: string;
  readonly prefix: string;
  readonly route: Route | undefined;
  readonly at: number;
}

/** So long after a write a reading may still show what was before, in milliseconds. */
export const CONSISTENCY_MS = 10_000;
/** No reading takes so long from its beginning to its end. */
const FORGET_MS = 5 * 60_000;
/** What the arbiter is called before the provider has named it. */
const UNNAMED = 'main';

/**
 * The cluster's routes as they were last heard of, table by table. The first table is the arbiter: whose a prefix is
 * there, its it is. Times are epoch milliseconds.
 */
export class RouteView {
  #tables = new Map<string, Table>([[UNNAMED, emptyTable()]]);
  #writes = new Map<string, Write>();
  #confirmed: number | undefined;
  #version = 0;
  /** When the last reading was begun. */
  #begun = Number.NEGATIVE_INFINITY;

  /** Changes with all that is heard and written. */
  get version(): number {
    return this.#version;
  }

  /** When the last whole view came; undefined before the first: then nothing may be taken for gone. */
  get confirmed(): number | undefined {
    return this.#confirmed;
  }

  /** Ids, the arbiter first. */
  get tables(): readonly string[] {
    return [...this.#tables.keys()];
  }

  get arbiter(): string {
    return this.tables[0] ?? UNNAMED;
  }

  /** Those of the arbiter. */
  get routes(): readonly Route[] {
    return this.of(this.arbiter);
  }

  /** Routes of one table. */
  of(table: string): readonly Route[] {
    return [...(this.#tables.get(table)?.entries.values() ?? [])].map((entry) => entry.route);
  }

  /** What any table has for exactly this prefix. */
  everywhere(prefix: string): readonly { readonly table: string; readonly route: Route }[] {
    return this.tables.flatMap((table) => {
      const route = this.get(prefix, table);
      return route === undefined ? [] : [{ table, route }];
    });
  }

  get(prefix: string, table: string = this.arbiter): Route | undefined {
    return this.#tables.get(table)?.entries.get(prefix)?.route;
  }

  /** How full a table is, where that is known. */
  fill(table: string): { readonly used: number | undefined; readonly limit: number | undefined } {
    const { used, limit } = this.#tables.get(table) ?? {};
    return { used, limit };
  }

  /** Gives the arbiter, and the others of a provider that has not been read yet, their names. */
  name(ids: readonly string[]): void {
    const known = [...this.#tables.values()];
    const named = ids.map((id, n) => [id, this.#tables.get(id) ?? (n === 0 ? known[0] : undefined) ?? emptyTable()]);
    if (ids.length > 0) this.#tables = new Map(named as [string, Table][]);
  }

  /** Unconfirmed knowledge from before, so that addresses have owners until the provider answers. */
  seed(routes: readonly Route[]): void {
    for (const route of routes) this.#put(this.arbiter, route);
  }

  /** News of a provider that watches: it has one table. */
  apply(event: RouteEvent, now: number): void {
    this.#version += 1;
    if (event.kind === 'sync') {
      this.#tables.get(this.arbiter)?.entries.clear();
      for (const route of event.routes) this.#put(this.arbiter, route);
      this.#confirmed = now;
    } else if (event.kind === 'put') {
      this.#put(this.arbiter, event.route);
    } else if (event.kind === 'remove') {
      this.#tables.get(this.arbiter)?.entries.delete(event.prefix);
    }
  }

  /** A reading of everything that was `begun` at that time: what this host wrote shortly before may be missing in it. */
  sync(tables: readonly RouteTable[], begun: number, now: number): void {
    // One that was overtaken by another says nothing new.
    if (begun < this.#begun) return;
    this.#begun = begun;
    this.#version += 1;
    this.#tables = new Map(tables.map(({ id, limit, used }) => [id, { ...emptyTable(), limit, used }]));
    for (const { id, routes } of tables) for (const route of routes) this.#put(id, route);
    for (const [key, write] of this.#writes) {
      if (begun >= write.at + CONSISTENCY_MS) this.#writes.delete(key);
      else if (this.#tables.has(write.table)) this.#overrule(write);
    }
    this.#confirmed = now;
  }

  /** This host has just set or removed (no route) a prefix in a table. */
  wrote(table: string, prefix: string, route: Route | undefined, now: number): void {
    this.#version += 1;
    for (const [key, { at }] of this.#writes) if (now - at > FORGET_MS) this.#writes.delete(key);
    this.#writes.set(`${table} ${prefix}`, { table, prefix, route, at: now });
    if (route === undefined) this.#delete(table, prefix);
    else this.#put(table, route, true);
  }

  /** The narrowest route to a host that an address lies in. */
  find(address: Address): Route | undefined {
    let found: Entry | undefined;
    for (const entry of this.#tables.get(this.arbiter)?.entries.values() ?? []) {
      if (entry.route.gateway === true || !contains(entry.cidr, address)) continue;
      if (found === undefined || entry.cidr.length > found.cidr.length) found = entry;
    }
    return found?.route;
  }

  /** Routes of one table that share an address with the prefix. */
  overlapping(prefix: Cidr, table: string = this.arbiter): readonly Route[] {
    return [...(this.#tables.get(table)?.entries.values() ?? [])]
      .filter(({ cidr }) => overlaps(cidr, prefix))
      .map(({ route }) => route);
  }

  #overrule({ table, prefix, route }: Write): void {
    const listed = this.get(prefix, table);
    if (route === undefined) {
      // Somebody else's must have come after ours went.
      if (listed?.ours === true) this.#delete(table, prefix);
    } else if (listed === undefined || !isSame(listed, route)) {
      this.#put(table, route, true);
    }
  }

  #put(table: string, route: Route, counts = false): void {
    const cidr = parseCidr(route.prefix);
    // A way to everywhere is nobody's claim to anything.
    if (cidr.length === 0) return;
    const known = this.#tables.get(table) ?? emptyTable();
    if (counts && known.used !== undefined && !known.entries.has(route.prefix)) known.used += 1;
    known.entries.set(route.prefix, { route, cidr });
    this.#tables.set(table, known);
  }

  #delete(table: string, prefix: string): void {
    const known = this.#tables.get(table);
    if (known?.entries.delete(prefix) === true && known.used !== undefined) known.used -= 1;
  }
}

/** Do both lead to this host, or to the same gateway? */
const isSame = (a: Route, b: Route): boolean =>
  a.ours === b.ours && a.state === b.state && (a.ours || a.nextHop.host === b.nextHop.host);

const emptyTable = (): Table => ({ entries: new Map(), limit: undefined, used: undefined });
