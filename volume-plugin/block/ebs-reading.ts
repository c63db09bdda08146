import { Batch } from '../../shared/batch.ts';
import type { Volume, VolumeSnapshot } from '../../shared/cloud/aws/volume-model.ts';
import { type Context, now } from '../../shared/context.ts';
import { soon } from '../../shared/looking.ts';
import { CLUSTER, VOLUME } from './cloud-tags.ts';
import { bytesOf } from './ebs-kinds.ts';
import type { EbsPlace } from './ebs-place.ts';
import { fromKept, NAME } from './ebs-tags.ts';
import type { AnyDisk, Disk, DiskState, Snapshot } from './provider.ts';

/** Questions of one moment go as one: most ids of one, and how long they are gathered. */
const BATCH = { most: 200, gatherMs: 15 };

/** What was made is shown after so long at the latest: until then its absence says nothing. In milliseconds. */
const YOUNG_MS = 60_000;

/** How long it is waited for a change to show. */
const SETTLE_MS = 10_000;

export const isVolumeId = (id: string): boolean => /^vol-([0-9a-f]{8}|[0-9a-f]{17})$/.test(id);
export const isSnapshotId = (id: string): boolean => /^snap-([0-9a-f]{8}|[0-9a-f]{17})$/.test(id);

/** What EC2 shows of the cluster's disks and snapshots, in the words of the contract. */
export class EbsReading {
  readonly #place: EbsPlace;
  readonly #cluster: string;
  readonly #volumes: Batch<Volume>;
  readonly #snapshots: Batch<VolumeSnapshot>;
  /** Made here a moment ago, and not shown yet. */
  readonly #young = new Map<string, { readonly volume: Volume; readonly until: number }>();
  /** As they were last seen: what does not change, or is only a hint, need not be asked for again. */
  readonly #seen = new Map<string, Volume>();

  constructor(place: EbsPlace, cluster: string) {
    this.#place = place;
    this.#cluster = cluster;
    const byId = <T extends { readonly id: string }>(all: readonly T[]) => new Map(all.map((one) => [one.id, one]));
    this.#volumes = new Batch({
      ...BATCH,
      ask: async (ids, c) => byId(await place.ebs.call('DescribeVolumes', { ids }, c)),
    });
    this.#snapshots = new Batch({
      ...BATCH,
      ask: async (ids, c) => byId(await place.ebs.call('DescribeSnapshots', { ids }, c)),
    });
  }

  /** Any volume as EC2 shows it; one that is being deleted does not exist any more. */
  async volume(id: string, c: Context): Promise<Volume | undefined> {
    if (!isVolumeId(id)) return undefined;
    const found = await this.#volumes.get(id, c);
    if (found === undefined) this.#seen.delete(id);
    else this.#see(found);
    return this.#present(found ?? this.#unseen(id));
  }

  async disk(id: string, c: Context): Promise<Disk | undefined> {
    const found = await this.volume(id, c);
    return found === undefined || !this.isOurs(found) ? undefined : await this.asDisk(found, c);
  }

  /** Of the cluster; of one volume when it is named. */
  async disks(c: Context, volume?: string): Promise<readonly Disk[]> {
    const found = await this.#place.ebs.call('DescribeVolumes', this.#search(volume), c);
    for (const one of found) this.#see(one);
    const unseen = [...this.#young.keys()].flatMap((id) => this.#unseen(id) ?? []);
    const all = [...found, ...unseen.filter((one) => volume === undefined || one.tags[VOLUME] === volume)];
    const present = all.flatMap((one) => (this.isOurs(one) ? (this.#present(one) ?? []) : []));
    await this.#place.meet(
      present.flatMap(({ attachment }) => attachment?.instance ?? []),
      c,
    );
    return present.map((one) => this.#disk(one));
  }

  async snapshot(id: string, c: Context): Promise<Snapshot | undefined> {
    const found = isSnapshotId(id) ? await this.#snapshots.get(id, c) : undefined;
    return found === undefined || !this.isOurs(found) ? undefined : asSnapshot(found);
  }

  /** As it is kept, whosever it is. */
  async keptSnapshot(id: string, c: Context): Promise<VolumeSnapshot | undefined> {
    return isSnapshotId(id) ? await this.#snapshots.get(id, c) : undefined;
  }

  async snapshots(c: Context, volume?: string): Promise<readonly VolumeSnapshot[]> {
    return await this.#place.ebs.call('DescribeSnapshots', this.#search(volume), c);
  }

  /** By id or by Name, whosever they are. */
  async search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    const asked = isVolumeId(idOrName) ? { ids: [idOrName] } : { tags: { [NAME]: idOrName } };
    const found = (await this.#place.ebs.call('DescribeVolumes', asked, c)).flatMap((one) => this.#present(one) ?? []);
    const instances = found.flatMap(({ attachment }) => attachment?.instance ?? []);
    await this.#place.meet(instances, c);
    return found.map(({ id, size, zone, attachment, tags }): AnyDisk => {
      const { [NAME]: name, [VOLUME]: volume } = tags;
      return {
        ...{ id, zone, size: bytesOf(size) },
        ...(name !== undefined && { name }),
        ...(volume !== undefined && { volume }),
        ...(attachment !== undefined && { holder: `instance ${this.#place.nameOf(attachment.instance)}` }),
      };
    });
  }

  isOurs({ tags }: { readonly tags: Readonly<Record<string, string>> }): boolean {
    return tags[CLUSTER] === this.#cluster && tags[VOLUME] !== undefined;
  }

  /** It was made here: until EC2 shows it, it counts as what EC2 answered then. */
  made(volume: Volume): void {
    this.#young.set(volume.id, { volume, until: now() + YOUNG_MS });
  }

  /** It was made here a moment ago: EC2 may not know it everywhere. */
  isYoung(id: string): boolean {
    return this.#unseen(id) !== undefined;
  }

  /** As it was when it was last seen, which may be long ago. */
  lastSeen(id: string): Volume | undefined {
    return this.#seen.get(id);
  }

  async asDisk(volume: Volume, c: Context): Promise<Disk> {
    if (volume.attachment !== undefined) await this.#place.meet([volume.attachment.instance], c);
    return this.#disk(volume);
  }

  /** Looks until EC2 shows it, for some seconds; answers whether it does. Errors: those of `look`, the context's. */
  async settled(c: Context, look: () => Promise<boolean>, forMs = SETTLE_MS): Promise<boolean> {
    return (await soon(forMs, c, async () => (await look()) || undefined)) === true;
  }

  /** Looks until EC2 shows such a volume (undefined: none), for some seconds; answers whether it does. */
  shown(id: string, c: Context, is: (volume: Volume | undefined) => boolean): Promise<boolean> {
    return this.settled(c, async () => is(await this.volume(id, c)));
  }

  /** Looks until EC2 shows which instance has the volume, for some seconds. */
  shownHolder(id: string, c: Context): Promise<string | undefined> {
    return soon(SETTLE_MS, c, async () => (await this.volume(id, c))?.attachment?.instance);
  }

  #see(volume: Volume): void {
    this.#young.delete(volume.id);
    this.#seen.set(volume.id, volume);
  }

  #unseen(id: string): Volume | undefined {
    const young = this.#young.get(id);
    if (young === undefined || young.until > now()) return young?.volume;
    this.#young.delete(id);
    return undefined;
  }

  #present(volume: Volume | undefined): Volume | undefined {
    return volume?.state === 'deleting' || volume?.state === 'deleted' ? undefined : volume;
  }

  #search(volume: string | undefined) {
    return { tags: { [CLUSTER]: this.#cluster, ...(volume !== undefined && { [VOLUME]: volume }) }, having: VOLUME };
  }

  #disk(volume: Volume): Disk {
    const { id, zone, created, attachment, snapshot, tags } = volume;
    return {
      ...{ id, zone, created, volume: tags[VOLUME] ?? '', size: bytesOf(volume.size), state: stateOf(volume) },
      ...(attachment !== undefined && {
        holder: { id: attachment.instance, name: this.#place.nameOf(attachment.instance) },
      }),
      serial: id.replace('-', ''),
      ...(snapshot !== undefined && { fromSnapshot: snapshot }),
      tags: fromKept(tags),
    };
  }
}

/** What has an attachment is in its state; `in-use` without one is on its way out. */
const stateOf = ({ state, attachment }: Volume): DiskState => {
  if (state === 'error') return 'failed';
  if (attachment !== undefined) return attachment.state === 'busy' ? 'detaching' : attachment.state;
  if (state === 'in-use') return 'detaching';
  return state === 'deleted' ? 'deleting' : state;
};

const SNAPSHOT_STATES = { pending: 'pending', completed: 'ready', error: 'failed' } as const;

export const asSnapshot = ({ id, volume, size, state, progress, created, tags }: VolumeSnapshot): Snapshot => ({
  ...{ id, progress, created, disk: volume, volume: tags[VOLUME] ?? '', size: bytesOf(size) },
  ...{ state: SNAPSHOT_STATES[state], tags: fromKept(tags) },
});
