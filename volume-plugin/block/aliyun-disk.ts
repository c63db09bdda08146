import type { CallerOptions } from '../../shared/cloud/aliyun/caller.ts';
import { GIB, type Tags } from '../../shared/cloud/aliyun/disk-answers.ts';
import { AliyunDisks } from '../../shared/cloud/aliyun/disk-client.ts';
import { kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { CloudSettings } from '../../shared/cloud/settings.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isBlockDevice } from '../../shared/kernel/block-device.ts';
import { type DeviceFolders, deviceBySerial } from '../../shared/kernel/disk-serial.ts';
import { AliyunAttaching } from './aliyun-attaching.ts';
import { shapeOf } from './aliyun-kinds.ts';
import { AliyunLooking } from './aliyun-looking.ts';
import { AliyunMaking } from './aliyun-making.ts';
import { AliyunPlace } from './aliyun-place.ts';
import { missing, NAME } from './aliyun-refusals.ts';
import { changesOf, checkLabels, isDisk, isSnapshot } from './aliyun-tags.ts';
import { AliyunView } from './aliyun-view.ts';
import { CLUSTER, oursBut, RELEASED, VOLUME } from './cloud-tags.ts';
import { OwnWrites } from './own-writes.ts';
import type { AnyDisk, Disk, DiskHost, DiskProvider, DiskRequest, DiskTags, HostFate, Snapshot } from './provider.ts';

export interface AliyunDiskOptions {
  readonly settings: CloudSettings;
  /** Hosts of one cluster share volumes. */
  readonly cluster: string;
  /** Instead of the usual, for tests. */
  readonly calls?: Pick<CallerOptions, 'rateOf' | 'retry'>;
  readonly folders?: DeviceFolders;
  /** How long an instance must not be shown to be gone, in milliseconds. */
  readonly goneMs?: number;
  /** How long what was made may take to show, in milliseconds. */
  readonly appearMs?: number;
}

/**
 * Disks of Aliyun ECS. A disk is attached to one instance at most, and AttachDisk refuses a second one: that is the lock.
 * What Aliyun shows may be late; what it refuses for a disk's state is looked at until it can be told why.
 */
export class AliyunDiskProvider implements DiskProvider {
  readonly name = NAME;
  readonly #options: AliyunDiskOptions;
  readonly #place: AliyunPlace;
  readonly #writes = new OwnWrites();
  readonly #view: AliyunView;
  readonly #looking: AliyunLooking;
  readonly #attaching: AliyunAttaching;
  readonly #making: AliyunMaking;
  #client: AliyunDisks | undefined;

  constructor(options: AliyunDiskOptions) {
    this.#options = options;
    this.#place = new AliyunPlace(options);
    this.#view = new AliyunView(this.#place, options.cluster, this.#writes);
    this.#looking = new AliyunLooking(() => this.#client, this.#place, this.#view);
    this.#attaching = new AliyunAttaching(this.#looking, this.#writes);
    this.#making = new AliyunMaking({
      ...{ ...options, view: this.#view, zone: () => this.#place.self.zone },
      client: () => this.#looking.client,
      refused: (error, subject) => this.#looking.refused(error, subject),
    });
  }

  async start(c: Context): Promise<DiskHost> {
    const caller = await this.#looking.asking('who this host is', () => this.#place.find(c));
    this.#client ??= new AliyunDisks(caller);
    return this.#place.self;
  }

  async list(c: Context, volume = ''): Promise<readonly Disk[]> {
    const tags = { [CLUSTER]: this.#options.cluster, [VOLUME]: volume };
    const found = await this.#looking.asking('the disks of the cluster', () => this.#looking.client.disks({ tags }, c));
    return this.#view.disks(found, c);
  }

  async describe(id: string, c: Context): Promise<Disk | undefined> {
    const found = await this.#looking.look(id, c);
    return found === undefined ? undefined : (await this.#view.disks([found], c))[0];
  }

  check(request: DiskRequest): void {
    shapeOf(request);
    checkLabels(request, this.#view.kept(request.volume, request.tags, 'token'));
  }

  async create(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    this.check(request);
    return this.#making.disk(request, token, c);
  }

  async attach(id: string, c: Context): Promise<void> {
    await this.#attaching.attach(id, this.#place.self.id, c);
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return this.#attaching.detach(id, host, c);
  }

  async device({ id, volume, serial, holder }: Disk, _c: Context): Promise<string | undefined> {
    if (holder?.id !== this.#place.self.id) return undefined;
    if (serial === '') {
      const reason = 'Aliyun knows no serial number of it, as of some disks from before June 2020';
      throw new PluginError('DISK_FAILED', { volume, disk: id, state: 'attached', reason });
    }
    const links = [`virtio-${serial}`, `nvme-Alibaba_Cloud_Elastic_Block_Storage_${serial}`];
    const { folders } = this.#options;
    const found = await deviceBySerial(serial, links, folders);
    return found !== undefined && (folders?.dev !== undefined || isBlockDevice(found)) ? found : undefined;
  }

  fate(host: string, c: Context): Promise<HostFate> {
    return this.#looking.asking(`what became of ${host}`, () => this.#place.fate(host, c));
  }

  async resize(id: string, bytes: number, c: Context): Promise<void> {
    await this.#looking.until('enlarging', id, c, async (found) => {
      if (found === undefined) throw missing(id);
      if (found.size >= bytes) return true;
      if (found.status !== 'Available' && found.status !== 'In_use') return false;
      const { instance, tags } = found;
      const online = instance !== undefined && (await this.fate(instance, c)) === 'alive';
      const token = this.#making.token('resize', `${id} ${Math.ceil(bytes / GIB)} ${online}`);
      try {
        await this.#looking.client.resize(id, bytes, online, token, c);
      } catch (error) {
        if (kindOfError(error) === 'disk-state') return false;
        const volume = tags[VOLUME] ?? id;
        const what = `to make disk ${id} of volume ${volume} ${Math.ceil(bytes / GIB)} GiB large`;
        throw this.#looking.refused(error, { what, volume, disk: id, size: bytes });
      }
      return true;
    });
  }

  async tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void> {
    const found = isSnapshot(id)
      ? await this.#looking.asking(`snapshot ${id}`, () => this.#looking.client.snapshot(id, c))
      : await this.#looking.look(id, c);
    const before = found === undefined ? {} : this.#view.tagsOf(found);
    const { set, gone } = changesOf(tags, before);
    await this.#setTags(id, before, set, gone, c);
  }

  async remove(id: string, c: Context): Promise<void> {
    await this.#looking.until('removing', id, c, async (found) => {
      if (found === undefined) return true;
      const { instance, status, tags } = found;
      if (instance !== undefined && status !== 'Detaching') throw await this.#looking.busy(found, instance, c);
      if (status !== 'Available') return false;
      try {
        await this.#looking.client.delete(id, c);
      } catch (error) {
        const kind = kindOfError(error);
        if (kind === 'disk-state') return false;
        const volume = tags[VOLUME] ?? id;
        // Somebody else was first.
        if (kind !== 'no-disk')
          throw this.#looking.refused(error, { what: `to delete disk ${id} of volume ${volume}`, volume, disk: id });
      }
      this.#writes.removed(id);
      this.#making.removed(tags);
      return true;
    });
  }

  async snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    const disk = await this.#looking.look(id, c);
    if (disk === undefined) throw missing(id);
    return this.#making.snapshot(disk, tags, token, c);
  }

  async snapshots(c: Context, volume = ''): Promise<readonly Snapshot[]> {
    const tags = { [CLUSTER]: this.#options.cluster, [VOLUME]: volume };
    const found = await this.#looking.asking('the snapshots of the cluster', () =>
      this.#looking.client.snapshots(tags, c),
    );
    return found.flatMap((one) => this.#view.snapshot(one) ?? []);
  }

  async describeSnapshot(id: string, c: Context): Promise<Snapshot | undefined> {
    const found = await this.#looking.asking(`snapshot ${id}`, () => this.#looking.client.snapshot(id, c));
    return found === undefined ? undefined : this.#view.snapshot(found);
  }

  async removeSnapshot(id: string, c: Context): Promise<void> {
    const found = await this.describeSnapshot(id, c);
    if (found === undefined) return;
    try {
      await this.#looking.client.deleteSnapshot(id, c);
    } catch (error) {
      const what = `to delete snapshot ${id} of volume ${found.volume}`;
      if (kindOfError(error) !== 'no-snapshot') throw this.#looking.refused(error, { what, volume: found.volume });
    }
    this.#writes.removed(id);
  }

  async search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    const ours = { [CLUSTER]: this.#options.cluster, [VOLUME]: idOrName };
    const found = await this.#looking.asking(`disks called ${idOrName}`, () =>
      Promise.all([
        this.#looking.client.disk(idOrName, c).then((one) => (one === undefined ? [] : [one])),
        this.#looking.client.disks({ name: idOrName }, c),
        this.#looking.client.disks({ tags: ours }, c),
        this.#looking.client.disks({ tags: { [RELEASED]: idOrName } }, c),
      ]),
    );
    const all = new Map(found.flat().map((info) => [info.id, info]));
    return this.#view.anyDisks([...all.values()], c);
  }

  async adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    const found = await this.#looking.asking(`disk ${id}`, () => this.#looking.client.disk(id, c));
    if (found === undefined || this.#view.isRemoved(id)) throw missing(id, volume);
    const before = this.#view.tagsOf(found);
    const owner = before[VOLUME];
    if (owner !== undefined && (owner !== volume || !this.#view.isOurs(before))) {
      const whose = this.#view.isOurs(before) ? '' : ` in cluster ${before[CLUSTER] ?? 'unknown'}`;
      throw new PluginError('VOLUME_EXISTS', { volume: owner, differences: `disk ${id} is its${whose}` });
    }
    const set = this.#view.kept(volume, tags);
    // What is left of an earlier life goes first: there are not many tags to a disk.
    await this.#setTags(id, before, {}, oursBut(before, set), c);
    await this.#setTags(id, before, set, [], c);
    const adopted = await this.describe(id, c);
    if (adopted === undefined) throw missing(id, volume);
    return adopted;
  }

  async release(id: string, c: Context): Promise<void> {
    await this.#looking.until('letting go of', id, c, async (found) => {
      const volume = found?.tags[VOLUME];
      if (found === undefined || volume === undefined) return true;
      const { instance, status, tags } = found;
      if (instance !== undefined && status !== 'Detaching') throw await this.#looking.busy(found, instance, c);
      if (status !== 'Available') return false;
      await this.#setTags(id, tags, { [RELEASED]: volume }, [VOLUME, CLUSTER], c);
      this.#making.removed(tags);
      return true;
    });
  }

  async close(): Promise<void> {
    return undefined;
  }

  async #setTags(id: string, before: Tags, set: Tags, gone: readonly string[], c: Context): Promise<void> {
    if (!isDisk(id) && !isSnapshot(id)) throw missing(id);
    try {
      await this.#looking.client.tag(id, set, gone, c);
    } catch (error) {
      throw this.#looking.refused(error, { what: `to tag ${id}`, volume: id, disk: id });
    }
    this.#writes.tagged(id, before, set, gone);
  }
}
