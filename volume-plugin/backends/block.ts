import { randomUUID } from 'node:crypto';
import { type Context, newContext, throwIfDone } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { shutDown } from '../../shared/kernel/shut-down.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { attachDisk, detachDisk } from '../block/attach.ts';
import {
  checkFilesystem,
  type Filesystem,
  hasFiles,
  mountFilesystem,
  renameFilesystem,
  repairFilesystem,
  thawFilesystem,
  unmountFilesystem,
} from '../block/filesystem.ts';
import { ensureFilesystem } from '../block/format.ts';
import { currentDisk, currentDisks, generationOf, unusable } from '../block/generations.ts';
import { HoldCounts } from '../block/hold-count.ts';
import { busyDisk } from '../block/hold-tag.ts';
import { epochOf, refuseWhenLost, verifyCopy, whyLost } from '../block/holding.ts';
import { leaversOf } from '../block/leaving.ts';
import type { Disk, DiskHost, DiskProvider, DiskTraits } from '../block/provider.ts';
import { removeRetired, retiredDisks } from '../block/retiring.ts';
import { type Brought, ZoneMove } from '../block/zone-move.ts';
import type {
  Backend,
  DayTwo,
  ListedSnapshot,
  ListedVolume,
  Mounted,
  NewVolume,
  RetiredDisk,
  Volume,
  VolumeRemoval,
} from './backend.ts';
import { growMounted, growUnmounted, resizeDisk } from './block-growing.ts';
import { importDisk } from './block-importing.ts';
import { insideOf, prepareInside } from './block-inside.ts';
import { makeDisk } from './block-making.ts';
import { BLOCK_OPTIONS, type OnRemove, optionsOf, readBlockOptions, traitsOf } from './block-options.ts';
import { type BlockParts, isMountOf } from './block-parts.ts';
import { letGo, removeDisks, siblings } from './block-removing.ts';
import { listedSnapshot, takeSnapshot } from './block-snapshots.ts';
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
  readonly #settleMs: number;
  #self: DiskHost | undefined;
  #zones: ZoneMove | undefined;
  #log: Logger | undefined;
  /** What is known of disks, for `status`. */
  readonly #known = new Map<string, Disk>();
  /** All disks of each volume as they were last listed, and when that was begun. */
  #seen = new Map<string, { readonly at: number; readonly disks: readonly Disk[] }>();

  constructor(provider: DiskProvider, options: BlockBackendOptions = {}) {
    const { locks = new KeyedMutex(), onRemove = 'delete', settleMs = SETTLE_MS, frozenMs = FROZEN_MS } = options;
    this.#settleMs = settleMs;
    this.#holds = new HoldCounts(provider, options.gatherMs ?? GATHER_MS);
    this.#provider = provider;
    this.#parts = { provider, locks, onRemove, settleMs, frozenMs, self: () => this.#here() };
    this.dayTwo = {
      resize: (volume, size, c) => this.#resize(volume, size, c),
      snapshot: (volume, token, c) => this.#snapshot(volume, token, c),
      snapshots: async (volume, c) => (await provider.snapshots(c, volume)).map(listedSnapshot),
      removeSnapshot: (id, c) => this.#removeSnapshot(id, c),
      import: async (request, c) => this.#listed(await importDisk(this.#parts, request, c)),
      thaw: thawFilesystem,
    };
  }

  async start(c: Context): Promise<void> {
    this.#log = c.log;
    const [provider, settleMs] = [this.#provider, this.#settleMs];
    const self = await provider.start(c);
    const traits = (disk: Disk): DiskTraits => traitsOf(readBlockOptions({ options: optionsOf(disk) }));
    this.#zones = new ZoneMove({ provider, self, traits, settleMs });
    this.#self = self;
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    const at = Date.now();
    const disks = await this.#provider.list(c);
    this.#seen = new Map(
      [...Map.groupBy(disks, ({ volume }) => volume)].map(([name, of]) => [name, { at, disks: of }]),
    );
    // Nobody has to wait for it; the next list does it again.
    void this.#zones
      ?.tidy(disks, newContext(c.log, TIDY_MS))
      .catch((error: unknown) => c.log.warn('a move could not be given up yet', { error: asPluginError(error) }));
    this.#known.clear();
    return currentDisks(disks).map((disk) => this.#listed(disk));
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    const at = Date.now();
    const disks = await this.#provider.list(c, name);
    this.#seen.set(name, { at, disks });
    const disk = currentDisk(disks);
    return disk && this.#listed(disk);
  }

  async create(spec: NewVolume, c: Context): Promise<Volume> {
    return this.#listed(await makeDisk(this.#parts, spec, c));
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const options = readBlockOptions(volume);
    const here = this.#here();
    const brought = await this.#moves().bring(volume.name, volume.handle.disk, c);
    const attach = () => attachDisk(this.#provider, here, brought.disk, c);
    const { disk, device } = await attach().catch(async (error: unknown) => {
      // By what an earlier life has mounted, whose state was lost: others may have had the disk since. It is mounted anew.
      const isLeft = mountAt(readMountTable(), target)?.source.startsWith('/dev/') === true;
      if (asPluginError(error).code !== 'VOLUME_IN_USE' || !isLeft) throw error;
      await this.unmount(volume, target, c);
      return await attach();
    });
    this.#known.set(volume.name, disk);
    this.#holds.mounted(volume.name, disk.id);
    let present = mountAt(readMountTable(), target);
    if (present !== undefined && !isMountOf(present, device)) {
      const reason = `${present.source} is mounted there`;
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: volume.name, reason });
    }
    // A crash in the middle of a look at it, or of the renaming of a copy, has left it there: it is not ready yet.
    const { formatted, moving, clone } = disk.tags;
    if (present !== undefined && (formatted === undefined || moving !== undefined || clone !== undefined)) {
      await this.unmount(volume, target, c);
      present = undefined;
    }
    // Only what was asked for in so many words has to be there: another one may have been brought along.
    const wanted = volume.options.fs === undefined ? undefined : options.fs;
    if (present === undefined) {
      if (await isUnused(device)) await this.#keepOrLetGo(disk, c);
      await this.#mountDevice({ ...brought, disk }, device, target, wanted, c);
      await refuseWhenLost(this.#provider, here, disk, c).catch(async (error: unknown) => {
        await this.unmount(volume, target, c);
        throw error;
      });
    }
    await prepareInside(volume.name, target, disk.tags, options);
    void this.#usages.look(target, c.log);
    const mounted = present ?? mountAt(readMountTable(), target);
    if (mounted === undefined) throw new PluginError('VOLUME_NOT_MOUNTED', { volume: volume.name });
    return { source: device, device: mounted.device, inside: insideOf(disk.tags), epoch: epochOf(disk.tags) };
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    this.#usages.forget(target);
    // Of several on top of each other none may stay. Other namespaces may keep theirs: leave() waits for those.
    while (mountAt(readMountTable(), target) !== undefined) {
      throwIfDone(c);
      if (await unmountFilesystem(target, c)) continue;
      throw new PluginError('VOLUME_IN_USE', { volume: volume.name, users: 'a process that has a file of it open' });
    }
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
    const disks = await siblings(this.#parts, volume, c);
    const current = this.#current(volume, disks);
    // One that was moving it when it died keeps it from being attached, and may have its next generation.
    await this.#moves().endMoveOf(volume.name, host, c);
    const held = disks.filter(({ holder: one }) => one !== undefined);
    const disk = held.find((one) => one.id === current.id) ?? held[0] ?? current;
    const { id, holder, tags } = disk;
    if (holder === undefined) return;
    if (holder.id === this.#here().id) throw new PluginError('VOLUME_IN_USE', { volume: volume.name });
    const alive = (await this.#provider.fate(holder.id, c)) === 'alive';
    if (alive || holder.name !== host) {
      const reason = alive ? 'and that host runs' : `not on ${host}`;
      throw busyDisk(disk, reason);
    }
    // First, so that a crash leaves an epoch without a fencing and never the reverse.
    await this.#provider.tag(id, { epoch: String(epochOf(tags) + 1) }, c);
    await detachDisk(this.#provider, holder, id, c);
    c.log.warn('a volume was taken from a host on the word of an operator', { volume: volume.name, host });
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

  lost(volume: string, { since, ...mounted }: { readonly epoch?: number; readonly since: number }): string | undefined {
    const [seen, self] = [this.#seen.get(volume), this.#self];
    // What was seen soon after the mount may be from before it: who is cut off by mistake loses what is not written out.
    if (seen === undefined || self === undefined || seen.at <= since + this.#settleMs) return undefined;
    const mine = seen.disks.find(({ holder }) => holder?.id === self.id) ?? currentDisk(seen.disks);
    return mine && whyLost(self, mounted, mine, seen.disks);
  }

  cutOff(target: string, _c: Context): Promise<void> {
    return shutDown(target);
  }

  async remove(volume: VolumeRemoval, c: Context): Promise<void> {
    await this.#holds.end(volume.name);
    await removeDisks(this.#parts, volume, c);
    this.#known.delete(volume.name);
  }

  status(volume: Volume, target?: string): Readonly<Record<string, string | number | boolean>> {
    const disk = this.#known.get(volume.name);
    const usage = target === undefined || this.#log === undefined ? undefined : this.#usages.at(target, this.#log);
    const { from } = volume.options;
    const tags = disk?.tags ?? {};
    const moving = this.#zones?.progress(volume.name);
    return {
      provider: this.#provider.name,
      disk: volume.handle.disk ?? '',
      ...(disk !== undefined && { size: disk.size }),
      ...(usage !== undefined && { used: usage.used, free: usage.free }),
      fs: tags.formatted ?? 'not formatted yet',
      ...(disk?.holder !== undefined && { host: disk.holder.name }),
      ...(disk?.zone !== undefined && { zone: disk.zone }),
      ...(from !== undefined && { from }),
      ...(disk?.fromSnapshot !== undefined && { fromSnapshot: disk.fromSnapshot }),
      ...(tags.imported !== undefined && { imported: tags.imported }),
      ...(tags.generation !== undefined && { generation: tags.generation }),
      ...(moving !== undefined && { moving }),
      onRemove: tags['on-remove'] ?? 'delete',
    };
  }

  async close(): Promise<void> {
    await this.#holds.close();
    await this.#provider.close();
  }

  /** Looked at after it was attached: a host that moves it elsewhere looks the other way round. Errors: VOLUME_MOVING. */
  async #keepOrLetGo(disk: Disk, c: Context): Promise<void> {
    try {
      this.#moves().checkAttached(disk);
    } catch (error) {
      await detachDisk(this.#provider, this.#here(), disk.id, c);
      throw error;
    }
  }

  async #mountDevice(
    { disk, older }: Brought,
    device: string,
    target: string,
    wanted: Filesystem | undefined,
    c: Context,
  ): Promise<void> {
    const uuid = disk.tags.formatting ?? disk.tags.uuid ?? randomUUID();
    const tag = (tags: Readonly<Record<string, string>>): Promise<void> => this.#provider.tag(disk.id, tags, c);
    const filesIn = (type: Filesystem): Promise<boolean> => hasFiles(type, device, target, c);
    const kind = await ensureFilesystem({ disk, device, wanted, uuid, tag, hasFiles: filesIn }, c);
    const formatted = { ...disk, tags: { ...disk.tags, formatted: kind } };
    this.#known.set(disk.volume, formatted);
    if (disk.tags.clone !== undefined) await this.#makeItsOwn(disk, device, kind, target, c);
    // One that another mount namespace still has is in order, and must not be checked under it.
    const isFree = await isUnused(device);
    const grown = isFree && (await growUnmounted(kind, device, c));
    const spared = isFree && !grown && (await checkFilesystem(kind, device, c));
    await verifyCopy(disk, device, c);
    const current = await this.#moves().finish({ disk: formatted, older }, c);
    this.#known.set(disk.volume, current);
    try {
      await mountFilesystem(kind, device, target, [], c);
    } catch (error) {
      if (!spared || asPluginError(error).code !== 'FILESYSTEM_DAMAGED') throw error;
      await repairFilesystem(kind, device, c);
      await mountFilesystem(kind, device, target, [], c);
    }
    // One that cannot be grown is still a volume.
    await growMounted(current, device, target, c).catch((error: unknown) =>
      c.log.warn('a file system is smaller than its disk', { volume: disk.volume, error: asPluginError(error) }),
    );
  }

  /** A copy gets a UUID of its own before it is mounted for the first time, so that it can be mounted beside its original. */
  async #makeItsOwn({ id, tags }: Disk, device: string, kind: Filesystem, target: string, c: Context): Promise<void> {
    if (tags.uuid !== undefined && (await isUnused(device))) {
      await renameFilesystem(kind, device, tags.uuid, target, c);
    }
    await this.#provider.tag(id, { clone: undefined }, c);
  }

  /** The disk that the volume is on. Errors: DISK_MISSING. */
  async #disk(volume: Volume, c: Context): Promise<Disk> {
    return this.#current(volume, await siblings(this.#parts, volume, c));
  }

  #current({ name, handle }: Volume, disks: readonly Disk[]): Disk {
    const found = currentDisk(disks);
    if (found === undefined) throw new PluginError('DISK_MISSING', { volume: name, disk: handle.disk ?? 'unknown' });
    return found;
  }

  /** The same, when it may be attached. Errors: DISK_MISSING, DISK_FAILED for what is out of date. */
  async #usable(volume: Volume, c: Context): Promise<Disk> {
    const disks = await siblings(this.#parts, volume, c);
    const found = this.#current(volume, disks);
    const why = unusable(found, disks);
    if (why !== undefined) throw new PluginError('DISK_FAILED', { volume: volume.name, disk: found.id, ...why });
    return found;
  }

  async #resize(volume: Volume, size: string, c: Context): Promise<Volume> {
    return this.#listed(await resizeDisk(this.#parts, await this.#usable(volume, c), size, c));
  }

  async #snapshot(volume: Volume, token: string, c: Context): Promise<ListedSnapshot> {
    const disk = await this.#disk(volume, c);
    return listedSnapshot(await takeSnapshot(this.#parts, disk, { reason: 'user' }, `drayage-user-${token}`, c));
  }

  async #removeSnapshot(id: string, c: Context): Promise<ListedSnapshot> {
    const found = await this.#provider.describeSnapshot(id, c);
    if (found === undefined) throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot: id });
    await this.#provider.removeSnapshot(id, c);
    return listedSnapshot(found);
  }

  #listed(disk: Disk): ListedVolume {
    this.#known.set(disk.volume, disk);
    const { holder, state } = disk;
    const [leaver] = leaversOf(disk.tags);
    const free = leaver === undefined ? state : `moving to zone ${leaver.zone} by ${leaver.name}`;
    return {
      name: disk.volume,
      options: optionsOf(disk),
      handle: { disk: disk.id },
      created: disk.created,
      whereabouts: holder === undefined ? free : `${state === 'attached' ? 'in use' : state} on ${holder.name}`,
    };
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
