import { randomUUID } from 'node:crypto';
import { chmod, chown, lstat, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { deviceNumbers, isUnused } from '../../shared/kernel/block-device.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { attachDisk, detachDisk } from '../block/attach.ts';
import {
  checkFilesystem,
  type Filesystem,
  mountFilesystem,
  repairFilesystem,
  unmountFilesystem,
} from '../block/filesystem.ts';
import { ensureFilesystem } from '../block/format.ts';
import type { Disk, DiskHost, DiskProvider } from '../block/provider.ts';
import type { Backend, ListedVolume, Mounted, Volume, VolumeSpec } from './backend.ts';
import {
  BLOCK_OPTIONS,
  type BlockOptions,
  differences,
  diskSize,
  optionsOf,
  readBlockOptions,
} from './block-options.ts';

/** Containers get this folder of the file system: ext4's own lost+found would spoil Docker's copy of an image's files. */
const INSIDE = 'data';

/** Volumes that are disks with a file system, one volume a disk, on one host at a time. */
export class BlockBackend implements Backend {
  readonly type = 'block';
  readonly schema = BLOCK_OPTIONS;
  readonly #provider: DiskProvider;
  #self: DiskHost | undefined;
  /** What is known of disks, for `status`. */
  readonly #known = new Map<string, Disk>();

  constructor(provider: DiskProvider) {
    this.#provider = provider;
  }

  async start(c: Context): Promise<void> {
    this.#self = await this.#provider.start(c);
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    const disks = await this.#provider.list(c);
    this.#known.clear();
    return disks.map((disk) => this.#listed(disk));
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    return (await this.list(c)).find((one) => one.name === name);
  }

  async create(spec: VolumeSpec, c: Context): Promise<Volume> {
    const { name } = spec;
    const size = diskSize(readBlockOptions(spec));
    const tags = { options: JSON.stringify(spec.options), uuid: randomUUID() };
    const disk = await this.#provider.create({ volume: name, size, tags }, `drayage-${name}`, c);
    const other = differences(disk, spec);
    if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: name, differences: other });
    return this.#listed(disk);
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const options = readBlockOptions(volume);
    const { disk, device } = await attachDisk(this.#provider, this.#here(), await this.#disk(volume, c), c);
    this.#known.set(volume.name, disk);
    const present = mountAt(readMountTable(), target);
    if (present !== undefined && present.device !== deviceNumbers(device)) {
      throw new PluginError('VOLUME_NOT_MOUNTED', {
        volume: volume.name,
        reason: `${present.source} is mounted there`,
      });
    }
    // Only what was asked for in so many words has to be there: another one may have been brought along.
    const wanted = volume.options.fs === undefined ? undefined : options.fs;
    if (present === undefined) await this.#mountDevice(disk, device, target, wanted, c);
    await prepareInside(volume.name, target, options);
    return { source: device, device: deviceNumbers(device), inside: INSIDE, epoch: epochOf(disk.tags) };
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    // Of several on top of each other none may stay. Other namespaces may keep theirs: leave() waits for those.
    while (mountAt(readMountTable(), target) !== undefined) {
      throwIfDone(c);
      if (await unmountFilesystem(target, c)) continue;
      throw new PluginError('VOLUME_IN_USE', { volume: volume.name, users: 'a process that has a file of it open' });
    }
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const { disk } = volume.handle;
    if (disk !== undefined) await detachDisk(this.#provider, this.#here(), disk, c);
  }

  async fence(volume: Volume, host: string, c: Context): Promise<void> {
    const { id, holder, tags } = await this.#disk(volume, c);
    if (holder === undefined) return;
    if (holder.id === this.#here().id) throw new PluginError('VOLUME_IN_USE', { volume: volume.name });
    const alive = (await this.#provider.fate(holder.id, c)) === 'alive';
    if (alive || holder.name !== host) {
      const reason = alive ? 'and that host runs' : `not on ${host}`;
      throw new PluginError('VOLUME_BUSY', { volume: volume.name, holder: holder.name, reason });
    }
    // First, so that a crash leaves an epoch without a fencing and never the reverse.
    await this.#provider.tag(id, { epoch: String(epochOf(tags) + 1) }, c);
    await detachDisk(this.#provider, holder, id, c);
    c.log.warn('a volume was taken from a host on the word of an operator', { volume: volume.name, host });
  }

  async remove(volume: Volume, c: Context): Promise<void> {
    const { disk } = volume.handle;
    const found = disk === undefined ? undefined : await this.#provider.describe(disk, c);
    if (found === undefined) return;
    if (found.holder?.id === this.#here().id) await detachDisk(this.#provider, this.#here(), found.id, c);
    else if (found.holder !== undefined) {
      throw new PluginError('VOLUME_BUSY', { volume: volume.name, holder: found.holder.name });
    }
    await this.#provider.remove(found.id, c);
    this.#known.delete(volume.name);
  }

  status(volume: Volume): Readonly<Record<string, string | number | boolean>> {
    const disk = this.#known.get(volume.name);
    return {
      provider: this.#provider.name,
      disk: volume.handle.disk ?? '',
      ...(disk !== undefined && { size: disk.size }),
      fs: disk?.tags.formatted ?? 'not formatted yet',
      ...(disk?.holder !== undefined && { host: disk.holder.name }),
      ...(disk?.zone !== undefined && { zone: disk.zone }),
    };
  }

  async close(): Promise<void> {
    await this.#provider.close();
  }

  async #mountDevice(
    disk: Disk,
    device: string,
    target: string,
    wanted: Filesystem | undefined,
    c: Context,
  ): Promise<void> {
    const uuid = disk.tags.formatting ?? disk.tags.uuid ?? randomUUID();
    const tag = (tags: Readonly<Record<string, string>>): Promise<void> => this.#provider.tag(disk.id, tags, c);
    const kind = await ensureFilesystem({ disk, device, wanted, uuid, tag }, c);
    this.#known.set(disk.volume, { ...disk, tags: { ...disk.tags, formatted: kind } });
    // One that another mount namespace still has is in order, and must not be checked under it.
    const spared = (await isUnused(device)) && (await checkFilesystem(kind, device, c));
    try {
      await mountFilesystem(kind, device, target, [], c);
    } catch (error) {
      if (!spared || asPluginError(error).code !== 'FILESYSTEM_DAMAGED') throw error;
      await repairFilesystem(kind, device, c);
      await mountFilesystem(kind, device, target, [], c);
    }
  }

  async #disk(volume: Volume, c: Context): Promise<Disk> {
    const { disk } = volume.handle;
    const found = disk === undefined ? undefined : await this.#provider.describe(disk, c);
    if (found === undefined) throw new PluginError('DISK_MISSING', { volume: volume.name, disk: disk ?? 'unknown' });
    return found;
  }

  #listed(disk: Disk): ListedVolume {
    this.#known.set(disk.volume, disk);
    const { holder, state } = disk;
    return {
      name: disk.volume,
      options: optionsOf(disk),
      handle: { disk: disk.id },
      created: disk.created,
      whereabouts: holder === undefined ? state : `${state === 'attached' ? 'in use' : state} on ${holder.name}`,
    };
  }

  #here(): DiskHost {
    if (this.#self === undefined)
      throw new PluginError('NOT_READY', { reason: 'volumes of type block are not ready yet' });
    return this.#self;
  }
}

/** How often the volume was taken from a host on an operator's word. */
const epochOf = ({ epoch = '0' }: Disk['tags']): number => (/^\d{1,9}$/.test(epoch) ? Number(epoch) : 0);

/** Is the folder there? Errors: VOLUME_NOT_MOUNTED when something else has its name. */
const hasInside = async (volume: string, folder: string): Promise<boolean> => {
  const found = await lstat(folder).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });
  // On a disk from elsewhere it could be a link that leads out of the volume.
  if (found !== undefined && !found.isDirectory()) {
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume, reason: `its ${INSIDE} is not a folder` });
  }
  return found !== undefined;
};

/** Made once, and whole when it appears; afterwards its owner and mode are the containers' own business. */
const prepareInside = async (volume: string, root: string, { uid, gid, mode }: BlockOptions): Promise<void> => {
  const folder = join(root, INSIDE);
  if (await hasInside(volume, folder)) return;
  const unfinished = join(root, `.${INSIDE}`);
  await mkdir(unfinished, { recursive: true });
  await chown(unfinished, uid, gid);
  await chmod(unfinished, Number.parseInt(mode, 8));
  await rename(unfinished, folder);
};
