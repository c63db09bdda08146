/** The calls that Docker makes for a container, made by us over the plugin's socket, and how long each takes. */
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';

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
  readonly #socket: string;
  /** The engine keeps its connections, too. */
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #network: Network | undefined;
  #ports = 0;

  constructor(socket: string) {
    this.#socket = socket;
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
    this.#agent.destroy();
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
    const started = performance.now();
    const { status, text } = await this.#post(method, JSON.stringify(body));
    const name = method.slice(method.indexOf('.') + 1);
    times?.set(name, [...(times.get(name) ?? []), performance.now() - started]);
    if (status !== 200) throw new Error(`${method} answered ${status}: ${text}`);
    return JSON.parse(text);
  }

  #post(method: string, body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#socket, path: `/${method}`, method: 'POST', agent: this.#agent };
      const call = request({ ...options, timeout: 30_000 }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      call.on('timeout', () => call.destroy(new Error(`${method} was not answered within 30 s`)));
      call.on('error', reject);
      call.end(body);
    });
  }
}

function addressOf(answer: unknown): string {
  return (answer as { Address: string }).Address;
}
