/**
 * Where the disks of a simulated cloud have their bytes, and which machines they appear in. A simulator keeps states,
 * times and refusals; a medium does what they stand for. Each call resolves when it is done and is awaited by the
 * simulator in the background: a disk is `attaching` until `attach` has resolved and its time is over. A call that
 * rejects leaves the disk as it is for ever, and is told when the simulator is closed.
 *
 * Machines that are stopped are not asked: what is attached to one of them is handed to `start`.
 */
export interface Media {
  /** Makes the bytes of a disk: zeros, or those of a snapshot. */
  create(disk: MediaDisk, snapshot?: string): Promise<void>;
  /** To `disk.bytes`; the machine that has it sees it grow. */
  resize(disk: MediaDisk): Promise<void>;
  remove(disk: string): Promise<void>;
  /** Copies what is on the disk now: the request for the snapshot is answered once this has resolved. */
  snapshot(disk: string, snapshot: string): Promise<void>;
  removeSnapshot(snapshot: string): Promise<void>;
  /** Plugs the disk into the machine of an instance, which runs. */
  attach(disk: MediaDisk, instance: string): Promise<void>;
  /**
   * Asks the machine to let it go: `busy` while it has it mounted and does not; then this is called again, every
   * `busyMs`. Forced: it is pulled out.
   */
  detach(disk: string, instance: string, force: boolean): Promise<'done' | 'busy'>;
  /** The machine stops, or is stopped for ever; afterwards it has no disks, and writes to none. */
  stop(instance: string, how: 'stop' | 'terminate'): Promise<void>;
  /** The machine starts again, with these disks in it. */
  start(instance: string, disks: readonly MediaDisk[]): Promise<void>;
}

export interface MediaDisk {
  readonly id: string;
  /** What the machine's kernel shall show as its serial number. */
  readonly serial: string;
  /** How it is plugged in: as the cloud in question does it. */
  readonly bus: 'nvme' | 'virtio';
  readonly bytes: number;
}

/** No bytes and no machines: for tests of what is said, not of what is stored. */
export const noMedia: Media = {
  create: async () => undefined,
  resize: async () => undefined,
  remove: async () => undefined,
  snapshot: async () => undefined,
  removeSnapshot: async () => undefined,
  attach: async () => undefined,
  detach: async () => 'done',
  stop: async () => undefined,
  start: async () => undefined,
};

/** How long the states of disks last, in milliseconds of the simulator's clock, beyond what the medium takes. */
export interface DiskTimes {
  readonly createMs: number;
  readonly attachMs: number;
  readonly detachMs: number;
  /** Between two questions whether a busy machine lets a disk go. */
  readonly busyMs: number;
  readonly deleteMs: number;
  readonly snapshotMs: number;
  /** Until a disk that grows has its new size. */
  readonly resizeMs: number;
  /** And until it may be changed again, as far as the cloud has such a state. */
  readonly optimizeMs: number;
  /** Until a machine that stops or ends has done so. */
  readonly stopMs: number;
}

/** Percent of something that takes `wholeMs` and is not done yet. */
export const progressOf = (passedMs: number, wholeMs: number): number =>
  Math.min(99, Math.max(0, Math.floor((100 * passedMs) / Math.max(1, wholeMs))));

/** No state lasts: for tests that do not wait. */
export const noTimes: DiskTimes = {
  createMs: 0,
  attachMs: 0,
  detachMs: 0,
  busyMs: 50,
  deleteMs: 0,
  snapshotMs: 0,
  resizeMs: 0,
  optimizeMs: 0,
  stopMs: 0,
};

/** About as long as in the real clouds, for a simulator to play with. */
export const realTimes: DiskTimes = {
  createMs: 2_000,
  attachMs: 2_500,
  detachMs: 3_000,
  busyMs: 2_000,
  deleteMs: 1_000,
  snapshotMs: 20_000,
  resizeMs: 4_000,
  optimizeMs: 60_000,
  stopMs: 15_000,
};
