import { contains, parseAddress, parseCidr } from '../shared/cidr.ts';
import { type Context, newContext } from '../shared/context.ts';
import { PluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import { withRollback } from '../shared/rollback.ts';
import type { StateStore } from '../shared/state/store.ts';
import { type Attachment, type DataPath, type Drift, hostLink } from './datapath/datapath.ts';
import type { FirewallModel, PublishedPort } from './firewall/policy.ts';
import type { Claims, Ipam } from './ipam.ts';
import { firewallModel, publishedPorts } from './model.ts';
import { type NetworkRequest, pathEndpoint, pathNetwork, planNetwork } from './network.ts';
import { homePool, type Settings } from './options.ts';
import type { PortRequest } from './ports/port-request.ts';
import type { EndpointRecord, NetworkRecord, NetworkState, PortRecord } from './state.ts';

export type { NetworkRequest, PoolData } from './network.ts';

export interface EndpointRequest {
  readonly id: string;
  readonly network: string;
  readonly address: string | undefined;
  readonly address6: string | undefined;
  readonly mac: string | undefined;
}

/** The part of the route engine that the driver needs beside claiming. */
export interface Routes extends Claims {
  /** Prefixes that this host believes it holds while the provider says that another does. */
  lost(): readonly { readonly prefix: string; readonly owner: string }[];
  /** CIDRs that the provider's routers know: never masqueraded, and `ingress=vpc`. */
  local(): readonly string[];
  /** Every pool that the cluster is known to use. */
  pools(): readonly string[];
}

/** The part of the firewall that the driver needs. */
export interface PacketFilter {
  apply(model: FirewallModel, c: Context): Promise<void>;
  publish(ports: readonly PublishedPort[], c: Context): Promise<void>;
  revoke(ports: readonly PublishedPort[], c: Context): Promise<void>;
  check(model: FirewallModel, repair: boolean, c: Context): Promise<Drift[]>;
}

/** Host ports: chosen, and kept from other processes of the host while they are published. */
export interface HostPorts {
  /** All or nothing. Errors: PORT_TAKEN, PORTS_EXHAUSTED. */
  reserve(
    owner: { readonly endpoint: string; readonly network: string },
    requests: readonly PortRequest[],
    targets: { readonly address?: string; readonly address6?: string },
    c: Context,
  ): Promise<readonly PortRecord[]>;
  release(endpoint: string): Promise<void>;
}

export interface DriverDeps {
  readonly store: StateStore<NetworkState>;
  readonly ipam: Ipam;
  readonly routes: Routes;
  readonly path: DataPath;
  readonly filter: PacketFilter;
  readonly ports: HostPorts;
  /** This host's own pools. */
  readonly home: Pick<Settings, 'pool' | 'pool6'>;
  readonly dryRun: boolean;
  readonly now?: () => number;
}

/** From the start of a step that may have to be undone: the call's own deadline and the undoing after it. */
const UNDO_MS = 45_000;

/**
 * The network driver: Docker's calls as steps on records, the data path, the firewall and the route provider.
 * Each step is written down before it has an effect, and each call may be repeated: after a crash the engine's
 * retry, or reconcile, goes on where the record says.
 */
export class Driver {
  readonly #deps: DriverDeps;
  readonly #now: () => number;
  readonly #locks = new KeyedMutex();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
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
        undo.add(`release ${prefix}`, () => routes.release(prefix, late));
        await routes.claim(prefix, homePool(parseCidr(prefix), this.#deps.home).text, c);
      }
      undo.add('take the data path down', () => path.teardown(pathNetwork(record), late));
      await path.setup(pathNetwork(record), c);
      undo.add('take the network out of the firewall', () => this.#applyFirewall(late, record.id));
      await this.#applyFirewall(c);
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

  /** Two networks of this host never share a prefix; where they share a pool, IPAM gave each its own. */
  #refuseOverlap(record: NetworkRecord): void {
    for (const other of this.#deps.store.all('networks').values()) {
      if (other.id === record.id) continue;
      for (const prefix of record.prefixes) {
        const clash = other.prefixes.find((theirs) => {
          const [a, b] = [parseCidr(prefix), parseCidr(theirs)];
          return contains(a, b) || contains(b, a);
        });
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
    for (const endpoint of this.#endpointsOf(id)) await this.collectEndpoint(endpoint.id, c);
    await path.teardown(pathNetwork(network), c);
    await this.#applyFirewall(c, id);
    for (const prefix of network.claims) await routes.release(prefix, c);
    for (const pool of [...store.all('pools').values()]) {
      if (pool.network === id && pool.released === true) await ipam.dropPool(pool.id, c);
    }
    await store.update((tx) => {
      tx.delete('networks', id);
      for (const [key, pool] of tx.all('pools')) {
        if (pool.network !== id) continue;
        const { network: _gone, ...rest } = pool;
        tx.put('pools', key, rest);
      }
    });
    c.log.info('network deleted', { network: id });
  }

  #endpointsOf(network: string): EndpointRecord[] {
    return [...this.#deps.store.all('endpoints').values()].filter((endpoint) => endpoint.network === network);
  }

  /** Errors: NETWORK_UNKNOWN, NETWORK_BUSY, PREFIX_OWNED, ADDRESS_OUTSIDE, ADDRESS_IN_USE. */
  async createEndpoint(request: EndpointRequest, c: Context): Promise<{ readonly mac: string }> {
    return this.#locks.run(`endpoint ${request.id}`, () => this.#createEndpoint(request, c), c);
  }

  async #createEndpoint(request: EndpointRequest, c: Context): Promise<{ readonly mac: string }> {
    const { store } = this.#deps;
    const network = this.#usableNetwork(request.network);
    if (this.#deps.dryRun) throw new PluginError('DRY_RUN', { what: `connect a container to ${network.id}` });
    const existing = store.get('endpoints', request.id);
    if (existing !== undefined) return { mac: existing.mac };
    for (const address of [request.address, request.address6]) {
      if (address === undefined) continue;
      if (!network.prefixes.some((prefix) => contains(parseCidr(prefix), parseAddress(address)))) {
        throw new PluginError('ADDRESS_OUTSIDE', { address, prefix: network.prefixes.join(' and ') });
      }
      await this.#evictHolder(network, address, c);
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
    await store.update((tx) => tx.put('endpoints', record.id, record));
    return { mac: record.mac };
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
    for (const holder of this.#endpointsOf(network.id)) {
      if (holder.address !== address && holder.address6 !== address) continue;
      if (holder.phase !== 'created' && (await this.#deps.path.present(holder.id)) === 'sandbox') {
        throw new PluginError('ADDRESS_IN_USE', { address, owner: `running endpoint ${holder.id.slice(0, 12)}` });
      }
      c.log.warn('an endpoint that Docker forgot gives way', { endpoint: holder.id, address });
      await this.#locks.run(`endpoint ${holder.id}`, () => this.#dropEndpoint(holder.id, c), c);
    }
  }

  /** Errors: ENDPOINT_UNKNOWN, NETWORK_*, LINK_FAILED. */
  async join(network: string, id: string, sandbox: string | undefined, c: Context): Promise<Attachment> {
    return this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const { store, path } = this.#deps;
        const joining = await store.update((tx) => {
          const record: EndpointRecord = {
            ...this.#endpoint(network, id),
            phase: 'joining',
            since: this.#now(),
            ...(sandbox === undefined
              ? {}
              : { sandbox, slot: freeSlot([...tx.all('endpoints').values()], id, sandbox) }),
          };
          tx.put('endpoints', id, record);
          return record;
        });
        const attachment = await path.attach(pathEndpoint(joining, this.#usableNetwork(network)), c);
        await store.update((tx) => tx.put('endpoints', id, { ...joining, phase: 'joined' }));
        return attachment;
      },
      c,
    );
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
        await this.#revoke(endpoint, c);
        if (requests.length > 0) await this.#publish(endpoint, requests, c);
      },
      c,
    );
  }

  async #publish(endpoint: EndpointRecord, requests: readonly PortRequest[], c: Context): Promise<void> {
    const { store, ports, filter } = this.#deps;
    const late = newContext(c.log, UNDO_MS);
    await withRollback(c.log, async (undo) => {
      undo.add('release the host ports', () => ports.release(endpoint.id));
      const chosen = await ports.reserve({ endpoint: endpoint.id, network: endpoint.network }, requests, endpoint, c);
      const record = { ...endpoint, ports: chosen };
      undo.add('forget the ports', () =>
        store.update((tx) => tx.put('endpoints', endpoint.id, { ...endpoint, ports: [] })),
      );
      await store.update((tx) => tx.put('endpoints', endpoint.id, record));
      undo.add('take the ports out of the firewall', () =>
        this.#inFirewall(() => filter.revoke(publishedPorts(record), late), late),
      );
      await this.#inFirewall(() => filter.publish(publishedPorts(record), c), c);
    });
  }

  /** The engine may never send this (its own cache is lost with live-restore): Leave does the same. */
  async revoke(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const endpoint = this.#deps.store.get('endpoints', id);
        if (endpoint?.network === network) await this.#revoke(endpoint, c);
      },
      c,
    );
  }

  async #revoke(endpoint: EndpointRecord, c: Context): Promise<void> {
    const { store, ports, filter } = this.#deps;
    if (endpoint.ports.length === 0) return;
    await this.#inFirewall(() => filter.revoke(publishedPorts(endpoint), c), c);
    await ports.release(endpoint.id);
    await store.update((tx) => tx.put('endpoints', endpoint.id, { ...endpoint, ports: [] }));
  }

  endpointInfo(network: string, id: string): Record<string, string> {
    const endpoint = this.#deps.store.get('endpoints', id);
    if (endpoint === undefined || endpoint.network !== network) return {};
    return { 'drayage.link': endpoint.link, 'drayage.path': this.#deps.path.name };
  }

  async leave(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        const { store, path } = this.#deps;
        const endpoint = store.get('endpoints', id);
        if (endpoint?.network !== network) return;
        await this.#revoke(endpoint, c);
        const leaving: EndpointRecord = { ...endpoint, ports: [], phase: 'leaving', since: this.#now() };
        await store.update((tx) => tx.put('endpoints', id, leaving));
        await path.detach(id, c);
        const { sandbox: _left, slot: _freed, ...rest } = leaving;
        await store.update((tx) => tx.put('endpoints', id, { ...rest, phase: 'created' }));
      },
      c,
    );
  }

  async deleteEndpoint(network: string, id: string, c: Context): Promise<void> {
    await this.#locks.run(
      `endpoint ${id}`,
      async () => {
        if (this.#deps.store.get('endpoints', id)?.network === network) await this.#dropEndpoint(id, c);
      },
      c,
    );
  }

  /** For reconcile: an endpoint whose container is gone. */
  async collectEndpoint(id: string, c: Context): Promise<void> {
    await this.#locks.run(`endpoint ${id}`, () => this.#dropEndpoint(id, c), c);
  }

  async #dropEndpoint(id: string, c: Context): Promise<void> {
    const { store, path } = this.#deps;
    const endpoint = store.get('endpoints', id);
    if (endpoint === undefined) return;
    await this.#revoke(endpoint, c);
    await path.detach(id, c);
    await store.update((tx) => tx.delete('endpoints', id));
  }

  /** The provider's view has changed: other hosts' pools and local prefixes are in the rules. */
  async refreshFirewall(c: Context): Promise<void> {
    if (!this.#deps.dryRun) await this.#applyFirewall(c);
  }

  /** Brings the firewall to what the records say; `without` is a network on its way out. */
  async #applyFirewall(c: Context, without?: string): Promise<void> {
    const { store, routes, filter } = this.#deps;
    await this.#inFirewall(() => filter.apply(firewallModel(store, routes, without), c), c);
  }

  /** Reconcile: compares the firewall with the records, and repairs it. */
  checkFirewall(repair: boolean, c: Context): Promise<Drift[]> {
    const { store, routes, filter } = this.#deps;
    return this.#inFirewall(() => filter.check(firewallModel(store, routes), repair, c), c);
  }

  /** One writer at a time: a ruleset rendered before a port was published must not land after it. */
  #inFirewall<T>(work: () => Promise<T>, c: Context): Promise<T> {
    return this.#locks.run('firewall', work, c);
  }
}

/** The lowest number that no other endpoint of the sandbox has. */
function freeSlot(endpoints: readonly EndpointRecord[], id: string, sandbox: string): number {
  const taken = new Set(
    endpoints.filter((other) => other.sandbox === sandbox && other.id !== id).map((other) => other.slot ?? 0),
  );
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
