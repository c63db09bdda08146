import { Batch } from '../../shared/batch.ts';
import { Credentials } from '../../shared/cloud/aws/credentials.ts';
import type { InstanceState } from '../../shared/cloud/aws/model.ts';
import type { Machine } from '../../shared/cloud/aws/volume-model.ts';
import { Ebs, isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { type CloudSettings, regionOf } from '../../shared/cloud/settings.ts';
import type { Rate } from '../../shared/cloud/token-bucket.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { Absence } from './absence.ts';
import { InstanceNames } from './instance-names.ts';
import type { DiskHost, HostFate } from './provider.ts';

export interface PlaceOptions {
  readonly settings: CloudSettings;
  /** Instead of the usual, for tests. */
  readonly rateOf?: (api: string) => Rate;
  /** How long an instance that EC2 does not know must have been unknown to count as gone, in milliseconds. */
  readonly unknownMs?: number;
}

/** What is on its way out may still write. */
const FATES: Readonly<Record<InstanceState, HostFate>> = {
  pending: 'alive',
  running: 'alive',
  stopping: 'alive',
  'shutting-down': 'alive',
  stopped: 'stopped',
  terminated: 'gone',
};

/** A new instance may not be listed for some seconds; an ended one is for about an hour. */
const UNKNOWN_MS = 60_000;

const nameIn = ({ id, name, privateDnsName }: Machine): string => name ?? privateDnsName?.split('.')[0] ?? id;

/** This host's instance, and the others that have disks. */
export class EbsPlace {
  readonly #options: PlaceOptions;
  readonly #metadata: Metadata;
  readonly #credentials: Credentials;
  readonly #names = new InstanceNames((ids, c) => this.#meet(ids, c));
  readonly #absence: Absence;
  readonly #machines = new Batch<Machine>({
    ...{ most: 200, gatherMs: 10 },
    ask: async (ids, c) => new Map((await this.#meet(ids, c)).map((machine) => [machine.id, machine])),
  });
  #ebs: Ebs | undefined;
  #self: (DiskHost & { readonly zone: string }) | undefined;

  constructor(options: PlaceOptions) {
    this.#options = options;
    this.#absence = new Absence(options.unknownMs ?? UNKNOWN_MS);
    this.#metadata = new Metadata({ cloud: 'aws', endpoint: options.settings.metadataEndpoint });
    this.#credentials = Credentials.from(options.settings, this.#metadata);
  }

  /** Throws NOT_READY before the first `find`. */
  get self(): DiskHost & { readonly zone: string } {
    if (this.#self === undefined) throw new PluginError('NOT_READY', { reason: 'AWS was not asked yet' });
    return this.#self;
  }

  /** Throws NOT_READY before the first `find`. */
  get ebs(): Ebs {
    if (this.#ebs === undefined) throw new PluginError('NOT_READY', { reason: 'AWS was not asked yet' });
    return this.#ebs;
  }

  /**
   * Asks the metadata service who this host is, and EC2 for its name: other hosts know it by that one. Errors: PROVIDER_*,
   * SETTING_INVALID (region), DEADLINE.
   */
  async find(c: Context): Promise<DiskHost> {
    const { settings, rateOf } = this.#options;
    const [id, zone, here] = await Promise.all([
      this.#metadata.must('meta-data/instance-id', c),
      this.#metadata.must('meta-data/placement/availability-zone', c),
      this.#metadata.must('meta-data/placement/region', c),
    ]);
    const region = regionOf(settings, here);
    const { cloudEndpoint: endpoint } = settings;
    this.#ebs ??= new Ebs({
      ...{ region, log: c.log, credentials: this.#credentials },
      ...(endpoint !== undefined && { endpoint }),
      ...(rateOf !== undefined && { rateOf }),
    });
    await this.#meet([id], c);
    this.#self = { id, zone, name: this.nameOf(id) };
    return this.#self;
  }

  /** What people call an instance; its id until it was met. */
  nameOf(id: string): string {
    return this.#names.of(id);
  }

  /** Learns the names of those that are not known. Without them disks are worth reading all the same. */
  meet(ids: readonly string[], c: Context): Promise<void> {
    return this.#names.meet(ids, c);
  }

  /** This host as EC2 sees it. Questions of one moment are one call. */
  machine(c: Context): Promise<Machine | undefined> {
    return this.#machines.get(this.self.id, c);
  }

  /**
   * Asked anew each time. An instance that EC2 does not know is gone only when it was not known for a while: a new one
   * may not be known yet. Errors: PROVIDER_*, DEADLINE.
   */
  async fate(id: string, c: Context): Promise<HostFate> {
    if (!/^i-[0-9a-f]+$/.test(id)) return 'unknown';
    try {
      const [found] = await this.ebs.call('DescribeInstances', { ids: [id], exact: true }, c);
      this.#absence.found(id);
      // A policy may hide it without a word.
      return found === undefined ? 'unknown' : (FATES[found.state] ?? 'alive');
    } catch (error) {
      if (!isVolumeRefusal(error, 'instance-missing')) throw error;
      return this.#absence.missed(id);
    }
  }

  close(): void {
    this.#ebs?.close();
  }

  async #meet(ids: readonly string[], c: Context): Promise<readonly Machine[]> {
    const found = await this.ebs.call('DescribeInstances', { ids }, c);
    for (const machine of found) this.#names.learn(machine.id, nameIn(machine));
    return found;
  }
}
