/** The file systems of the simulated account, and what happens to them after a request was answered. */
import { Background } from '../core/background.ts';
import type { Clock } from '../core/clock.ts';
import type { Ids } from '../core/ids.ts';
import { LaggedMap } from '../core/lagged-map.ts';
import { noMedia } from '../core/media.ts';
import type { Tags } from './storage.ts';
import type { Subnet, World } from './world.ts';

/** How long things take, in milliseconds. Infinity: for ever. */
export interface FileTimes {
  /** Until a new file system is `available`. */
  readonly createMs: number;
  /** Until a new mount target is; in the real cloud 60 to 90 seconds. */
  readonly targetMs: number;
  /** Until what is being deleted is gone. */
  readonly deleteMs: number;
}

export const noFileTimes: FileTimes = { createMs: 0, targetMs: 0, deleteMs: 0 };

type LifeCycle = 'creating' | 'available' | 'deleting' | 'error';

/** Never changed in place: readers see old ones for a while. */
export interface FileSystem {
  readonly id: string;
  readonly token: string;
  readonly state: LifeCycle;
  readonly created: number;
  readonly performance: string;
  readonly throughput: string;
  /** MiB/s; of `provisioned` throughput. */
  readonly provisioned: number | undefined;
  readonly encrypted: boolean;
  readonly key: string | undefined;
  /** Of One Zone storage. */
  readonly zone: string | undefined;
  readonly tags: Tags;
}

export interface MountTarget {
  readonly id: string;
  readonly fileSystem: string;
  readonly state: LifeCycle;
  readonly subnet: string;
  readonly vpc: string;
  readonly zone: string;
  readonly address: string;
  readonly interface: string;
  readonly groups: readonly string[];
}

export interface AccessPoint {
  readonly id: string;
  readonly token: string;
  readonly fileSystem: string;
  readonly state: LifeCycle;
  readonly user: object | undefined;
  readonly root: object;
  readonly tags: Tags;
}

export class FileStorage {
  readonly fileSystems: LaggedMap<FileSystem>;
  readonly mountTargets: LaggedMap<MountTarget>;
  readonly accessPoints: LaggedMap<AccessPoint>;
  times: FileTimes;
  /** Every mount target's address, in place of one of its subnet: for a server that tests have somewhere. */
  server: string | undefined;
  readonly #world: World;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #background: Background;

  constructor(parts: {
    readonly world: World;
    readonly clock: Clock;
    readonly ids: Ids;
    readonly lag: () => number;
    readonly times: FileTimes;
    readonly server: string | undefined;
  }) {
    const { world, clock, ids, lag, times, server } = parts;
    this.#world = world;
    this.#clock = clock;
    this.#ids = ids;
    this.#background = new Background(clock, noMedia);
    this.times = times;
    this.server = server;
    this.fileSystems = new LaggedMap(clock, lag);
    this.mountTargets = new LaggedMap(clock, lag);
    this.accessPoints = new LaggedMap(clock, lag);
  }

  create(request: Omit<FileSystem, 'id' | 'state' | 'created'>): FileSystem {
    const made: FileSystem = { ...request, id: this.#ids.of('fs'), state: 'creating', created: this.#clock.now() };
    this.fileSystems.set(made.id, made);
    this.#become(this.fileSystems, made.id, this.times.createMs);
    return this.fileSystems.get(made.id) ?? made;
  }

  /** Its interface takes an address of the subnet; it throws when there is none left. */
  createTarget(fileSystem: string, subnet: Subnet, groups: readonly string[], wanted: string | undefined): MountTarget {
    const free = wanted ?? this.#world.freeAddress(subnet.id);
    const own = this.#world.addInterface(subnet.id, [free], []);
    const made: MountTarget = {
      ...{ id: this.#ids.of('fsmt'), fileSystem, groups, state: 'creating' },
      ...{ subnet: subnet.id, vpc: subnet.vpc, zone: subnet.zone },
      ...{ address: this.server ?? free, interface: own.id },
    };
    this.mountTargets.set(made.id, made);
    this.#become(this.mountTargets, made.id, this.times.targetMs);
    return made;
  }

  createAccessPoint(request: Omit<AccessPoint, 'id' | 'state'>): AccessPoint {
    const made: AccessPoint = { ...request, id: this.#ids.of('fsap'), state: 'creating' };
    this.accessPoints.set(made.id, made);
    this.#become(this.accessPoints, made.id, this.times.createMs);
    return made;
  }

  delete(id: string): void {
    this.#remove(this.fileSystems, id, () => undefined);
  }

  deleteTarget(id: string): void {
    const own = this.mountTargets.get(id)?.interface ?? '';
    this.#remove(this.mountTargets, id, () => this.#world.interfaces.delete(own));
  }

  deleteAccessPoint(id: string): void {
    this.#remove(this.accessPoints, id, () => undefined);
  }

  /** In truth, those that are being deleted as well. */
  targetsOf(fileSystem: string): MountTarget[] {
    return this.mountTargets.entries().flatMap(([, one]) => (one.fileSystem === fileSystem ? [one] : []));
  }

  /** Something is wrong with it, and stays so. */
  breakDown(id: string): void {
    this.fileSystems.change(id, { state: 'error' });
    this.mountTargets.change(id, { state: 'error' });
  }

  #become<V extends { readonly state: LifeCycle }>(map: LaggedMap<V>, id: string, ms: number): void {
    this.#background.after(ms, undefined, () => {
      if (map.get(id)?.state === 'creating') map.change(id, { state: 'available' } as Partial<V>);
    });
  }

  #remove<V extends { readonly state: LifeCycle }>(map: LaggedMap<V>, id: string, then: () => void): void {
    map.change(id, { state: 'deleting' } as Partial<V>);
    this.#background.after(this.times.deleteMs, undefined, () => {
      map.delete(id);
      then();
    });
  }
}
