import type { Context } from '../shared/context.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { Drift } from './datapath/datapath.ts';
import type { RoamingAddress } from './firewall/policy.ts';
import { firewallModel, publishedPorts } from './model.ts';
import type { DriverDeps } from './parts.ts';
import type { EndpointRecord } from './state.ts';

type GateDeps = Pick<DriverDeps, 'store' | 'routes' | 'filter' | 'path' | 'metadata'>;

/** One writer of the firewall at a time: rules made before a port was published must not land after it. */
export class FilterGate {
  readonly #deps: GateDeps;
  readonly #locks = new KeyedMutex();

  constructor(deps: GateDeps) {
    this.#deps = deps;
  }

  /**
   * Brings the firewall to what the records say; `without` is a network on its way out. Without networks nothing of
   * ours is in it: a host whose last network is gone, or whose plugin is removed, is as it was before. But where the
   * records were lost and containers run on, their rules are all that says what may reach them.
   */
  async apply(c: Context, without?: string): Promise<void> {
    const { store, routes, filter, metadata } = this.#deps;
    await this.#alone(async () => {
      const model = firewallModel(store, routes, { without, metadata });
      if (model.networks.length > 0) await filter.apply(model, c);
      else if (!(await this.#isNeeded())) await filter.remove(c);
    }, c);
  }

  /** Compares the firewall with the records, and repairs it. */
  check(repair: boolean, c: Context): Promise<Drift[]> {
    const { store, routes, filter, metadata } = this.#deps;
    return this.#alone(async () => {
      const model = firewallModel(store, routes, { metadata });
      if (model.networks.length > 0) return filter.check(model, repair, c);
      if (repair && !(await this.#isNeeded())) await filter.remove(c);
      return [];
    }, c);
  }

  /** Cheap when nothing has come into use: an engine that starts after the plugin sets FORWARD to DROP. */
  ensureAccepts(c: Context): Promise<void> {
    return this.#alone(() => this.#deps.filter.ensureAccepts(c), c);
  }

  /** Lets roaming addresses count as their networks' own. None is fine. */
  async admit(addresses: readonly RoamingAddress[], c: Context): Promise<void> {
    if (addresses.length > 0) await this.#alone(() => this.#deps.filter.admit(addresses, c), c);
  }

  async dismiss(addresses: readonly RoamingAddress[], c: Context): Promise<void> {
    if (addresses.length > 0) await this.#alone(() => this.#deps.filter.dismiss(addresses, c), c);
  }

  publish(endpoint: EndpointRecord, c: Context): Promise<void> {
    return this.#alone(() => this.#deps.filter.publish(publishedPorts(endpoint), c), c);
  }

  revoke(endpoint: EndpointRecord, c: Context): Promise<void> {
    return this.#alone(() => this.#deps.filter.revoke(publishedPorts(endpoint), c), c);
  }

  async #isNeeded(): Promise<boolean> {
    const { store, path } = this.#deps;
    return (await path.strangers(new Set(store.all('endpoints').keys()))).length > 0;
  }

  #alone<T>(work: () => Promise<T>, c: Context): Promise<T> {
    return this.#locks.run('firewall', work, c);
  }
}
