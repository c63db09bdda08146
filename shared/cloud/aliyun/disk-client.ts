import { Batch } from '../../batch.ts';
import type { Context } from '../../context.ts';
import { records, text } from './answers.ts';
import type { AliyunCaller, Body, Parameters } from './caller.ts';
import { type DiskInfo, diskOf, GIB, idIn, type SnapshotInfo, snapshotOf, type Tags } from './disk-answers.ts';
import { isTransient, kindOfError } from './errors.ts';

/** Most ids of one question, and most rows of one answer. */
const MOST_IDS = 100;
const PAGE = 100;
/** Most tags, and keys of tags, of one request. */
export const MOST_TAGS = 20;
const GATHER_MS = 4;

export interface NewDisk {
  readonly zone: string;
  /** Bytes; made whole GiB. */
  readonly size: number;
  readonly category: string;
  /** `PL0` to `PL3`, of cloud_essd. */
  readonly level?: string;
  /** Beyond the baseline, of cloud_auto. */
  readonly iops?: number;
  readonly encrypted?: boolean;
  readonly key?: string;
  readonly snapshot?: string;
  readonly name: string;
  readonly tags: Tags;
}

/** What to list: everything given must fit. An empty value of a tag fits any. */
export interface DiskFilter {
  readonly tags?: Tags;
  readonly name?: string;
}

const gib = (bytes: number): number => Math.ceil(bytes / GIB);

/** In the order of their names: a repeated request must be the same to the letter. */
const tagParameters = (tags: Tags): Parameters =>
  Object.fromEntries(
    Object.keys(tags)
      .sort()
      .flatMap((key, n) => [
        [`Tag.${n + 1}.Key`, key],
        ...(tags[key] === '' ? [] : [[`Tag.${n + 1}.Value`, tags[key] ?? '']]),
      ]),
  );

const numbered = (name: string, values: readonly string[]): Parameters =>
  Object.fromEntries(values.map((value, n) => [`${name}.${n + 1}`, value]));

/** Can there be such an id at all? Others are refused as malformed, and all that were asked for with them. */
const isDiskId = (id: string): boolean => /^d-[a-z0-9]{1,60}$/i.test(id);
const isSnapshotId = (id: string): boolean => /^s-[a-z0-9]{1,60}$/i.test(id);

/**
 * Disks and snapshots of ECS. Reads throw PluginErrors. Writes are repeated while nobody knows whether they did anything,
 * for each of them may be: they throw AliyunRefusal and AliyunSilence, which `caller.translate` words, and PluginErrors.
 */
export class AliyunDisks {
  readonly caller: AliyunCaller;
  readonly #disks: Batch<DiskInfo>;
  readonly #snapshots: Batch<SnapshotInfo>;

  constructor(caller: AliyunCaller) {
    this.caller = caller;
    this.#disks = new Batch({
      ...{ most: MOST_IDS, gatherMs: GATHER_MS },
      ask: async (ids, c) => {
        const body = await this.#describe('DescribeDisks', { DiskIds: JSON.stringify(ids) }, c);
        return new Map(body.map(diskOf).map((one) => [one.id, one]));
      },
    });
    this.#snapshots = new Batch({
      ...{ most: MOST_IDS, gatherMs: GATHER_MS },
      ask: async (ids, c) => {
        const body = await this.#describe('DescribeSnapshots', { SnapshotIds: JSON.stringify(ids) }, c);
        return new Map(body.map(snapshotOf).map((one) => [one.id, one]));
      },
    });
  }

  /** As it is now; undefined when there is none. Those of the same moment are asked for together. Errors: PROVIDER_*, DEADLINE. */
  async disk(id: string, c: Context): Promise<DiskInfo | undefined> {
    return isDiskId(id) ? this.#disks.get(id, c) : undefined;
  }

  /** Errors: PROVIDER_*, DEADLINE. */
  async snapshot(id: string, c: Context): Promise<SnapshotInfo | undefined> {
    return isSnapshotId(id) ? this.#snapshots.get(id, c) : undefined;
  }

  /** Errors: PROVIDER_*, DEADLINE. */
  async disks({ tags = {}, name }: DiskFilter, c: Context): Promise<readonly DiskInfo[]> {
    const filter = { ...tagParameters(tags), ...(name !== undefined && { DiskName: name }) };
    return (await this.#describe('DescribeDisks', filter, c)).map(diskOf);
  }

  /** Errors: PROVIDER_*, DEADLINE. */
  async snapshots(tags: Tags, c: Context): Promise<readonly SnapshotInfo[]> {
    return (await this.#describe('DescribeSnapshots', tagParameters(tags), c)).map(snapshotOf);
  }

  /** Begins to make a disk; answers its id. The same token never makes a second one. */
  async create(disk: NewDisk, token: string, c: Context): Promise<string> {
    const { zone, size, category, level, iops, encrypted, key, snapshot, name, tags } = disk;
    const parameters: Parameters = {
      ZoneId: zone,
      Size: String(gib(size)),
      DiskCategory: category,
      DiskName: name,
      ...(level !== undefined && { PerformanceLevel: level }),
      ...(iops !== undefined && { ProvisionedIops: String(iops) }),
      ...(encrypted === true && { Encrypted: 'true' }),
      ...(key !== undefined && { KMSKeyId: key }),
      ...(snapshot !== undefined && { SnapshotId: snapshot }),
      ...tagParameters(tags),
      ClientToken: token,
    };
    return idIn(await this.#write('CreateDisk', parameters, c), 'DiskId');
  }

  /** Begins to attach it; it stays when the instance is released. */
  async attach(disk: string, instance: string, c: Context): Promise<void> {
    await this.#write('AttachDisk', { DiskId: disk, InstanceId: instance, DeleteWithInstance: 'false' }, c);
  }

  /** Begins to detach it from this instance and from no other. */
  async detach(disk: string, instance: string, c: Context): Promise<void> {
    await this.#write('DetachDisk', { DiskId: disk, InstanceId: instance }, c);
  }

  /** Of one that is attached nowhere. One that does not exist is no error. */
  async delete(disk: string, c: Context): Promise<void> {
    await this.#write('DeleteDisk', { DiskId: disk }, c);
  }

  /** Begins to make it larger. `online`: the kernel of the machine that has it is told. */
  async resize(disk: string, bytes: number, online: boolean, token: string, c: Context): Promise<void> {
    const parameters = { DiskId: disk, NewSize: String(gib(bytes)), Type: online ? 'online' : 'offline' };
    await this.#write('ResizeDisk', { ...parameters, ClientToken: token }, c);
  }

  /** Begins a snapshot; answers its id. The same token never makes a second one. */
  async takeSnapshot(disk: string, name: string, tags: Tags, token: string, c: Context): Promise<string> {
    const parameters = { DiskId: disk, SnapshotName: name, ...tagParameters(tags), ClientToken: token };
    return idIn(await this.#write('CreateSnapshot', parameters, c), 'SnapshotId');
  }

  /** Also when disks were made from it: they have their own data. */
  async deleteSnapshot(snapshot: string, c: Context): Promise<void> {
    await this.#write('DeleteSnapshot', { SnapshotId: snapshot, Force: 'true' }, c);
  }

  /** Tags of a disk or a snapshot are set, then others are taken away. Refused with kind `no-disk` where there is none. */
  async tag(id: string, set: Tags, gone: readonly string[], c: Context): Promise<void> {
    const which = { ResourceType: isSnapshotId(id) ? 'snapshot' : 'disk', 'ResourceId.1': id };
    if (Object.keys(set).length > 0) await this.#write('TagResources', { ...which, ...tagParameters(set) }, c);
    for (let n = 0; n < gone.length; n += MOST_TAGS) {
      const keys = numbered('TagKey', gone.slice(n, n + MOST_TAGS));
      await this.#write('UntagResources', { ...which, ...keys }, c);
    }
  }

  async #describe(action: 'DescribeDisks' | 'DescribeSnapshots', filter: Parameters, c: Context): Promise<Body[]> {
    const [outer, inner] = action === 'DescribeDisks' ? ['Disks', 'Disk'] : ['Snapshots', 'Snapshot'];
    const found: Body[] = [];
    for (let token = ''; ; ) {
      const page = { ...filter, MaxResults: String(PAGE), ...(token !== '' && { NextToken: token }) };
      const body = await this.caller.read('ecs', action, page, c);
      found.push(...records(body, outer, inner));
      token = text(body, 'NextToken');
      if (token === '') return found;
    }
  }

  #write(action: string, parameters: Parameters, c: Context): Promise<Body> {
    // Of a `copying` disk the snapshot ends some time.
    const isPassing = (error: unknown): boolean => isTransient(error) || kindOfError(error) === 'copying';
    return this.caller.repeat('ecs', action, parameters, c, isPassing);
  }
}
