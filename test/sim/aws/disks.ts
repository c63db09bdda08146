/** What tests can do to the volumes of a simulated AWS, beside its API. */
import type { Ids } from '../core/ids.ts';
import type { DiskTimes } from '../core/media.ts';
import type { Attachment, Snapshot, Storage, Tags, Volume } from './storage.ts';
import type { World } from './world.ts';

export class Disks {
  readonly #storage: Storage;
  readonly #world: World;
  readonly #ids: Ids;

  constructor(storage: Storage, world: World, ids: Ids) {
    this.#storage = storage;
    this.#world = world;
    this.#ids = ids;
  }

  /** How long states last from now on; what is left out stays. Infinite: for ever. */
  set times(times: Partial<DiskTimes>) {
    this.#storage.times = { ...this.#storage.times, ...times };
  }

  get times(): DiskTimes {
    return this.#storage.times;
  }

  /** A volume that somebody else has made; GiB. */
  volume(request: { readonly zone?: string; readonly size?: number; readonly tags?: Tags } = {}): Volume {
    const { zone = `${this.#world.region}a`, size = 1, tags = {} } = request;
    const shape = { size, type: 'gp3', iops: 3000, throughput: 125 };
    return this.#storage.create({ ...shape, zone, tags, encrypted: false, key: undefined, snapshot: undefined });
  }

  /** The truth: what writes see. */
  volumes(): Volume[] {
    return this.#storage.volumes.entries().map(([, one]) => one);
  }

  snapshots(): Snapshot[] {
    return this.#storage.snapshots.entries().map(([, one]) => one);
  }

  /** Attaches a volume to an instance as somebody at the console would. */
  attach(volume: string, instance: string, device = '/dev/sdz'): Attachment {
    return this.#storage.attach(volume, this.#world.instance(instance).id, device);
  }

  /** By force: the machine is not asked. */
  detach(volume: string): void {
    this.#storage.detach(volume, true);
  }

  /** Its machine has it mounted, or not any more: it does not let it go meanwhile. */
  mounted(volume: string, is: boolean): void {
    if (is) this.#storage.mounted.add(volume);
    else this.#storage.mounted.delete(volume);
  }

  /** The state `error`, as after a failure of the hardware. */
  breakDown(volume: string): void {
    this.#storage.volumes.change(volume, { state: 'error' });
  }

  /** A key of KMS that volumes can be encrypted with. */
  key(): string {
    const { partition, region, account } = this.#world;
    const arn = `arn:${partition}:kms:${region}:${account}:key/${this.#ids.uuid()}`;
    this.#storage.keys.add(arn);
    return arn;
  }

  /** A machine image is made of a snapshot. */
  image(snapshot: string): void {
    this.#storage.images.add(snapshot);
  }
}
