/** The calls that Docker makes for a container, made by us over the plugin's socket, and how long each takes. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** Milliseconds of each call, by its name. */
export type CallTimes = Map<string, number[]>;

interface Network {
  readonly id: string;
  readonly pool: string;
}

interface Endpoint {
  readonly id: string;
  readonly address: string;
}

const TCP = 6;
const FIRST_PORT = 20_000;
const PORTS = 10_000;

/** A network of our own in the plugin, of which Docker knows nothing, with a prefix large enough for thousands. */
export class PluginCalls {
  readonly #connection: Connection;
  #network: Network | undefined;
  #ports = 0;

  constructor(socket: string) {
    this.#connection = new Connection(socket);
  }

  async createNetwork(): Promise<void> {
    const pool = await this.#call('IpamDriver.RequestPool', {
      AddressSpace: 'vpc',
      Pool: '',
      SubPool: '',
      Options: { pool: '10.80.0.0/12', prefix: '18' },
      V6: false,
    });
    const { PoolID, Pool } = pool as { PoolID: string; Pool: string };
    const gateway = await this.#call('IpamDriver.RequestAddress', {
      PoolID,
      Address: '',
      Options: { RequestAddressType: 'com.docker.network.gateway' },
    });
    const id = randomBytes(32).toString('hex');
    await this.#call('NetworkDriver.CreateNetwork', {
      NetworkID: id,
      Options: { 'com.docker.network.generic': {} },
      IPv4Data: [{ AddressSpace: 'vpc', Gateway: addressOf(gateway), Pool }],
      IPv6Data: [],
    });
    this.#network = { id, pool: PoolID };
  }

  /** As `docker run`, up to the container's start, with one published port if `publish`. */
  async start(publish: boolean, times?: CallTimes): Promise<Endpoint> {
    const { id: NetworkID, pool: PoolID } = this.#known();
    const EndpointID = randomBytes(32).toString('hex');
    const answer = await this.#call('IpamDriver.RequestAddress', { PoolID, Address: '', Options: {} }, times);
    const Address = addressOf(answer);
    const Options = publish ? { 'com.docker.network.portmap': [this.#nextPort()] } : {};
    const ids = { NetworkID, EndpointID };
    const Interface = { Address, AddressIPv6: '', MacAddress: '' };
    await this.#call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options }, times);
    const SandboxKey = `/var/run/docker/netns/${EndpointID.slice(0, 12)}`;
    await this.#call('NetworkDriver.Join', { ...ids, SandboxKey, Options }, times);
    await this.#call('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options }, times);
    return { id: EndpointID, address: Address };
  }

  /** As Docker does when a container has ended. */
  async stop(endpoint: Endpoint, times?: CallTimes): Promise<void> {
    const { id: NetworkID, pool: PoolID } = this.#known();
    const ids = { NetworkID, EndpointID: endpoint.id };
    await this.#call('NetworkDriver.RevokeExternalConnectivity', ids, times);
    await this.#call('NetworkDriver.Leave', ids, times);
    await this.#call('NetworkDriver.DeleteEndpoint', ids, times);
    const Address = endpoint.address.split('/')[0];
    await this.#call('IpamDriver.ReleaseAddress', { PoolID, Address }, times);
  }

  close(): void {
    this.#connection.close();
  }

  #known(): Network {
    if (this.#network === undefined) throw new Error('createNetwork comes first');
    return this.#network;
  }

  #nextPort(): Readonly<Record<string, unknown>> {
    const HostPort = FIRST_PORT + (this.#ports % PORTS);
    this.#ports += 1;
    return { Proto: TCP, IP: '', Port: 80, HostIP: '', HostPort, HostPortEnd: HostPort };
  }

  async #call(method: string, body: unknown, times?: CallTimes): Promise<unknown> {
    const text = JSON.stringify(body);
    const started = performance.now();
    const { status, text: answer } = await this.#connection.post(`/${method}`, text);
    const name = method.slice(method.indexOf('.') + 1);
    times?.set(name, [...(times.get(name) ?? []), performance.now() - started]);
    if (status !== 200) throw new Error(`${method} answered ${status}: ${answer}`);
    return JSON.parse(answer);
  }
}

const TIMEOUT_MS = 30_000;

/**
 * One connection that is kept, as the engine keeps its own, and one call at a time. Bare bytes over a socket: Node's
 * HTTP client takes 0.3 to 0.5 ms a call itself, which is not the plugin's, nor that of an engine written in Go.
 */
class Connection {
  readonly #socket: Socket;
  #received = '';
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined;

  constructor(path: string) {
    this.#socket = connect(path).setEncoding('latin1');
    this.#socket.on('data', (text: string) => this.#take(text));
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.on('close', () => this.#fail(new Error('the plugin closed the connection')));
  }

  post(path: string, body: string): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    if (this.#socket.destroyed) return Promise.reject(new Error('the connection is closed'));
    this.#waiting = { resolve, reject };
    const timer = setTimeout(() => {
      this.#socket.destroy(new Error(`${path} was not answered within ${TIMEOUT_MS / 1000} s`));
    }, TIMEOUT_MS);
    const length = Buffer.byteLength(body);
    this.#socket.write(`POST ${path} HTTP/1.1\r\nHost: plugin\r\nContent-Length: ${length}\r\n\r\n${body}`);
    return promise.finally(() => clearTimeout(timer));
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The plugin sends a length with every answer. */
  #take(text: string): void {
    this.#received += text;
    const head = this.#received.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(this.#received.slice(0, head + 2))?.[1]);
    const body = this.#received.slice(head + 4);
    if (!(body.length >= length)) return;
    const status = Number(this.#received.slice(9, 12));
    this.#received = '';
    this.#waiting?.resolve({ status, text: Buffer.from(body, 'latin1').toString() });
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function addressOf(answer: unknown): string {
  return (answer as { Address: string }).Address;
}
