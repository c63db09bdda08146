/** The volumes and snapshots of the simulated account, and what happens to them after a request was answered. */
import { Background } from '../core/background.ts';
import type { Clock } from '../core/clock.ts';
import type { Ids } from '../core/ids.ts';
import { LaggedMap } from '../core/lagged-map.ts';
import { type DiskTimes, type Media, type MediaDisk, progressOf } from '../core/media.ts';

export type Tags = Readonly<Record<string, string>>;

export interface Attachment {
  readonly instance: string;
  readonly device: string;
  readonly state: 'attaching' | 'attached' | 'busy' | 'detaching';
  readonly since: number;
  readonly deleteOnTermination: boolean;
}

export interface Modification {
  readonly state: 'modifying' | 'optimizing' | 'completed';
  readonly started: number;
  readonly ended?: number;
  readonly original: VolumeShape;
  readonly target: VolumeShape;
}

export interface VolumeShape {
  /** GiB. */
  readonly size: number;
  readonly type: string;
  readonly iops: number | undefined;
  readonly throughput: number | undefined;
}

/** Never changed in place: readers see old ones for a while. */
export interface Volume extends VolumeShape {
  readonly id: string;
  readonly zone: string;
  readonly encrypted: boolean;
  readonly key: string | undefined;
  readonly snapshot: string | undefined;
  readonly state: 'creating' | 'available' | 'in-use' | 'deleting' | 'error';
  readonly attachment: Attachment | undefined;
  readonly modification: Modification | undefined;
  readonly created: number;
  readonly tags: Tags;
}

export interface Snapshot {
  readonly id: string;
  readonly volume: string;
  /** GiB. */
  readonly size: number;
  readonly state: 'pending' | 'completed';
  readonly started: number;
  readonly encrypted: boolean;
  readonly description: string;
  readonly tags: Tags;
}

const GIB = 2 ** 30;

export const mediaDisk = ({ id, size }: Pick<Volume, 'id' | 'size'>): MediaDisk => ({
  id,
  serial: id.replace('-', ''),
  bus: 'nvme',
  bytes: size * GIB,
});

export class Storage {
  readonly volumes: LaggedMap<Volume>;
  readonly snapshots: LaggedMap<Snapshot>;
  /** Keys of KMS that volumes may be encrypted with. */
  readonly keys = new Set<string>();
  /** Snapshots that an image is made of: they cannot be deleted. */
  readonly images = new Set<string>();
  /** Volumes that their machine has mounted, where there is no medium to say so. */
  readonly mounted = new Set<string>();
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #media: Media;
  readonly #background: Background;
  /** Instances whose machine is on. */
  readonly #isOn: (instance: string) => boolean;
  times: DiskTimes;

  constructor(parts: {
    readonly clock: Clock;
    readonly ids: Ids;
    readonly lag: () => number;
    readonly media: Media;
    readonly times: DiskTimes;
    readonly isOn: (instance: string) => boolean;
  }) {
    const { clock, ids, lag, media, times, isOn } = parts;
    this.#clock = clock;
    this.#ids = ids;
    this.#media = media;
    this.#background = new Background(clock, media);
    this.#isOn = isOn;
    this.times = times;
    this.volumes = new LaggedMap(clock, lag);
    this.snapshots = new LaggedMap(clock, lag);
  }

  /** What the medium could not do. */
  failures(): unknown[] {
    return this.#background.failures();
  }

  /** In use and attached to this instance, in whatever state. */
  of(instance: string): Volume[] {
    return this.volumes.entries().flatMap(([, one]) => (one.attachment?.instance === instance ? [one] : []));
  }

  /** `failed`: what is to be done instead of making it available, as when its key cannot be used: it vanishes again. */
  create(
    request: Omit<Volume, 'id' | 'state' | 'attachment' | 'modification' | 'created'>,
    failed?: () => void,
  ): Volume {
    const volume: Volume = {
      ...request,
      ...{ id: this.#ids.of('vol'), state: 'creating', created: this.#clock.now() },
      ...{ attachment: undefined, modification: undefined },
    };
    const { id } = volume;
    this.volumes.set(id, volume);
    this.#background.onMedia(
      this.times.createMs,
      () => this.#media.create(mediaDisk(volume), request.snapshot),
      () => {
        if (this.volumes.get(id)?.state !== 'creating') return;
        if (failed === undefined) {
          this.volumes.change(id, { state: 'available' });
          return;
        }
        this.volumes.delete(id);
        failed();
      },
    );
    return volume;
  }

  delete(id: string): void {
    this.volumes.change(id, { state: 'deleting' });
    this.#background.onMedia(
      this.times.deleteMs,
      () => this.#media.remove(id),
      () => this.volumes.delete(id),
    );
  }

  attach(id: string, instance: string, device: string): Attachment {
    const since = this.#clock.now();
    const attachment: Attachment = { instance, device, state: 'attaching', since, deleteOnTermination: false };
    this.volumes.change(id, { state: 'in-use', attachment });
    const volume = this.volumes.get(id);
    const plug = async (): Promise<void> => {
      if (volume !== undefined && this.#isOn(instance)) await this.#media.attach(mediaDisk(volume), instance);
    };
    this.#background.onMedia(this.times.attachMs, plug, () => {
      // Unless it was asked to be detached, or its instance has ended, meanwhile.
      if (this.volumes.get(id)?.attachment !== attachment) return;
      this.volumes.change(id, { attachment: { ...attachment, state: 'attached' } });
    });
    return attachment;
  }

  /** Until the machine lets it go; `force`: it is pulled out of the machine. */
  detach(id: string, force: boolean): Attachment | undefined {
    const attachment = this.volumes.get(id)?.attachment;
    if (attachment === undefined) return undefined;
    const detaching: Attachment = { ...attachment, state: 'detaching' };
    this.volumes.change(id, { attachment: detaching });
    this.#ask(id, detaching, force, this.times.detachMs);
    return detaching;
  }

  /** The machine of an instance stops; then its disks stay with it, or, when it has ended, are let go. */
  stop(instance: string, how: 'stop' | 'terminate', then: () => void): void {
    this.#background.onMedia(
      this.times.stopMs,
      () => this.#media.stop(instance, how),
      () => {
        then();
        if (how === 'stop') return;
        for (const { id, attachment } of this.of(instance)) {
          if (attachment?.deleteOnTermination === true) this.delete(id);
          else this.detach(id, true);
        }
      },
    );
  }

  /** Its machine is on again, with its disks. */
  start(instance: string, then: () => void): void {
    const disks = this.of(instance).flatMap((one) => (one.attachment?.state === 'detaching' ? [] : [mediaDisk(one)]));
    this.#background.onMedia(0, () => this.#media.start(instance, disks), then);
  }

  modify(id: string, target: VolumeShape): Modification {
    const volume = this.volumes.get(id);
    const { size = 0, type = '', iops, throughput } = volume ?? {};
    const started = this.#clock.now();
    const modification: Modification = {
      ...{ state: 'modifying', started, target },
      original: { size, type, iops, throughput },
    };
    this.volumes.change(id, { modification });
    const grow = (): Promise<void> => this.#media.resize(mediaDisk({ id, size: target.size }));
    this.#background.onMedia(this.times.resizeMs, grow, () => {
      this.volumes.change(id, { ...target, modification: { ...modification, state: 'optimizing' } });
      this.#background.onMedia(this.times.optimizeMs, undefined, () => {
        this.volumes.change(id, { modification: { ...modification, state: 'completed', ended: this.#clock.now() } });
      });
    });
    return modification;
  }

  async snapshot(volume: Volume, description: string, tags: Tags): Promise<Snapshot> {
    const { size, encrypted } = volume;
    const snapshot: Snapshot = {
      ...{ id: this.#ids.of('snap'), volume: volume.id, size, encrypted, description, tags },
      ...{ state: 'pending', started: this.#clock.now() },
    };
    await this.#media.snapshot(volume.id, snapshot.id);
    this.snapshots.set(snapshot.id, snapshot);
    this.#background.onMedia(this.times.snapshotMs, undefined, () =>
      this.snapshots.change(snapshot.id, { state: 'completed' }),
    );
    return snapshot;
  }

  /** Percent. */
  progress({ state, started }: Snapshot): number {
    if (state === 'completed') return 100;
    return progressOf(this.#clock.now() - started, this.times.snapshotMs);
  }

  async deleteSnapshot(id: string): Promise<void> {
    this.snapshots.delete(id);
    await this.#media.removeSnapshot(id);
  }

  /** Asks the machine that has it, again and again until it lets it go. */
  #ask(id: string, asked: Attachment, force: boolean, ms: number): void {
    const isAsked = (): boolean => this.volumes.get(id)?.attachment === asked;
    const unplug = async (): Promise<'done' | 'busy'> => {
      if (!this.#isOn(asked.instance)) return 'done';
      if (this.mounted.has(id) && !force) return 'busy';
      return await this.#media.detach(id, asked.instance, force);
    };
    this.#background.after(ms, undefined, () => {
      this.#background.after(0, unplug, (answer) => {
        if (!isAsked()) return;
        if (answer === 'done') {
          this.mounted.delete(id);
          this.volumes.change(id, { state: 'available', attachment: undefined });
          return;
        }
        const busy: Attachment = { ...asked, state: 'busy' };
        this.volumes.change(id, { attachment: busy });
        this.#ask(id, busy, force, this.times.busyMs);
      });
    });
  }
}
