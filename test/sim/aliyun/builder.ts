/** What a test or an operator of the simulator does: set a cloud up and let things happen to it. All of it takes and gives JSON. */
import { contains, parseCidr } from '../../../shared/cidr.ts';
import type { Principal } from '../core/credentials.ts';
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
  readonly #roles = new Map<string, Principal>();

  constructor(world: World, routing: Routing) {
    this.#world = world;
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
    return this.#status(id, 'Stopped');
  }

  /** Starts it again. */
  resume(id: string): Instance {
    return this.#status(id, 'Running');
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
