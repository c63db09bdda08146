import { Registry } from '../shared/metrics.ts';
import type { Observation } from '../shared/plugin/server.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { Drift } from './datapath/datapath.ts';
import type { RouteStatus } from './route/engine.ts';
import type { NetworkState } from './state.ts';

/** What the plugin tells Prometheus. Names begin with `drayage_network_`. */
export class Measures {
  readonly registry = new Registry();
  readonly #calls = this.registry.counter('drayage_network_calls_total', 'Calls of the engine by method and outcome.');
  readonly #duration = this.registry.histogram('drayage_network_call_seconds', 'Time until the answer, by method.');
  readonly #drift = this.registry.counter('drayage_network_drift_total', 'Things found not to be as they should.');
  readonly #passes = this.registry.counter('drayage_network_reconcile_total', 'Passes of the repair loop.');

  observe({ method, ms, code }: Observation): void {
    // A method that nobody has must not make a series of its own.
    const name = code === 'METHOD_UNKNOWN' ? 'unknown' : method.slice(1);
    this.#calls.inc({ method: name, outcome: code ?? 'ok' });
    this.#duration.observe(ms / 1000, { method: name });
  }

  reconciled(drift: readonly Drift[]): void {
    this.#passes.inc();
    for (const { repaired } of drift) this.#drift.inc({ repaired: String(repaired) });
  }

  /** Gauges that are read off the state when they are asked for. */
  watch(store: StateStore<NetworkState>, routes: { status(): RouteStatus }): void {
    const sizes = this.registry.gauge('drayage_network_records', 'Records of each kind.');
    const reachable = this.registry.gauge('drayage_network_provider_reachable', '1 while the route provider answers.');
    const used = this.registry.gauge(
      'drayage_route_table_used',
      'Routes in a route table that count towards its quota.',
    );
    const limit = this.registry.gauge('drayage_route_table_limit', 'Most routes that a route table takes.');
    const lost = this.registry.gauge('drayage_network_prefixes_lost', 'Own prefixes that another host holds.');
    this.registry.onCollect(() => {
      for (const kind of ['networks', 'endpoints', 'pools', 'addresses', 'claims'] as const) {
        sizes.set(store.all(kind).size, { kind });
      }
      const status = routes.status();
      reachable.set(status.reachable ? 1 : 0, { provider: status.provider });
      lost.set(status.lost.length);
      for (const table of status.tables) {
        used.set(table.used, { table: table.table });
        limit.set(table.limit, { table: table.table });
      }
    });
  }
}
