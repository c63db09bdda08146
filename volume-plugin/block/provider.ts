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

export type DiskState = 'creating' | 'available' | 'attaching' | 'attached' | 'detaching' | 'deleting' | 'failed';

/** A disk that belongs to a volume. */
export interface Disk {
  readonly id: string;
  /** The volume's name, from the disk's tag. */
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  readonly state: DiskState;
  readonly zone?: string;
  /** The host that has it, or is getting it or giving it up. */
  readonly holder?: { readonly id: string; readonly name: string };
  /** What the kernel of the holder shows as the disk's serial number. */
  readonly serial: string;
  /** The disk was made from a snapshot or copied: it has data. */
  readonly fromSnapshot?: string;
  /** Tags of ours, names without their prefix: `options`, `formatted`, `epoch`, `generation`, `created`, … */
  readonly tags: Readonly<Record<string, string>>;
  /** ISO time. */
  readonly created: string;
}

/** What is asked of `create`. */
export interface DiskRequest {
  readonly volume: string;
  /** Bytes. */
  readonly size: number;
  readonly zone?: string;
  readonly snapshot?: string;
  readonly tags: Readonly<Record<string, string>>;
}

/** What became of a host that has a disk. Only `stopped` and `gone` let another host take it. */
export type HostFate = 'alive' | 'stopped' | 'gone' | 'unknown';

/**
 * Where disks come from. Its exclusive attach is the lock between hosts: a disk is attached to one host at most.
 * Calls are steps: `attach` and `detach` answer when the provider has taken the request; `describe` says how it went.
 *
 * Errors of every call with I/O: BACKEND_UNREACHABLE (the outcome of a writing call is open), BACKEND_AUTH,
 * BACKEND_PERMISSION, BACKEND_THROTTLED, DEADLINE.
 */
export interface DiskProvider {
  readonly name: string;
  /** Says who this host is. */
  start(c: Context): Promise<DiskHost>;
  /** Every disk of the cluster, by its tags. */
  list(c: Context): Promise<readonly Disk[]>;
  /** The disk as it is now; undefined when it does not exist. Calls at the same time are sent as one. */
  describe(id: string, c: Context): Promise<Disk | undefined>;
  /** Makes a disk, or answers the one that the same `token` made. Errors: DISK_QUOTA. */
  create(request: DiskRequest, token: string, c: Context): Promise<Disk>;
  /** Begins to attach the disk to this host. Errors: VOLUME_BUSY. */
  attach(id: string, c: Context): Promise<void>;
  /** Begins to detach it from a host; succeeds when it is not attached there. Never by force. */
  detach(id: string, host: string, c: Context): Promise<void>;
  /** The device of an attached disk on this host, found by serial number; undefined while there is none. */
  device(disk: Disk, c: Context): Promise<string | undefined>;
  fate(host: string, c: Context): Promise<HostFate>;
  /** Sets tags; those with an undefined value are removed. There is no compare-and-set. */
  tag(id: string, tags: Readonly<Record<string, string | undefined>>, c: Context): Promise<void>;
  /** Removes a disk that is attached nowhere; succeeds when it is gone. */
  remove(id: string, c: Context): Promise<void>;
  close(): Promise<void>;
}
