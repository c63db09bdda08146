/** The disks and snapshots of the simulated account: their states, how long these last, and what they do to the media. */
import { ApiError } from '../core/api.ts';
import { Background } from '../core/background.ts';
import { LaggedMap } from '../core/lagged-map.ts';
import { type DiskTimes, type Media, type MediaDisk, progressOf } from '../core/media.ts';
import type { Quotas } from '../core/quotas.ts';
import { GIB } from './disk-kinds.ts';
import type { Instance, World } from './world.ts';

export type DiskStatus = 'Creating' | 'Available' | 'Attaching' | 'In_use' | 'Detaching';

/** Not changed in place: readers may see an older one for a while. */
export interface SimDisk {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly zone: string;
  readonly category: string;
  /** PL0 to PL3 of cloud_essd. */
  readonly level: string;
  /** GiB. */
  readonly size: number;
  readonly status: DiskStatus;
  /** Random: it has nothing of the id. */
  readonly serial: string;
  /** Who has it, is getting it, or is giving it up; '' for nobody. */
  readonly instance: string;
  readonly snapshot: string;
  readonly encrypted: boolean;
  readonly key: string;
  readonly iops: number;
  readonly deleteWithInstance: boolean;
  /** False for those that are paid for in advance: they stay with their instance. */
  readonly portable: boolean;
  readonly used: boolean;
  /** Reasons why nothing may be done with it: `financial`, `security` … */
  readonly locks: readonly string[];
  readonly tags: Readonly<Record<string, string>>;
  readonly created: number;
}

export interface SimSnapshot {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly disk: string;
  /** GiB of the disk. */
  readonly size: number;
  readonly status: 'progressing' | 'accomplished' | 'failed';
  readonly encrypted: boolean;
  /** Disks were made of it: it goes by force only. */
  readonly used: boolean;
  readonly tags: Readonly<Record<string, string>>;
  readonly created: number;
}

/** A moment in the life of a disk. */
export interface DiskMoment {
  readonly at: number;
  readonly status: DiskStatus | 'gone';
  readonly instance: string;
  readonly size: number;
}

export const DISK_QUOTAS = {
  ecs_disks: 5_000,
  ecs_disks_per_instance: 16,
  ecs_snapshots_per_disk: 256,
} as const;

export interface DiskOptions {
  readonly media: Media;
  readonly times: DiskTimes;
  readonly quotas: Quotas;
  readonly bus: MediaDisk['bus'];
  readonly lag: () => number;
}

export class Disks {
  readonly disks: LaggedMap<SimDisk>;
  readonly snapshots: LaggedMap<SimSnapshot>;
  readonly quotas: Quotas;
  /** May be changed at any time. */
  readonly times: { -readonly [K in keyof DiskTimes]: DiskTimes[K] };
  /** Categories that a zone has; a zone that is not named has all. */
  readonly categories = new Map<string, readonly string[]>();
  /** Keys of KMS that there are. */
  readonly keys = new Set<string>();
  /** Disks that their machine has mounted, where there is no medium to say so: it does not let them go. */
  readonly mounted = new Set<string>();
  /** So many of the disks made next come to nothing after their making was answered. */
  failing = 0;
  readonly #world: World;
  readonly #media: Media;
  readonly #bus: MediaDisk['bus'];
  readonly #background: Background;
  readonly #history = new Map<string, DiskMoment[]>();

  constructor(world: World, { media, times, quotas, bus, lag }: DiskOptions) {
    this.#world = world;
    this.#media = media;
    this.#bus = bus;
    this.times = { ...times };
    this.quotas = quotas;
    this.#background = new Background(world.core.clock, media);
    this.disks = new LaggedMap(world.core.clock, lag);
    this.snapshots = new LaggedMap(world.core.clock, lag);
  }

  /** Disks as they are. */
  all(): SimDisk[] {
    return this.disks.entries().map(([, disk]) => disk);
  }

  /** Snapshots as they are. */
  allSnapshots(): SimSnapshot[] {
    return this.snapshots.entries().map(([, snapshot]) => snapshot);
  }

  /** Those of an instance, coming and going ones too. */
  of(instance: string): SimDisk[] {
    return this.all().filter((one) => one.instance === instance);
  }

  /** Everything that a disk went through, also when it is gone. */
  history(id: string): readonly DiskMoment[] {
    return this.#history.get(id) ?? [];
  }

  /** What went wrong in the media since somebody asked. */
  failures(): unknown[] {
    return this.#background.failures();
  }

  change(id: string, changes: Partial<SimDisk>): SimDisk {
    const known = this.disks.get(id);
    const changed = this.disks.change(id, changes);
    if (known === undefined || changed === undefined) {
      throw new ApiError('InvalidDiskId.NotFound', 'The specified disk does not exist.', 404);
    }
    if (changed.status !== known.status || changed.size !== known.size) this.#note(id, changed);
    return changed;
  }

  create(request: Omit<SimDisk, 'id' | 'serial' | 'status' | 'instance' | 'used' | 'locks' | 'created'>): SimDisk {
    const { ids, clock } = this.#world.core;
    const disk: SimDisk = {
      ...request,
      ...{ id: ids.of('d', 20), serial: ids.hex(20), status: 'Creating', instance: '', used: false, locks: [] },
      created: clock.now(),
    };
    this.disks.set(disk.id, disk);
    this.#note(disk.id, disk);
    const from = request.snapshot === '' ? undefined : request.snapshot;
    this.snapshots.change(request.snapshot, { used: true });
    const fails = this.failing > 0;
    if (fails) this.failing -= 1;
    const make = (): Promise<void> => this.#media.create(this.#mediaDisk(disk), from);
    this.#background.onMedia(this.times.createMs, make, () => {
      if (fails) this.#gone(disk.id);
      else this.change(disk.id, { status: 'Available' });
    });
    return disk;
  }

  /** Of a disk that is Available. */
  remove(id: string): void {
    this.#gone(id);
    this.#background.onMedia(0, () => this.#media.remove(id));
  }

  /** Of a disk that is Available, to a machine that runs or is stopped. */
  attach(id: string, instance: Instance, changes: Partial<SimDisk>): void {
    const disk = this.change(id, { ...changes, status: 'Attaching', instance: instance.id });
    const plug =
      instance.status === 'Running' ? () => this.#media.attach(this.#mediaDisk(disk), instance.id) : undefined;
    this.#background.onMedia(this.times.attachMs, plug, () => {
      const now = this.disks.get(id);
      if (now?.status !== 'Attaching' || now.instance !== instance.id) return;
      this.change(id, { status: 'In_use', used: true });
    });
  }

  /** Of a disk that is In_use. */
  detach(id: string): void {
    const { instance } = this.change(id, { status: 'Detaching' });
    const unplug = this.#isRunning(instance) ? () => this.#unplug(id, instance) : undefined;
    const free = (): void => {
      const now = this.disks.get(id);
      if (now?.status === 'Detaching' && now.instance === instance) this.#free(id);
    };
    if (this.mounted.has(id)) this.#background.after(this.times.detachMs, unplug, free);
    else this.#background.onMedia(this.times.detachMs, unplug, free);
  }

  /** `seen`: the machine that has it is told now; otherwise when it starts the next time. */
  resize(id: string, size: number, seen: boolean): void {
    const grow = async () => {
      const disk = this.disks.get(id);
      if (seen && disk !== undefined) await this.#media.resize({ ...this.#mediaDisk(disk), bytes: size * GIB });
    };
    this.#background.onMedia(this.times.resizeMs, grow, () => {
      if (this.disks.get(id) !== undefined) this.change(id, { size });
    });
  }

  /** Resolves when the data of this moment are in it; it is written in the background. */
  async snapshot(disk: SimDisk, request: Pick<SimSnapshot, 'name' | 'description' | 'tags'>): Promise<SimSnapshot> {
    const { ids, clock } = this.#world.core;
    const { id, size, encrypted } = disk;
    const snapshot: SimSnapshot = {
      ...request,
      ...{ id: ids.of('s', 20), disk: id, size, encrypted, status: 'progressing', used: false, created: clock.now() },
    };
    this.snapshots.set(snapshot.id, snapshot);
    await this.#media.snapshot(id, snapshot.id);
    const done = (): void => void this.snapshots.change(snapshot.id, { status: 'accomplished' });
    this.#background.onMedia(this.times.snapshotMs, undefined, done);
    return snapshot;
  }

  removeSnapshot(id: string): void {
    this.snapshots.delete(id);
    this.#background.onMedia(0, () => this.#media.removeSnapshot(id));
  }

  /** Percent, by the time that has passed. */
  progress({ status, created }: SimSnapshot): number {
    if (status === 'accomplished') return 100;
    return progressOf(this.#world.core.clock.now() - created, this.times.snapshotMs);
  }

  /** The machine goes off, and with it whatever it was about to write. */
  stopMachine(instance: string, then: () => void): void {
    this.#background.onMedia(this.times.stopMs, () => this.#media.stop(instance, 'stop'), then);
  }

  startMachine(instance: string, then: () => void): void {
    const disks = this.of(instance).flatMap((one) => (one.status === 'In_use' ? [this.#mediaDisk(one)] : []));
    this.#background.onMedia(0, () => this.#media.start(instance, disks), then);
  }

  /** The machine is gone for good: its disks are free, but for those that go with it. */
  releaseMachine(instance: string): void {
    this.#background.onMedia(
      this.times.stopMs,
      () => this.#media.stop(instance, 'terminate'),
      () => {
        for (const { id, deleteWithInstance } of this.of(instance)) {
          if (deleteWithInstance) this.remove(id);
          else this.#free(id);
        }
      },
    );
  }

  async #unplug(id: string, instance: string): Promise<void> {
    const isBusy = async () => this.mounted.has(id) || (await this.#media.detach(id, instance, false)) === 'busy';
    while (this.#isRunning(instance) && (await isBusy())) await this.#world.core.clock.sleep(this.times.busyMs);
    this.mounted.delete(id);
  }

  #free(id: string): void {
    this.change(id, { status: 'Available', instance: '' });
  }

  #isRunning(instance: string): boolean {
    return this.#world.instances.get(instance)?.status === 'Running';
  }

  #gone(id: string): void {
    const disk = this.disks.get(id);
    if (disk !== undefined) this.#note(id, { ...disk, status: 'gone', instance: '' });
    this.disks.delete(id);
  }

  #note(id: string, { status, instance, size }: Pick<DiskMoment, 'status' | 'instance' | 'size'>): void {
    const at = this.#world.core.clock.now();
    this.#history.set(id, [...this.history(id), { at, status, instance, size }]);
  }

  #mediaDisk({ id, serial, size }: SimDisk): MediaDisk {
    return { id, serial, bus: this.#bus, bytes: size * GIB };
  }
}
