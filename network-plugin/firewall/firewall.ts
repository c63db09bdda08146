import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { ForwardAccepts, legacyTable } from '../../shared/kernel/iptables.ts';
import { nftTable } from '../../shared/kernel/iptables-nft.ts';
import type { ElementChange } from '../../shared/kernel/nft-elements.ts';
import { type Nftables, openNftables } from '../../shared/kernel/nftables.ts';
import type { Drift } from '../datapath/datapath.ts';
import { type Connections, trackedConnections } from './connections.ts';
import {
  type Element,
  elementsOf,
  elementsOfAll,
  elementsOfModel,
  elementText,
  placeOf,
  roamingElements,
  subjectOf,
} from './element.ts';
import { type Listing, parseListing } from './listing.ts';
import type { FirewallModel, PublishedPort, RoamingAddress } from './policy.ts';
import { ELEMENT_TYPES, renderTable, replacement, TABLE } from './ruleset.ts';

export interface FirewallDeps {
  readonly nft: Nftables;
  /** Accepts in the chains of iptables, where those are in use. */
  readonly accepts: ForwardAccepts;
  readonly connections: Connections;
}

/**
 * The host's packet filter for containers: one nftables table of our own, made whole from the model, in which published
 * ports and roaming addresses come and go as elements. It is compared by its listing: what is right is never written.
 * One call at a time: the driver sees to that.
 */
export class Firewall {
  readonly #deps: FirewallDeps;
  /** Elements of the element sets as last written or read; undefined when not known. */
  #elements: Map<string, Element> | undefined;
  /** Of the table as last written: how it was rendered, and how nft listed it (other versions use other words). */
  #written: { readonly rendered: string; readonly listed: string } | undefined;

  constructor(deps: FirewallDeps) {
    this.#deps = deps;
  }

  /** Brings the rules to what the model says. Connections under way do not notice. Errors: FIREWALL, CIDR_INVALID. */
  async apply(model: FirewallModel, c: Context): Promise<void> {
    this.#applyTable(model, this.#read());
    this.#report(await this.#deps.accepts.check(true, c), c);
  }

  #applyTable(model: FirewallModel, have: Listing | undefined): void {
    const { table, want } = render(model);
    if (have === undefined || this.#differences(want, have).length > 0) this.#replace(table, want, have, model.ports);
    else this.#elements = new Map(have.elements);
  }

  #replace(table: string, want: Listing, had: Listing | undefined, ports: readonly PublishedPort[]): void {
    const { nft, connections } = this.#deps;
    nft.change(replacement(table), 'to load the rules');
    this.#elements = new Map(want.elements);
    this.#written = { rendered: want.rules, listed: this.#read()?.rules ?? want.rules };
    const isNew = (element: Element): boolean => had?.elements.get(placeOf(element))?.value !== element.value;
    connections.forgetStrangers(ports.filter((port) => elementsOf(port).some(isNew)));
  }

  /**
   * Adds published ports: elements only, 0.2 ms. A port that leads elsewhere so far is led here. Repeating it is fine.
   * Errors: FIREWALL, also when the table is missing (`apply` makes it).
   */
  async publish(ports: readonly PublishedPort[], c: Context): Promise<void> {
    const add = elementsOfAll(ports);
    this.#change(
      (have) => {
        const fresh = [...add].filter(([place, { value }]) => !have.has(place) || have.get(place)?.value !== value);
        return { remove: fresh.flatMap(([place]) => have.get(place) ?? []), add: fresh.map(([, element]) => element) };
      },
      `to publish ${describe(ports)}`,
    );
    this.#deps.connections.forgetStrangers(ports);
    this.#report(await this.#deps.accepts.ensure(c), c);
  }

  /** Takes published ports back; what is gone, or leads elsewhere by now, is left alone. Errors: FIREWALL. */
  async revoke(ports: readonly PublishedPort[], _c: Context): Promise<void> {
    const gone = elementsOfAll(ports);
    if (this.#present())
      this.#change((have) => ({ remove: removable(gone, have), add: [] }), `to take back ${describe(ports)}`);
    else this.#elements = undefined;
    this.#deps.connections.forgetOwn(ports);
  }

  /** Lets addresses that containers have brought along count as their networks': elements only. Errors: FIREWALL. */
  async admit(addresses: readonly RoamingAddress[], _c: Context): Promise<void> {
    const want = roamingElements(addresses);
    this.#change(
      (have) => {
        const wrong = [...want].filter(([place, { value }]) => !have.has(place) || have.get(place)?.value !== value);
        return { remove: wrong.flatMap(([place]) => have.get(place) ?? []), add: wrong.map(([, element]) => element) };
      },
      `to let ${addresses.map(({ address }) => address).join(', ')} through`,
    );
  }

  /** Takes such addresses out again; what is gone is left alone. Errors: FIREWALL. */
  async dismiss(addresses: readonly RoamingAddress[], _c: Context): Promise<void> {
    const gone = [...roamingElements(addresses)];
    const remove = (have: ReadonlyMap<string, Element>): Element[] =>
      gone.flatMap(([place, { value }]) => {
        const found = have.get(place);
        return found === undefined || found.value !== value ? [] : [found];
      });
    const what = `to take ${addresses.map(({ address }) => address).join(', ')} out`;
    if (this.#present()) this.#change((have) => ({ remove: remove(have), add: [] }), what);
    else this.#elements = undefined;
  }

  /** Makes sure that iptables' tables that have come into use since the last check let containers' packets through. */
  async ensureAccepts(c: Context): Promise<void> {
    this.#report(await this.#deps.accepts.ensure(c), c);
  }

  /** Compares, and repairs when `repair`. Writes nothing when all is well. Errors: FIREWALL. */
  async check(model: FirewallModel, repair: boolean, c: Context): Promise<Drift[]> {
    const { table, want } = render(model);
    const have = this.#read();
    const problems = have === undefined ? [`the nftables table ${TABLE} is missing`] : this.#differences(want, have);
    if (problems.length > 0 && repair) this.#replace(table, want, have, model.ports);
    const drift = problems.map((what) => ({ what, repaired: repair }));
    return [...drift, ...(await this.#deps.accepts.check(repair, c))];
  }

  /** Takes out everything that is ours, and nothing else. */
  async remove(c: Context): Promise<void> {
    if (this.#present()) this.#deps.nft.change(`delete table ${TABLE}`, 'to remove the rules');
    this.#elements = undefined;
    this.#written = undefined;
    await this.#deps.accepts.remove(c);
  }

  /** Listing chains is the cheapest question that tells: `list tables` reads all elements of all sets first. */
  #present(): boolean {
    const chains = this.#deps.nft.run(`list chains ${TABLE.split(' ')[0]}`, 'to list the chains');
    return chains.split('\n').includes(`table ${TABLE} {`);
  }

  /** Undefined: there is no table. */
  #read(): Listing | undefined {
    return this.#present() ? parseListing(this.#deps.nft.run(`list table ${TABLE}`, 'to list the rules')) : undefined;
  }

  #differences(want: Listing, have: Listing): string[] {
    const echo = this.#written?.rendered === want.rules ? this.#written.listed : want.rules;
    const rules = have.rules === want.rules || have.rules === echo;
    const found = rules ? [] : [`the rules in the nftables table ${TABLE} are not what the networks need`];
    for (const [place, element] of want.elements) {
      const actual = have.elements.get(place);
      if (actual === undefined) found.push(`the firewall lacks the ${subjectOf(element)} ${elementText(element)}`);
      else if (actual.value !== element.value)
        found.push(`the firewall leads ${elementText(actual)}, not to ${element.value}`);
    }
    for (const [place, element] of have.elements) {
      if (!want.elements.has(place))
        found.push(`the firewall has ${STRAY[subjectOf(element)]}: ${elementText(element)}`);
    }
    return found;
  }

  /** Changes elements in one transaction; once more, from what the kernel has, when memory turns out to be wrong. */
  #change(plan: (have: ReadonlyMap<string, Element>) => { remove: Element[]; add: Element[] }, what: string): void {
    try {
      this.#changeFrom(this.#elements ?? this.#readElements(what), plan, what);
    } catch (error) {
      if (this.#elements === undefined) throw error;
      this.#elements = undefined;
      this.#changeFrom(this.#readElements(what), plan, what);
    }
  }

  #changeFrom(
    have: Map<string, Element>,
    plan: (have: ReadonlyMap<string, Element>) => { remove: Element[]; add: Element[] },
    what: string,
  ): void {
    const { remove, add } = plan(have);
    this.#deps.nft.changeElements([...changes('delete', remove), ...changes('create', add)], what);
    for (const element of remove) have.delete(placeOf(element));
    for (const element of add) have.set(placeOf(element), element);
    this.#elements = have;
  }

  #readElements(what: string): Map<string, Element> {
    const have = this.#read();
    if (have === undefined)
      throw new PluginError('FIREWALL', { what, reason: `the nftables table ${TABLE} is missing` });
    return new Map(have.elements);
  }

  #report(drift: readonly Drift[], c: Context): void {
    for (const { what, repaired } of drift) {
      if (repaired) c.log.info('let containers through iptables', { what });
      else c.log.warn('iptables may drop packets of containers', { what });
    }
  }
}

/** The firewall of this host. Errors: FIREWALL when nftables cannot be used. */
export const openFirewall = (): Firewall => {
  const nft = openNftables();
  const tables = [legacyTable(4), legacyTable(6), nftTable(nft, 4), nftTable(nft, 6)];
  const accepts = new ForwardAccepts(tables, () => nft.foreignChanges());
  return new Firewall({ nft, accepts, connections: trackedConnections() });
};

const STRAY = { port: 'a port that nobody publishes', address: 'an address that no container has' } as const;

const render = (model: FirewallModel): { readonly table: string; readonly want: Listing } => {
  const table = renderTable(model, elementsOfModel(model).values());
  return { table, want: parseListing(table) };
};

/** What of `gone` is still there and leads where it led. */
const removable = (gone: ReadonlyMap<string, Element>, have: ReadonlyMap<string, Element>): Element[] =>
  [...gone].flatMap(([place, element]) => {
    const found = have.get(place);
    return found === undefined || found.value !== element.value || isShared(element, have, gone) ? [] : [found];
  });

/** A container may reach itself as long as it publishes any port. */
const isShared = (
  element: Element,
  have: ReadonlyMap<string, Element>,
  gone: ReadonlyMap<string, Element>,
): boolean => {
  if (element.value !== undefined) return false;
  const [target] = element.key.split(' . ');
  return [...have.values()].some((other) => other.value?.startsWith(`${target} . `) && !gone.has(placeOf(other)));
};

/** One change for each set. */
const changes = (op: ElementChange['op'], elements: readonly Element[]): ElementChange[] =>
  [...Map.groupBy(elements, ({ set }) => set)].map(([set, members]) => ({
    op,
    table: TABLE,
    set,
    type: ELEMENT_TYPES[set],
    elements: members,
  }));

const describe = (ports: readonly PublishedPort[]): string => {
  const list = ports.slice(0, 3).map(({ hostPort }) => hostPort);
  return `port${ports.length === 1 ? '' : 's'} ${list.join(', ')}${ports.length > 3 ? ' …' : ''}`;
};
