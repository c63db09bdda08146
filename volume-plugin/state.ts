/** What the `cloudvol` plugin remembers on this host: one record type a collection, all plain JSON. */

/** A volume of the cluster, as this host last knew it. Key: the name. This index is what Get, List and Path answer from. */
export interface VolumeRecord {
  readonly name: string;
  /** The back-end's name: `block`, `nfs`, `object`. */
  readonly type: string;
  /** As the user gave them, in canonical form; what was left out is not there. */
  readonly options: Readonly<Record<string, string>>;
  /** What the back-end needs to find it again, such as the disk's id. */
  readonly handle: Readonly<Record<string, string>>;
  /** `creating` and `removing` are intents of this host: reconcile finishes or undoes them after a crash. */
  readonly phase: 'creating' | 'ready' | 'removing';
  /** While `removing`: random, one for each removal that was begun. */
  readonly removal?: string;
  /** ISO time of its making, anywhere in the cluster. */
  readonly created: string;
  /** Where and in what state the cluster last said it was, in words: `in use on host-2`, `available`. */
  readonly whereabouts?: string;
  /** The last thing that went wrong with it here, as the user was told. */
  readonly lastError?: { readonly text: string; readonly at: string };
}

/** A volume that is on this host, on the way here, or on the way out. Key: the volume's name. */
export interface MountRecord {
  readonly volume: string;
  /**
   * `mounting` and `unmounting` are intents; `mounted` was verified in the kernel's mount table; `leaving`: unmounted,
   * and its disk is being detached.
   */
  readonly phase: 'mounting' | 'mounted' | 'unmounting' | 'leaving';
  /** The kernel's boot id: a record of another boot describes nothing that still is. */
  readonly boot: string;
  /** Where it is mounted, below the plugin's propagated mount. */
  readonly target: string;
  /** The folder below the target that containers get; absent: the target itself. */
  readonly inside?: string;
  /** What the mount table must show, once mounted: its source and device numbers, such as `/dev/nvme1n1` and `259:4`. */
  readonly source?: string;
  readonly device?: string;
  /** Other volumes have the same device: this one's mounts are those from its source, or from below it. */
  readonly shared?: boolean;
  /** The cluster's fencing epoch that this host mounted under. */
  readonly epoch?: number;
  /** Why it does not belong to this host any more: it is handed out no more, and goes with its last user. */
  readonly lost?: string;
  /** Epoch milliseconds of the last change of phase. */
  readonly since: number;
}

/**
 * Docker's hold on a volume: one for each container's mount, and again for `docker cp` with the same id. Key:
 * `<volume>|<mount id>`.
 */
export interface ReferenceRecord {
  readonly volume: string;
  readonly id: string;
  /** How many Mounts of this id are without their Unmount. */
  readonly count: number;
  readonly boot: string;
  /** Epoch milliseconds of the last change. */
  readonly since: number;
}

/**
 * A name that Docker was told is a volume, because nobody could be asked whether it is one: an error would have made
 * Docker create a volume of its own under that name. Key: the name.
 */
export interface UnconfirmedRecord {
  readonly name: string;
  /** ISO time of the first question. */
  readonly since: string;
  /** Why nobody could be asked. */
  readonly reason: string;
  /** Asked since, and there is no such volume: the name stays until it is removed, as Docker was told otherwise. */
  readonly absent?: true;
}

/**
 * What was begun with a volume that exists, or is to be made of a disk that does: finished after a crash. Key: the volume's
 * name.
 */
export interface WorkRecord {
  readonly volume: string;
  /** The back-end's name. */
  readonly type: string;
  readonly work:
    | { readonly kind: 'resize'; readonly size: string }
    /** `token`: random, so that the same snapshot is not taken twice. */
    | { readonly kind: 'snapshot'; readonly token: string }
    | { readonly kind: 'import'; readonly disk: string; readonly inside?: string };
  /** ISO time. */
  readonly since: string;
}

/**
 * A making that was given up while its outcome was open: the cloud may do late what it was asked for. Key:
 * `<volume>|<making>`.
 */
export interface UnmadeRecord {
  readonly volume: string;
  /** The back-end's name. */
  readonly type: string;
  /** As the back-end was given it. */
  readonly making: string;
  /** Epoch milliseconds. */
  readonly since: number;
}

/** What this host keeps of itself. Key: `self`. */
export interface HostRecord {
  /** Random, made once: tells this host from another one of the same name. */
  readonly id: string;
}

/** The collections of the plugin's store. */
export interface VolumeState {
  readonly hosts: HostRecord;
  readonly volumes: VolumeRecord;
  readonly mounts: MountRecord;
  readonly references: ReferenceRecord;
  readonly unconfirmed: UnconfirmedRecord;
  readonly works: WorkRecord;
  readonly unmade: UnmadeRecord;
}

/** Names of the collections, as a store wants them. */
export const COLLECTIONS = [
  'hosts',
  'volumes',
  'mounts',
  'references',
  'unconfirmed',
  'works',
  'unmade',
] as const satisfies readonly (keyof VolumeState)[];
