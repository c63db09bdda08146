import type { Volume } from '../../shared/cloud/aws/volume-model.ts';
import { isVolumeRefusal } from '../../shared/cloud/aws/volumes.ts';
import { asBackendError } from '../../shared/cloud/backend-errors.ts';
import { type Context, now, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { DeviceFolders } from '../../shared/kernel/disk-serial.ts';
import { DeviceNames, deviceOf } from './ebs-devices.ts';
import { checkKind, wholeGib } from './ebs-kinds.ts';
import { EbsMaking } from './ebs-making.ts';
import { EbsPlace, type PlaceOptions } from './ebs-place.ts';
import { asSnapshot, EbsReading, isSnapshotId, isVolumeId } from './ebs-reading.ts';
import { NAME as PROVIDER, toDiskError } from './ebs-refusals.ts';
import { CLUSTER, changesOf, checkLabels, NAME, oursBut, shows, type TagChanges, toKept, VOLUME } from './ebs-tags.ts';
import type { AnyDisk, Disk, DiskHost, DiskProvider, DiskRequest, DiskTags, HostFate, Snapshot } from './provider.ts';

export interface EbsOptions extends PlaceOptions {
  /** The setting CLUSTER. */
  readonly cluster: string;
  /** How long is waited for what another host has made with the same token to show, in milliseconds. */
  readonly othersMs?: number;
  /** Where devices are looked for, for tests. */
  readonly devices?: DeviceFolders;
}

/** How long a step is tried again that EC2 refuses for a state which its answers do not show. */
const STATE_MS = 10_000;
const STATE_PAUSE_MS = 500;
/** Names that turned out to be taken by others, before it is given up. */
const NAME_TRIES = 5;

/** Disks that are volumes of EBS. EC2 attaches one to a single instance: that is the lock between hosts. */
export class EbsProvider implements DiskProvider {
  readonly name = PROVIDER;
  readonly #place: EbsPlace;
  readonly #reading: EbsReading;
  readonly #making: EbsMaking;
  readonly #names = new DeviceNames();
  readonly #options: EbsOptions;

  constructor(options: EbsOptions) {
    this.#options = options;
    this.#place = new EbsPlace(options);
    this.#reading = new EbsReading(this.#place, options.cluster);
    this.#making = new EbsMaking(this.#place, this.#reading, options);
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
    return told(this.#attach(id, c));
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return told(this.#detach(id, host, c));
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
    return told(this.#kept(id, c).then((kept) => this.#change(id, changesOf(tags, kept), kept[VOLUME] ?? '', c)));
  }

  remove(id: string, c: Context): Promise<void> {
    return told(this.#remove(id, c));
  }

  snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    return told(
      this.#must(id, c).then(async (volume) => asSnapshot(await this.#making.snapshot(volume, tags, token, c))),
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
    return told(this.#adopt(id, volume, tags, c));
  }

  release(id: string, c: Context): Promise<void> {
    return told(this.#release(id, c));
  }

  async close(): Promise<void> {
    this.#place.close();
  }

  async #attach(id: string, c: Context): Promise<void> {
    // Whoever attaches has looked a moment ago.
    const seen = this.#reading.lastSeen(id);
    const { tags } = seen !== undefined && this.#reading.isOurs(seen) ? seen : await this.#must(id, c);
    const volume = tags[VOLUME] ?? '';
    const end = now() + STATE_MS;
    for (let names = 0; ; ) {
      const name = await this.#takeName(id, volume, c);
      try {
        await this.#place.ebs.call('AttachVolume', { volume: id, instance: this.#place.self.id, device: name }, c);
        break;
      } catch (error) {
        if (isVolumeRefusal(error, 'device-taken') && names < NAME_TRIES) {
          // Somebody else attaches here, too: this name stays held, as if another disk of ours had it.
          this.#names.hold(name, 'others');
          names += 1;
          continue;
        }
        this.#names.giveBack(name);
        if (isVolumeRefusal(error, 'disk-in-use')) {
          await this.#refuseUnlessMine(id, volume, c);
          return;
        }
        // In the middle of something that is not shown yet, or so new that it is not known everywhere.
        const isPassing =
          isVolumeRefusal(error, 'disk-state') || (isVolumeRefusal(error, 'disk-missing') && this.#reading.isYoung(id));
        if (await this.#isGone(error, id, c)) throw missing(id, volume);
        if (!isPassing || now() > end) throw await this.#whyNotAttached(error, id, volume, c);
        await sleep(STATE_PAUSE_MS, c);
      }
    }
    await this.#reading.shown(id, c, (shown) => shown?.attachment?.instance === this.#place.self.id);
  }

  /** It is attached: here, as when the answer to an earlier request was lost, or to another host. */
  async #refuseUnlessMine(id: string, volume: string, c: Context): Promise<void> {
    let instance: string | undefined;
    await this.#reading.shown(id, c, (shown) => {
      instance = shown?.attachment?.instance;
      return instance !== undefined;
    });
    if (instance === this.#place.self.id) return;
    if (instance !== undefined) await this.#place.meet([instance], c);
    const holder = instance === undefined ? 'another one' : this.#place.nameOf(instance);
    throw new PluginError('VOLUME_BUSY', { volume, holder });
  }

  async #whyNotAttached(error: unknown, disk: string, volume: string, c: Context): Promise<unknown> {
    const what = `to attach disk ${disk} of volume ${volume}`;
    if (!isVolumeRefusal(error, 'attach-limit')) return toDiskError(error, what, { volume, disk });
    const machine = await this.#place.machine(c);
    const { attachments, isShared } =
      machine === undefined
        ? { attachments: undefined, isShared: false }
        : await this.#place.ebs.call('DescribeInstanceTypes', { type: machine.type }, c);
    const most = attachments === undefined ? 'no more disks' : `${attachments} of them`;
    const shared = isShared ? ', network interfaces included' : '';
    const reason = `it is a ${machine?.type}, which takes ${most}${shared}`;
    return new PluginError('ATTACH_LIMIT', { disk, volume, reason }, { cause: error });
  }

  /** One that was chosen since EC2 was asked is held: each is given to one disk. */
  async #takeName(id: string, volume: string, c: Context): Promise<string> {
    const machine = await this.#place.machine(c);
    const name = this.#names.take(id, machine?.devices ?? []);
    if (name !== undefined) return name;
    throw new PluginError('ATTACH_LIMIT', { disk: id, volume, reason: 'no name for another device is left' });
  }

  async #detach(id: string, host: string, c: Context): Promise<void> {
    if (!isVolumeId(id)) return;
    try {
      await this.#place.ebs.call('DetachVolume', { volume: id, instance: host }, c);
    } catch (error) {
      // It is not attached there, or on its way out already.
      const isDone = isVolumeRefusal(error, 'not-attached', 'disk-state', 'disk-missing', 'instance-missing');
      if (!isDone && !(await this.#isGone(error, id, c))) {
        throw toDiskError(error, `to detach disk ${id}`, { volume: await this.#volumeOf(id, c), disk: id });
      }
    }
    await this.#reading.shown(id, c, (shown) => {
      const { attachment } = shown ?? {};
      return attachment?.instance !== host || attachment.state === 'detaching' || attachment.state === 'busy';
    });
  }

  async #resize(id: string, bytes: number, c: Context): Promise<void> {
    const found = await this.#must(id, c);
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
        if (isVolumeRefusal(error, 'disk-missing') || (await this.#isGone(error, id, c))) break;
        const volume = await this.#volumeOf(id, c);
        if (isVolumeRefusal(error, 'disk-in-use')) throw await this.#busy(id, volume, c);
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
      if (!isVolumeRefusal(error, 'disk-missing') && !(await this.#isGone(error, id, c))) {
        throw toDiskError(error, `to remove snapshot ${id}`, { volume: id, disk: id });
      }
    }
    await this.#reading.settled(c, async () => (await this.#reading.keptSnapshot(id, c)) === undefined);
  }

  async #adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined) throw missing(id, volume);
    const { [VOLUME]: owner, [CLUSTER]: cluster, [NAME]: name } = found.tags;
    if (owner !== undefined && (owner !== volume || cluster !== this.#options.cluster)) {
      const whose = cluster === this.#options.cluster ? 'is its' : `is its in cluster ${cluster}`;
      throw new PluginError('VOLUME_EXISTS', { volume: owner, differences: `disk ${id} ${whose}` });
    }
    const set = {
      ...toKept(tags),
      ...{ [VOLUME]: volume, [CLUSTER]: this.#options.cluster },
      ...(name === undefined && { [NAME]: volume }),
    };
    await this.#change(id, { set, gone: oursBut(found.tags, set) }, volume, c);
    return await this.#reading.asDisk(
      { ...found, tags: without({ ...found.tags, ...set }, oursBut(found.tags, set)) },
      c,
    );
  }

  async #release(id: string, c: Context): Promise<void> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) return;
    const volume = found.tags[VOLUME] ?? '';
    if (found.attachment !== undefined) throw await this.#busy(id, volume, c);
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
      const kept = (await this.#find(id, c))?.tags;
      return kept !== undefined && shows(kept, changes);
    };
    if (!(await this.#reading.settled(c, look))) c.log.warn('tags that were written do not show yet', { disk: id });
  }

  /** Where a policy names our tag, EC2 says of what does not exist that it is not allowed. */
  async #isGone(error: unknown, id: string, c: Context): Promise<boolean> {
    return asPluginError(error).code === 'PROVIDER_PERMISSION' && (await this.#find(id, c)) === undefined;
  }

  #find(id: string, c: Context) {
    return isSnapshotId(id) ? this.#reading.keptSnapshot(id, c) : this.#reading.volume(id, c);
  }

  async #kept(id: string, c: Context): Promise<Readonly<Record<string, string>>> {
    const found = await this.#find(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) throw missing(id, 'unknown');
    return found.tags;
  }

  async #must(id: string, c: Context): Promise<Volume> {
    const found = await this.#reading.volume(id, c);
    if (found === undefined || !this.#reading.isOurs(found)) throw missing(id, 'unknown');
    return found;
  }

  async #volumeOf(id: string, c: Context): Promise<string> {
    return (await this.#reading.volume(id, c))?.tags[VOLUME] ?? 'unknown';
  }

  async #busy(id: string, volume: string, c: Context): Promise<PluginError> {
    const instance = (await this.#reading.volume(id, c))?.attachment?.instance;
    if (instance !== undefined) await this.#place.meet([instance], c);
    return new PluginError('VOLUME_BUSY', {
      volume,
      holder: instance === undefined ? 'another one' : this.#place.nameOf(instance),
    });
  }
}

const missing = (disk: string, volume: string): PluginError => new PluginError('DISK_MISSING', { volume, disk });

const without = (tags: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(tags).filter(([name]) => !names.includes(name)));

/** Errors of the cloud's client in the words of storage. */
const told = async <T>(work: Promise<T>): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    const worded = asPluginError(asBackendError(error, PROVIDER));
    if (worded.code !== 'BACKEND_PERMISSION') throw worded;
    const { cause, requestId } = worded;
    const reason = '`drayage policy aws --plugin volume` prints all that are needed';
    throw new PluginError(worded.code, { ...worded.context, reason }, { cause, requestId });
  }
};
