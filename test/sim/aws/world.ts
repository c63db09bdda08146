/** What exists in the simulated account and region: VPCs, subnets, tables, instances, interfaces, gateways. */
import { addressAt, type Cidr, contains, parseAddress, parseCidr } from '../../../shared/cidr.ts';
import type { Clock } from '../core/clock.ts';
import type { Principal } from '../core/credentials.ts';
import type { Ids } from '../core/ids.ts';
import { LaggedMap } from '../core/lagged-map.ts';

export interface Vpc {
  readonly id: string;
  readonly name: string;
  /** Primary first. */
  readonly cidrs: readonly string[];
  readonly cidrs6: readonly string[];
}

export interface Subnet {
  readonly id: string;
  readonly name: string;
  readonly vpc: string;
  readonly cidr: string;
  readonly cidr6: string | undefined;
  readonly zone: string;
}

export type Target =
  | { readonly kind: 'interface'; readonly id: string }
  | { readonly kind: 'gateway' | 'transit' | 'peering' | 'nat' | 'egress-only'; readonly id: string };

export interface StoredRoute {
  readonly prefix: string;
  readonly target: Target;
  readonly origin: 'CreateRoute' | 'EnableVgwRoutePropagation';
}

export interface Table {
  readonly id: string;
  readonly name: string;
  readonly vpc: string;
  /** Id of the association that makes it the VPC's main table. */
  main: string | undefined;
  /** Association id → subnet. */
  readonly subnets: Map<string, string>;
  /** By prefix; propagated ones by `propagated <prefix>`. */
  readonly routes: LaggedMap<StoredRoute>;
}

export type InstanceState = 'pending' | 'running' | 'stopping' | 'stopped' | 'shutting-down' | 'terminated';

export interface Instance {
  readonly id: string;
  readonly name: string;
  /** Such as `m6i.large`. */
  readonly type: string;
  readonly launched: number;
  state: InstanceState;
  readonly role: Principal | undefined;
  /** Metadata answers only its owner's sessions (always: IMDSv2), or nobody. */
  metadata: boolean;
}

/** Only that they exist: the simulator lets no packets through or holds any up. */
export interface SecurityGroup {
  readonly id: string;
  readonly vpc: string;
}

export interface Interface {
  readonly id: string;
  readonly subnet: string;
  readonly vpc: string;
  readonly mac: string;
  /** Primary first. */
  readonly addresses: readonly string[];
  readonly addresses6: readonly string[];
  readonly instance: string | undefined;
  readonly device: number;
  readonly attachment: string;
  /** Ids of security groups. */
  readonly groups: readonly string[];
}

export type GatewayKind = 'igw' | 'vgw' | 'tgw' | 'pcx' | 'nat' | 'eigw';

export interface Gateway {
  readonly id: string;
  readonly kind: GatewayKind;
  /** VPCs that it is attached to. */
  readonly vpcs: readonly string[];
}

const one = <T>(map: ReadonlyMap<string, T>, id: string): T => {
  const found = map.get(id);
  if (found === undefined) throw new Error(`the simulator has no ${id}`);
  return found;
};

/** What a zone is called in every account, such as `euc1-az2`; its letter is each account's own. */
export const zoneId = (zone: string): string => {
  const [, area = '', side = '', number = '', letter = ''] =
    /^([a-z]+(?:-gov)?)-([a-z]+)-(\d)([a-z])$/.exec(zone) ?? [];
  const short = side.replace(/north|south|east|west|central/g, (word) => word.charAt(0));
  const place = 'abcdef'.indexOf(letter);
  return `${area.replace('-gov', 'g')}${short}${number}-az${((place + 1) % 3) + 1}`;
};

export class World {
  readonly region: string;
  readonly account: string;
  readonly vpcs = new Map<string, Vpc>();
  readonly subnets = new Map<string, Subnet>();
  readonly tables = new Map<string, Table>();
  readonly instances = new Map<string, Instance>();
  readonly interfaces = new Map<string, Interface>();
  readonly gateways = new Map<string, Gateway>();
  readonly groups = new Map<string, SecurityGroup>();
  /** By interface. Lagged: a read after a change may show the old value. */
  readonly sourceDestCheck: LaggedMap<{ readonly on: boolean }>;
  /** Instance → the interfaces that it was given, in order. */
  readonly #given = new Map<string, Interface[]>();
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #lag: () => number;

  constructor(region: string, account: string, clock: Clock, ids: Ids, lag: () => number) {
    this.region = region;
    this.account = account;
    this.#clock = clock;
    this.#ids = ids;
    this.#lag = lag;
    this.sourceDestCheck = new LaggedMap(clock, lag);
  }

  /** Availability zones of the region. */
  get zones(): string[] {
    return ['a', 'b', 'c'].map((letter) => `${this.region}${letter}`);
  }

  /** The zone that an instance is in. */
  zoneOf(instance: string): string | undefined {
    const [primary] = this.#given.get(instance) ?? [];
    return primary === undefined ? undefined : this.subnets.get(primary.subnet)?.zone;
  }

  get partition(): 'aws' | 'aws-cn' | 'aws-us-gov' {
    if (this.region.startsWith('cn-')) return 'aws-cn';
    return this.region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
  }

  get domain(): string {
    return this.partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com';
  }

  addVpc(name: string, cidrs: readonly string[], cidrs6: readonly string[]): Vpc {
    const vpc = { id: this.#ids.of('vpc'), name, cidrs, cidrs6 };
    this.vpcs.set(vpc.id, vpc);
    this.addTable(vpc.id, 'main').main = this.#ids.of('rtbassoc');
    const usual = this.defaultGroup(vpc.id);
    this.groups.set(usual, { id: usual, vpc: vpc.id });
    return vpc;
  }

  /** The security group that a VPC has from its beginning. */
  defaultGroup(vpc: string): string {
    return vpc.replace(/^vpc/, 'sg');
  }

  addGroup(vpc: string): SecurityGroup {
    const group = { id: this.#ids.of('sg'), vpc: one(this.vpcs, vpc).id };
    this.groups.set(group.id, group);
    return group;
  }

  addSubnet(request: Omit<Subnet, 'id'>): Subnet {
    const vpc = one(this.vpcs, request.vpc);
    for (const [inner, outers] of [
      [request.cidr, vpc.cidrs],
      [request.cidr6, vpc.cidrs6],
    ] as const) {
      if (inner === undefined) continue;
      if (!outers.some((outer) => contains(parseCidr(outer), parseCidr(inner)))) {
        throw new Error(`${inner} does not lie in ${vpc.id} (${outers.join(', ')})`);
      }
    }
    const subnet = { ...request, id: this.#ids.of('subnet') };
    this.subnets.set(subnet.id, subnet);
    return subnet;
  }

  addTable(vpc: string, name: string): Table {
    const id = this.#ids.of('rtb');
    const routes = new LaggedMap<StoredRoute>(this.#clock, this.#lag);
    const table: Table = { id, name, vpc: one(this.vpcs, vpc).id, main: undefined, subnets: new Map(), routes };
    this.tables.set(id, table);
    return table;
  }

  /** Gives a subnet an explicit association, in place of an earlier one. */
  associate(table: string, subnet: string): void {
    for (const { subnets } of this.tables.values()) {
      for (const [association, associated] of subnets) if (associated === subnet) subnets.delete(association);
    }
    one(this.tables, table).subnets.set(this.#ids.of('rtbassoc'), one(this.subnets, subnet).id);
  }

  makeMain(table: string): void {
    const next = one(this.tables, table);
    for (const other of this.tables.values()) if (other.vpc === next.vpc) other.main = undefined;
    next.main = this.#ids.of('rtbassoc');
  }

  addInstance(name: string, role: Principal | undefined, type: string): Instance {
    const id = this.#ids.of('i');
    const launched = this.#clock.now();
    const instance: Instance = { id, name, type, launched, state: 'running', role, metadata: true };
    this.instances.set(id, instance);
    return instance;
  }

  addInterface(
    subnet: string,
    addresses: readonly string[],
    addresses6: readonly string[],
    instance?: string,
    given?: readonly string[],
  ): Interface {
    const { vpc, cidr } = one(this.subnets, subnet);
    const groups = given ?? [this.defaultGroup(vpc)];
    for (const address of addresses) {
      if (!contains(parseCidr(cidr), parseAddress(address))) throw new Error(`${address} does not lie in ${cidr}`);
      for (const other of this.interfaces.values()) {
        if (other.subnet === subnet && other.addresses.includes(address)) {
          throw new Error(`${address} is in use by ${other.id}`);
        }
      }
    }
    const mac = `02${this.#ids.hex(10).replace(/../g, ':$&')}`;
    const device = instance === undefined ? 0 : this.interfacesOf(instance).length;
    const attachment = this.#ids.of('eni-attach');
    const id = this.#ids.of('eni');
    const added: Interface = { id, subnet, vpc, mac, addresses, addresses6, instance, device, attachment, groups };
    this.interfaces.set(id, added);
    if (instance !== undefined) this.#given.set(instance, [...(this.#given.get(instance) ?? []), added]);
    this.sourceDestCheck.set(id, { on: true });
    return added;
  }

  addGateway(kind: GatewayKind, vpcs: readonly string[]): Gateway {
    const gateway = { id: this.#ids.of(kind), kind, vpcs: vpcs.map((id) => one(this.vpcs, id).id) };
    this.gateways.set(gateway.id, gateway);
    return gateway;
  }

  /** Interfaces of an instance, the primary first. */
  interfacesOf(instance: string): Interface[] {
    return (this.#given.get(instance) ?? []).filter(({ id }) => this.interfaces.has(id));
  }

  /** The table that decides for a subnet: its own, or the VPC's main one. */
  tableOf(subnet: string): Table {
    const { vpc } = one(this.subnets, subnet);
    const tables = [...this.tables.values()].filter((table) => table.vpc === vpc);
    const found =
      tables.find(({ subnets }) => [...subnets.values()].includes(subnet)) ??
      tables.find(({ main }) => main !== undefined);
    if (found === undefined) throw new Error(`${vpc} has no main table`);
    return found;
  }

  /** Whether packets find the target: a running instance's interface, or a gateway that exists. */
  stateOf({ kind, id }: Target): 'active' | 'blackhole' {
    if (kind !== 'interface') return this.gateways.has(id) ? 'active' : 'blackhole';
    const instance = this.instances.get(this.interfaces.get(id)?.instance ?? '');
    return instance?.state === 'running' ? 'active' : 'blackhole';
  }

  instance(id: string): Instance {
    return one(this.instances, id);
  }

  table(id: string): Table {
    return one(this.tables, id);
  }

  /** The lowest free address of a subnet; the cloud keeps the first four for itself. Throws when there is none. */
  freeAddress(subnet: string): string {
    const { cidr, vpc } = one(this.subnets, subnet);
    const used = new Set([...this.interfaces.values()].flatMap((each) => (each.vpc === vpc ? each.addresses : [])));
    for (let n = 4; ; n++) {
      const { text } = addressAt(parseCidr(cidr), n);
      if (!used.has(text)) return text;
    }
  }

  /** CIDRs that the VPC's own local routes cover. */
  localCidrs(vpc: string): Cidr[] {
    const { cidrs, cidrs6 } = one(this.vpcs, vpc);
    return [...cidrs, ...cidrs6].map((cidr) => parseCidr(cidr));
  }
}
