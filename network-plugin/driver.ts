import { overlaps, parseCidr } from '../shared/cidr.ts';
import { type Context, newContext } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import { withRollback } from '../shared/rollback.ts';
import type { Drift } from './datapath/datapath.ts';
import { Endpoints } from './endpoints.ts';
import { FilterGate } from './filter-gate.ts';
import { checkedEndpoints, type NetworkRequest, pathNetwork, planNetwork } from './network.ts';
import { homePool } from './options.ts';
import { type DriverDeps, UNDO_MS } from './parts.ts';
import { lostAddresses, refuseReserved } from './roaming.ts';
import type { NetworkRecord } from './state.ts';

/**
 * The network driver: Docker's calls as steps on records, the data path, the firewall and the route provider.
 * Each step is written down before it has an effect, and each call may be repeated: after a crash the engine's
 * retry, or reconcile, goes on where the record says.
 */
export class Driver {
  readonly #deps: DriverDeps;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();
  readonly #gate: FilterGate;
  readonly endpoints: Endpoints;
  /** Of the routes, what the firewall was last brought to; and the roaming addresses that were another host's then. */
  #followed = '';
  #gone: readonly string[] = [];

  constructor(deps: DriverDeps) {
    this.#deps = deps;
    this.#gate = new FilterGate(deps);
    this.endpoints = new Endpoints(deps, this.#gate);
    this.#now = deps.now ?? Date.now;
  }

  /** Errors: OPTION_*, POOL_INVALID, PREFIX_*, ROUTE_CONFLICT, PROVIDER_*, UPLINK_MISSING, FIREWALL, DRY_RUN. */
  async createNetwork(request: NetworkRequest, c: Context): Promise<void> {
    await this.#locks.run(`network ${request.id}`, () => this.#createNetwork(request, c), c);
  }

  async #createNetwork(request: NetworkRequest, c: Context): Promise<void> {
    const { store, routes, path } = this.#deps;
    if (store.get('networks', request.id)?.phase === 'ready') return;
    const { record, pools, auxiliary } = planNetwork(request, this.#deps.home, store, this.#now());
    if (!this.#deps.dryRun) await this.#evictForgotten(record, c);
    this.#refuseOverlap(record);
    if (this.#deps.dryRun) {
      throw new PluginError('DRY_RUN', { what: `create a network on ${record.prefixes.join(' and ')}` });
    }
    // What is undone after the call's deadline needs time of its own.
    const late = newContext(c.log, UNDO_MS);
    await withRollback(c.log, async (undo) => {
      await store.update((tx) => tx.put('networks', record.id, record));
      undo.add('forget the network', () => store.update((tx) => tx.delete('networks', record.id)));
      for (const prefix of record.claims) {
        // One that fails leaves nothing, and one that goes on in the background is joined by the next attempt.
        await routes.claim(prefix, homePool(parseCidr(prefix), this.#deps.home).text, c);
        undo.add(`release ${prefix}`, () => routes.release(prefix, late));
      }
      undo.add('take the data path down', () => path.teardown(pathNetwork(record), late));
      await path.setup(pathNetwork(record), c);
      undo.add('take the network out of the firewall', () => this.#gate.apply(late, record.id));
      await this.#gate.apply(c);
      await store.update((tx) => {
        tx.put('networks', record.id, { ...record, phase: 'ready' });
        for (const pool of pools)
          tx.put('pools', pool.id, { ...(tx.get('pools', pool.id) ?? pool), network: record.id });
        for (const { pool, address } of auxiliary) {
          const held = tx.get('addresses', `${pool}|${address}`);
          if (held !== undefined) tx.put('addresses', `${pool}|${address}`, { ...held, purpose: 'auxiliary' });
        }
      });
    });
    c.log.info('network created', { network: record.id, prefixes: record.prefixes, pools: record.pools });
  }

  /**
   * Docker's own IPAM gives a subnet out once: a network that still has it was deleted while nobody told us (Docker does
   * not repeat a DeleteNetwork that was lost in a crash). It goes, unless a container is on it.
   */
  async #evictForgotten(record: NetworkRecord, c: Context): Promise<void> {
    const { store, path } = this.#deps;
    const clashes = (one: string): boolean => record.claims.some((own) => overlaps(parseCidr(own), parseCidr(one)));
    for (const other of [...store.all('networks').values()]) {
      if (other.id === record.id || !other.claims.some(clashes)) continue;
      const members = [...store.all('endpoints').values()].filter(({ network }) => network === other.id);
      const places = await Promise.all(members.map(({ id }) => path.present(id)));
      if (places.includes('sandbox')) continue;
      c.log.warn('a network that Docker forgot gives way', { network: other.id, prefixes: other.prefixes });
      await this.deleteNetwork(other.id, c);
    }
  }

  /**
   * Two networks of this host never share a prefix; where they share a pool, IPAM gave each its own. Nor does a prefix
   * lie where another network has its roaming addresses.
   */
  #refuseOverlap(record: NetworkRecord): void {
    for (const other of this.#deps.store.all('networks').values()) {
      if (other.id === record.id) continue;
      for (const prefix of other.prefixes) refuseReserved(prefix, [record]);
      for (const prefix of record.prefixes) {
        refuseReserved(prefix, [other]);
        const clash = other.prefixes.find((theirs) => overlaps(parseCidr(prefix), parseCidr(theirs)));
        if (clash !== undefined) {
          const owner = `network ${other.id.slice(0, 12)} of this host`;
          throw new PluginError('PREFIX_OVERLAP', { prefix, other: clash, owner });
        }
      }
    }
  }

  /**
   * Docker logs an error of this call and never repeats it: what cannot be done now stays `deleting`, and reconcile
   * finishes it.
   */
  async deleteNetwork(id: string, c: Context): Promise<void> {
    await this.#locks.run(`network ${id}`, () => this.#deleteNetwork(id, c), c);
  }

  async #deleteNetwork(id: string, c: Context): Promise<void> {
    const { store, path, routes, ipam } = this.#deps;
    const network = store.get('networks', id);
    if (network === undefined) return;
    await store.update((tx) => tx.put('networks', id, { ...network, phase: 'deleting' }));
    for (const endpoint of [...store.all('endpoints').values()]) {
      if (endpoint.network === id) await this.endpoints.collect(endpoint.id, c);
    }
    await path.teardown(pathNetwork(network), c);
    await this.#gate.apply(c, id);
    for (const prefix of network.claims) await routes.release(prefix, c);
    for (const pool of [...store.all('pools').values()]) {
      if (pool.network === id && pool.released === true) await ipam.dropPool(pool.id, c);
    }
    await store.update((tx) => {
      tx.delete('networks', id);
      for (const [key, pool] of tx.all('pools')) {
        if (pool.network !== id) continue;
        const { network: _gone, ...rest } = pool;
        // Docker's own release follows at once, or was lost in a crash: then reconcile drops the pool.
        tx.put('pools', key, { ...rest, released: true });
      }
    });
    c.log.info('network deleted', { network: id });
  }

  /**
   * For a network that Docker removed while the plugin could not be told: takes it away here, with its pools. `name` is
   * the id or the beginning of it. Errors: NETWORK_UNKNOWN, NETWORK_IN_USE, and those of releasing.
   */
  async forgetNetwork(name: string, c: Context): Promise<string> {
    const { store, path, ipam } = this.#deps;
    const found = [...store.all('networks').keys()].filter((id) => id.startsWith(name));
    const [id] = found;
    if (id === undefined || found.length > 1) throw new PluginError('NETWORK_UNKNOWN', { network: name });
    const members = [...store.all('endpoints').values()].filter(({ network }) => network === id);
    const places = await Promise.all(members.map((member) => path.present(member.id)));
    const count = places.filter((place) => place === 'sandbox').length;
    if (count > 0) throw new PluginError('NETWORK_IN_USE', { network: id.slice(0, 12), count });
    const pools = [...store.all('pools').values()].filter(({ network }) => network === id);
    await this.deleteNetwork(id, c);
    for (const pool of pools) await ipam.dropPool(pool.id, c);
    return id;
  }

  /**
   * The provider's view has changed: other hosts' pools and local prefixes are in the rules, and a roaming address that
   * another host has taken is not led to its container here any more.
   */
  async followRoutes(c: Context): Promise<void> {
    const { store, routes, path, dryRun } = this.#deps;
    if (dryRun) return;
    const gone = [...lostAddresses(store, routes)].map(([address, owner]) => `${address} leads to ${owner}`).sort();
    const view = JSON.stringify([routes.local(), routes.pools(), gone]);
    if (view === this.#followed) return;
    await this.#gate.apply(c);
    if (gone.join() !== this.#gone.join()) {
      const networks = [...store.all('networks').values()].filter(({ phase }) => phase !== 'deleting').map(pathNetwork);
      await path.check(networks, checkedEndpoints(store, routes), true, c);
      for (const what of gone.filter((one) => !this.#gone.includes(one))) {
        c.log.error('ADDRESS LOST: its container here goes on, and is not reached any more', { what });
      }
    }
    this.#followed = view;
    this.#gone = gone;
  }

  /** Reconcile: compares the firewall with the records, and repairs it. */
  checkFirewall(repair: boolean, c: Context): Promise<Drift[]> {
    return this.#gate.check(repair, c);
  }
}
