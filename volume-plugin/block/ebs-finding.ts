import type { Volume } from '../../shared/cloud/aws/volume-model.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { VOLUME } from './cloud-tags.ts';
import type { EbsPlace } from './ebs-place.ts';
import { type EbsReading, isSnapshotId } from './ebs-reading.ts';

export const missing = (disk: string, volume: string): PluginError => new PluginError('DISK_MISSING', { volume, disk });

/** What has to be found before something is done with it, and what is said when it cannot be. */
export class EbsFinding {
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;

  constructor(place: EbsPlace, reading: EbsReading) {
    this.#place = place;
    this.#reading = reading;
  }

  /** Where a policy names our tag, EC2 says of what does not exist that it is not allowed. */
  async isGone(error: unknown, id: string, c: Context): Promise<boolean> {
    return asPluginError(error).code === 'PROVIDER_PERMISSION' && (await this.find(id, c)) === undefined;
  }

  /** A volume or a snapshot, whosever it is. */
  find(id: string, c: Context) {
    return isSnapshotId(id) ? this.#reading.keptSnapshot(id, c) : this.#reading.volume(id, c);
  }

  /** The tags of a disk or a snapshot of ours, as they are kept. Errors: DISK_MISSING. */
  async kept(id: string, c: Context): Promise<Readonly<Record<string, string>>> {
    const found = await this.find(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) throw missing(id, 'unknown');
    return found.tags;
  }

  /** A disk of ours. Errors: DISK_MISSING. */
  async must(id: string, c: Context): Promise<Volume> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) throw missing(id, 'unknown');
    return found;
  }

  /** For errors: whose disk it is. */
  async volumeOf(id: string, c: Context): Promise<string> {
    return (await this.#reading.volume(id, c))?.tags[VOLUME] ?? 'unknown';
  }

  /** Says who has the disk. */
  async busy(id: string, volume: string, c: Context): Promise<PluginError> {
    const instance = (await this.#reading.volume(id, c))?.attachment?.instance;
    if (instance !== undefined) await this.#place.meet([instance], c);
    return new PluginError('VOLUME_BUSY', {
      volume,
      holder: instance === undefined ? 'another one' : this.#place.nameOf(instance),
    });
  }
}
