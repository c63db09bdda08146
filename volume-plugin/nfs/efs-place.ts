import { Credentials } from '../../shared/cloud/aws/credentials.ts';
import { Efs } from '../../shared/cloud/aws/shares.ts';
import { Metadata } from '../../shared/cloud/metadata.ts';
import { type CloudSettings, regionOf } from '../../shared/cloud/settings.ts';
import type { Rate } from '../../shared/cloud/token-bucket.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';

export interface EfsPlaceOptions {
  readonly settings: CloudSettings;
  /** Instead of the usual, for tests. */
  readonly rateOf?: (api: string) => Rate;
}

/** Where this host is: what decides by which mount target it reaches a file system, and of what one is made. */
export interface EfsSelf {
  readonly region: string;
  readonly zone: string;
  /** The same in every account; empty where the metadata service does not tell. */
  readonly zoneId: string;
  readonly vpc: string;
  readonly subnet: string;
  /** Of its first interface. */
  readonly securityGroups: readonly string[];
}

/** This host's instance by its metadata service, and the client for its region. */
export class EfsPlace {
  readonly #options: EfsPlaceOptions;
  readonly #metadata: Metadata;
  readonly #credentials: Credentials;
  #known: { readonly self: EfsSelf; readonly efs: Efs } | undefined;

  constructor(options: EfsPlaceOptions) {
    this.#options = options;
    this.#metadata = new Metadata({ cloud: 'aws', endpoint: options.settings.metadataEndpoint });
    this.#credentials = Credentials.from(options.settings, this.#metadata);
  }

  /** Throws NOT_READY before the first `find`. */
  get self(): EfsSelf {
    return this.#must.self;
  }

  /** Throws NOT_READY before the first `find`. */
  get efs(): Efs {
    return this.#must.efs;
  }

  /** Asks the metadata service. Errors: PROVIDER_UNREACHABLE, SETTING_INVALID (region), DEADLINE. */
  async find(c: Context): Promise<void> {
    const metadata = this.#metadata;
    const [mac, zone, zoneId = '', here] = await Promise.all([
      metadata.must('meta-data/mac', c),
      metadata.must('meta-data/placement/availability-zone', c),
      metadata.get('meta-data/placement/availability-zone-id', c),
      metadata.must('meta-data/placement/region', c),
    ]);
    const first = `meta-data/network/interfaces/macs/${mac}`;
    const [vpc, subnet, securityGroups] = await Promise.all([
      metadata.must(`${first}/vpc-id`, c),
      metadata.must(`${first}/subnet-id`, c),
      metadata.list(`${first}/security-group-ids`, c),
    ]);
    const { settings, rateOf } = this.#options;
    const region = regionOf(settings, here);
    const { cloudEndpoint: endpoint } = settings;
    const efs =
      this.#known?.efs ??
      new Efs({
        ...{ region, log: c.log, credentials: this.#credentials },
        ...(endpoint !== undefined && { endpoint }),
        ...(rateOf !== undefined && { rateOf }),
      });
    this.#known = { self: { region, zone, zoneId, vpc, subnet, securityGroups }, efs };
  }

  close(): void {
    this.#known?.efs.close();
  }

  get #must(): { readonly self: EfsSelf; readonly efs: Efs } {
    if (this.#known === undefined) throw new PluginError('NOT_READY', { reason: 'AWS was not asked yet' });
    return this.#known;
  }
}
