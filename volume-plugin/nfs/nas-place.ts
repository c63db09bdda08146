import { AliyunCaller, type CallerOptions } from '../../shared/cloud/aliyun/caller.ts';
import { Credentials } from '../../shared/cloud/aliyun/credentials.ts';
import { AliyunNas } from '../../shared/cloud/aliyun/nas-client.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { type CloudSettings, keyOf, regionOf } from '../../shared/cloud/settings.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';

export interface PlaceOptions {
  readonly settings: CloudSettings;
  /** Instead of the usual, for tests. */
  readonly calls?: Pick<CallerOptions, 'rateOf' | 'retry'>;
}

/** Where this host is in its cloud: mount targets are reached in their VPC alone. */
export interface Where {
  readonly instance: string;
  readonly region: string;
  readonly zone: string;
  readonly vpc: string;
  readonly vswitch: string;
}

/** This host's instance, and how NAS is asked from it. */
export class NasPlace {
  readonly #options: PlaceOptions;
  readonly #metadata: Metadata;
  readonly #credentials: Credentials;
  #found: { readonly where: Where; readonly client: AliyunNas } | undefined;

  constructor(options: PlaceOptions) {
    this.#options = options;
    this.#metadata = new Metadata({ cloud: 'aliyun', endpoint: options.settings.metadataEndpoint });
    this.#credentials = new Credentials(options.settings, this.#metadata);
  }

  /** Asks the metadata service, once. Errors: PROVIDER_UNREACHABLE, SETTING_INVALID (region, keys), DEADLINE. */
  async find(c: Context): Promise<void> {
    if (this.#found !== undefined) return;
    const { settings, calls } = this.#options;
    // For the complaint alone: half a key is refused at once.
    keyOf(settings);
    const [instance, here, zone, vpc, vswitch] = await Promise.all([
      this.#metadata.must('meta-data/instance-id', c),
      this.#metadata.must('meta-data/region-id', c),
      this.#metadata.must('meta-data/zone-id', c),
      this.#metadata.must('meta-data/vpc-id', c),
      this.#metadata.must('meta-data/vswitch-id', c),
    ]);
    const region = regionOf(settings, here);
    const credentials = this.#credentials;
    const caller = new AliyunCaller({ ...calls, credentials, region, endpoint: settings.cloudEndpoint });
    this.#found = { where: { instance, region, zone, vpc, vswitch }, client: new AliyunNas(caller) };
  }

  /** Errors: NOT_READY before the first `find`. */
  get where(): Where {
    return this.#must().where;
  }

  /** Errors: NOT_READY before the first `find`. */
  get client(): AliyunNas {
    return this.#must().client;
  }

  /** Undefined before the first `find`. */
  get caller(): AliyunCaller | undefined {
    return this.#found?.client.caller;
  }

  #must(): { readonly where: Where; readonly client: AliyunNas } {
    if (this.#found === undefined) throw new PluginError('NOT_READY', { reason: 'Aliyun was not asked yet' });
    return this.#found;
  }
}
