import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { CLUSTER, oursBut, type TagChanges, VOLUME } from './cloud-tags.ts';
import { type EbsFinding, missing } from './ebs-finding.ts';
import type { EbsPlace } from './ebs-place.ts';
import type { EbsReading } from './ebs-reading.ts';
import { toDiskError } from './ebs-refusals.ts';
import { changesOf, NAME, shows, toKept } from './ebs-tags.ts';
import type { Disk, DiskTags } from './provider.ts';

/** Whose a disk is, and what else is written on it. */
export class EbsOwning {
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;
  readonly #finding: EbsFinding;
  readonly #cluster: string;

  constructor(place: EbsPlace, reading: EbsReading, finding: EbsFinding, cluster: string) {
    this.#place = place;
    this.#reading = reading;
    this.#finding = finding;
    this.#cluster = cluster;
  }

  /** See DiskProvider.tag. */
  async tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void> {
    const kept = await this.#finding.kept(id, c);
    await this.#change(id, changesOf(tags, kept), kept[VOLUME] ?? '', c);
  }

  /** See DiskProvider.adopt. */
  async adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined) throw missing(id, volume);
    const { [VOLUME]: owner, [CLUSTER]: cluster, [NAME]: name } = found.tags;
    if (owner !== undefined && (owner !== volume || cluster !== this.#cluster)) {
      const whose = cluster === this.#cluster ? 'is its' : `is its in cluster ${cluster}`;
      throw new PluginError('VOLUME_EXISTS', { volume: owner, differences: `disk ${id} ${whose}` });
    }
    const set = {
      ...toKept(tags),
      ...{ [VOLUME]: volume, [CLUSTER]: this.#cluster },
      ...(name === undefined && { [NAME]: volume }),
    };
    const gone = oursBut(found.tags, set);
    await this.#change(id, { set, gone }, volume, c);
    return await this.#reading.asDisk({ ...found, tags: without({ ...found.tags, ...set }, gone) }, c);
  }

  /** See DiskProvider.release. */
  async release(id: string, c: Context): Promise<void> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) return;
    const volume = found.tags[VOLUME] ?? '';
    if (found.attachment !== undefined) throw await this.#finding.busy(id, volume, c);
    // The volume's name first: by it the disk is found afterwards.
    await this.#change(id, { set: { [NAME]: volume }, gone: [VOLUME, CLUSTER] }, volume, c);
  }

  async #change(id: string, changes: TagChanges, volume: string, c: Context): Promise<void> {
    const { set, gone } = changes;
    try {
      if (Object.keys(set).length > 0) await this.#place.ebs.call('CreateTags', { id, tags: set }, c);
      if (gone.length > 0) await this.#place.ebs.call('DeleteTags', { id, names: gone }, c);
    } catch (error) {
      throw toDiskError(error, `tags of ${id}`, { volume, disk: id });
    }
    const look = async (): Promise<boolean> => {
      const kept = (await this.#finding.find(id, c))?.tags;
      return kept !== undefined && shows(kept, changes);
    };
    if (!(await this.#reading.settled(c, look))) c.log.warn('tags that were written do not show yet', { disk: id });
  }
}

const without = (tags: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(tags).filter(([name]) => !names.includes(name)));
