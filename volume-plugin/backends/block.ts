import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { deviceNumbers, isUnused } from '../../shared/kernel/block-device.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { option, type Parsed, parseOptions } from '../../shared/options.ts';
import { attachDisk, detachDisk } from '../block/attach.ts';
import { checkFilesystem, FILESYSTEMS, mountFilesystem, unmountFilesystem } from '../block/filesystem.ts';
import { ensureFilesystem } from '../block/format.ts';
import type { Disk, DiskHost, DiskProvider } from '../block/provider.ts';
import type { Backend, ListedVolume, Mounted, Volume, VolumeSpec } from './backend.ts';

/** `docker volume create -o type=block -o NAME=value`. */
export const BLOCK_OPTIONS = {
  size: option.size({
    default: 10 * 2 ** 30,
    min: 16 * 2 ** 20,
    max: 64 * 2 ** 40,
    help: 'How large the disk is.',
  }),
  fs: option.enum(FILESYSTEMS, { default: 'ext4', help: 'The file system that is made on it.' }),
  uid: option.integer({
    default: 0,
    min: 0,
    max: 2 ** 32 - 2,
    help: "Owner of the volume's root folder, when it is made.",
  }),
  gid: option.integer({ default: 0, min: 0, max: 2 ** 32 - 2, help: 'Group of that folder.' }),
  mode: option.text({
    default: '0755',
    pattern: /^0?[0-7]{3}$/,
    allowed: 'an octal mode such as 0750',
    help: 'Permissions of that folder.',
  }),
} as const;

type BlockOptions = Parsed<typeof BLOCK_OPTIONS>;

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
    const options = this.#options(spec);
    const tags = { options: JSON.stringify(spec.options), uuid: randomUUID() };
    const disk = await this.#provider.create(
      { volume: spec.name, size: options.size, tags },
      `drayage-${spec.name}`,
      c,
    );
    if (disk.tags.options !== tags.options) {
      throw new PluginError('VOLUME_EXISTS', {
        volume: spec.name,
        differences: `options ${disk.tags.options ?? 'unknown'}`,
      });
    }
    return this.#listed(disk);
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const options = this.#options(volume);
    const { disk, device } = await attachDisk(this.#provider, this.#here(), await this.#disk(volume, c), c);
    this.#known.set(volume.name, disk);
    const present = mountAt(readMountTable(), target);
    if (present !== undefined && present.device !== deviceNumbers(device)) {
      throw new PluginError('VOLUME_NOT_MOUNTED', {
        volume: volume.name,
        reason: `${present.source} is mounted there`,
      });
    }
    if (present === undefined) await this.#mountDevice(disk, device, target, options, c);
    await prepareInside(join(target, INSIDE), options);
    return { source: device, device: deviceNumbers(device), inside: INSIDE };
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    const present = mountAt(readMountTable(), target);
    if (present === undefined) return;
    await unmountFilesystem(target, c);
    // A container of another mount namespace may have its own: then it still is in use.
    if (!(await isUnused(present.source))) {
      c.log.warn('a volume was unmounted here and is still mounted elsewhere on this host', { volume: volume.name });
    }
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const { disk } = volume.handle;
    if (disk !== undefined) await detachDisk(this.#provider, this.#here(), disk, c);
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
      size: this.#options(volume).size,
      fs: disk?.tags.formatted ?? 'not formatted yet',
      ...(disk?.holder !== undefined && { host: disk.holder.name }),
      ...(disk?.zone !== undefined && { zone: disk.zone }),
    };
  }

  async close(): Promise<void> {
    await this.#provider.close();
  }

  async #mountDevice(disk: Disk, device: string, target: string, options: BlockOptions, c: Context): Promise<void> {
    const uuid = disk.tags.formatting ?? disk.tags.uuid ?? randomUUID();
    const tag = (tags: Readonly<Record<string, string>>): Promise<void> => this.#provider.tag(disk.id, tags, c);
    const kind = await ensureFilesystem({ disk, device, wanted: options.fs, uuid, tag }, c);
    this.#known.set(disk.volume, { ...disk, tags: { ...disk.tags, formatted: kind } });
    // One that another mount namespace still has is in order, and must not be checked under it.
    if (await isUnused(device)) await checkFilesystem(kind, device, c);
    await mountFilesystem(kind, device, target, [], c);
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

  #options({ options }: VolumeSpec): BlockOptions {
    return parseOptions(BLOCK_OPTIONS, options, 'volume option');
  }

  #here(): DiskHost {
    if (this.#self === undefined)
      throw new PluginError('NOT_READY', { reason: 'volumes of type block are not ready yet' });
    return this.#self;
  }
}

/** What the volume was made with; none where somebody has spoilt the tag. */
const optionsOf = ({ tags }: Disk): Readonly<Record<string, string>> => {
  try {
    const parsed: unknown = JSON.parse(tags.options ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(
      Object.entries(parsed).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    );
  } catch {
    // A tag that people can edit.
    return {};
  }
};

/** Made once; afterwards its owner and mode are the containers' own business. */
const prepareInside = async (folder: string, { uid, gid, mode }: BlockOptions): Promise<void> => {
  const made = await mkdir(folder, { recursive: true });
  if (made === undefined) return;
  await chown(folder, uid, gid);
  await chmod(folder, Number.parseInt(mode, 8));
};
