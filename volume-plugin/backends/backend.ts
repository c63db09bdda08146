import type { Context } from '../../shared/context.ts';
import type { Schema } from '../../shared/options.ts';

/** A volume as a back-end is asked for it. Plain data: what any host of the cluster can find out. */
export interface VolumeSpec {
  readonly name: string;
  /** Canonical texts of the options that the user gave; parse them with the back-end's schema. */
  readonly options: Readonly<Record<string, string>>;
}

/** A volume that is to be made. */
export interface NewVolume extends VolumeSpec {
  /** The same when its making is repeated after a crash, and another one for each making: what is made bears it. */
  readonly making?: string;
}

/** A volume that exists. */
export interface Volume extends VolumeSpec {
  /** What the back-end answered at its making, or lists. */
  readonly handle: Readonly<Record<string, string>>;
}

/** A volume that is to be removed. */
export interface VolumeRemoval extends Volume {
  /** The same when its removal is repeated after a crash, and another one for each removal. */
  readonly removal?: string;
  /** It was begun by an earlier call: what was made under this name since then is another volume, and stays. */
  readonly resumed?: boolean;
}

/** A volume in the cluster's own list. */
export interface ListedVolume extends Volume {
  /** ISO time. */
  readonly created: string;
  /** Where it is, in words for `docker volume inspect`: `available`, `in use on host-2`. */
  readonly whereabouts: string;
  /** Of what was made and used by nobody since: which making it is of, as `Backend.origin` says it. */
  readonly origin?: string;
}

/** What was mounted, for verification in the kernel's mount table. */
export interface Mounted {
  /** The source of the mount, such as `/dev/nvme1n1`. */
  readonly source: string;
  /** Device numbers as `/proc/self/mountinfo` shows them: `259:4`. */
  readonly device: string;
  /** The folder below the target that containers get: `data`; empty for the target itself. */
  readonly inside: string;
  /** The cluster's fencing epoch, where there is one. */
  readonly epoch?: number;
  /** Other volumes are on the same device: only mounts from this source, or from what is below it, are this volume's. */
  readonly shared?: boolean;
}

/** What was mounted in an earlier life of the plugin. */
export interface EarlierMount extends Pick<Mounted, 'source' | 'device'> {
  readonly target: string;
}

/** A copy of what was in a volume at one moment. */
export interface ListedSnapshot {
  readonly id: string;
  /** The volume that it was taken of; it may be gone. */
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  readonly state: 'pending' | 'ready' | 'failed';
  /** Percent of it that is written. */
  readonly progress: number;
  /** ISO time. */
  readonly created: string;
  /** What it was taken for: `user`, `clone`, `on-remove`, `move`. */
  readonly reason: string;
}

/** A disk of somebody else's, or one that was retained, that is to become a volume. */
export interface ImportRequest {
  /** The disk's id, or the name that people or other drivers gave it. */
  readonly disk: string;
  readonly volume: string;
  /** The folder of its file system that containers get; undefined: `data`; empty: all of it. */
  readonly inside?: string;
}

/** A disk that is not its volume any more. */
export interface RetiredDisk {
  readonly disk: string;
  readonly generation: number;
  readonly zone: string;
  /** Bytes. */
  readonly size: number;
  /** ISO time of its retirement. */
  readonly retired: string;
}

/**
 * What is done with volumes while they are used. Calls for one volume never overlap each other or the back-end's other
 * calls, and may be repeated after a crash.
 */
export interface DayTwo {
  /**
   * Makes the volume and its file system larger, mounted here or nowhere; the volume's `size` option is the new one then.
   * Errors: OPTION_INVALID (smaller), VOLUME_ELSEWHERE (names the host that has it), DISK_QUOTA, STILL_WORKING.
   */
  resize(volume: Volume, size: string, c: Context): Promise<Volume>;
  /** Begins a snapshot of what is in the volume now; once for each token. Errors: DISK_QUOTA, BACKEND_REFUSED, VOLUME_ELSEWHERE. */
  snapshot(volume: Volume, token: string, c: Context): Promise<ListedSnapshot>;
  /** The cluster's snapshots, or those of one volume. */
  snapshots(volume: string | undefined, c: Context): Promise<readonly ListedSnapshot[]>;
  /** Removes a snapshot; answers what it was. Errors: SNAPSHOT_UNKNOWN. */
  removeSnapshot(id: string, c: Context): Promise<ListedSnapshot>;
  /**
   * Makes a disk that is there a volume, and never formats it. Errors: IMPORT_REFUSED with the reason, VOLUME_EXISTS.
   */
  import(request: ImportRequest, c: Context): Promise<ListedVolume>;
  /** Ends what a crash in a snapshot has left: nobody could write at `target`. Answers whether it was so. */
  thaw(target: string, c: Context): Promise<boolean>;
}

/**
 * A kind of volume. The driver keeps records, references and locks; a back-end makes, finds, mounts and removes. Every
 * call may be repeated after a crash and then finishes or joins what was begun; calls for one volume never overlap.
 *
 * Errors of every call with I/O: BACKEND_UNREACHABLE (retry with back-off; the outcome is open), BACKEND_AUTH,
 * BACKEND_PERMISSION (names the right that is missing), STILL_WORKING, DEADLINE.
 */
export interface Backend {
  /** The value of `-o type=`. */
  readonly type: string;
  readonly schema: Schema;
  /** Gets to work: who this host is, what it may. Repeated until it succeeds; no other call but `close` comes before. */
  start(c: Context): Promise<void>;
  /** Every volume of this type in the cluster: the truth. A volume that is not in a complete answer does not exist. */
  list(c: Context): Promise<readonly ListedVolume[]>;
  /**
   * Looks one name up in the truth, past every cache. Undefined is confirmed absence; anything less is an error.
   */
  find(name: string, c: Context): Promise<ListedVolume | undefined>;
  /** What tells a volume that this making has made from any other. Absent where nothing can come late of a making. */
  origin?(name: string, making: string): string;
  /**
   * Removes what this making has made and nobody has used, and nothing else that has the name. There where `origin` is. Errors:
   * those of `remove`.
   */
  discard?(name: string, making: string, c: Context): Promise<void>;
  /** Makes the volume; succeeds with the existing one's handle when the same was made already. Errors: VOLUME_EXISTS. */
  create(spec: NewVolume, c: Context): Promise<Volume>;
  /**
   * Did the last `create` of this making fail before it had begun anything that could become the volume? Then the volume is
   * not promised any more, though the reason may go away. Absent where that is never known.
   */
  nothingOf?(name: string, making: string): boolean;
  /**
   * Brings the volume to this host and mounts it at `target`, an empty folder; when it is mounted there already,
   * verifies that. Errors: VOLUME_BUSY (names the host that has it and its containers' number), FORMAT_REFUSED, FILESYSTEM_DAMAGED, …
   */
  mount(volume: Volume, target: string, c: Context): Promise<Mounted>;
  /** Writes out and unmounts; nothing of this host uses the volume afterwards. Errors: VOLUME_IN_USE. */
  unmount(volume: Volume, target: string, c: Context): Promise<void>;
  /** Lets other hosts have it: detaches. Comes after `unmount`, in the background, and is repeated until it succeeds. */
  leave(volume: Volume, c: Context): Promise<void>;
  /**
   * Takes a volume away from another host on an operator's word that this host is dead: `host` is its name, as the
   * operator has typed it. Succeeds when nobody has the volume. Errors: VOLUME_BUSY when another one has it, or when it is
   * known to run; VOLUME_IN_USE when it is this host. Absent where volumes are on several hosts at a time.
   */
  fence?(volume: Volume, host: string, c: Context): Promise<void>;
  /**
   * The earlier generations of a volume that moved between zones. With the number of one: removes it and those before it,
   * and answers them. Errors: OPTION_INVALID when no such one is retired. Absent where volumes do not move.
   */
  retire?(volume: Volume, last: number | undefined, c: Context): Promise<readonly RetiredDisk[]>;
  /**
   * An earlier life of the plugin has mounted the volume, and containers may use it, also when it is not at its target any
   * more: it is looked after from now on. Answers at once; may come before `start` has succeeded. Absent where nothing has
   * to be done for what is mounted.
   */
  resume?(volume: Volume, mounted: EarlierMount): void;
  /**
   * Is what the volume is on there, now that it is mounted here and handed out once more? Who gets it looks into it at
   * once, and would hang. Errors: SHARE_SILENT. Absent where nothing hangs.
   */
  reach?(volume: Volume, c: Context): Promise<void>;
  /** What a Mount that goes on is at, in words; undefined: nothing that takes long. */
  progress?(volume: string): string | undefined;
  /**
   * Why what is mounted here does not belong to this host any more, as far as the last `list` or `find` tells; undefined:
   * it does, or nothing is known. `since`: epoch milliseconds of the mounting; what was read before that tells nothing.
   */
  lost?(volume: string, mounted: { readonly epoch?: number; readonly since: number }): string | undefined;
  /** Keeps whoever uses what is mounted at `target` from writing to it, at once and for good. */
  cutOff?(target: string, c: Context): Promise<void>;
  /** Absent where volumes are neither resized nor copied. */
  readonly dayTwo?: DayTwo;
  /**
   * So many containers have the volume on this host now: to be told to other hosts, which name it to whoever is refused the
   * volume. Answers at once; what becomes of it is nobody's concern. Absent where volumes are on several hosts at a time.
   */
  tellHolds?(volume: Volume, count: number): void;
  /** What `docker volume rm` does, by the volume's `on-remove`. Succeeds when there is none. Errors: VOLUME_BUSY. */
  remove(volume: VolumeRemoval, c: Context): Promise<void>;
  /**
   * Details for `docker volume inspect`, from what is known here: no I/O that can hang. `target`: where it is mounted here.
   */
  status(volume: Volume, target?: string): Readonly<Record<string, string | number | boolean>>;
  close(): Promise<void>;
}
