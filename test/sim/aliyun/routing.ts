/**
 * Writes to route tables. They are asynchronous: an entry is Pending, Modifying or Deleting for a while; and only one
 * write a VPC is taken at a time.
 *
 * Sources: the vendor's reference of CreateRouteEntry, CreateRouteEntries, DeleteRouteEntry, DeleteRouteEntries and
 * ModifyRouteEntry (VPC 2016-04-28) with their error tables. Where those leave open which of several codes is meant,
 * `Timing.duplicate` and the comments below say what is assumed.
 */
import { type Cidr, contains, overlaps, parseAddress, parseCidr } from '../../../shared/cidr.ts';
import { PluginError } from '../../../shared/errors.ts';
import { ApiError } from '../core/api.ts';
import type { Quotas } from '../core/quotas.ts';
import { usual } from './gateway.ts';
import { type Hop, type RouteEntry, type RouteTable, SERVICE_RANGE, type World } from './world.ts';

export const ROUTES_QUOTA = 'vpc_quota_route_entrys_num';

/** Codes that all mean "there is one already"; which of them comes when is nowhere written. */
export type DuplicateCode =
  | 'InvalidCIDRBlock.Duplicate'
  | 'RouterEntryConflict.Duplicated'
  | 'InvalidRouteEntry.Duplicate'
  | 'Duplicated.VpcNextHop';

export interface Timing {
  /** Milliseconds that an entry is Pending, Modifying or Deleting. */
  settleMs: number;
  /** Milliseconds after a write in which the VPC takes no other one (TaskConflict). */
  conflictMs: number;
  /** What a second write is refused with meanwhile; real accounts have met both. */
  conflict: 'TaskConflict' | 'OperationConflict';
  duplicate: DuplicateCode;
}

const KINDS = [
  'Instance',
  'HaVip',
  'RouterInterface',
  'NetworkInterface',
  'VpnGateway',
  'IPv6Gateway',
  'NatGateway',
  'Attachment',
  'VpcPeer',
  'Ipv4Gateway',
  'GatewayEndpoint',
  'CenBasic',
  'Ecr',
  'GatewayLoadBalancerEndpoint',
];

const DUPLICATE_TEXT = 'Specified CIDR block is already exists.';

/** What is asked for, in the words of one request. */
export interface Wanted {
  readonly table: string;
  /** As sent; without a length it is one address. */
  readonly destination: string;
  readonly hop: Hop;
  readonly name: string;
  readonly description: string;
}

/** An entry by its id, or by table, destination and next hop. */
export interface Named {
  readonly id: string;
  readonly table: string;
  readonly destination: string;
  readonly hop: string;
}

const malformed = (): ApiError => new ApiError('InvalidCidrBlock.Malformed', 'Specified CIDR block is not valid.');

const destinationOf = (text: string): Cidr => {
  try {
    if (text.includes('/')) return parseCidr(text);
    const { family, text: address } = parseAddress(text);
    return parseCidr(`${address}/${family === 4 ? 32 : 128}`);
  } catch (error) {
    if (error instanceof PluginError) throw malformed();
    throw error;
  }
};

export class Routing {
  readonly timing: Timing;
  readonly #world: World;
  readonly #quotas: Quotas;
  /** VPC → until when it takes no write. */
  readonly #locked = new Map<string, number>();

  constructor(world: World, quotas: Quotas, timing: Timing) {
    this.#world = world;
    this.#quotas = quotas;
    this.timing = timing;
  }

  table(id: string): RouteTable {
    const table = this.#world.tables.get(id);
    if (table === undefined)
      throw new ApiError('InvalidRouteTableId.NotFound', 'Specified route table does not exist.', 404);
    return table;
  }

  /** Refused with TaskConflict while another write of the VPC is in work. */
  checkFree(vpc: string): void {
    if ((this.#locked.get(vpc) ?? 0) > this.#world.core.clock.now()) throw usual(this.timing.conflict);
  }

  /** A form that no write takes, whatever the state of the tables: refuses the whole request, also of a batch. */
  checkForm({ destination, hop }: Pick<Wanted, 'destination' | 'hop'>): void {
    destinationOf(destination);
    if (!KINDS.includes(hop.kind)) {
      throw new ApiError('InvalidNextHopType', 'Specified parameter "NextHopType" is not valid.');
    }
  }

  /**
   * Everything that can be wrong with a new entry. `batch`: CreateRouteEntries also refuses destinations that contain a
   * vSwitch's block, which CreateRouteEntry takes.
   */
  checkNew(wanted: Wanted, batch: boolean, more = 1): void {
    const table = this.table(wanted.table);
    const cidr = destinationOf(wanted.destination);
    const used = this.#world.entriesOf(table.id);
    const found = used.find(({ prefix }) => prefix === cidr.text);
    if (found !== undefined) {
      // Under a batch a caller may find its own entry of a moment ago in the middle of its way.
      if (found.status !== 'Available')
        throw new ApiError('IncorrectRouteEntryStatus', 'Specified routeEntry status error.');
      throw new ApiError(this.timing.duplicate, DUPLICATE_TEXT);
    }
    this.#checkDestination(cidr, table, batch);
    this.checkHop(wanted.hop, table, cidr.text);
    if (!this.#quotas.fits(ROUTES_QUOTA, used.length, more)) {
      throw new ApiError('QuotaExceeded', 'Route entry quota exceeded in this route table.');
    }
  }

  #checkDestination(cidr: Cidr, table: RouteTable, batch: boolean): void {
    const invalid = new ApiError('InvalidCidrBlock', 'Specified CIDR block is not valid.');
    if (cidr.family === 4 && contains(SERVICE_RANGE, cidr)) throw invalid;
    for (const vswitch of this.#world.vswitchesOf(table.vpc)) {
      if (cidr.family === 6) {
        if (vswitch.cidr6 === '' || !overlaps(parseCidr(vswitch.cidr6), cidr)) continue;
        throw new ApiError(
          'OperationUnsupported.DestinationCidrBlockOverlapWithVSwitch',
          'The destination IPv6 network segment specified in the route entry overlaps with the vSwitch network segment.',
        );
      }
      const own = parseCidr(vswitch.cidr);
      if (contains(own, cidr) || (batch && overlaps(own, cidr))) throw invalid;
    }
    if (cidr.family === 4) return;
    if (this.#world.vpcs.get(table.vpc)?.cidr6 === '') {
      throw new ApiError('OperationDenied.VpcIpv6NotEnabled', 'IPv6 has not been enabled for the VPC.');
    }
    if (table.kind === 'Custom') {
      throw new ApiError(
        'OperationDenied.Ipv6EntryOnCustomTable',
        'You cannot create any IPv6 route entry on a custom route table.',
      );
    }
  }

  /** The next hop has to exist, in this VPC, and to be able to take the family. */
  checkHop(hop: Hop, table: RouteTable, prefix: string): void {
    if (hop.kind !== 'Instance' && hop.kind !== 'NetworkInterface') {
      const gateway = this.#world.gateways.get(hop.id);
      if (gateway !== undefined && gateway.kind === hop.kind && gateway.vpc === table.vpc) return;
      throw new ApiError('InvalidNextHopId.NotFound', 'Specified next hop does not exist.', 404);
    }
    const machine = this.#world.machine(hop);
    const through = machine?.interfaces.find((one) => (hop.kind === 'Instance' ? one.primary : one.id === hop.id));
    if (machine === undefined || through === undefined) {
      if (hop.kind === 'Instance')
        throw new ApiError('InvalidNextHopId.NotFound', 'Specified next hop does not exist.', 404);
      throw new ApiError('InvalidNetworkInterface.NotFound', 'The specified networkInterface does not exist.', 404);
    }
    if (machine.vpc !== table.vpc) {
      if (hop.kind === 'Instance') {
        throw new ApiError(
          'OperationFailed.InstanceDismatchCurrentVpc',
          'The specified instance does not exist in current vpc.',
          404,
        );
      }
      throw new ApiError(
        'Mismatch.EniIdAndRouteTableId',
        'The operation is not allowed because eni and route table not in same vpc.',
      );
    }
    if (machine.status !== 'Running' && machine.status !== 'Stopped') {
      throw new ApiError('IncorrectInstanceStatus', 'Current instance status does not support this operation.');
    }
    if (!prefix.includes(':')) return;
    if (hop.kind === 'NetworkInterface' && through.primary) {
      throw new ApiError(
        'OperationUnsupported.Ipv6EntryOnPrimaryNetworkInterface',
        'You cannot create IPv6 route entries on a primary network interface.',
      );
    }
    if (through.address6 === '') {
      throw new ApiError('OperationFailed.NotSupportIPV6', 'The specified next hop does not support IPv6.');
    }
  }

  /** No entry is on its way: in the table, for new and changed ones, or in the whole VPC, for deleted ones. */
  settled(table: RouteTable, scope: 'table' | 'vpc'): boolean {
    const near = ({ id, vpc }: RouteTable) => (scope === 'vpc' ? vpc === table.vpc : id === table.id);
    const entries = [...this.#world.tables.values()].filter(near).flatMap(({ id }) => this.#world.entriesOf(id));
    return entries.every(({ status }) => status === 'Available');
  }

  /** The entry is not there for good yet. */
  isPending(id: string): boolean {
    return this.#world.entries.get(id)?.status === 'Pending';
  }

  /** The entry; refused when there is none, or none with that next hop. */
  find({ id, table, destination, hop }: Named): RouteEntry {
    if (id !== '') {
      const entry = this.#world.entries.get(id);
      if (entry !== undefined && (hop === '' || entry.hop.id === hop)) return entry;
      throw new ApiError('InvalidRouteEntryId.NotFound', 'Specified RouteEntryId does not exist.');
    }
    const at = this.table(table);
    const { text } = destinationOf(destination);
    const system = this.#world.vswitchesOf(at.vpc).some(({ cidr, cidr6 }) => cidr === text || cidr6 === text);
    if (system || text === SERVICE_RANGE.text) {
      throw new ApiError('OperationDenied', 'Specified operation is denied as route entry type is system.');
    }
    const entry = this.#world.entriesOf(table).find(({ prefix }) => prefix === text);
    if (entry !== undefined && (hop === '' || entry.hop.id === hop)) return entry;
    throw new ApiError('InvalidRouteEntry.NotFound', 'Route entry not exists.');
  }

  checkAvailable(entry: RouteEntry): void {
    if (entry.status !== 'Available')
      throw new ApiError('IncorrectRouteEntryStatus', 'Specified routeEntry status error.');
  }

  /** The VPC takes no other write for a while. */
  lock(vpc: string): void {
    this.#locked.set(vpc, this.#world.core.clock.now() + this.timing.conflictMs);
  }

  create(wanted: Wanted): RouteEntry {
    const { core } = this.#world;
    const entry: RouteEntry = {
      id: core.ids.of('rte', 20),
      order: this.#world.nextOrder(),
      table: wanted.table,
      prefix: destinationOf(wanted.destination).text,
      hop: wanted.hop,
      name: wanted.name,
      description: wanted.description,
      status: 'Pending',
      modified: core.clock.now(),
    };
    this.#world.setEntry(entry);
    this.#later(entry.id, () => this.#world.setEntry({ ...entry, status: 'Available' }));
    return entry;
  }

  /** Packets go the old way until the entry is Available again. */
  modify(entry: RouteEntry, changes: Partial<Pick<RouteEntry, 'hop' | 'name' | 'description'>>): void {
    this.#world.setEntry({ ...entry, status: 'Modifying' });
    this.#later(entry.id, () => this.#world.setEntry({ ...entry, ...changes, status: 'Available' }));
  }

  /** Packets go their way until the entry is gone. */
  delete(entry: RouteEntry): void {
    this.#world.setEntry({ ...entry, status: 'Deleting' });
    this.#later(entry.id, () => this.#world.dropEntry(entry.id));
  }

  #later(id: string, work: () => void): void {
    // Its table may have been deleted meanwhile.
    const unlessGone = (): void => {
      if (this.#world.entries.get(id) !== undefined) work();
    };
    if (this.timing.settleMs === 0) unlessGone();
    else this.#world.core.clock.after(this.timing.settleMs, unlessGone);
  }
}
