import type { Context } from '../../shared/context.ts';

/** Who this host is to the provider of disks. */
export interface DiskHost {
  /** The provider's id of the host: an instance id, a host's random id. */
  readonly id: string;
  /** Name for people. */
  readonly name: string;
  /** Disks can only be attached in the zone that they are in; absent where there are no zones. */
  readonly zone?: string;
}

/** Tags of ours, names without their prefix. */
export type DiskTags = Readonly<Record<string, string>>;

export type DiskState = 'creating' | 'available' | 'attaching' | 'attached' | 'detaching' | 'deleting' | 'failed';

/** A disk that belongs to a volume. */
export interface Disk {
  readonly id: string;
  /** The volume's name, from the disk's tag. Several generations of one volume may be there while it moves. */
  readonly volume: string;
  /** Bytes. While a disk grows: what its holder's kernel is sure to show at least. */
  readonly size: number;
  readonly state: DiskState;
  readonly zone?: string;
  /** The host that has it, or is getting it or giving it up. */
  readonly holder?: { readonly id: string; readonly name: string };
  /** What the kernel of the holder shows as the disk's serial number. */
  readonly serial: string;
  /** The disk was made from a snapshot or copied: it has data. */
  readonly fromSnapshot?: string;
  /** `options`, `uuid`, `formatting`, `formatted`, `imported`, `epoch`, `generation`, … */
  readonly tags: DiskTags;
  /** ISO time. */
  readonly created: string;
}

/** What a disk shall be like, beyond its size. A provider that has no such thing refuses it in `check`. */
export interface DiskTraits {
  /** The provider's own word: `gp3`, `io2`, `cloud_essd`. */
  readonly kind?: string;
  readonly iops?: number;
  /** MiB/s. */
  readonly throughput?: number;
  readonly encrypted?: boolean;
  /** The id or ARN of a key of the provider's key service. */
  readonly key?: string;
  /** Tags of the user's own, beside ours. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What is asked of `create`. */
export interface DiskRequest extends DiskTraits {
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  readonly zone?: string;
  /** Id of the snapshot whose data it begins with. */
  readonly snapshot?: string;
  readonly tags: DiskTags;
}

/** A copy of what was on a disk at one moment. */
export interface Snapshot {
  readonly id: string;
  /** The volume that it was taken of. */
  readonly volume: string;
  readonly disk: string;
  /** Bytes of the disk at that moment. */
  readonly size: number;
  readonly state: 'pending' | 'ready' | 'failed';
  /** Percent of it that is written. */
  readonly progress: number;
  readonly tags: DiskTags;
  /** ISO time. */
  readonly created: string;
}

/** Any disk that the provider knows, ours or not. */
export interface AnyDisk {
  readonly id: string;
  /** What people call it, where it has a name. */
  readonly name?: string;
  /** Bytes. */
  readonly size: number;
  readonly zone?: string;
  /** The volume that it belongs to already. */
  readonly volume?: string;
  /** In words: who has it. */
  readonly holder?: string;
}

/** What became of a host that has a disk. Only `stopped` and `gone` let another host take it. */
export type HostFate = 'alive' | 'stopped' | 'gone' | 'unknown';

/**
 * Where disks come from. Its exclusive attach is the lock between hosts: a disk is attached to one host at most.
 * Calls are steps: `attach`, `detach`, `resize` and `snapshot` answer when the provider has taken the request;
 * `describe` says how it went.
 *
 * A token makes a repeated call answer with what the first one made. A token whose making has failed may be burned:
 * callers then go on with another one. Tokens are those of one cluster: what is made for another one is another's.
 *
 * Errors of every call with I/O: BACKEND_UNREACHABLE (the outcome of a writing call is open), BACKEND_AUTH,
 * BACKEND_PERMISSION, BACKEND_THROTTLED, DEADLINE.
 */
export interface DiskProvider {
  readonly name: string;
  /** What one host has written every other one sees at once. */
  readonly isPrompt?: true;
  /** Says who this host is. */
  start(c: Context): Promise<DiskHost>;
  /** Every disk of the cluster, by its tags; those of one volume when it is named. */
  list(c: Context, volume?: string): Promise<readonly Disk[]>;
  /** The disk as it is now; undefined when it does not exist or is no volume's. Calls at the same time are sent as one. */
  describe(id: string, c: Context): Promise<Disk | undefined>;
  /** Refuses what this provider has not, or cannot make of this size. Errors: OPTION_INVALID. */
  check(request: DiskRequest): void;
  /**
   * Makes a disk, or answers the one that the same `token` made. Errors: DISK_QUOTA, BACKEND_REFUSED (there is no such
   * snapshot, …), TOKEN_BURNED (also when what the token made is gone, or another volume's or nobody's by now).
   */
  create(request: DiskRequest, token: string, c: Context): Promise<Disk>;
  /** Begins to attach the disk to this host. Errors: VOLUME_BUSY, ATTACH_LIMIT. */
  attach(id: string, c: Context): Promise<void>;
  /** Begins to detach it from a host; succeeds when it is not attached there. Never by force. */
  detach(id: string, host: string, c: Context): Promise<void>;
  /** The device of an attached disk on this host, found by serial number; undefined while there is none. */
  device(disk: Disk, c: Context): Promise<string | undefined>;
  fate(host: string, c: Context): Promise<HostFate>;
  /**
   * Begins to make the disk larger, attached or not. Succeeds when it is that large. Errors: DISK_MISSING, DISK_QUOTA,
   * BACKEND_REFUSED.
   */
  resize(id: string, bytes: number, c: Context): Promise<void>;
  /** Sets tags of a disk or a snapshot; those with an undefined value are removed. There is no compare-and-set. */
  tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void>;
  /** Removes a disk that is attached nowhere; succeeds when it is gone. */
  remove(id: string, c: Context): Promise<void>;
  /**
   * Begins a snapshot: what is on the disk when this answers is in it, what is written later is not. Errors: DISK_MISSING,
   * DISK_QUOTA, TOKEN_BURNED.
   */
  snapshot(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot>;
  /** Every snapshot of the cluster, by its tags; those of one volume when it is named. */
  snapshots(c: Context, volume?: string): Promise<readonly Snapshot[]>;
  /** Undefined when it does not exist. */
  describeSnapshot(id: string, c: Context): Promise<Snapshot | undefined>;
  /** Succeeds when it is gone. */
  removeSnapshot(id: string, c: Context): Promise<void>;
  /** Disks by an id, or by the name that people or other drivers gave them: ours and others'. */
  search(idOrName: string, c: Context): Promise<readonly AnyDisk[]>;
  /**
   * Makes a disk a volume's; its tags of ours are these and no others afterwards. Its id may be another one from then on.
   * Errors: DISK_MISSING, VOLUME_EXISTS when it belongs to another volume.
   */
  adopt(id: string, volume: string, tags: DiskTags, c: Context): Promise<Disk>;
  /**
   * Lets a disk go: it is kept, and belongs to no volume; `search` finds it by the volume's name. Succeeds when it does
   * not exist or is no volume's. Errors: VOLUME_BUSY while a host has it.
   */
  release(id: string, c: Context): Promise<void>;
  close(): Promise<void>;
}
