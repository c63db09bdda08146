import type { Context } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import { type Attachment, hostLink } from './datapath/datapath.ts';
import type { FilterGate } from './filter-gate.ts';
import { roamingAddresses } from './model.ts';
import { pathEndpoint } from './network.ts';
import type { DriverDeps } from './parts.ts';
import type { PortRequest } from './ports/port-request.ts';
import { Publishing } from './publishing.ts';
import { isHeld, roamingOf, takerOf } from './roaming.ts';
import type { EndpointRecord, NetworkRecord } from './state.ts';
import { waysOf } from './ways.ts';

export interface EndpointRequest {
  readonly id: string;
  readonly network: string;
  readonly address: string | undefined;
  readonly address6: string | undefined;
  readonly mac: string | undefined;
}

/**
 * Containers' connections to networks. Each step is written down before it has an effect, and each call may be
 * repeated: after a crash the engine's retry, or reconcile, goes on where the record says. What these records speak of is
 * in the kernel alone, and goes with it: they need not outlive it either, and no start of a container waits for a disk.
 */
export class Endpoints {
  readonly #deps: DriverDeps;
  readonly #gate: FilterGate;
  readonly #publishing: Publishing;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();

  constructor(deps: DriverDeps, gate: FilterGate) {
    this.#deps = deps;
    this.#gate = gate;
    this.#publishing = new Publishing(deps, gate);
    this.#now = deps.now ?? Date.now;
  }

  /** Errors: NETWORK_UNKNOWN, NETWORK_BUSY, PREFIX_OWNED, ADDRESS_OUTSIDE, ADDRESS_HELD, ADDRESS_IN_USE. */
  async create(request: EndpointRequest, c: Context): Promise<{ readonly mac: string }> {
    return this.#locks.run(`endpoint ${request.id}`, () => this.#create(request, c), c);
  }

  async #create(request: EndpointRequest, c: Context): Promise<{ readonly mac: string }> {
    const { store } = this.#deps;
    const network = this.#usableNetwork(request.network);
    if (this.#deps.dryRun) throw new PluginError('DRY_RUN', { what: `connect a container to ${network.id}` });
    const existing = store.get('endpoints', request.id);
    if (existing !== undefined) return { mac: existing.mac };
    this.#refuseStrangers(request, network);
    for (const address of [request.address, request.address6]) {
      if (address !== undefined) await this.#evictHolder(network, address, c);
    }
    const record: EndpointRecord = {
      id: request.id,
      network: network.id,
      phase: 'created',
      ...(request.address === undefined ? {} : { address: request.address }),
      ...(request.address6 === undefined ? {} : { address6: request.address6 }),
      mac: request.mac ?? macOf(request),
      link: hostLink(request.id),
      since: this.#now(),
      ports: [],
    };
    await store.update((tx) => tx.put('endpoints', record.id, record), 'kernel');
    return { mac: record.mac };
  }

  /** What lies outside of this host's prefixes must be held by itself, and not be another host's by now. */
  #refuseStrangers(request: EndpointRequest, network: NetworkRecord): void {
    const { store, routes } = this.#deps;
    for (const address of roamingOf(request, network)) {
      if (!isHeld(store, network.id, address)) {
        throw new PluginError('ADDRESS_OUTSIDE', { address, prefix: network.prefixes.join(' and ') });
      }
      const owner = takerOf(address, store, routes);
      if (owner !== undefined) throw new PluginError('ADDRESS_HELD', { address, owner });
    }
  }

  #usableNetwork(id: string): NetworkRecord {
    const network = this.#deps.store.get('networks', id);
    if (network === undefined) throw new PluginError('NETWORK_UNKNOWN', { network: id });
    if (network.phase !== 'ready') throw new PluginError('NETWORK_BUSY', { network: id, phase: network.phase });
    const lost = this.#deps.routes.lost().find(({ prefix }) => network.prefixes.includes(prefix));
    if (lost !== undefined) throw new PluginError('PREFIX_OWNED', lost);
    return network;
  }

  /**
   * Docker holds the address free: an endpoint that still has it was deleted while nobody told us (plugin disabled,
   * daemon killed). It goes if its container is gone, and is named otherwise.
   */
  async #evictHolder(network: NetworkRecord, address: string, c: Context): Promise<void> {
    const holders = this.#those(
      (one) => one.network === network.id && (one.address === address || one.address6 === address),
    );
    for (const holder of holders) {
      if (holder.phase !== 'created' && (await this.#deps.path.present(holder.id)) === 'sandbox') {
        throw new PluginError('ADDRESS_IN_USE', { address, owner: `running endpoint ${holder.id.slice(0, 12)}` });
      }
      c.log.warn('an endpoint that Docker forgot gives way', { endpoint: holder.id, address });
      await this.#locks.run(`endpoint ${holder.id}`, () => this.#drop(holder.id, c), c);
    }
  }

  /** Those of all endpoints that are meant. There may be thousands, and few are: nothing is made for the others. */
  #those(isMeant: (endpoint: EndpointRecord) => boolean): EndpointRecord[] {
    const found: EndpointRecord[] = [];
    for (const endpoint of this.#deps.store.all('endpoints').values()) if (isMeant(endpoint)) found.push(endpoint);
    return found;
  }

  /** Errors: ENDPOINT_UNKNOWN, NETWORK_*, LINK_FAILED. */
  async join(network: string, id: string, sandbox: string | undefined, c: Context): Promise<Attachment> {
    return this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const { store, path } = this.#deps;
        const settled = await this.#settledIn(sandbox);
        const [joining, ways] = await store.update((tx) => {
          const { told: _former, ...known } = this.#endpoint(network, id);
          const others =
            sandbox === undefined ? [] : this.#those((other) => other.sandbox === sandbox && other.id !== id);
          const placed: EndpointRecord = {
            ...known,
            phase: 'joining',
            since: this.#now(),
            ...(sandbox === undefined ? {} : { sandbox, slot: freeSlot(others) }),
          };
          const siblings = others.map((endpoint) => ({ endpoint, settled: settled.has(endpoint.id) }));
          const found = waysOf(placed, siblings, tx.all('networks'));
          const record = found.length === 0 ? placed : { ...placed, told: found.map(({ pool }) => pool) };
          tx.put('endpoints', id, record);
          return [record, found] as const;
        }, 'kernel');
        await this.#gate.ensureAccepts(c);
        const known = this.#usableNetwork(network);
        await this.#gate.admit(roamingAddresses(joining, known), c);
        const attachment = await path.attach({ ...pathEndpoint(joining, known), ways }, c);
        // A crash may forget it: a link in the sandbox says that the engine had the answer (see `settle`).
        store.soon((tx) => tx.put('endpoints', id, { ...joining, phase: 'joined' }));
        return attachment;
      },
      c,
    );
  }

  /** Endpoints whose links the engine has moved into the sandbox. */
  async #settledIn(sandbox: string | undefined): Promise<ReadonlySet<string>> {
    const settled = new Set<string>();
    for (const { id, sandbox: other } of this.#deps.store.all('endpoints').values()) {
      if (sandbox === undefined || other !== sandbox) continue;
      if ((await this.#deps.path.present(id)) === 'sandbox') settled.add(id);
    }
    return settled;
  }

  #endpoint(network: string, id: string): EndpointRecord {
    const endpoint = this.#deps.store.get('endpoints', id);
    if (endpoint === undefined || endpoint.network !== network) {
      throw new PluginError('ENDPOINT_UNKNOWN', { endpoint: id, network });
    }
    return endpoint;
  }

  /** Publishes the ports of `-p`. Errors: ENDPOINT_UNKNOWN, PORT_TAKEN, PORTS_EXHAUSTED, FIREWALL. */
  async publish(network: string, id: string, requests: readonly PortRequest[], c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const endpoint = this.#endpoint(network, id);
        if (requests.length === 0 && endpoint.ports.length === 0) return;
        await this.#publishing.revoke(endpoint, c);
        if (requests.length > 0) await this.#publishing.publish(endpoint, requests, c);
      },
      c,
    );
  }

  /** The engine may never send this (its own cache is lost with live-restore): Leave does the same. */
  async revoke(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const endpoint = this.#deps.store.get('endpoints', id);
        if (endpoint?.network === network) await this.#publishing.revoke(endpoint, c);
      },
      c,
    );
  }

  info(network: string, id: string): Record<string, string> {
    const endpoint = this.#deps.store.get('endpoints', id);
    if (endpoint === undefined || endpoint.network !== network) return {};
    return { 'drayage.link': endpoint.link, 'drayage.path': this.#deps.path.name };
  }

  async leave(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const { store } = this.#deps;
        const endpoint = store.get('endpoints', id);
        if (endpoint?.network !== network) return;
        await this.#publishing.revoke(endpoint, c);
        const leaving: EndpointRecord = { ...endpoint, ports: [], phase: 'leaving', since: this.#now() };
        await store.update((tx) => tx.put('endpoints', id, leaving), 'kernel');
        await this.#detach(leaving, c);
        const { sandbox: _left, slot: _freed, told: _untold, ...rest } = leaving;
        await store.update((tx) => tx.put('endpoints', id, { ...rest, phase: 'created' }), 'kernel');
      },
      c,
    );
  }

  async delete(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        if (this.#deps.store.get('endpoints', id)?.network === network) await this.#drop(id, c);
      },
      c,
    );
  }

  /** For reconcile: the engine has moved the link into the sandbox, so that its Join came to its end before a crash. */
  async settle(id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const { store, path } = this.#deps;
        const endpoint = store.get('endpoints', id);
        if (endpoint?.phase !== 'joining' || (await path.present(id)) !== 'sandbox') return;
        await store.update((tx) => tx.put('endpoints', id, { ...endpoint, phase: 'joined' }), 'kernel');
      },
      c,
    );
  }

  /** For reconcile: an endpoint whose container is gone. */
  async collect(id: string, c: Context): Promise<void> {
    await this.#locks.run(`endpoint ${id}`, () => this.#drop(id, c), c);
  }

  /** Takes the link, and with it the host's routes to the endpoint; then what the firewall has of it. */
  async #detach(endpoint: EndpointRecord, c: Context): Promise<void> {
    const { store, path } = this.#deps;
    await path.detach(endpoint.id, c);
    const network = store.get('networks', endpoint.network);
    // Without its network it was never let in, or went out with it.
    if (network !== undefined) await this.#gate.dismiss(roamingAddresses(endpoint, network), c);
  }

  async #drop(id: string, c: Context): Promise<void> {
    const { store } = this.#deps;
    const endpoint = store.get('endpoints', id);
    if (endpoint === undefined) return;
    await this.#publishing.revoke(endpoint, c);
    await this.#detach(endpoint, c);
    await store.update((tx) => tx.delete('endpoints', id), 'kernel');
  }
}

/** The lowest number that none of the others has. */
function freeSlot(others: readonly EndpointRecord[]): number {
  const taken = new Set(others.map((other) => other.slot ?? 0));
  let slot = 0;
  while (taken.has(slot)) slot += 1;
  return slot;
}

/** Docker's own scheme: a locally administered prefix and the IPv4 address, so that a MAC never outlives its address. */
function macOf(request: EndpointRequest): string {
  const bytes =
    request.address === undefined
      ? request.id
          .slice(0, 8)
          .match(/../g)
          ?.map((pair) => Number.parseInt(pair, 36) % 256)
      : request.address.split('.').map(Number);
  return ['02', '42', ...(bytes ?? []).map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
