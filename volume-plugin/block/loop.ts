import { statfs } from 'node:fs/promises';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { attachLoop, detachLoop, findLoop } from '../../shared/kernel/loop-device.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { describeRequest, type LoopDescription, LoopFiles, type LoopHolder } from './loop-files.ts';
import type { Disk, DiskHost, DiskProvider, DiskRequest, HostFate } from './provider.ts';

export interface LoopOptions {
  /** Where images are kept. Hosts that share it (a shared file system) can pass disks on. */
  readonly folder: string;
  readonly self: LoopHolder;
  /** Most bytes of all disks together; undefined: what the file system has room for. */
  readonly quota: number | undefined;
}

/**
 * Disks that are files. A disk is attached where its note of who has it says so; the note is made by a link, which the
 * file system grants to one host only.
 */
export class LoopProvider implements DiskProvider {
  readonly name = 'loop';
  readonly #files: LoopFiles;
  readonly #options: LoopOptions;
  readonly #locks = new KeyedMutex();

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#files = new LoopFiles(options.folder);
  }

  async start(_c: Context): Promise<DiskHost> {
    await this.#files.prepare();
    return this.#options.self;
  }

  async list(_c: Context): Promise<readonly Disk[]> {
    const all = await this.#files.all();
    return Promise.all(all.map((one) => this.#disk(one)));
  }

  async describe(id: string, _c: Context): Promise<Disk | undefined> {
    const found = await this.#read(id);
    return found === undefined ? undefined : this.#disk(found);
  }

  create(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    return this.#locks.run(
      'room',
      async () => {
        const known = await this.#files.read(request.volume);
        if (known === undefined) {
          await this.#refuseWithoutRoom(request);
          await this.#files.write(describeRequest(request, token, new Date()));
        }
        const description = known ?? describeRequest(request, token, new Date());
        await this.#files.makeImage(request.volume, description.size);
        return this.#disk(description);
      },
      c,
    );
  }

  attach(id: string, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const { volume } = await this.#must(id);
        const holder = await this.#files.hold(volume, this.#options.self);
        if (holder.id !== this.#options.self.id) {
          throw new PluginError('VOLUME_BUSY', { volume, holder: holder.name });
        }
        await attachLoop(this.#files.image(volume), c);
      },
      c,
    );
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const found = await this.#read(id);
        if (found === undefined) return;
        const holder = await this.#files.holder(found.volume);
        if (holder === undefined || holder.id !== host) return;
        if (host === this.#options.self.id) await this.#detachHere(found.volume, c);
        await this.#files.letGo(found.volume);
      },
      c,
    );
  }

  /** One that is still mounted somewhere would end only with its last mount: nobody else may have it before that. */
  async #detachHere(volume: string, c: Context): Promise<void> {
    const image = this.#files.image(volume);
    const device = await findLoop(image, c);
    if (device === undefined) return;
    if (!(await isUnused(device))) throw new PluginError('VOLUME_IN_USE', { volume, users: `a mount of ${device}` });
    await detachLoop(image, c);
  }

  async device(disk: Disk, c: Context): Promise<string | undefined> {
    if (disk.holder?.id !== this.#options.self.id) return undefined;
    // After a restart of the host the note is there, and the device is not.
    return attachLoop(this.#files.image(disk.volume), c);
  }

  /** Of hosts that share a folder nothing else is known. */
  async fate(host: string, _c: Context): Promise<HostFate> {
    return host === this.#options.self.id ? 'alive' : 'unknown';
  }

  tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const found = await this.#must(id);
        const all = Object.entries({ ...found.tags, ...tags });
        const kept = all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
        await this.#files.write({ ...found, tags: Object.fromEntries(kept) });
      },
      c,
    );
  }

  remove(id: string, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const found = await this.#read(id);
        if (found === undefined) return;
        const holder = await this.#files.holder(found.volume);
        if (holder !== undefined) throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
        await this.#files.remove(found.volume);
      },
      c,
    );
  }

  async close(): Promise<void> {
    return undefined;
  }

  /** The note says who has it: a device alone may be left over from a crash, and goes with the next detach. */
  async #disk(found: LoopDescription): Promise<Disk> {
    const { id, volume, size, tags, fromSnapshot, created } = found;
    const holder = await this.#files.holder(volume);
    return {
      ...{ id, volume, size, tags, created, serial: id },
      state: holder === undefined ? 'available' : 'attached',
      ...(holder !== undefined && { holder }),
      ...(fromSnapshot !== undefined && { fromSnapshot }),
    };
  }

  async #refuseWithoutRoom({ volume, size }: DiskRequest): Promise<void> {
    const { folder, quota } = this.#options;
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize - (await this.#files.promised());
    if (size > free)
      throw new PluginError('DISK_QUOTA', { volume, size, limit: Math.max(0, free), what: `free in ${folder}` });
    if (quota === undefined) return;
    const used = (await this.#files.all()).reduce((sum, one) => sum + one.size, 0);
    if (used + size > quota) {
      throw new PluginError('DISK_QUOTA', {
        volume,
        size,
        limit: Math.max(0, quota - used),
        what: 'left of LOOP_QUOTA',
      });
    }
  }

  async #read(id: string): Promise<LoopDescription | undefined> {
    return id.startsWith('loop-') ? this.#files.read(id.slice('loop-'.length)) : undefined;
  }

  async #must(id: string): Promise<LoopDescription> {
    const found = await this.#read(id);
    if (found === undefined) throw new PluginError('DISK_MISSING', { volume: id.slice('loop-'.length), disk: id });
    return found;
  }
}
