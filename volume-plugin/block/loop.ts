import { rm, statfs } from 'node:fs/promises';
import { type Context, now, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { attachLoop, detachLoop, findLoop } from '../../shared/kernel/loop-device.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { describeRequest, type LoopDescription, LoopFiles, type LoopHolder } from './loop-files.ts';
import type { Disk, DiskHost, DiskProvider, DiskRequest, HostFate } from './provider.ts';

/** For a device that was detached to be closed by everybody. */
const CLOSING_MS = 3_000;

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
    await this.#files.prepare(this.#options.self);
    return this.#options.self;
  }

  async list(_c: Context): Promise<readonly Disk[]> {
    const all = await this.#files.all();
    return Promise.all(all.map((one) => this.#disk(one)));
  }

  async describe(id: string, _c: Context): Promise<Disk | undefined> {
    const found = await this.#files.read(id);
    return found === undefined ? undefined : this.#disk(found);
  }

  /**
   * The description comes first and counts from then on: two hosts that create at once may both be refused when there is
   * room for one, but more than there is is never promised.
   */
  create(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    return this.#locks.run(
      'room',
      async () => {
        const known =
          (await this.#files.readVolume(request.volume)) ??
          (await this.#files.add(describeRequest(request, token, new Date())));
        const before = await this.#disk(known);
        if (before.state !== 'creating') return before;
        await this.#refuseWithoutRoom(known);
        await this.#files.makeImage(known.id, known.size);
        const made = await this.describe(known.id, c);
        if (made !== undefined) return made;
        await rm(this.#files.image(known.id), { force: true });
        throw missing(known);
      },
      c,
    );
  }

  attach(id: string, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const { self } = this.#options;
        const found = await this.#must(id);
        const holder = await this.#files.hold(id, self);
        if (holder.id !== self.id) {
          throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
        }
        // Who removes a disk has it meanwhile: it may have gone before it was held here.
        if ((await this.#files.read(id)) === undefined) {
          await this.#files.letGo(id, self.id);
          throw missing(found);
        }
        await attachLoop(this.#files.image(id), c);
      },
      c,
    );
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        const found = await this.#files.read(id);
        if (found === undefined || (await this.#files.holder(id))?.id !== host) return;
        if (host === this.#options.self.id) await this.#detachHere(found, c);
        await this.#files.letGo(id, host);
      },
      c,
    );
  }

  /** One that is still used somewhere would end only with its last user: nobody else may have it before that. */
  async #detachHere({ id, volume }: LoopDescription, c: Context): Promise<void> {
    const image = this.#files.image(id);
    const device = await findLoop(image, c);
    if (device === undefined) return;
    if (!(await isUnused(device))) throw new PluginError('VOLUME_IN_USE', { volume, users: `a mount of ${device}` });
    await detachLoop(image, c);
    // It goes with the last of those who have it open: whoever lists devices opens each of them for a moment.
    for (const end = now() + CLOSING_MS; (await findLoop(image, c)) !== undefined; await sleep(20, c)) {
      if (now() > end) throw new PluginError('VOLUME_IN_USE', { volume, users: `a process that has ${device} open` });
    }
    await this.#files.syncImage(id);
  }

  device({ id, volume, holder }: Disk, c: Context): Promise<string | undefined> {
    return this.#locks.run(
      id,
      async () => {
        const { self } = this.#options;
        if (holder?.id !== self.id || (await this.#files.holder(id))?.id !== self.id) return undefined;
        const image = this.#files.image(id);
        if ((await this.#files.imageSize(id)) === undefined) throw missing({ id, volume });
        // After a restart of the host the note is there, and the device is not.
        return attachLoop(image, c);
      },
      c,
    );
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
        const { self } = this.#options;
        const found = await this.#files.read(id);
        if (found === undefined) return;
        const busy = (await this.#files.holder(id)) ?? (await this.#holdForRemoval(id));
        if (busy !== undefined) throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: busy.name });
        // A device may be left over from a crash.
        await this.#detachHere(found, c);
        await this.#files.remove(found, self);
      },
      c,
    );
  }

  /** Nobody may attach what is being removed. Answers who was faster. */
  async #holdForRemoval(id: string): Promise<LoopHolder | undefined> {
    const holder = await this.#files.hold(id, this.#options.self);
    return holder.id === this.#options.self.id ? undefined : holder;
  }

  async close(): Promise<void> {
    return undefined;
  }

  /** The note says who has it: a device alone may be left over from a crash, and goes with the next detach. */
  async #disk(found: LoopDescription): Promise<Disk> {
    const { id, volume, size, tags, fromSnapshot, created } = found;
    const [holder, image] = await Promise.all([this.#files.holder(id), this.#files.imageSize(id)]);
    const isNew = holder === undefined && tags.formatting === undefined && tags.formatted === undefined;
    const there = holder === undefined ? 'available' : 'attached';
    return {
      ...{ id, volume, size, tags, created, serial: id },
      state: image !== undefined ? there : isNew ? 'creating' : 'failed',
      ...(holder !== undefined && { holder }),
      ...(fromSnapshot !== undefined && { fromSnapshot }),
    };
  }

  /** The disk is described already, and counted therefore; its description goes when there is no room. */
  async #refuseWithoutRoom(description: LoopDescription): Promise<void> {
    const { volume, size } = description;
    const { folder, quota, self } = this.#options;
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize - (await this.#files.promised());
    const used = (await this.#files.all()).reduce((sum, one) => sum + one.size, 0);
    const [room, what] =
      quota !== undefined && quota - used < free ? [quota - used, 'left of LOOP_QUOTA'] : [free, `free in ${folder}`];
    if (room >= 0) return;
    await this.#files.remove(description, self);
    throw new PluginError('DISK_QUOTA', { volume, size, limit: Math.max(0, room + size), what });
  }

  async #must(id: string): Promise<LoopDescription> {
    const found = await this.#files.read(id);
    if (found === undefined) throw missing({ id, volume: id });
    return found;
  }
}

const missing = ({ id, volume }: { readonly id: string; readonly volume: string }): PluginError =>
  new PluginError('DISK_MISSING', { volume, disk: id });
