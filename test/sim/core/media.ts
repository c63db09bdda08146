/**
 * Where the disks of a simulated cloud have their bytes, and which machines they appear in. A simulator keeps states,
 * times and refusals; a medium does what they stand for. Each call resolves when it is done and is awaited by the
 * simulator in the background: a disk is `attaching` until `attach` has resolved and its time is over.
 */
export interface Media {
  /** Makes the bytes of a disk: zeros, or those of a snapshot. */
  create(disk: MediaDisk, snapshot?: string): Promise<void>;
  resize(disk: MediaDisk): Promise<void>;
  remove(disk: string): Promise<void>;
  /** Copies what is on the disk now. */
  snapshot(disk: string, snapshot: string): Promise<void>;
  removeSnapshot(snapshot: string): Promise<void>;
  /** Plugs the disk into the machine of an instance. */
  attach(disk: MediaDisk, instance: string): Promise<void>;
  /** Asks the machine to let it go: `busy` while it has it mounted and does not. Forced: it is pulled out. */
  detach(disk: string, instance: string, force: boolean): Promise<'done' | 'busy'>;
  /** The machine stops, or is stopped for ever: its disks can be taken from it. */
  stop(instance: string, how: 'stop' | 'terminate'): Promise<void>;
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
};
