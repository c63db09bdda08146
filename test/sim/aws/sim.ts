/** A simulated AWS account in one region, with an API to furnish it, disturb it and look at what it was asked. */
import { apiHandler, type Core } from '../core/api.ts';
import type { Call, CallFilter } from '../core/call-log.ts';
import type { Clock } from '../core/clock.ts';
import { type CoreConfig, makeCore } from '../core/config.ts';
import { controlHandler } from '../core/control.ts';
import type { Credential, KeyRequest, Principal } from '../core/credentials.ts';
import type { Faults } from '../core/faults.ts';
import { type HttpHandler, type HttpServer, listen } from '../core/http.ts';
import { type DiskTimes, type Media, noMedia, noTimes } from '../core/media.ts';
import { Quotas } from '../core/quotas.ts';
import { Throttle } from '../core/rates.ts';
import type { EffectiveRoute, RouteSink } from '../core/routes.ts';
import { started } from '../core/started.ts';
import { Disks } from './disks.ts';
import { effectiveRoutes } from './effective-routes.ts';
import { FileStorage, type FileTimes, noFileTimes } from './file-storage.ts';
import { awsQuotas, awsRates } from './limits.ts';
import { Metadata } from './metadata.ts';
import { awsApi } from './services.ts';
import { Storage } from './storage.ts';
import { awsState, awsVerbs } from './verbs.ts';
import {
  type Gateway,
  type GatewayKind,
  type Instance,
  type InstanceState,
  type Interface,
  type Subnet,
  type Table,
  type Vpc,
  World,
} from './world.ts';

export interface AwsSimConfig extends CoreConfig {
  /** `eu-central-1` by default; the partition follows from it. */
  readonly region?: string;
  readonly account?: string;
  /** Entries on a page of a listing whose caller names no number; 1,000 by default. A small one finds out who ignores NextToken. */
  readonly pageSize?: number;
  /** How long an instance's role credentials last; 6 hours by default. */
  readonly roleTtlMs?: number;
  /** How far a request's date may be off; 5 minutes by default. */
  readonly skewMs?: number;
  /** Where volumes have their bytes, and the machines that they appear in; none by default. */
  readonly media?: Media;
  /** How long the states of volumes last; no time by default. */
  readonly times?: Partial<DiskTimes>;
  /** How long the states of file systems and mount targets last; no time by default. */
  readonly fileTimes?: Partial<FileTimes>;
  /** Where mount targets are, in place of an address of their subnet: a server of the test's. */
  readonly fileServer?: string;
}

export interface InstanceRequest {
  /** The Name tag. */
  readonly name: string;
  /** `m6i.large` by default. */
  readonly type?: string;
  readonly subnet: string;
  /** Primary address; any free one of the subnet's by default. */
  readonly address?: string;
  readonly address6?: string;
  /** More interfaces. */
  readonly more?: readonly { readonly subnet: string; readonly address?: string }[];
  /** Security groups of its first interface; the VPC's default one by default. */
  readonly groups?: readonly string[];
  /** What its role may do: everything by default; `false`: it has none. */
  readonly role?: Partial<Principal> | false;
}

export class AwsSim {
  readonly world: World;
  readonly quotas: Quotas;
  readonly throttle: Throttle;
  readonly metadata: Metadata;
  readonly disks: Disks;
  readonly files: FileStorage;
  readonly #storage: Storage;
  readonly #core: Core;
  readonly #servers: HttpServer[] = [];
  #lagMs: number;
  #urls = { endpoint: '', metadata: '', control: '' };

  constructor(config: AwsSimConfig) {
    this.#core = makeCore(config, { lasting: 'AKIA', temporary: 'ASIA' });
    const { clock, ids } = this.#core;
    this.#lagMs = config.lagMs ?? 0;
    const lag = (): number => this.#lagMs;
    this.quotas = new Quotas({ ...awsQuotas, ...config.quotas });
    this.throttle = new Throttle(config.rates ?? awsRates, clock);
    const { region = 'eu-central-1', account = '123456789012' } = config;
    this.world = new World(region, account, clock, ids, lag);
    this.#storage = new Storage({
      ...{ clock, ids, lag, media: config.media ?? noMedia, times: { ...noTimes, ...config.times } },
      isOn: (instance) => !['stopped', 'terminated', undefined].includes(this.world.instances.get(instance)?.state),
    });
    this.disks = new Disks(this.#storage, this.world, ids);
    const { fileTimes, fileServer: server } = config;
    this.files = new FileStorage({
      world: this.world,
      clock,
      ids,
      lag,
      times: { ...noFileTimes, ...fileTimes },
      server,
    });
    this.metadata = new Metadata(this.#core, this.world, config.roleTtlMs ?? 6 * 3600_000);
  }

  /** Starts the listeners. */
  async start(config: AwsSimConfig): Promise<void> {
    const [api, metadata, control] = [
      awsApi({
        ...{ core: this.#core, config, world: this.world, quotas: this.quotas, throttle: this.throttle },
        ...{ storage: this.#storage, files: this.files, changed: () => this.#changed() },
      }),
      this.metadataHandler(),
      controlHandler({
        core: this.#core,
        verbs: awsVerbs(this),
        info: () => this.info(),
        state: () => awsState(this),
      }),
    ];
    const open = async (handler: HttpHandler, at: CoreConfig['api']) => {
      const server = await listen(handler, at);
      this.#servers.push(server);
      return server.url;
    };
    this.#urls = {
      endpoint: await open(api, config.api),
      metadata: await open(metadata, config.metadata),
      control: await open(control, config.control),
    };
  }

  /** EC2, EFS, STS and Service Quotas: one URL for all, as `AWS_ENDPOINT_URL` has it. */
  get endpoint(): string {
    return this.#urls.endpoint;
  }

  /** The metadata service's URL for callers who are told apart by their source address. */
  get metadataEndpoint(): string {
    return this.#urls.metadata;
  }

  /** Where `SimControl` goes. */
  get control(): string {
    return this.#urls.control;
  }

  get region(): string {
    return this.world.region;
  }

  get clock(): Clock {
    return this.#core.clock;
  }

  get faults(): Faults {
    return this.#core.faults;
  }

  /** Milliseconds until a write shows in reads. */
  get lagMs(): number {
    return this.#lagMs;
  }

  set lagMs(ms: number) {
    this.#lagMs = ms;
  }

  vpc(request: { name?: string; cidr?: string; more?: readonly string[]; cidr6?: string } = {}): Vpc {
    const { name = '', cidr = '10.0.0.0/16', more = [], cidr6 } = request;
    return this.world.addVpc(name, [cidr, ...more], cidr6 === undefined ? [] : [cidr6]);
  }

  /** With `table` the subnet is associated to it; without, the VPC's main table decides. */
  subnet(request: { vpc: string; cidr: string; cidr6?: string; name?: string; zone?: string; table?: string }): Subnet {
    const { vpc, cidr, cidr6, name = '', zone = `${this.region}a`, table } = request;
    const subnet = this.world.addSubnet({ vpc, cidr, cidr6, name, zone });
    if (table !== undefined) this.world.associate(table, subnet.id);
    return subnet;
  }

  routeTable(request: { vpc: string; name?: string; main?: boolean; subnets?: readonly string[] }): Table {
    const table = this.world.addTable(request.vpc, request.name ?? '');
    if (request.main) this.world.makeMain(table.id);
    for (const subnet of request.subnets ?? []) this.world.associate(table.id, subnet);
    return table;
  }

  /** The table that decides for a subnet. */
  tableOf(subnet: string): Table {
    return this.world.tableOf(subnet);
  }

  /** The table is gone, whatever used it; its subnets fall back to the main one. */
  deleteTable(id: string): void {
    this.world.tables.delete(id);
    this.#changed();
  }

  /** A running instance. The first one is whom the metadata service takes unknown callers for. */
  instance(request: InstanceRequest): Instance & { readonly interfaces: readonly Interface[] } {
    const { name, role = {}, more = [], type = 'm6i.large' } = request;
    const principal =
      role === false ? undefined : { ...role, name: role.name ?? 'drayage', actions: role.actions ?? ['*'] };
    const instance = this.world.addInstance(name, principal, type);
    for (const each of [request, ...more]) {
      const six = each === request ? request.address6 : undefined;
      const address = each.address ?? this.world.freeAddress(each.subnet);
      const groups = each === request ? request.groups : undefined;
      this.world.addInterface(each.subnet, [address], six === undefined ? [] : [six], instance.id, groups);
    }
    this.metadata.fallback ??= instance.id;
    this.#changed();
    return Object.assign(instance, { interfaces: this.world.interfacesOf(instance.id) });
  }

  /** An interface of its own, attached to nothing or to an instance. */
  networkInterface(request: { subnet: string; address?: string; instance?: string }): Interface {
    const address = request.address ?? this.world.freeAddress(request.subnet);
    return this.world.addInterface(request.subnet, [address], [], request.instance);
  }

  gateway(kind: GatewayKind, ...vpcs: readonly string[]): Gateway {
    return this.world.addGateway(kind, vpcs);
  }

  /** A route that a VPN gateway propagates into the table. */
  propagate(table: string, prefix: string, gateway: string): void {
    const target = { kind: 'gateway', id: gateway } as const;
    this.world.table(table).routes.set(`propagated ${prefix}`, { prefix, target, origin: 'EnableVgwRoutePropagation' });
    this.#changed();
  }

  /** A route is taken out of the table, as somebody at the console would; false when there was none. */
  removeRoute(table: string, prefix: string): boolean {
    const removed = this.world.table(table).routes.delete(prefix);
    this.#changed();
    return removed;
  }

  /**
   * Its interfaces go, and its volumes become available after a moment; DescribeInstances still knows it, as
   * `terminated`, until `forget`.
   */
  terminate(id: string): void {
    this.world.instance(id).state = 'shutting-down';
    for (const each of this.world.interfacesOf(id)) this.world.interfaces.delete(each.id);
    this.#storage.stop(id, 'terminate', () => this.#become(id, 'terminated'));
    this.#changed();
  }

  /** What happens about an hour after the end of an instance: its id does not exist any more. */
  forget(id: string): void {
    this.terminate(id);
    this.world.instances.delete(id);
  }

  /** Its volumes stay attached, and can be detached. */
  stop(id: string): void {
    this.world.instance(id).state = 'stopping';
    this.#storage.stop(id, 'stop', () => this.#become(id, 'stopped'));
  }

  /** Starts it again. */
  resume(id: string): void {
    this.world.instance(id).state = 'pending';
    this.#storage.start(id, () => this.#become(id, 'running'));
  }

  /** Turns the source/dest check of an interface on or off, as somebody at the console would. */
  setSourceDestCheck(networkInterface: string, on: boolean): void {
    this.world.sourceDestCheck.set(networkInterface, { on });
    this.#changed();
  }

  /** The truth, not what readers see yet. */
  sourceDestCheck(networkInterface: string): boolean {
    return this.world.sourceDestCheck.get(networkInterface)?.on ?? true;
  }

  /** The truth: prefix → target id, of one table's static and propagated routes. */
  routes(table: string): Record<string, string> {
    const entries = this.world.table(table).routes.entries();
    return Object.fromEntries(entries.map(([, { prefix, target }]) => [prefix, target.id]));
  }

  /** What routers should carry: every table's routes but the local ones. */
  effectiveRoutes(): readonly EffectiveRoute[] {
    return this.#core.routes.current.routes;
  }

  /** Gives the sink the routes now and with each change; API calls are answered after it has applied them. */
  attach(sink: RouteSink): Promise<void> {
    return this.#core.routes.attach(sink);
  }

  /** Resolves when all sinks have the routes as they are. */
  settled(): Promise<void> {
    return this.#core.routes.settled();
  }

  key(request: KeyRequest = {}): Credential {
    return this.#core.credentials.key(request);
  }

  /** The credential's time is over. */
  expire(accessKeyId: string): void {
    this.#core.credentials.expire(accessKeyId);
  }

  calls(filter: CallFilter = {}): Call[] {
    return this.#core.calls.list(filter);
  }

  count(filter: CallFilter = {}): number {
    return this.#core.calls.count(filter);
  }

  clearCalls(): void {
    this.#core.calls.clear();
  }

  /** A metadata service of its own for one instance, whatever the caller's address: for many hosts in one process. */
  async metadataOf(instance: string): Promise<string> {
    const server = await listen(this.metadataHandler(this.world.instance(instance).id));
    this.#servers.push(server);
    return server.url;
  }

  /** What the official SDKs and the CLI need in their environment. Without a key: the metadata service's role. */
  environment(key?: Credential): Record<string, string> {
    const { id, secret, token } = key ?? {};
    return {
      AWS_REGION: this.region,
      AWS_DEFAULT_REGION: this.region,
      AWS_ENDPOINT_URL: this.endpoint,
      // Without the slash at the end botocore makes no valid URL of it.
      AWS_EC2_METADATA_SERVICE_ENDPOINT: `${this.metadataEndpoint}/`,
      ...(id && { AWS_ACCESS_KEY_ID: id }),
      ...(secret && { AWS_SECRET_ACCESS_KEY: secret }),
      ...(token && { AWS_SESSION_TOKEN: token }),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.close()));
    const failures = this.#storage.failures();
    if (failures.length > 0) throw new AggregateError(failures, 'the medium of simulated disks has failed');
  }

  metadataHandler(instance?: string): HttpHandler {
    return apiHandler(this.#core, this.metadata.service(instance));
  }

  #become(id: string, state: InstanceState): void {
    // It may have been forgotten meanwhile.
    const found = this.world.instances.get(id);
    if (found === undefined) return;
    found.state = state;
    this.#changed();
  }

  #changed(): void {
    this.#core.routes.publish(effectiveRoutes(this.world));
  }

  /** Where everything is. */
  info() {
    const { endpoint, metadataEndpoint, control, region } = this;
    return { cloud: 'aws', endpoint, metadataEndpoint, control, region, environment: this.environment() };
  }
}

/** Starts a simulator on free ports of 127.0.0.1, or where the configuration says. `close` it. */
export const startAwsSim = (config: AwsSimConfig = {}): Promise<AwsSim> => started(new AwsSim(config), config);
