import type { Context } from '../shared/context.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { Drift } from './datapath/datapath.ts';
import type { RoamingAddress } from './firewall/policy.ts';
import { firewallModel, publishedPorts } from './model.ts';
import type { DriverDeps } from './parts.ts';
import type { EndpointRecord } from './state.ts';

/** One writer of the firewall at a time: rules made before a port was published must not land after it. */
export class FilterGate {
  readonly #deps: Pick<DriverDeps, 'store' | 'routes' | 'filter'>;
  readonly #locks = new KeyedMutex();

  constructor(deps: Pick<DriverDeps, 'store' | 'routes' | 'filter'>) {
    this.#deps = deps;
  }

  /**
   * Brings the firewall to what the records say; `without` is a network on its way out. Without networks nothing of
   * ours is in it: a host whose last network is gone, or whose plugin is removed, is as it was before.
   */
  async apply(c: Context, without?: string): Promise<void> {
    const { store, routes, filter } = this.#deps;
    await this.#alone(() => {
      const model = firewallModel(store, routes, without);
      return model.networks.length === 0 ? filter.remove(c) : filter.apply(model, c);
    }, c);
  }

  /** Compares the firewall with the records, and repairs it. */
  check(repair: boolean, c: Context): Promise<Drift[]> {
    const { store, routes, filter } = this.#deps;
    return this.#alone(async () => {
      const model = firewallModel(store, routes);
      if (model.networks.length > 0) return filter.check(model, repair, c);
      if (repair) await filter.remove(c);
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

  #alone<T>(work: () => Promise<T>, c: Context): Promise<T> {
    return this.#locks.run('firewall', work, c);
  }
}
