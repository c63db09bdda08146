/** The file systems of the simulated account's NAS: their mount targets, permission groups and quotas, and how long states last. */
import { Background } from '../core/background.ts';
import { LaggedMap } from '../core/lagged-map.ts';
import { noMedia } from '../core/media.ts';
import type { Quotas } from '../core/quotas.ts';
import { TokenMemory } from '../core/token-memory.ts';
import type { World } from './world.ts';

/** Not changed in place: readers may see an older one for a while. */
export interface SimFileSystem {
  readonly id: string;
  readonly type: 'standard' | 'extreme';
  readonly storage: string;
  readonly protocol: 'NFS' | 'SMB';
  readonly status: 'Pending' | 'Running' | 'Stopped';
  /** GiB; of General-purpose ones what they may grow to. */
  readonly capacity: number;
  readonly zone: string;
  /** 0: none; 1: with NAS's key; 2: with a key of KMS. */
  readonly encryption: number;
  readonly key: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly created: number;
}

export interface SimMountTarget {
  readonly id: string;
  readonly fileSystem: string;
  /** Host name. */
  readonly domain: string;
  readonly vpc: string;
  readonly vswitch: string;
  readonly group: string;
  readonly status: 'Pending' | 'Active' | 'Inactive';
}

export interface SimAccessGroup {
  readonly name: string;
  readonly type: 'standard' | 'extreme';
  readonly description: string;
  readonly created: number;
}

export interface NasTimes {
  /** Until a file system runs. */
  createMs: number;
  /** Until a mount target is active. */
  targetMs: number;
}

/** The vendor's limits of an account in a region, and of a file system. */
export const NAS_QUOTAS = {
  nas_standard: 20,
  nas_extreme: 200,
  nas_targets: 2,
  nas_access_groups: 20,
  nas_limited_folders: 500,
} as const;

/** The group that every account has, for both types. */
export const DEFAULT_GROUP = 'DEFAULT_VPC_GROUP_NAME';

const TOKEN_MS = 30 * 24 * 3_600_000;

export class Nas {
  readonly world: World;
  readonly quotas: Quotas;
  readonly times: NasTimes = { createMs: 0, targetMs: 0 };
  readonly fileSystems: LaggedMap<SimFileSystem>;
  readonly targets: LaggedMap<SimMountTarget>;
  /** By type and name. */
  readonly groups: LaggedMap<SimAccessGroup>;
  /** GiB that a folder may grow to, by the file system's id and its path. */
  readonly limits = new Map<string, number>();
  /** Folders that are not there, as for quotas; all others are. */
  readonly missingFolders = new Set<string>();
  /** Zones where nothing can be made any more. */
  readonly soldOut = new Set<string>();
  /** Keys of KMS that there are. */
  readonly keys = new Set<string>();
  /** Only Extreme file systems take tokens, as documented; the same one makes nothing for so long. */
  readonly tokens: TokenMemory<string>;
  /** Tags that come with a making are not taken, as in the API's first years. */
  takesTags = true;
  /** A host that all mount targets lead to in the place of names of the vendor's, so that they can be mounted. */
  server: string | undefined;
  readonly #background: Background;

  constructor(world: World, quotas: Quotas, lag: () => number) {
    this.world = world;
    this.quotas = quotas;
    const { clock } = world.core;
    this.fileSystems = new LaggedMap(clock, lag);
    this.targets = new LaggedMap(clock, lag);
    this.groups = new LaggedMap(clock, lag);
    this.tokens = new TokenMemory(clock, TOKEN_MS);
    this.#background = new Background(clock, noMedia);
    for (const type of ['standard', 'extreme'] as const) this.makeGroup(DEFAULT_GROUP, type, 'default', 0);
  }

  /** Such as a request makes it, or as the console does behind everybody's back. It runs after a while. */
  make(request: Partial<Omit<SimFileSystem, 'id' | 'status' | 'created'>> = {}): SimFileSystem {
    const { ids, clock } = this.world.core;
    const type = request.type ?? 'standard';
    const id = type === 'extreme' ? `extreme-${ids.hex(16)}` : ids.hex(10);
    const made: SimFileSystem = {
      ...{ type, storage: type === 'extreme' ? 'standard' : 'Performance', protocol: 'NFS', capacity: 0 },
      ...{ zone: `${this.world.region}-a`, encryption: 0, key: '', description: id, tags: {} },
      ...request,
      ...{ id, status: 'Pending', created: clock.now() },
    };
    this.fileSystems.set(id, made);
    this.#background.after(this.times.createMs, undefined, () => this.fileSystems.change(id, { status: 'Running' }));
    return made;
  }

  /** Leads to a file system from a VPC, after a while. */
  makeTarget(request: Pick<SimMountTarget, 'fileSystem' | 'vpc'> & Partial<SimMountTarget>): SimMountTarget {
    const { ids } = this.world.core;
    const id = ids.hex(12);
    const extreme = request.fileSystem.startsWith('extreme-');
    // Names of Extreme file systems have nothing of their ids.
    const name = extreme ? `${ids.hex(8)}-${ids.hex(4)}` : `${request.fileSystem}-${ids.hex(5)}`;
    const host = `${name}.${this.world.region}${extreme ? '.extreme' : ''}.nas.aliyuncs.com`;
    const made: SimMountTarget = {
      ...{ id, domain: this.server ?? host, vswitch: '', group: DEFAULT_GROUP, status: 'Pending' },
      ...request,
    };
    this.targets.set(id, made);
    if (made.status === 'Pending') {
      this.#background.after(this.times.targetMs, undefined, () => this.targets.change(id, { status: 'Active' }));
    }
    return made;
  }

  makeGroup(name: string, type: SimAccessGroup['type'], description: string, created: number): SimAccessGroup {
    const group = { name, type, description, created };
    this.groups.set(`${type} ${name}`, group);
    return group;
  }

  /** It is gone with its mount targets, as by the console. */
  remove(id: string): void {
    for (const target of this.targetsOf(id)) this.targets.delete(target.id);
    this.fileSystems.delete(id);
  }

  /** As it is. */
  targetsOf(fileSystem: string): SimMountTarget[] {
    return this.targets.entries().flatMap(([, one]) => (one.fileSystem === fileSystem ? [one] : []));
  }

  /** All there is, as it is; the default groups left out. */
  state() {
    const groups = this.groups.entries().map(([, one]) => one);
    return {
      fileSystems: this.fileSystems.entries().map(([, one]) => one),
      mountTargets: this.targets.entries().map(([, one]) => one),
      accessGroups: groups.filter(({ name }) => name !== DEFAULT_GROUP),
      limits: Object.fromEntries(this.limits),
    };
  }
}
