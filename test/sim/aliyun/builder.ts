/** What a test or an operator of the simulator does: set a cloud up and let things happen to it. All of it takes and gives JSON. */
import { contains, parseCidr } from '../../../shared/cidr.ts';
import type { Principal } from '../core/credentials.ts';
import type { DiskMoment, Disks, SimDisk, SimSnapshot } from './disks.ts';
import type { Routing } from './routing.ts';
import type { Gateway, Instance, NetworkInterface, RouteEntry, RouteTable, Vpc, VSwitch, World } from './world.ts';

export interface VpcRequest {
  readonly cidr?: string;
  /** None by default: the VPC then refuses IPv6 routes. */
  readonly cidr6?: string;
  readonly secondary?: readonly string[];
  readonly name?: string;
}

export interface VSwitchRequest {
  readonly vpc: string;
  readonly cidr: string;
  readonly cidr6?: string;
  readonly zone?: string;
  readonly name?: string;
  /** A custom table to associate with; the system one by default. */
  readonly table?: string;
}

export interface InstanceRequest {
  readonly vswitch: string;
  readonly name?: string;
  readonly hostName?: string;
  /** The next free ones by default; no IPv6 address unless the vSwitch has a block. */
  readonly address?: string;
  readonly address6?: string;
  readonly role?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly tokens?: Instance['tokens'];
  /** How many secondary interfaces it has beside the primary one. */
  readonly secondary?: number;
  /** Address that its calls come from, where that is not its own, such as 127.0.0.2. */
  readonly source?: string;
}

export interface GatewayRequest {
  readonly vpc: string;
  /** `VpnGateway`, `Attachment`, `VpcPeer`, `RouterInterface` … */
  readonly kind: string;
  readonly via?: string;
}

const PREFIXES: Readonly<Record<string, string>> = {
  VpnGateway: 'vpn',
  Attachment: 'tr-attach',
  VpcPeer: 'pcc',
  RouterInterface: 'ri',
  NatGateway: 'ngw',
  HaVip: 'havip',
  Ecr: 'ecr',
};

const found = <T>(map: ReadonlyMap<string, T>, id: string): T => {
  const one = map.get(id);
  if (one === undefined) throw new Error(`the simulator has no ${id}`);
  return one;
};

const inside = (outers: readonly string[], inner: string): void => {
  if (outers.some((outer) => contains(parseCidr(outer), parseCidr(inner)))) return;
  throw new Error(`${inner} does not lie in ${outers.join(', ') || 'anything'}`);
};

export class Builder {
  readonly #world: World;
  readonly #routing: Routing;
  readonly #disks: Disks;
  readonly #roles = new Map<string, Principal>();

  constructor(world: World, routing: Routing, disks: Disks) {
    this.#world = world;
    this.#disks = disks;
    this.#routing = routing;
  }

  /** A VPC with its vRouter and system route table. */
  vpc(request: VpcRequest = {}): Vpc {
    const { ids, clock } = this.#world.core;
    const id = ids.of('vpc', 22);
    const created = clock.now();
    const table: RouteTable = { id: ids.of('vtb', 22), name: '', vpc: id, kind: 'System', created };
    const vpc: Vpc = {
      id,
      name: request.name ?? '',
      routerId: ids.of('vrt', 22),
      cidr: request.cidr ?? '172.16.0.0/12',
      cidr6: request.cidr6 ?? '',
      secondary: request.secondary ?? [],
      systemTable: table.id,
      created,
    };
    this.#world.vpcs.set(id, vpc);
    this.#world.tables.set(table.id, table);
    return vpc;
  }

  vswitch(request: VSwitchRequest): VSwitch {
    const vpc = found(this.#world.vpcs, request.vpc);
    inside([vpc.cidr, ...vpc.secondary], request.cidr);
    if (request.cidr6 !== undefined) inside(vpc.cidr6 === '' ? [] : [vpc.cidr6], request.cidr6);
    const table = request.table ?? vpc.systemTable;
    if (found(this.#world.tables, table).vpc !== vpc.id) throw new Error(`${table} is not in ${vpc.id}`);
    const vswitch: VSwitch = {
      id: this.#world.core.ids.of('vsw', 22),
      name: request.name ?? '',
      vpc: vpc.id,
      cidr: request.cidr,
      cidr6: request.cidr6 ?? '',
      zone: request.zone ?? `${this.#world.region}-a`,
      table,
      created: this.#world.core.clock.now(),
    };
    this.#world.vswitches.set(vswitch.id, vswitch);
    return vswitch;
  }

  /** A custom table. */
  routeTable(request: { readonly vpc: string; readonly name?: string }): RouteTable {
    const { ids, clock } = this.#world.core;
    const vpc = found(this.#world.vpcs, request.vpc).id;
    const table: RouteTable = {
      id: ids.of('vtb', 22),
      name: request.name ?? '',
      vpc,
      kind: 'Custom',
      created: clock.now(),
    };
    this.#world.tables.set(table.id, table);
    return table;
  }

  /** Moves a vSwitch to another table of its VPC. */
  associate({ vswitch, table }: { readonly vswitch: string; readonly table: string }): VSwitch {
    const moved = { ...found(this.#world.vswitches, vswitch), table: found(this.#world.tables, table).id };
    this.#world.vswitches.set(vswitch, moved);
    return moved;
  }

  /** The table and all of its entries are gone; its vSwitches fall back to the system table. */
  deleteTable(id: string): void {
    const { vpc } = found(this.#world.tables, id);
    const { systemTable } = found(this.#world.vpcs, vpc);
    for (const entry of this.#world.entriesOf(id)) this.#world.dropEntry(entry.id);
    this.#world.tables.delete(id);
    for (const vswitch of this.#world.vswitchesOf(vpc)) {
      if (vswitch.table === id && id !== systemTable) this.associate({ vswitch: vswitch.id, table: systemTable });
    }
  }

  instance(request: InstanceRequest): Instance {
    const vswitch = found(this.#world.vswitches, request.vswitch);
    const { ids, clock } = this.#world.core;
    const id = ids.of('i', 20);
    if (request.address !== undefined) inside([vswitch.cidr], `${request.address}/32`);
    const blank = { id, vpc: vswitch.vpc, vswitch: vswitch.id, status: 'Running' as const, created: clock.now() };
    const interfaces: NetworkInterface[] = [];
    const instance: Instance = {
      ...blank,
      name: request.name ?? id,
      hostName: request.hostName ?? request.name ?? `iZ${id.slice(2)}Z`,
      interfaces,
      tags: request.tags ?? {},
      role: request.role ?? '',
      tokens: request.tokens ?? 'required',
      source: request.source ?? '',
    };
    // In the map from the start, so that no address is dealt out twice.
    this.#world.instances.set(id, instance);
    for (let n = 0; n <= (request.secondary ?? 0); n += 1) {
      const own = n === 0;
      interfaces.push({
        id: ids.of('eni', 20),
        mac: `00:16:3e${ids.hex(6).replace(/../g, ':$&')}`,
        address: (own ? request.address : undefined) ?? this.#world.freeAddress(vswitch.cidr),
        address6:
          (own ? request.address6 : undefined) ?? (vswitch.cidr6 === '' ? '' : this.#world.freeAddress(vswitch.cidr6)),
        instance: id,
        primary: own,
      });
    }
    return instance;
  }

  gateway(request: GatewayRequest): Gateway {
    const vpc = found(this.#world.vpcs, request.vpc).id;
    const id = this.#world.core.ids.of(PREFIXES[request.kind] ?? 'gw', 20);
    const gateway = { id, kind: request.kind, vpc, via: request.via ?? '' };
    this.#world.gateways.set(id, gateway);
    return gateway;
  }

  /** A RAM role for instances to bear; again for the same name: other actions from now on. Everything is allowed by default. */
  role({ name, actions = ['*'] }: { readonly name: string; readonly actions?: readonly string[] }): Principal {
    const role = this.#roles.get(name) ?? { name, actions };
    role.actions = actions;
    this.#roles.set(name, role);
    return role;
  }

  /** @internal for the metadata service */
  roleOf(name: string): Principal | undefined {
    return this.#roles.get(name);
  }

  /** The instance is stopped; its routes stay, and lead to a machine that is off. */
  stop(id: string): Instance {
    this.#status(id, 'Stopping');
    this.#disks.stopMachine(id, () => this.#status(id, 'Stopped'));
    return found(this.#world.instances, id);
  }

  /** Starts it again. */
  resume(id: string): Instance {
    this.#status(id, 'Starting');
    this.#disks.startMachine(id, () => this.#status(id, 'Running'));
    return found(this.#world.instances, id);
  }

  /**
   * The instance is gone for good with its interfaces, as when a spot instance is reclaimed or a subscription ends.
   * DeleteInstance is refused while a route leads to the instance (DependencyViolation.RouteEntry), but the vendor's own
   * releases ask nobody. What then becomes of the route is not documented; assumed is the worst: it stays as it was,
   * Available, and swallows packets; only DescribeInstances shows that its next hop is no more.
   */
  release(id: string): void {
    found(this.#world.instances, id);
    this.#world.instances.delete(id);
    this.#world.publish();
    this.#disks.releaseMachine(id);
  }

  /** A disk made behind everybody's back, as by the console. */
  disk(request: Partial<Pick<SimDisk, 'name' | 'zone' | 'category' | 'size' | 'tags' | 'portable'>> = {}): SimDisk {
    return this.#disks.create({
      ...{ name: '', description: '', zone: `${this.#world.region}-a`, category: 'cloud_essd', level: 'PL0', size: 20 },
      ...{ iops: 0, encrypted: false, key: '', snapshot: '', tags: {}, deleteWithInstance: false, portable: true },
      ...request,
    });
  }

  /** The disks as they are. */
  disks(): SimDisk[] {
    return this.#disks.all();
  }

  /** The snapshots as they are. */
  snapshots(): SimSnapshot[] {
    return this.#disks.allSnapshots();
  }

  /** Everything that a disk went through. */
  historyOf(id: string): readonly DiskMoment[] {
    return this.#disks.history(id);
  }

  /** Nothing may be done with the disk any more: `financial` for arrears, `security`; none to unlock it. */
  lockDisk({ id, reasons }: { readonly id: string; readonly reasons: readonly string[] }): SimDisk {
    return this.#disks.change(id, { locks: reasons });
  }

  /** Tags set behind everybody's back; those that are not named stay. */
  tagDisk({ id, tags }: { readonly id: string; readonly tags: Readonly<Record<string, string>> }): SimDisk {
    const { tags: known } = found(new Map(this.#disks.disks.entries()), id);
    return this.#disks.change(id, { tags: { ...known, ...tags } });
  }

  /** The machine has the disk mounted, and does not let it go; or has it no more. */
  mountDisk({ id, mounted = true }: { readonly id: string; readonly mounted?: boolean }): void {
    if (mounted) this.#disks.mounted.add(id);
    else this.#disks.mounted.delete(id);
  }

  /** The categories of disks that a zone has; all of them unless told. */
  categories({ zone, names }: { readonly zone: string; readonly names: readonly string[] }): void {
    this.#disks.categories.set(zone, names);
  }

  /** A key of KMS. */
  kmsKey(): string {
    const id = `key-${this.#world.core.ids.hex(20)}`;
    this.#disks.keys.add(id);
    return id;
  }

  /** So many of the disks made next come to nothing, after their making was answered. */
  failDisks(count: number): void {
    this.#disks.failing = count;
  }

  /** How long states of disks last from now on. */
  diskTimes(changes: Partial<Disks['times']>): Disks['times'] {
    return Object.assign(this.#disks.times, changes);
  }

  /** A route made behind everybody's back, as by the console; Available at once. Its parts are not checked. */
  addRoute(request: {
    readonly table: string;
    readonly prefix: string;
    readonly kind?: string;
    readonly target: string;
  }): RouteEntry {
    const entry: RouteEntry = {
      id: this.#world.core.ids.of('rte', 20),
      order: this.#world.nextOrder(),
      table: found(this.#world.tables, request.table).id,
      prefix: parseCidr(request.prefix).text,
      hop: { kind: request.kind ?? 'Instance', id: request.target },
      name: '',
      description: '',
      status: 'Available',
      modified: this.#world.core.clock.now(),
    };
    this.#world.setEntry(entry);
    return entry;
  }

  /** A route removed behind everybody's back; false when there was none. */
  removeRoute({ table, prefix }: { readonly table: string; readonly prefix: string }): boolean {
    const entry = this.#world.entriesOf(table).find((one) => one.prefix === prefix);
    if (entry !== undefined) this.#world.dropEntry(entry.id);
    return entry !== undefined;
  }

  /** The custom entries of a table (or of all) as they are. */
  routes(table?: string): RouteEntry[] {
    return this.#world.entries
      .entries()
      .flatMap(([, entry]) => (table === undefined || entry.table === table ? [entry] : []));
  }

  /** How long writes take from now on. */
  timing(changes: Partial<Routing['timing']>): Routing['timing'] {
    return Object.assign(this.#routing.timing, changes);
  }

  #status(id: string, status: Instance['status']): Instance {
    const changed = { ...found(this.#world.instances, id), status };
    this.#world.instances.set(id, changed);
    this.#world.publish();
    return changed;
  }
}
