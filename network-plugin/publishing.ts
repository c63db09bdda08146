import { type Context, newContext } from '../shared/context.ts';
import { withRollback } from '../shared/rollback.ts';
import type { FilterGate } from './filter-gate.ts';
import { type DriverDeps, UNDO_MS } from './parts.ts';
import type { PortRequest } from './ports/port-request.ts';
import type { EndpointRecord } from './state.ts';

/** An endpoint's published ports: kept on the host, on record, and in the firewall. */
export class Publishing {
  readonly #deps: Pick<DriverDeps, 'store' | 'ports'>;
  readonly #gate: FilterGate;

  constructor(deps: Pick<DriverDeps, 'store' | 'ports'>, gate: FilterGate) {
    this.#deps = deps;
    this.#gate = gate;
  }

  /** The endpoint must have none. All or nothing. Errors: PORT_TAKEN, PORTS_EXHAUSTED, OPTION_INVALID, FIREWALL. */
  async publish(endpoint: EndpointRecord, requests: readonly PortRequest[], c: Context): Promise<void> {
    const { ports } = this.#deps;
    const late = newContext(c.log, UNDO_MS);
    await withRollback(c.log, async (undo) => {
      undo.add('release the host ports', () => ports.release(endpoint.id));
      const chosen = await ports.reserve({ endpoint: endpoint.id, network: endpoint.network }, requests, endpoint, c);
      const record = { ...endpoint, ports: chosen };
      undo.add('forget the ports', () => this.#put({ ...endpoint, ports: [] }));
      await this.#put(record);
      undo.add('take the ports out of the firewall', () => this.#gate.revoke(record, late));
      await this.#gate.publish(record, c);
    });
  }

  /** None is fine. */
  async revoke(endpoint: EndpointRecord, c: Context): Promise<void> {
    if (endpoint.ports.length === 0) return;
    await this.#gate.revoke(endpoint, c);
    await this.#deps.ports.release(endpoint.id);
    await this.#put({ ...endpoint, ports: [] });
  }

  async #put(record: EndpointRecord): Promise<void> {
    await this.#deps.store.update((tx) => tx.put('endpoints', record.id, record), 'kernel');
  }
}
