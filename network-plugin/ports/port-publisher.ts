import { type Context, throwIfDone } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { EndpointRecord, PortRecord } from '../state.ts';
import { bindingsOf, collide, type PortRequest, protocolName, type Targets } from './port-request.ts';
import { LoopbackProxy } from './proxy.ts';
import { bindPort, type Reservation } from './reservation.ts';

export interface PortOwner {
  readonly endpoint: string;
  readonly network: string;
}

/** A published port with its owner, for `drayage ports`. */
export type OwnedPort = PortRecord &
  PortOwner & { /** Bound on this host, so that nothing else can take it. */ readonly reserved: boolean };

interface Held {
  readonly owner: PortOwner;
  readonly port: PortRecord;
  readonly since: number;
  /** Absent while binding, or when it could not be bound after a restart. */
  reservation?: Reservation;
}

export interface PortPublisherOptions {
  readonly log: Logger;
  /** First and last port to choose from when no host port is named: the kernel's own range. */
  readonly range: readonly [first: number, last: number];
  readonly now?: () => number;
  readonly proxy?: LoopbackProxy;
}

/** An endpoint that reconcile does not know yet may be between reserving its ports and being written down. */
const UNKNOWN_MS = 60_000;

/**
 * The host's ports: chosen for `-p`, checked against other endpoints and other processes, and kept bound while they are
 * published. What packets do is the firewall's business.
 */
export class PortPublisher {
  readonly #range: readonly [number, number];
  readonly #proxy: LoopbackProxy;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #held = new Set<Held>();
  #next: number;

  constructor(options: PortPublisherOptions) {
    this.#range = options.range;
    this.#next = options.range[0];
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    this.#proxy = options.proxy ?? new LoopbackProxy(options.log);
  }

  /**
   * Chooses and binds host ports for all requests of an endpoint, or none. Records come in the order of the requests;
   * a request without a host address gives one record for each family that the endpoint has.
   * Errors: PORT_TAKEN (its owner named), PORTS_EXHAUSTED, OPTION_INVALID, ADDRESS_INVALID.
   */
  async reserve(
    owner: PortOwner,
    requests: readonly PortRequest[],
    targets: Targets,
    c: Context,
  ): Promise<readonly PortRecord[]> {
    const reserved: Held[][] = requests.map(() => []);
    try {
      // Whoever asks for a certain port comes before whoever takes any.
      const order = requests.map((request, index) => ({ request, index, room: roomOf(request) }));
      for (const { request, index } of order.sort((a, b) => a.room - b.room || a.index - b.index)) {
        reserved[index] = await this.#reserveOne(owner, request, targets, c);
      }
    } catch (error) {
      await this.#drop(reserved.flat());
      throw error;
    }
    return reserved.flat().map(({ port }) => port);
  }

  async #reserveOne(owner: PortOwner, request: PortRequest, targets: Targets, c: Context): Promise<Held[]> {
    const bindings = bindingsOf(request, targets);
    let last: unknown;
    for (const hostPort of this.#candidates(request)) {
      throwIfDone(c);
      const { protocol, containerPort } = request;
      const ports = bindings.map((binding) => ({ protocol, ...binding, hostPort, targetPort: containerPort }));
      try {
        const held = await this.#bindAll(owner, ports);
        if (request.hostPort === 0) this.#next = hostPort + 1;
        return held;
      } catch (error) {
        if (!(error instanceof PluginError) || error.code !== 'PORT_TAKEN') throw error;
        last = error;
      }
    }
    if (roomOf(request) === 1) throw last;
    const [first, end] = request.hostPort === 0 ? this.#range : [request.hostPort, request.hostPortEnd];
    const address = bindings.map(({ hostIp }) => hostIp).find((text) => text !== '');
    throw new PluginError('PORTS_EXHAUSTED', { range: `${first}-${end}`, address }, { cause: last });
  }

  /** Ports in the order in which to try them: any free one goes on behind the one taken last, like the kernel's. */
  *#candidates(request: PortRequest): Generator<number> {
    if (request.hostPort !== 0) {
      for (let port = request.hostPort; port <= Math.max(request.hostPort, request.hostPortEnd); port++) yield port;
      return;
    }
    const [first, last] = this.#range;
    const start = this.#next > last ? first : this.#next;
    for (let port = start; port <= last; port++) yield port;
    for (let port = first; port < start; port++) yield port;
  }

  /** Binds one host port for each family, or nothing. */
  async #bindAll(owner: PortOwner, ports: readonly PortRecord[]): Promise<Held[]> {
    const held: Held[] = [];
    try {
      for (const port of ports) held.push(await this.#bind(owner, port));
    } catch (error) {
      await this.#drop(held);
      throw error;
    }
    return held;
  }

  async #bind(owner: PortOwner, port: PortRecord): Promise<Held> {
    const other = [...this.#held].find((held) => collide(held.port, port));
    if (other !== undefined) throw taken(port, ownerText(other));
    // Held before it is bound: a second caller must meet the owner's name, not the kernel's EADDRINUSE.
    const held: Held = { owner, port, since: this.#now() };
    this.#held.add(held);
    try {
      held.reservation = await bindPort(port, this.#proxy);
      return held;
    } catch (error) {
      this.#held.delete(held);
      throw bindError(port, error);
    }
  }

  async #drop(gone: readonly Held[]): Promise<void> {
    await Promise.all(
      gone.map(async (held) => {
        this.#held.delete(held);
        await held.reservation?.close();
      }),
    );
  }

  /** Gives an endpoint's ports back; none is fine. Connections that the proxy carries for them end. */
  async release(endpoint: string): Promise<void> {
    await this.#drop([...this.#held].filter(({ owner }) => owner.endpoint === endpoint));
  }

  /**
   * Brings the reservations to what the records say: after a restart, and against drift. A port that another process
   * has taken meanwhile keeps its place here (the firewall still leads it to the container) and is told as drift.
   */
  async restore(endpoints: readonly EndpointRecord[], c: Context): Promise<readonly Drift[]> {
    const drift: Drift[] = [];
    for (const endpoint of endpoints) {
      for (const port of endpoint.ports) {
        throwIfDone(c);
        const found = await this.#restoreOne({ endpoint: endpoint.id, network: endpoint.network }, port);
        if (found !== undefined) drift.push(found);
      }
    }
    return [...drift, ...(await this.#dropUnknown(endpoints))];
  }

  async #restoreOne(owner: PortOwner, port: PortRecord): Promise<Drift | undefined> {
    const same = (held: Held): boolean => held.owner.endpoint === owner.endpoint && isSame(held.port, port);
    const known = [...this.#held].find(same);
    if (known?.reservation !== undefined) return undefined;
    const other = [...this.#held].find((held) => held !== known && collide(held.port, port));
    if (other !== undefined) return { what: `${portText(port)} is also used by ${ownerText(other)}`, repaired: false };
    const held: Held = known ?? { owner, port, since: this.#now() };
    this.#held.add(held);
    try {
      const reservation = await bindPort(port, this.#proxy);
      // Released while it was being bound.
      if (this.#held.has(held)) held.reservation = reservation;
      else await reservation.close();
      return undefined;
    } catch (error) {
      return { what: bindError(port, error).message, repaired: false };
    }
  }

  async #dropUnknown(endpoints: readonly EndpointRecord[]): Promise<Drift[]> {
    const known = new Set(endpoints.flatMap(({ id, ports }) => (ports.length > 0 ? [id] : [])));
    const gone = [...this.#held].filter(
      ({ owner, since }) => !known.has(owner.endpoint) && this.#now() - since > UNKNOWN_MS,
    );
    await this.#drop(gone);
    return gone.map((held) => ({
      what: `${portText(held.port)} was kept for ${ownerText(held)}, which is gone`,
      repaired: true,
    }));
  }

  list(): readonly OwnedPort[] {
    return [...this.#held].map(({ owner, port, reservation }) => ({
      ...port,
      ...owner,
      reserved: reservation !== undefined,
    }));
  }

  /** Closes every socket; published ports go on working. */
  async close(): Promise<void> {
    this.#log.debug('closing port reservations', { count: this.#held.size });
    await this.#drop([...this.#held]);
  }
}

/** How many host ports would do. */
const roomOf = ({ hostPort, hostPortEnd }: PortRequest): number =>
  hostPort === 0 ? Number.POSITIVE_INFINITY : Math.max(1, hostPortEnd - hostPort + 1);

const isSame = (a: PortRecord, b: PortRecord): boolean =>
  collide(a, b) && a.hostIp === b.hostIp && a.targetIp === b.targetIp && a.targetPort === b.targetPort;

const portText = ({ hostIp, hostPort, protocol }: PortRecord): string =>
  `port ${hostIp.includes(':') ? `[${hostIp}]` : hostIp}${hostIp === '' ? '' : ':'}${hostPort}/${protocolName(protocol)}`;

const ownerText = ({ owner, port }: Held): string =>
  `endpoint ${owner.endpoint.slice(0, 12)} (${port.targetIp}) of network ${owner.network.slice(0, 12)}`;

const taken = (port: PortRecord, owner: string, cause?: unknown): PluginError =>
  new PluginError(
    'PORT_TAKEN',
    { port: port.hostPort, protocol: protocolName(port.protocol), address: port.hostIp, owner },
    { cause },
  );

const bindError = (port: PortRecord, error: unknown): PluginError => {
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    const tool = `ss -lnp${port.protocol === 6 ? 't' : 'u'} "sport = :${port.hostPort}"`;
    return taken(port, `another process on this host or another Docker network (${tool} names it)`, error);
  }
  const reason =
    code === 'EADDRNOTAVAIL'
      ? 'this host has no such address'
      : code === 'EACCES'
        ? 'the plugin may not use ports below 1024 (it lacks CAP_NET_BIND_SERVICE)'
        : `the port could not be bound (${String(code ?? error)})`;
  const value = `${port.hostIp}:${port.hostPort}`;
  const allowed = 'a free port on an address of this host';
  return new PluginError(
    'OPTION_INVALID',
    { where: 'The published port', option: '-p', value, reason, allowed },
    { cause: error },
  );
};
