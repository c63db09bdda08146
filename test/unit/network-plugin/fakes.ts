import type {
  Attachment,
  DataPath,
  Drift,
  PathEndpoint,
  PathNetwork,
  Stranger,
} from '../../../network-plugin/datapath/datapath.ts';
import { sandboxLink } from '../../../network-plugin/datapath/datapath.ts';
import { Driver } from '../../../network-plugin/driver.ts';
import type { FirewallModel, PublishedPort, RoamingAddress } from '../../../network-plugin/firewall/policy.ts';
import { Ipam } from '../../../network-plugin/ipam.ts';
import type { HostPorts, PacketFilter, Routes } from '../../../network-plugin/parts.ts';
import type { PortRequest } from '../../../network-plugin/ports/port-request.ts';
import type { FreePrefix } from '../../../network-plugin/route/free-prefix.ts';
import type { NetworkState, PortRecord } from '../../../network-plugin/state.ts';
import { contains, hostCidr, overlaps, parseAddress, parseCidr, subnets } from '../../../shared/cidr.ts';
import type { Context } from '../../../shared/context.ts';
import { newContext } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { silentLogger } from '../../../shared/log.ts';
import { MemoryStore } from '../../../shared/state/store.ts';

/** Stand-ins that keep what they were told, for tests of the driver's bookkeeping alone; packets are tested elsewhere. */

export const context = (): Context => newContext(silentLogger, 10_000);

const SINCE = new Date(0).toISOString();

export class FakeRoutes implements Routes {
  readonly held = new Map<string, string>();
  /** prefix → host */
  readonly foreign = new Map<string, string>();
  failing: PluginError | undefined;

  async claim(prefix: string, pool: string): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    const clash = [...this.foreign].find(([other]) => overlaps(parseCidr(prefix), parseCidr(other)));
    if (clash !== undefined) throw new PluginError('PREFIX_OWNED', { prefix: clash[0], owner: clash[1] });
    this.held.set(prefix, pool);
  }

  async claimFree({ pool, length, within, preferred }: FreePrefix): Promise<string> {
    if (preferred !== undefined) return preferred;
    for (const candidate of subnets(parseCidr(within ?? pool), length)) {
      const taken = [...this.held.keys(), ...this.foreign.keys()].some((other) =>
        overlaps(candidate, parseCidr(other)),
      );
      if (taken) continue;
      await this.claim(candidate.text, pool);
      return candidate.text;
    }
    throw new PluginError('POOL_EXHAUSTED', { pool, kind: 'prefix' });
  }

  async release(prefix: string): Promise<void> {
    this.held.delete(prefix);
  }

  ownerOf(address: string) {
    for (const [prefix, host] of this.foreign) {
      if (contains(parseCidr(prefix), parseAddress(address))) return { host, prefix, ours: false };
    }
    return undefined;
  }

  /** Where claims of addresses are written down. */
  store: MemoryStore<NetworkState> | undefined;
  /** Roaming addresses of this host. */
  readonly addresses = new Set<string>();
  async claimAddress(address: string, pool: string): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    const owner = this.foreign.get(hostCidr(parseAddress(address)).text);
    if (owner !== undefined) throw new PluginError('ADDRESS_HELD', { address, owner });
    this.addresses.add(address);
    const prefix = hostCidr(parseAddress(address)).text;
    await this.store?.update((tx) => tx.put('claims', prefix, { prefix, pool, phase: 'held', since: SINCE }));
  }
  async releaseAddress(address: string): Promise<void> {
    this.addresses.delete(address);
    await this.store?.update((tx) => tx.delete('claims', hostCidr(parseAddress(address)).text));
  }

  lostPrefixes: { prefix: string; owner: string }[] = [];
  /** Prefixes that work goes on for. */
  readonly claiming = new Set<string>();
  isClaiming(prefix: string) {
    return this.claiming.has(prefix);
  }
  lost() {
    return this.lostPrefixes;
  }
  local() {
    return ['192.0.2.0/24'];
  }
  pools() {
    return [...new Set(this.held.values())];
  }
}

export class FakePath implements DataPath {
  readonly name = 'fake';
  readonly networks = new Set<string>();
  readonly attached = new Map<string, PathEndpoint>();
  failing: PluginError | undefined;

  async setup(network: PathNetwork): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    this.networks.add(network.id);
  }
  async attach(endpoint: PathEndpoint): Promise<Attachment> {
    if (this.failing !== undefined) throw this.failing;
    this.attached.set(endpoint.id, endpoint);
    return {
      source: sandboxLink(endpoint.id),
      ...(endpoint.address === undefined ? {} : { gateway: '169.254.1.1' }),
      routes: [{ destination: '169.254.1.1/32' }],
    };
  }
  async detach(id: string): Promise<void> {
    this.attached.delete(id);
  }
  async present(id: string): Promise<'absent' | 'host' | 'sandbox'> {
    return this.attached.has(id) ? 'sandbox' : 'absent';
  }
  strange: readonly Stranger[] = [];
  async strangers(): Promise<readonly Stranger[]> {
    return this.strange;
  }
  async check(): Promise<Drift[]> {
    return [];
  }
  async teardown(network: PathNetwork): Promise<void> {
    this.networks.delete(network.id);
  }
}

export class FakeFilter implements PacketFilter {
  model: FirewallModel | undefined;
  readonly ports = new Set<string>();
  failing: PluginError | undefined;

  async apply(model: FirewallModel): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    this.model = model;
  }
  async publish(ports: readonly PublishedPort[]): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    for (const port of ports) this.ports.add(`${port.protocol} ${port.hostIp}:${port.hostPort}`);
  }
  async revoke(ports: readonly PublishedPort[]): Promise<void> {
    for (const port of ports) this.ports.delete(`${port.protocol} ${port.hostIp}:${port.hostPort}`);
  }
  /** `address network`, the network by its id. */
  readonly roaming = new Set<string>();
  async admit(addresses: readonly RoamingAddress[]): Promise<void> {
    if (this.failing !== undefined) throw this.failing;
    for (const { address, network } of addresses) this.roaming.add(`${address} ${network.id}`);
  }
  async dismiss(addresses: readonly RoamingAddress[]): Promise<void> {
    for (const { address, network } of addresses) this.roaming.delete(`${address} ${network.id}`);
  }
  /** How often iptables was looked at. */
  looks = 0;
  async ensureAccepts(): Promise<void> {
    this.looks += 1;
  }
  async remove(): Promise<void> {
    this.model = undefined;
  }
  async check(): Promise<Drift[]> {
    return [];
  }
}

export class FakePorts implements HostPorts {
  readonly reserved = new Map<string, readonly PortRecord[]>();
  #ephemeral = 49_153;

  async reserve(
    owner: { endpoint: string },
    requests: readonly PortRequest[],
    targets: { address?: string; address6?: string },
  ): Promise<readonly PortRecord[]> {
    const records = requests.map((request) => ({
      protocol: request.protocol,
      hostIp: request.hostIp ?? '',
      hostPort: request.hostPort === 0 ? this.#ephemeral++ : request.hostPort,
      targetIp: targets.address ?? targets.address6 ?? '',
      targetPort: request.containerPort,
    }));
    this.reserved.set(owner.endpoint, records);
    return records;
  }
  async release(endpoint: string): Promise<void> {
    this.reserved.delete(endpoint);
  }
}

/** A driver and an IPAM on stand-ins, with a clock that the test moves. */
export function bench() {
  const clock = { now: 1_000_000 };
  const store = new MemoryStore<NetworkState>();
  const routes = new FakeRoutes();
  routes.store = store;
  const path = new FakePath();
  const filter = new FakeFilter();
  const ports = new FakePorts();
  const now = () => clock.now;
  const settings = {
    pool: parseCidr('10.64.0.0/12'),
    prefix: 24,
    pool6: parseCidr('fd64:6472:7961::/48'),
    prefix6: 64,
  };
  const ipam = new Ipam(store, routes, settings, now);
  const driver = new Driver({ store, ipam, routes, path, filter, ports, home: settings, dryRun: false, now });
  return { clock, store, routes, path, filter, ports, ipam, driver };
}
