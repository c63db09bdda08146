import { AliyunCaller, type CallerOptions } from '../../shared/cloud/aliyun/caller.ts';
import { AliyunClient } from '../../shared/cloud/aliyun/client.ts';
import { Credentials } from '../../shared/cloud/aliyun/credentials.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { type CloudSettings, keyOf, regionOf } from '../../shared/cloud/settings.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { Absence } from './absence.ts';
import { InstanceNames } from './instance-names.ts';
import type { DiskHost, HostFate } from './provider.ts';

export interface PlaceOptions {
  readonly settings: CloudSettings;
  /** Instead of the usual, for tests. */
  readonly calls?: Pick<CallerOptions, 'rateOf' | 'retry'>;
  /** An instance is gone once it was not shown for so long, in milliseconds: a new one may show late. */
  readonly goneMs?: number;
}

const GONE_MS = 60_000;

/** This host's instance, and the others that have disks. */
export class AliyunPlace {
  readonly #options: PlaceOptions;
  readonly #metadata: Metadata;
  readonly #credentials: Credentials;
  readonly #names = new InstanceNames((ids, c) => this.#meet(ids, c));
  readonly #absence: Absence;
  #caller: AliyunCaller | undefined;
  #self: (DiskHost & { readonly zone: string }) | undefined;

  constructor(options: PlaceOptions) {
    this.#options = options;
    this.#absence = new Absence(options.goneMs ?? GONE_MS);
    this.#metadata = new Metadata({ cloud: 'aliyun', endpoint: options.settings.metadataEndpoint });
    this.#credentials = new Credentials(options.settings, this.#metadata);
  }

  /** Throws NOT_READY before the first `find`. */
  get self(): DiskHost & { readonly zone: string } {
    if (this.#self === undefined) throw new PluginError('NOT_READY', { reason: 'Aliyun was not asked yet' });
    return this.#self;
  }

  /**
   * Asks the metadata service who this host is, and ECS for its name: other hosts know it by that one. Errors:
   * PROVIDER_*, SETTING_INVALID (region, keys), DEADLINE.
   */
  async find(c: Context): Promise<AliyunCaller> {
    const { settings, calls } = this.#options;
    // For the complaint alone: half a key is refused at once.
    keyOf(settings);
    const [id, zone, here] = await Promise.all([
      this.#metadata.must('meta-data/instance-id', c),
      this.#metadata.must('meta-data/zone-id', c),
      this.#metadata.must('meta-data/region-id', c),
    ]);
    const region = regionOf(settings, here);
    const credentials = this.#credentials;
    this.#caller ??= new AliyunCaller({ ...calls, credentials, region, endpoint: settings.cloudEndpoint });
    await this.#meet([id], c);
    this.#self = { id, zone, name: this.nameOf(id) };
    return this.#caller;
  }

  /** What people call an instance; its id until it was met. */
  nameOf(id: string): string {
    return this.#names.of(id);
  }

  /** Learns the names of those that are not known. Without them disks are worth reading all the same. */
  meet(ids: readonly string[], c: Context): Promise<void> {
    return this.#names.meet(ids, c);
  }

  /** Asked anew each time. Errors: PROVIDER_*, DEADLINE. */
  async fate(id: string, c: Context): Promise<HostFate> {
    if (this.#caller === undefined || !/^i-[a-z0-9]+$/i.test(id)) return 'unknown';
    // A policy that is limited to some instances hides the others without a word: then not even we are there.
    const found = await new AliyunClient(this.#caller).instances([...new Set([this.self.id, id])], c);
    const other = found.find((one) => one.id === id);
    if (other !== undefined) {
      this.#absence.found(id);
      return other.status === 'Stopped' ? 'stopped' : 'alive';
    }
    if (!found.some((one) => one.id === this.self.id)) return 'unknown';
    return this.#absence.missed(id);
  }

  async #meet(ids: readonly string[], c: Context): Promise<void> {
    if (this.#caller === undefined) return;
    const found = await new AliyunClient(this.#caller).instances(ids, c);
    for (const { id, host } of found) this.#names.learn(id, host);
  }
}
