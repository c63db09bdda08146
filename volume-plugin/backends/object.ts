import { join } from 'node:path';
import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { EngineOptions } from '../engine/wire.ts';
import { ShareNotes } from '../nfs/share-notes.ts';
import { addUser, removeUser } from '../nfs/users.ts';
import type {
  Backend,
  DayTwo,
  EarlierMount,
  ListedVolume,
  Mounted,
  NewVolume,
  Volume,
  VolumeRemoval,
} from './backend.ts';
import { fenceVolume } from './fencing.ts';
import { Fruitless } from './fruitless.ts';
import { type BucketSettings, withKeys } from './object-bucket.ts';
import { ObjectBuckets, type OpenBucket, type Stores } from './object-buckets.ts';
import { objectDayTwo } from './object-day-two.ts';
import { DeadMounts } from './object-dead-mounts.ts';
import { type EngineRunner, ObjectEngines } from './object-engines.ts';
import { objectListing } from './object-listing.ts';
import { findBucket, makeObjectVolume } from './object-making.ts';
import { OBJECT_OPTIONS, prefixOf, readObjectOptions, wishesOf } from './object-options.ts';
import type { ObjectParts } from './object-parts.ts';
import { type FoundRecord, findRecord } from './object-records.ts';
import { adoptRemoval, removeObjectVolume } from './object-removing.ts';
import { objectStatus } from './object-status.ts';
import { BUCKET_LEASE_TIMES } from './object-times.ts';
import { type HostParts, Writers, type WritersParts } from './writers.ts';

export interface ObjectBackendOptions extends HostParts {
  readonly settings: BucketSettings & { readonly objectCache: number };
  readonly stores: Stores;
  readonly runner: EngineRunner;
  /** On the host's disk; of this host alone. */
  readonly folder: string;
  /** What `docker volume rm` does with the objects of a volume which does not say. */
  readonly onRemove: 'delete' | 'retain';
  /** For tests. */
  readonly times?: WritersParts['times'];
}

const REMOVAL_MS = 10 * 60_000;
/** For taking a dead mount away. */
const DROP_MS = 10_000;
const RETRY = { firstMs: 5_000, longestMs: 300_000 } as const;

/** Volumes that are objects of a bucket below a prefix, as a file system that an engine of ours is, on any number of hosts. */
export class ObjectBackend implements Backend {
  readonly type = 'object';
  readonly schema = OBJECT_OPTIONS;
  readonly dayTwo: DayTwo = objectDayTwo;
  readonly #options: ObjectBackendOptions;
  readonly #parts: ObjectParts;
  readonly #dead = new DeadMounts();
  readonly #fruitless = new Fruitless();
  /** The uuid of what is mounted at a target. */
  readonly #mounts = new Map<string, string>();
  readonly #removing = new Set<string>();
  #draining = false;

  constructor(options: ObjectBackendOptions) {
    const { settings, stores, runner, host, folder, onRemove, onLost, life, times = BUCKET_LEASE_TIMES } = options;
    const notes = new ShareNotes(join(folder, 'buckets'));
    const buckets = new ObjectBuckets({ settings, stores, notes });
    const listing = objectListing(buckets, notes);
    const engines = new ObjectEngines(join(folder, 'engines'), runner, {
      log: life.log,
      onDead: (volume, device) => this.#dead.add(volume, device),
    });
    const kill = async ({ target }: EarlierMount, c: Context): Promise<void> => {
      const uuid = this.#mounts.get(target);
      if (uuid !== undefined) await engines.cutOff(uuid, c);
    };
    const writers = new Writers({ host, onLost, life, times, kill });
    this.#options = options;
    this.#parts = { buckets, notes, listing, engines, writers, host, onRemove };
  }

  async start(c: Context): Promise<void> {
    await this.#parts.notes.load(c.log);
    // Wrong settings are said here.
    await this.#parts.buckets.forgetEmpty();
    if (!this.#draining) void this.#drainLeftovers();
    this.#draining = true;
  }

  async list(c: Context): Promise<readonly ListedVolume[]> {
    return await this.#parts.listing.list(c, (bucket, all) => {
      for (const found of all) if (found.record.removing !== undefined) this.#adopt(bucket, found);
    });
  }

  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    return await this.#parts.listing.find(name, c);
  }

  async create(spec: NewVolume, c: Context): Promise<Volume> {
    const place = await this.#fruitless.watch(spec, () => findBucket(this.#parts, spec, c));
    return await makeObjectVolume(this.#parts, spec, place, c);
  }

  nothingOf(name: string, making: string): boolean {
    return this.#fruitless.has(name, making);
  }

  async mount(volume: Volume, target: string, c: Context): Promise<Mounted> {
    const { engines, writers } = this.#parts;
    const { name, handle } = volume;
    const options = readObjectOptions(volume);
    const on = await this.#bucketOf(volume, c);
    this.#mounts.set(target, handle['uuid'] ?? '');
    const isLeased = options.access === 'single-writer';
    const epoch = isLeased ? await writers.take(name, leased(on), c) : undefined;
    // Before it is looked for: who removes it now either sees that, or has said so already.
    await this.#tellUse(volume, on, c);
    await this.#confirm(volume, on, c);
    const mounted = await engines.mount(await this.#engineOptions(volume, on, c), target, c);
    if (isLeased) writers.mounted(name, { target, ...mounted });
    return { ...mounted, ...(epoch !== undefined && { epoch }) };
  }

  async reach(volume: Volume, c: Context): Promise<void> {
    for (const [target, uuid] of this.#mounts) {
      if (uuid === volume.handle['uuid']) await this.#parts.engines.dropDead(uuid, volume.name, target, c);
    }
  }

  async unmount(volume: Volume, target: string, c: Context): Promise<void> {
    await this.#parts.engines.unmount(volume.handle['uuid'] ?? '', volume.name, target, c);
  }

  async leave(volume: Volume, c: Context): Promise<void> {
    const { engines, writers, host } = this.#parts;
    const { name, options, handle } = volume;
    const uuid = handle['uuid'] ?? '';
    await engines.leave(uuid, name, c);
    for (const [target, mounted] of this.#mounts) if (mounted === uuid) this.#mounts.delete(target);
    const on = await this.#bucketOf(volume, c);
    if (options['readonly'] !== 'true') await removeUser(on.files, name, host, c);
    if (options['access'] === 'single-writer') await writers.release(name, leased(on), c);
  }

  resume(volume: Volume, mounted: EarlierMount): void {
    const { engines, writers } = this.#parts;
    const { life } = this.#options;
    const uuid = volume.handle['uuid'] ?? '';
    if (!engines.isAlive(uuid)) {
      const c = newContext(life.log, DROP_MS, life);
      engines.dropDead(uuid, volume.name, mounted.target, c).catch((error: unknown) => {
        life.log.warn('a dead mount could not be taken away', { volume: volume.name, error: asPluginError(error) });
      });
      return;
    }
    this.#mounts.set(mounted.target, uuid);
    if (volume.options['access'] !== 'single-writer') return;
    void writers.resume(volume.name, mounted, async (c) => leased(await this.#bucketOf(volume, c)));
  }

  async fence(volume: Volume, host: string, c: Context): Promise<void> {
    const bucket = volume.handle['bucket'];
    if (bucket === undefined) return;
    await fenceVolume(this.#parts, volume, host, leased(await this.#parts.buckets.open(bucket, c)), c);
  }

  lost(volume: string): string | undefined {
    return this.#parts.writers.lost(volume);
  }

  cutOff(target: string, c: Context): Promise<void> {
    return this.#parts.writers.cutOff(target, c);
  }

  progress(volume: string): string | undefined {
    return this.#parts.writers.progress(volume) ?? this.#parts.engines.progress(volume);
  }

  async remove(volume: VolumeRemoval, c: Context): Promise<void> {
    await removeObjectVolume(this.#parts, volume, c);
  }

  status(volume: Volume): Readonly<Record<string, string | number | boolean>> {
    return objectStatus(this.#parts, volume, this.#dead.of(volume.name));
  }

  async close(): Promise<void> {
    // Before what it needs is closed: other hosts are told.
    await this.#parts.writers.close();
    await this.#parts.notes.flush();
    await this.#parts.buckets.close();
  }

  /** Volumes that only this host can see the use of need tell nobody: nobody can write to their bucket. */
  async #tellUse({ name, options }: Volume, { files }: OpenBucket, c: Context): Promise<void> {
    if (options['readonly'] === 'true') return;
    await addUser(files, name, this.#parts.host, c);
  }

  /** What is known here of a volume may be behind: another host may have removed it, and made it anew. */
  async #confirm({ name, handle }: Volume, { id, files }: OpenBucket, c: Context): Promise<void> {
    const found = await findRecord(files, name, c);
    if (found === undefined && this.#parts.listing.localOf(id, name) !== undefined) return;
    if (found === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    const { removing, damage, uuid } = found.record;
    if (removing !== undefined) throw new PluginError('VOLUME_REMOVING', { volume: name, holder: removing.host });
    if (damage !== undefined || uuid === handle['uuid']) return;
    const reason = 'another host has made it anew; this host knows it in a moment';
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason });
  }

  async #engineOptions(volume: Volume, { id }: OpenBucket, c: Context): Promise<EngineOptions> {
    const { settings, host, life } = this.#options;
    const options = readObjectOptions(volume);
    return {
      ...{ format: 1, volume: volume.name, uuid: volume.handle['uuid'] ?? '', host },
      bucket: id,
      store: await this.#parts.buckets.describe(id, wishesOf(options), c),
      prefix: prefixOf(volume),
      ...{ readonly: options.readonly, access: options.access, consistency: options.consistency },
      ...{ durability: options.durability, attributes: options.attributes, uid: options.uid, gid: options.gid },
      fileMode: Number.parseInt(options['file-mode'], 8),
      dirMode: Number.parseInt(options['dir-mode'], 8),
      ...{ cacheBytes: options.cache ?? settings.objectCache, memoryBytes: options.memory, retryMs: options.retry },
      logLevel: life.log.level,
    };
  }

  async #bucketOf({ name, handle }: Volume, c: Context): Promise<OpenBucket> {
    if (handle['bucket'] !== undefined && handle['uuid'] !== undefined) {
      return await this.#parts.buckets.open(handle['bucket'], c);
    }
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason: 'it is not known which bucket it is in' });
  }

  #isMounted(uuid: string): boolean {
    return [...this.#mounts.values()].includes(uuid);
  }

  #adopt(bucket: OpenBucket, found: FoundRecord): void {
    const { life } = this.#options;
    const { name } = found.record;
    if (this.#removing.has(name)) return;
    this.#removing.add(name);
    adoptRemoval(this.#parts, bucket, found, newContext(life.log, REMOVAL_MS, life))
      .catch((error: unknown) => {
        life.log.warn('a removal that was given up is not finished yet', { volume: name, error: asPluginError(error) });
      })
      .finally(() => this.#removing.delete(name));
  }

  /** What engines that are gone have left on this host's disk is brought to its buckets, one volume after the other. */
  async #drainLeftovers(): Promise<void> {
    const { life } = this.#options;
    const { engines } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      const left = await engines.leftovers().catch((error: unknown) => {
        life.log.warn('it is not known what waits for its bucket', { error: asPluginError(error) });
        return [];
      });
      if (left.length === 0 || life.signal.aborted) return;
      for (const options of left) {
        const { volume } = options;
        try {
          await this.#drainOne(options, life);
        } catch (error) {
          if (life.signal.aborted) return;
          life.log.warn('what waits for its bucket is not there yet', { volume, error: asPluginError(error) });
        }
      }
      await sleep(pauseMs(attempt, RETRY), life).catch(() => undefined);
    }
  }

  async #drainOne(options: EngineOptions, c: Context): Promise<void> {
    const { engines, writers, buckets } = this.#parts;
    const { volume, uuid, access, store, bucket } = options;
    // A Mount that has come meanwhile has an engine, which does the same.
    if (engines.isAlive(uuid) || this.#isMounted(uuid)) return;
    const on = await buckets.open(bucket, c);
    const found = await findRecord(on.files, volume, c);
    if (found?.record.damage === undefined && found?.record.uuid !== uuid) {
      c.log.warn('what waited for the bucket of a volume that was removed is given up', { volume });
      await engines.forget(uuid, c);
      return;
    }
    const drain = (): Promise<void> =>
      engines.drainLeftover({ ...options, store: withKeys(store, this.#options.settings) }, c);
    if (access !== 'single-writer') return await drain();
    await writers.take(volume, leased(on), c);
    try {
      await drain();
    } finally {
      if (!this.#isMounted(uuid)) await writers.release(volume, leased(on), c);
    }
  }
}

const leased = ({ id, files }: OpenBucket) => ({ share: { id }, files });
