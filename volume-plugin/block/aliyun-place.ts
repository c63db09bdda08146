import { AliyunCaller, type CallerOptions } from '../../shared/cloud/aliyun/caller.ts';
import { AliyunClient } from '../../shared/cloud/aliyun/client.ts';
import { Credentials } from '../../shared/cloud/aliyun/credentials.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { type CloudSettings, keyOf } from '../../shared/cloud/settings.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { Absence } from './absence.ts';
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
  readonly #names = new Map<string, string>();
  readonly #absence: Absence;
  #caller: AliyunCaller | undefined;
  #self: (DiskHost & { readonly zone: string }) | undefined;

  constructor(options: PlaceOptions) {
    this.#options = options;
    this.#absence = new Absence(options.goneMs ?? GONE_MS);
    const { metadataEndpoint } = options.settings;
    this.#metadata = new Metadata({
      cloud: 'aliyun',
      ...(metadataEndpoint !== undefined && { endpoint: metadataEndpoint }),
    });
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
      this.#required('instance-id', c),
      this.#required('zone-id', c),
      this.#required('region-id', c),
    ]);
    const region = settings.region ?? here;
    if (region !== here) {
      const reason = `this host's instance is in ${here}`;
      throw new PluginError('SETTING_INVALID', {
        ...{ option: 'REGION', value: region, reason, allowed: `${here}, or nothing`, example: here },
      });
    }
    const credentials = this.#credentials;
    this.#caller ??= new AliyunCaller({ ...calls, credentials, region, endpoint: settings.cloudEndpoint });
    await this.#meet(this.#caller, [id], c);
    this.#self = { id, zone, name: this.nameOf(id) };
    return this.#caller;
  }

  /** What people call an instance; its id until it was met. */
  nameOf(id: string): string {
    return this.#names.get(id) ?? id;
  }

  /** Learns the names of those that are not known. Without them disks are worth reading all the same. */
  async meet(ids: readonly string[], c: Context): Promise<void> {
    const unknown = [...new Set(ids)].filter((id) => !this.#names.has(id));
    if (unknown.length === 0 || this.#caller === undefined) return;
    try {
      await this.#meet(this.#caller, unknown, c);
    } catch (error) {
      if (c.signal.aborted) throw error;
      c.log.warn('hosts that have disks could not be looked up', { error: asPluginError(error).message });
    }
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

  async #meet(caller: AliyunCaller, ids: readonly string[], c: Context): Promise<void> {
    const found = await new AliyunClient(caller).instances(ids, c);
    for (const { id, host } of found) this.#names.set(id, host);
  }

  async #required(name: string, c: Context): Promise<string> {
    const value = await this.#metadata.get(`meta-data/${name}`, c);
    if (value !== undefined && value !== '') return value;
    const reason = `metadata service at ${this.#metadata.endpoint}: it has no ${name}; is this an ECS instance?`;
    throw new PluginError('PROVIDER_UNREACHABLE', { provider: 'aliyun', reason });
  }
}
