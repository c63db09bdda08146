import { type Context, now, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { attachLoop, detachLoop, findLoop, growLoop } from '../../shared/kernel/loop-device.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { Copies } from './copies.ts';
import { HOLDS } from './hold-tag.ts';
import { LoopAdoption } from './loop-adoption.ts';
import { copyOf, type LoopDescription, LoopFiles, type LoopHolder, missing } from './loop-files.ts';
import { LoopRoom } from './loop-room.ts';
import { LoopSnapshots } from './loop-snapshots.ts';
import type { AnyDisk, Disk, DiskHost, DiskProvider, DiskRequest, DiskTags, HostFate, Snapshot } from './provider.ts';

/** For a device that was detached to be closed by everybody. */
const CLOSING_MS = 3_000;

export interface LoopOptions {
  /** Where images are kept. Hosts that share it (a shared file system) can pass disks on. */
  readonly folder: string;
  readonly self: LoopHolder;
  /** Most bytes of all disks together, with what snapshots take; undefined: what the file system has room for. */
  readonly quota: number | undefined;
}

/**
 * Disks that are files. A disk is attached where its note of who has it says so; the note is made by a link, which the
 * file system grants to one host only.
 */
export class LoopProvider implements DiskProvider {
  readonly name = 'loop';
  readonly #files: LoopFiles;
  readonly #snapshots: LoopSnapshots;
  readonly #room: LoopRoom;
  readonly #adoption: LoopAdoption;
  readonly #options: LoopOptions;
  readonly #locks = new KeyedMutex();
  readonly #copies = new Copies();

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#files = new LoopFiles(options.folder);
    this.#snapshots = new LoopSnapshots(this.#files, options.self.id);
    this.#room = new LoopRoom(this.#files, this.#snapshots, options.quota);
    this.#adoption = new LoopAdoption(this.#files);
  }

  async start(_c: Context): Promise<DiskHost> {
    await this.#files.prepare(this.#options.self);
    return this.#options.self;
  }

  async list(_c: Context, volume?: string): Promise<readonly Disk[]> {
    const ours = (await this.#files.all(volume)).filter((one) => one.volume !== '');
    return Promise.all(ours.map((one) => this.#disk(one)));
  }

  async describe(id: string, _c: Context): Promise<Disk | undefined> {
    const found = await this.#files.read(id);
    return found === undefined || found.volume === '' ? undefined : this.#disk(found);
  }

  check({ kind, iops, throughput, encrypted, key }: DiskRequest): void {
    const asked = Object.entries({ kind, iops, throughput, encrypted: encrypted || undefined, 'kms-key': key });
    for (const [option, value] of asked) {
      if (value === undefined) continue;
      const reason = 'disks in files (PROVIDER=loop) have no such thing';
      throw new PluginError('OPTION_INVALID', {
        ...{ where: 'The volume option', option, value: String(value), reason, allowed: 'nothing' },
      });
    }
  }

  /**
   * The description comes first and counts from then on: two hosts that create at once may both be refused when there is
   * room for one, but more than there is is never promised.
   */
  async create(request: DiskRequest, token: string, c: Context): Promise<Disk> {
    const known = await this.#locks.run('room', () => this.#describeNew(request, token), c);
    return this.#locks.run(
      known.id,
      async () => {
        const before = await this.#disk(known);
        if (before.state !== 'creating') return before;
        const { fromSnapshot, id, size } = known;
        if (fromSnapshot !== undefined) {
          const from = this.#snapshots.image((await this.#ready(fromSnapshot)).id);
          this.#copies.begin(id, c.log, (inner) => this.#files.makeImage(id, copyOf(from, size, inner)));
          return before;
        }
        await this.#files.makeImage(id, (file) => file.truncate(size));
        const made = await this.describe(id, c);
        if (made !== undefined) return made;
        await this.#files.folder.remove(`${id}.img`);
        throw missing(known);
      },
      c,
    );
  }

  async #describeNew(request: DiskRequest, token: string): Promise<LoopDescription> {
    const from = request.snapshot === undefined ? undefined : await this.#ready(request.snapshot);
    if (from !== undefined && from.size > request.size) {
      const reason = `it has ${from.size} bytes, more than the ${request.size} of the disk`;
      throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: `a disk from ${from.id}`, reason });
    }
    const known = await this.#files.add(request, token);
    if (known.volume !== request.volume) {
      const what = `a disk for volume ${request.volume}`;
      throw new PluginError('TOKEN_BURNED', { provider: 'loop', what, reason: `${known.id} was let go since` });
    }
    if ((await this.#disk(known)).state === 'creating') await this.#refuseWithoutRoom(known);
    return known;
  }

  /** A snapshot that disks can be made from. */
  async #ready(id: string): Promise<Snapshot> {
    const found = await this.#snapshots.find(id);
    if (found?.state === 'ready') return found;
    const reason = found === undefined ? 'there is no such snapshot' : `it is ${found.state}`;
    throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: `a disk from snapshot ${id}`, reason });
  }

  attach(id: string, c: Context): Promise<void> {
    return this.#exclusive(
      id,
      async () => {
        const { self } = this.#options;
        const found = await this.#must(id);
        const holder = await this.#files.hold(id, self);
        if (holder.id !== self.id || holder.meanwhile !== undefined) {
          throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
        }
        // Who removes a disk has it meanwhile: it may have gone before it was held here.
        if ((await this.#files.read(id)) === undefined) {
          await this.#files.letGo(id, self.id);
          throw missing(found);
        }
        // A device that is left over knows nothing of what others have done with the image since.
        const isNew = holder === self;
        if (isNew) {
          await this.#detachHere(found, c).catch(async (error: unknown) => {
            await this.#files.letGo(id, self.id);
            throw error;
          });
        }
        await attachLoop(this.#files.image(id), c);
      },
      c,
    );
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return this.#exclusive(
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
    return this.#exclusive(
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
        if (await this.#snapshots.tag(id, (before) => changed(before, tags))) return;
        const found = await this.#must(id);
        const { [HOLDS]: holds, ...others } = tags;
        if (HOLDS in tags) await this.#files.setHolds(id, holds);
        if (Object.keys(others).length === 0) return;
        await this.#files.write({ ...found, tags: changed(found.tags, others) });
      },
      c,
    );
  }

  remove(id: string, c: Context): Promise<void> {
    return this.#exclusive(
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

  async resize(id: string, bytes: number, c: Context): Promise<void> {
    // Not while everybody else waits for room.
    await this.#copies.ended(id, c);
    await this.#locks.run(
      'room',
      () =>
        this.#exclusive(
          id,
          async () => {
            const found = await this.#must(id);
            if (bytes <= found.size) return;
            const holder = await this.#files.holder(id);
            if (holder !== undefined && holder.id !== this.#options.self.id) {
              throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
            }
            await this.#room.refuse(found.volume, bytes, bytes - found.size);
            await this.#files.growImage(id, bytes);
            const device = await findLoop(this.#files.image(id), c);
            if (device !== undefined) await growLoop(device, c);
            await this.#files.write({ ...found, size: bytes });
          },
          c,
        ),
      c,
    );
  }

  /**
   * Copies the image. Of one that this host has attached, that is done when this answers: what is written later must not
   * be in it, and nothing that is written meanwhile, which whoever has it attached sees to. Another one nobody attaches
   * while it is copied.
   */
  snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    return this.#exclusive(
      id,
      async () => {
        const { self } = this.#options;
        const found = await this.#must(id);
        const mine = { ...self, meanwhile: 'snapshot' };
        const holder = await this.#files.hold(id, mine);
        if (holder.id !== self.id) {
          throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
        }
        const letGo = (): Promise<void> => this.#files.letGo(id, self.id);
        const copy = await this.#beginSnapshot(found, tags, token).catch(async (error: unknown) => {
          if (holder.meanwhile !== undefined) await letGo();
          throw error;
        });
        if (holder.meanwhile === undefined) await copy.work(c);
        else this.#copies.begin(id, c.log, (inner) => copy.work(inner).finally(letGo));
        const taken = await this.#snapshots.find(copy.id);
        if (taken !== undefined) return taken;
        const reason = 'it was removed while it was taken';
        throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: 'a snapshot', reason });
      },
      c,
    );
  }

  /** Describes it, and answers what is to be done. */
  async #beginSnapshot(found: LoopDescription, tags: DiskTags, token: string) {
    const described = await this.#snapshots.add(found, tags, token);
    const known = await this.#snapshots.find(described.id);
    if (known?.state !== 'ready') {
      const taken = (await this.#files.folder.size(`${found.id}.img`))?.taken ?? 0;
      await this.#room.refuse(found.volume, found.size, taken).catch(async (error: unknown) => {
        await this.#snapshots.remove(described.id);
        throw error;
      });
    }
    const work = (c: Context): Promise<void> => this.#snapshots.copy(described, this.#files.image(found.id), c);
    return { id: described.id, work };
  }

  async snapshots(_c: Context, volume?: string): Promise<readonly Snapshot[]> {
    const all = await this.#snapshots.all();
    return volume === undefined ? all : all.filter((one) => one.volume === volume);
  }

  async describeSnapshot(id: string, _c: Context): Promise<Snapshot | undefined> {
    return this.#snapshots.find(id);
  }

  async removeSnapshot(id: string, _c: Context): Promise<void> {
    await this.#snapshots.remove(id);
  }

  search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    return this.#adoption.search(idOrName, c);
  }

  async adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    return this.#locks.run(id, async () => this.#disk(await this.#adoption.adopt(id, volume, tags)), c);
  }

  release(id: string, c: Context): Promise<void> {
    return this.#exclusive(
      id,
      async () => {
        const found = await this.#files.read(id);
        if (found === undefined || found.volume === '') return;
        const holder = await this.#files.holder(id);
        if (holder !== undefined) throw new PluginError('VOLUME_BUSY', { volume: found.volume, holder: holder.name });
        await this.#files.write({ ...found, volume: '', name: found.volume });
      },
      c,
    );
  }

  /** Nobody may attach what is being removed. Answers who was faster. */
  async #holdForRemoval(id: string): Promise<LoopHolder | undefined> {
    const holder = await this.#files.hold(id, this.#options.self);
    return holder.id === this.#options.self.id ? undefined : holder;
  }

  close(): Promise<void> {
    return this.#copies.close();
  }

  /** Alone with a disk that is not being copied. */
  #exclusive<T>(id: string, work: () => Promise<T>, c: Context): Promise<T> {
    const alone = async (): Promise<T> => {
      await this.#copies.ended(id, c);
      return await work();
    };
    return this.#locks.run(id, alone, c);
  }

  /** The note says who has it: a device alone may be left over from a crash, and goes with the next detach. */
  async #disk(found: LoopDescription): Promise<Disk> {
    const { id, volume, size, fromSnapshot, created } = found;
    const [note, image] = await Promise.all([this.#files.holder(id), this.#files.imageSize(id)]);
    const holder = note?.meanwhile === undefined ? note : undefined;
    const holds = holder === undefined ? undefined : await this.#files.holds(id);
    const tags = holds === undefined ? found.tags : { ...found.tags, [HOLDS]: holds };
    const isNew = holder === undefined && tags.formatting === undefined && tags.formatted === undefined;
    const there = holder === undefined ? 'available' : 'attached';
    return {
      ...{ id, volume, size, tags, created, serial: id },
      state: image !== undefined ? there : isNew ? 'creating' : 'failed',
      ...(holder !== undefined && { holder: { id: holder.id, name: holder.name } }),
      ...(fromSnapshot !== undefined && { fromSnapshot }),
    };
  }

  /** The disk is described already, and counted therefore; its description goes when there is no room. */
  async #refuseWithoutRoom(description: LoopDescription): Promise<void> {
    await this.#room.refuse(description.volume, description.size, 0).catch(async (error: unknown) => {
      await this.#files.remove(description, this.#options.self);
      throw error;
    });
  }

  async #must(id: string): Promise<LoopDescription> {
    const found = await this.#files.read(id);
    if (found === undefined) throw missing({ id, volume: id });
    return found;
  }
}

const changed = (before: DiskTags, tags: Readonly<Record<string, string | undefined>>): DiskTags => {
  const all = Object.entries({ ...before, ...tags });
  return Object.fromEntries(all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])));
};
