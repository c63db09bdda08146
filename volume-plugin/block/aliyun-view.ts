import type { DiskInfo, SnapshotInfo, Tags } from '../../shared/cloud/aliyun/disk-answers.ts';
import type { Context } from '../../shared/context.ts';
import type { AliyunPlace } from './aliyun-place.ts';
import { fromKept, toKept } from './aliyun-tags.ts';
import { CLUSTER, TOKEN, VOLUME } from './cloud-tags.ts';
import type { OwnWrites } from './own-writes.ts';
import type { AnyDisk, Disk, DiskState, DiskTags, Snapshot } from './provider.ts';

const STATES: Readonly<Record<string, DiskState>> = {
  Creating: 'creating',
  ReIniting: 'creating',
  Available: 'available',
  Attaching: 'attaching',
  In_use: 'attached',
  Detaching: 'detaching',
};

/** What Aliyun shows, as this host knows it to be and in the words of volumes. */
export class AliyunView {
  readonly #place: AliyunPlace;
  readonly #cluster: string;
  readonly #writes: OwnWrites;

  constructor(place: AliyunPlace, cluster: string, writes: OwnWrites) {
    this.#place = place;
    this.#cluster = cluster;
    this.#writes = writes;
  }

  /** Tags as they are kept: whose it is, which request made it, and the volume's own. */
  kept(volume: string, tags: DiskTags, token?: string): Record<string, string> {
    const mark = token === undefined ? {} : { [TOKEN]: token };
    return { [VOLUME]: volume, [CLUSTER]: this.#cluster, ...mark, ...toKept(tags) };
  }

  /** Whether this host has just removed what may still be shown. */
  isRemoved(id: string): boolean {
    return this.#writes.isRemoved(id);
  }

  tagsOf(info: { readonly id: string; readonly tags: Tags }): Tags {
    return this.#writes.tagsOf(info.id, info.tags);
  }

  isOurs(tags: Tags): boolean {
    return tags[VOLUME] !== undefined && tags[CLUSTER] === this.#cluster;
  }

  /** A disk of a volume of this cluster; undefined for others. */
  known(info: DiskInfo): DiskInfo | undefined {
    const { id, status, instance } = info;
    const tags = this.tagsOf(info);
    if (this.isRemoved(id) || !this.isOurs(tags)) return undefined;
    const attached = this.#writes.isAttached(id, instance === this.#place.self.id);
    if (!attached || (status !== 'Available' && status !== 'Attaching')) return { ...info, tags };
    return { ...info, tags, status: 'Attaching', instance: this.#place.self.id };
  }

  async disks(infos: readonly DiskInfo[], c: Context): Promise<readonly Disk[]> {
    const known = infos.flatMap((info) => this.known(info) ?? []);
    await this.#meet(known, c);
    return known.map(({ id, status, size, zone, serial, instance, snapshot, tags, created }) => ({
      ...{ id, size, zone, serial, created, volume: tags[VOLUME] ?? '', tags: fromKept(tags) },
      state: STATES[status] ?? 'failed',
      ...(instance !== undefined && { holder: { id: instance, name: this.#place.nameOf(instance) } }),
      ...(snapshot !== undefined && { fromSnapshot: snapshot }),
    }));
  }

  snapshot(info: SnapshotInfo): Snapshot | undefined {
    const tags = this.tagsOf(info);
    if (this.isRemoved(info.id) || !this.isOurs(tags)) return undefined;
    return { ...info, volume: tags[VOLUME] ?? '', tags: fromKept(tags) };
  }

  /** Disks of anybody. */
  async anyDisks(infos: readonly DiskInfo[], c: Context): Promise<readonly AnyDisk[]> {
    const there = infos.filter(({ id }) => !this.isRemoved(id));
    await this.#meet(there, c);
    return there.map((info) => {
      const { id, name, size, zone, instance } = info;
      const tags = this.tagsOf(info);
      const volume = tags[VOLUME];
      return {
        ...{ id, size, zone },
        ...(name !== '' && { name }),
        ...(volume !== undefined && {
          volume: this.isOurs(tags) ? volume : `${volume} of cluster ${tags[CLUSTER] ?? 'unknown'}`,
        }),
        ...(instance !== undefined && { holder: `host ${this.#place.nameOf(instance)}` }),
      };
    });
  }

  #meet(infos: readonly DiskInfo[], c: Context): Promise<void> {
    return this.#place.meet(
      infos.flatMap(({ instance }) => instance ?? []),
      c,
    );
  }
}
