import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { Copies } from './copies.ts';
import { HOLDS } from './hold-tag.ts';
import { LoopAdoption } from './loop-adoption.ts';
import { LoopFiles, type LoopHolder } from './loop-files.ts';
import { LoopHolding } from './loop-holding.ts';
import { LoopMaking } from './loop-making.ts';
import { LoopReading } from './loop-reading.ts';
import { LoopRoom } from './loop-room.ts';
import { LoopSnapshots } from './loop-snapshots.ts';
import { LoopTaking } from './loop-taking.ts';
import type { AnyDisk, Disk, DiskHost, DiskProvider, DiskRequest, DiskTags, HostFate, Snapshot } from './provider.ts';

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
  readonly isPrompt = true;
  readonly #files: LoopFiles;
  readonly #reading: LoopReading;
  readonly #holding: LoopHolding;
  readonly #making: LoopMaking;
  readonly #snapshots: LoopSnapshots;
  readonly #taking: LoopTaking;
  readonly #adoption: LoopAdoption;
  readonly #self: LoopHolder;
  /** By disk, and `room` for whatever takes some: the latter first. */
  readonly #locks = new KeyedMutex();
  readonly #copies = new Copies();

  constructor({ folder, self, quota }: LoopOptions) {
    this.#self = self;
    const files = new LoopFiles(folder);
    const reading = new LoopReading(files);
    const snapshots = new LoopSnapshots(files, self.id);
    const room = new LoopRoom(files, snapshots, quota);
    const parts = { files, reading, snapshots, room, self, copies: this.#copies };
    this.#files = files;
    this.#reading = reading;
    this.#holding = new LoopHolding(files, reading, self);
    this.#making = new LoopMaking(parts);
    this.#snapshots = snapshots;
    this.#taking = new LoopTaking(parts);
    this.#adoption = new LoopAdoption(files);
  }

  async start(_c: Context): Promise<DiskHost> {
    await this.#files.prepare(this.#self);
    return this.#self;
  }

  list(_c: Context, volume?: string): Promise<readonly Disk[]> {
    return this.#reading.disks(volume);
  }

  describe(id: string, _c: Context): Promise<Disk | undefined> {
    return this.#reading.disk(id);
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
    const known = await this.#locks.run('room', () => this.#making.describe(request, token), c);
    return this.#locks.run(known.id, () => this.#making.make(known, c), c);
  }

  attach(id: string, c: Context): Promise<void> {
    return this.#alone(id, () => this.#holding.attach(id, c), c);
  }

  detach(id: string, host: string, c: Context): Promise<void> {
    return this.#alone(id, () => this.#holding.detach(id, host, c), c);
  }

  device(disk: Disk, c: Context): Promise<string | undefined> {
    return this.#alone(disk.id, () => this.#holding.device(disk, c), c);
  }

  /** Of hosts that share a folder nothing else is known. */
  async fate(host: string, _c: Context): Promise<HostFate> {
    return host === this.#self.id ? 'alive' : 'unknown';
  }

  tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void> {
    return this.#locks.run(
      id,
      async () => {
        if (await this.#snapshots.tag(id, (before) => changed(before, tags))) return;
        await this.#reading.must(id);
        const { [HOLDS]: holds, ...others } = tags;
        if (HOLDS in tags) await this.#files.setHolds(id, holds);
        if (Object.keys(others).length === 0) return;
        await this.#files.change(id, (one) => ({ ...one, tags: changed(one.tags, others) }));
      },
      c,
    );
  }

  remove(id: string, c: Context): Promise<void> {
    return this.#alone(id, () => this.#holding.remove(id, c), c);
  }

  async resize(id: string, bytes: number, c: Context): Promise<void> {
    // Not while everybody else waits for room.
    await this.#copies.ended(id, c);
    await this.#locks.run('room', () => this.#alone(id, () => this.#making.grow(id, bytes, c), c), c);
  }

  snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    return this.#alone(id, () => this.#taking.take(id, tags, token, c), c);
  }

  async snapshots(_c: Context, volume?: string): Promise<readonly Snapshot[]> {
    const all = await this.#snapshots.all();
    return volume === undefined ? all : all.filter((one) => one.volume === volume);
  }

  describeSnapshot(id: string, _c: Context): Promise<Snapshot | undefined> {
    return this.#snapshots.find(id);
  }

  removeSnapshot(id: string, _c: Context): Promise<void> {
    return this.#snapshots.remove(id);
  }

  search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    return this.#adoption.search(idOrName, c);
  }

  adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk> {
    const adopt = async (): Promise<Disk> => this.#reading.asDisk(await this.#adoption.adopt(id, volume, tags));
    return this.#locks.run(id, adopt, c);
  }

  release(id: string, c: Context): Promise<void> {
    return this.#alone(id, () => this.#holding.release(id), c);
  }

  close(): Promise<void> {
    return this.#copies.close();
  }

  /** With a disk that is not being copied. */
  #alone<T>(id: string, work: () => Promise<T>, c: Context): Promise<T> {
    const alone = async (): Promise<T> => {
      await this.#copies.ended(id, c);
      return await work();
    };
    return this.#locks.run(id, alone, c);
  }
}

const changed = (before: DiskTags, tags: Readonly<Record<string, string | undefined>>): DiskTags => {
  const all = Object.entries({ ...before, ...tags });
  return Object.fromEntries(all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])));
};
