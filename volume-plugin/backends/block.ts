import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { shutDown } from '../../shared/kernel/shut-down.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { generationOf } from '../block/generations.ts';
import { HoldCounts } from '../block/hold-count.ts';
import type { Disk, DiskHost, DiskProvider, DiskTraits } from '../block/provider.ts';
import { removeRetired, retiredDisks } from '../block/retiring.ts';
import { ZoneMove } from '../block/zone-move.ts';
import type {
  Backend,
  DayTwo,
  ListedVolume,
  Mounted,
  NewVolume,
  RetiredDisk,
  Volume,
  VolumeRemoval,
} from './backend.ts';
import { dayTwoOf } from './block-day-two.ts';
import { fenceDisk } from './block-fencing.ts';
import { KnownDisks } from './block-known.ts';
import { discardDisks, makeDisk, uuidOf } from './block-making.ts';
import { BlockMounting } from './block-mounting.ts';
import { BLOCK_OPTIONS, type OnRemove, optionsOf, readBlockOptions, traitsOf } from './block-options.ts';
import type { BlockParts } from './block-parts.ts';
import { letGo, removeDisks, siblings } from './block-removing.ts';
import { Usages } from './block-usage.ts';

export interface BlockBackendOptions {
  /** The driver's locks, by the volume's name. */
  readonly locks?: KeyedMutex;
  /** What `docker volume rm` does where a volume does not say; `delete` when absent. */
  readonly onRemove?: OnRemove;
  /** Twice the time, in milliseconds, after which every host sees what one has written to the provider. */
  readonly settleMs?: number;
  /** So long nobody may be kept from writing, in milliseconds. */
  readonly frozenMs?: number;
  /** How long changes of a volume's containers are gathered before other hosts are told, in milliseconds. */
  readonly gatherMs?: number;
}

/** Clouds show most of what was written at once, and all of it within a few seconds. */
const SETTLE_MS = 10_000;
/** Changes of how many containers have a volume are gathered for so long before others are told. */
const GATHER_MS = 1_000;
const TIDY_MS = 60_000;
const FROZEN_MS = 30_000;

/** Volumes that are disks with a file system, one volume a disk, on one host at a time. */
export class BlockBackend implements Backend {
  readonly type = 'block';
  readonly schema = BLOCK_OPTIONS;
  readonly dayTwo: DayTwo;
  readonly #provider: DiskProvider;
  readonly #parts: BlockParts;
  readonly #usages = new Usages();
  readonly #holds: HoldCounts;
  readonly #known: KnownDisks;
  readonly #mounting: BlockMounting;
  #self: DiskHost | undefined;
  #zones: ZoneMove | undefined;
  #log: Logger | undefined;

  constructor(provider: DiskProvider, options: BlockBackendOptions = {}) {
    const { locks = new KeyedMutex(), onRemove = 'delete', settleMs = SETTLE_MS, frozenMs = FROZEN_MS } = options;
    this.#provider = provider;
    this.#parts = { provider, locks, onRemove, settleMs, frozenMs, self: () => this.#here() };
    this.#holds = new HoldCounts(provider, options.gatherMs ?? GATHER_MS);
    this.#known = new KnownDisks(provider.name, settleMs);
    this.#mounting = new BlockMounting({
      ...{ parts: this.#parts, known: this.#known, holds: this.#holds, usages: this.#usages },
      moves: () => this.#moves(),
    });
    this.dayTwo = dayTwoOf(this.#parts, this.#known);
  }

  async start(c: Context): Promise<void> {
    this.#log = c.log;
    const { provider, settleMs } = this.#parts;
    const self = await provider.start(c);
    const traits = (disk: Disk): DiskTraits => traitsOf(readBlockOptions({ options: optionsOf(disk) }));
    this.#zones = new ZoneMove({ provider, self, traits, settleMs });
    this.#self = self;
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    const at = Date.now();
    const disks = await this.#provider.list(c);
    // Nobody has to wait for it; the next list does it again.
    void this.#zones
      ?.tidy(disks, newContext(c.log, TIDY_MS))
      .catch((error: unknown) => c.log.warn('a move could not be given up yet', { error: asPluginError(error) }));
    return this.#known.listed(disks, at);
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    const at = Date.now();
    return this.#known.found(name, await this.#provider.list(c, name), at);
  }

  origin(name: string, making: string): string {
    return uuidOf(name, making);
  }

  discard(name: string, making: string, c: Context): Promise<void> {
    return discardDisks(this.#parts, name, making, c);
  }

  async create(spec: NewVolume, c: Context): Promise<Volume> {
    return this.#known.learn(await makeDisk(this.#parts, spec, c));
  }

  mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    return this.#mounting.mount(volume, target, c);
  }

  unmount(volume: Volume, target: string, c: Context): Promise<void> {
    return this.#mounting.unmount(volume, target, c);
  }

  tellHolds(volume: Volume, count: number): void {
    if (this.#self === undefined || this.#log === undefined) return;
    this.#holds.set(volume.name, count, this.#self, newContext(this.#log, Number.POSITIVE_INFINITY));
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const self = this.#here();
    await this.#holds.end(volume.name);
    for (const disk of await siblings(this.#parts, volume, c)) {
      if (disk.holder?.id === self.id) await letGo(this.#parts, disk, c);
    }
  }

  async fence(volume: Volume, host: string, c: Context): Promise<void> {
    await fenceDisk(this.#parts, this.#moves(), volume, host, c);
  }

  async retire(volume: Volume, last: number | undefined, c: Context): Promise<readonly RetiredDisk[]> {
    const disks = await siblings(this.#parts, volume, c);
    const found =
      last === undefined ? retiredDisks(disks) : await removeRetired(this.#provider, volume.name, disks, last, c);
    return found.map((disk) => ({
      ...{ disk: disk.id, generation: generationOf(disk), zone: disk.zone ?? '', size: disk.size },
      retired: disk.tags.retired ?? '',
    }));
  }

  progress(volume: string): string | undefined {
    const text = this.#zones?.progress(volume);
    return text && `moving volume ${volume} ${text}`;
  }

  lost(volume: string, mounted: { readonly epoch?: number; readonly since: number }): string | undefined {
    return this.#self && this.#known.lost(volume, this.#self, mounted);
  }

  cutOff(target: string, _c: Context): Promise<void> {
    return shutDown(target);
  }

  async remove(volume: VolumeRemoval, c: Context): Promise<void> {
    await this.#holds.end(volume.name);
    await removeDisks(this.#parts, volume, c);
    this.#known.forget(volume.name);
  }

  status(volume: Volume, target?: string): Readonly<Record<string, string | number | boolean>> {
    const usage = target === undefined || this.#log === undefined ? undefined : this.#usages.at(target, this.#log);
    return this.#known.status(volume, usage, this.#zones?.progress(volume.name));
  }

  async close(): Promise<void> {
    await this.#holds.close();
    await this.#provider.close();
  }

  #moves(): ZoneMove {
    this.#here();
    if (this.#zones === undefined) throw new Error('started without a host');
    return this.#zones;
  }

  #here(): DiskHost {
    if (this.#self === undefined)
      throw new PluginError('NOT_READY', { reason: 'volumes of type block are not ready yet' });
    return this.#self;
  }
}
