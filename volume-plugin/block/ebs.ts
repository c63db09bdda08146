import { isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { inStorageWords } from '../../shared/cloud/backend-errors.ts';
import { type Context, now, sleep } from '../../shared/context.ts';
import type { DeviceFolders } from '../../shared/kernel/disk-serial.ts';
import { VOLUME } from './cloud-tags.ts';
import { EbsAttaching } from './ebs-attaching.ts';
import { deviceOf } from './ebs-devices.ts';
import { EbsFinding } from './ebs-finding.ts';
import { checkKind, wholeGib } from './ebs-kinds.ts';
import { EbsMaking } from './ebs-making.ts';
import { EbsOwning } from './ebs-owning.ts';
import { EbsPlace, type PlaceOptions } from './ebs-place.ts';
import { asSnapshot, EbsReading, isSnapshotId, isVolumeId } from './ebs-reading.ts';
import { NAME as PROVIDER, STATE_MS, STATE_PAUSE_MS, toDiskError } from './ebs-refusals.ts';
import { checkLabels } from './ebs-tags.ts';
import type { AnyDisk, Disk, DiskHost, DiskProvider, DiskRequest, DiskTags, HostFate, Snapshot } from './provider.ts';

export interface EbsOptions extends PlaceOptions {
  /** The setting CLUSTER. */
  readonly cluster: string;
  /** How long is waited for what another host has made with the same token to show, in milliseconds. */
  readonly othersMs?: number;
  /** Where devices are looked for, for tests. */
  readonly devices?: DeviceFolders;
}

/** Disks that are volumes of EBS. EC2 attaches one to a single instance: that is the lock between hosts. */
export class EbsProvider implements DiskProvider {
  readonly name = PROVIDER;
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;
  readonly #making: EbsMaking;
  readonly #finding: EbsFinding;
  readonly #attaching: EbsAttaching;
  readonly #owning: EbsOwning;
  readonly #options: EbsOptions;

  constructor(options: EbsOptions) {
    this.#options = options;
    this.#place = new EbsPlace(options);
    this.#reading = new EbsReading(this.#place, options.cluster);
    this.#making = new EbsMaking(this.#place, this.#reading, options);
    this.#finding = new EbsFinding(this.#place, this.#reading);
    this.#attaching = new EbsAttaching(this.#place, this.#reading, this.#finding);
    this.#owning = new EbsOwning(this.#place, this.#reading, this.#finding, options.cluster);
  }

  start(c: Context): Promise<DiskHost> {
    return told(this.#place.find(c));
  }

  list(c: Context, volume?: string): Promise<readonly Disk[]> {
    return told(this.#reading.disks(c, volume));
  }

  describe(id: string, c: Context): Promise<Disk | undefined> {
    return told(this.#reading.disk(id, c));
  }

  check(request: DiskRequest): void {
    checkKind(request);
    checkLabels(request);
  }

  async create(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    this.check(request);
    return await told(this.#making.disk(request, token, c).then((made) => this.#reading.asDisk(made, c)));
  }

  attach(id: string, c: Context): Promise<void> {
    return told(this.#attaching.attach(id, c));
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return told(this.#attaching.detach(id, host, c));
  }

  async device({ id, serial, holder }: Disk, _c: Context): Promise<string | undefined> {
    if (holder?.id !== this.#place.self.id) return undefined;
    return await deviceOf(serial, this.#reading.lastSeen(id)?.attachment?.device, this.#options.devices);
  }

  fate(host: string, c: Context): Promise<HostFate> {
    return told(this.#place.fate(host, c));
  }

  resize(id: string, bytes: number, c: Context): Promise<void> {
    return told(this.#resize(id, bytes, c));
  }

  tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void> {
    return told(this.#owning.tag(id, tags, c));
  }

  remove(id: string, c: Context): Promise<void> {
    return told(this.#remove(id, c));
  }

  snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    return told(
      this.#finding.must(id, c).then(async (volume) => asSnapshot(await this.#making.snapshot(volume, tags, token, c))),
    );
  }

  async snapshots(c: Context, volume?: string): Promise<readonly Snapshot[]> {
    return (await told(this.#reading.snapshots(c, volume))).map(asSnapshot);
  }

  describeSnapshot(id: string, c: Context): Promise<Snapshot | undefined> {
    return told(this.#reading.snapshot(id, c));
  }

  removeSnapshot(id: string, c: Context): Promise<void> {
    return told(this.#removeSnapshot(id, c));
  }

  search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    return told(this.#reading.search(idOrName, c));
  }

  adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    return told(this.#owning.adopt(id, volume, tags, c));
  }

  release(id: string, c: Context): Promise<void> {
    return told(this.#owning.release(id, c));
  }

  async close(): Promise<void> {
    this.#place.close();
  }

  async #resize(id: string, bytes: number, c: Context): Promise<void> {
    const found = await this.#finding.must(id, c);
    const size = wholeGib(bytes);
    if (found.size >= size) return;
    const isUnderWay = async (): Promise<boolean> => {
      const last = await this.#place.ebs.call('DescribeVolumesModifications', { volume: id }, c);
      return last !== undefined && last.state !== 'failed' && last.size >= size;
    };
    if (await isUnderWay()) return;
    const volume = found.tags[VOLUME] ?? '';
    try {
      await this.#place.ebs.call('ModifyVolume', { volume: id, size }, c);
    } catch (error) {
      // The answer to an earlier request was lost.
      if (isVolumeRefusal(error, 'modifying') && (await isUnderWay())) return;
      throw toDiskError(error, `to make volume ${volume} larger`, { volume, disk: id, size: bytes });
    }
  }

  async #remove(id: string, c: Context): Promise<void> {
    const found = await this.#reading.volume(id, c);
    if (!isVolumeId(id) || (found !== undefined && !this.#reading.isOurs(found))) return;
    const end = now() + STATE_MS;
    for (;;) {
      try {
        await this.#place.ebs.call('DeleteVolume', { volume: id }, c);
        break;
      } catch (error) {
        if (isVolumeRefusal(error, 'disk-missing') || (await this.#finding.isGone(error, id, c))) break;
        const volume = await this.#finding.volumeOf(id, c);
        if (isVolumeRefusal(error, 'disk-in-use')) throw await this.#finding.busy(id, volume, c);
        if (!isVolumeRefusal(error, 'disk-state') || now() > end) {
          throw toDiskError(error, `to remove disk ${id}`, { volume, disk: id });
        }
        await sleep(STATE_PAUSE_MS, c);
      }
    }
    if (found !== undefined) this.#making.removed(found);
    await this.#reading.shown(id, c, (shown) => shown === undefined);
  }

  async #removeSnapshot(id: string, c: Context): Promise<void> {
    const found = await this.#reading.keptSnapshot(id, c);
    if (!isSnapshotId(id) || (found !== undefined && !this.#reading.isOurs(found))) return;
    try {
      await this.#place.ebs.call('DeleteSnapshot', { snapshot: id }, c);
    } catch (error) {
      if (!isVolumeRefusal(error, 'disk-missing') && !(await this.#finding.isGone(error, id, c))) {
        throw toDiskError(error, `to remove snapshot ${id}`, { volume: id, disk: id });
      }
    }
    await this.#reading.settled(c, async () => (await this.#reading.keptSnapshot(id, c)) === undefined);
  }
}

/** Errors of the cloud's client in the words of storage. */
const told = <T>(work: Promise<T>): Promise<T> => inStorageWords(work, PROVIDER, 'aws');
