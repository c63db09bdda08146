import { type Context, cancellable, newContext, throwIfDone } from '../../../shared/context.ts';
import { PluginError } from '../../../shared/errors.ts';
import { KeyedMutex } from '../../../shared/keyed-mutex.ts';
import { silentLogger } from '../../../shared/log.ts';
import { option, type Schema } from '../../../shared/options.ts';
import { MemoryStore, type StateStore } from '../../../shared/state/store.ts';
import { Unattended } from '../../../shared/unattended.ts';
import type { Backend, ListedVolume, Mounted, Volume, VolumeSpec } from '../../../volume-plugin/backends/backend.ts';
import { BackendSet } from '../../../volume-plugin/backends/backend-set.ts';
import { Driver } from '../../../volume-plugin/driver.ts';
import type { DriverDeps, MountFolders, MountTables } from '../../../volume-plugin/parts.ts';
import { Reconciler } from '../../../volume-plugin/reconcile.ts';
import type { VolumeState } from '../../../volume-plugin/state.ts';

/** Stand-ins that keep what they were told: a cluster of volumes, a kernel with mounts, and hosts that come and go. */

export const context = (ms = 10_000): Context => newContext(silentLogger, ms);

export const unreachable = (): PluginError => new PluginError('BACKEND_UNREACHABLE', { provider: 'fake' });

/** The volumes of the cluster, and which host has each. */
export class FakeCluster {
  readonly volumes = new Map<string, ListedVolume>();
  readonly holders = new Map<string, string>();
  /** Names that exist and do not show in lists yet. */
  readonly hidden = new Set<string>();
}

/** What the kernel of a host has mounted; it outlives the plugin. */
export class FakeKernel implements MountTables, MountFolders {
  boot = 'boot-1';
  readonly mounts = new Map<string, { source: string; device: string }>();
  /** Device → containers that have it. */
  readonly containers = new Map<string, Set<string>>();
  readonly folders = new Set<string>();
  blind = false;
  #next = 1;

  at(target: string) {
    return this.mounts.get(target);
  }
  users(device: string, _within?: string): readonly string[] {
    if (this.blind) throw new Error('not visible');
    return [...(this.containers.get(device) ?? [])];
  }
  target(volume: string): string {
    return `/mnt/${volume}`;
  }
  async prepare(volume: string): Promise<void> {
    this.folders.add(volume);
  }
  async remove(volume: string): Promise<void> {
    this.folders.delete(volume);
  }
  mount(target: string, source: string): { source: string; device: string } {
    const found = this.mounts.get(target) ?? { source, device: `259:${this.#next++}` };
    this.mounts.set(target, found);
    return found;
  }
  /** A container has the volume, or has it no more. */
  use(volume: string, container: string): void {
    const device = this.mounts.get(this.target(volume))?.device ?? '';
    this.containers.set(device, (this.containers.get(device) ?? new Set()).add(container));
  }
  end(container: string): void {
    for (const users of this.containers.values()) users.delete(container);
  }
  reboot(boot: string): void {
    this.boot = boot;
    this.mounts.clear();
    this.containers.clear();
  }
}

type Call = 'start' | 'list' | 'find' | 'create' | 'mount' | 'unmount' | 'leave' | 'remove';

export const FAKE_SCHEMA = {
  size: option.size({ help: 'How large.', default: 1 << 30 }),
  fs: option.enum(['ext4', 'xfs'], { help: 'File system.', default: 'ext4' }),
  secret: option.text({ help: 'Hidden.', sensitive: true }),
  az: option.text({ help: 'Zone.' }),
} as const satisfies Schema;

export class FakeBackend implements Backend {
  readonly type: string;
  readonly schema: Schema = FAKE_SCHEMA;
  readonly calls: string[] = [];
  /** What other hosts are to be told: `data 2`. */
  readonly told: string[] = [];
  /** What a call fails with, as long as it is there. */
  readonly failing = new Map<Call, PluginError>();
  /** Fails only after it has had its effect. */
  readonly failingAfter = new Map<Call, PluginError>();
  /** Calls that wait until this is resolved. */
  readonly held = new Map<Call, Promise<void>>();
  /** The mount lands somewhere else than it says. */
  lies = false;
  readonly #cluster: FakeCluster;
  readonly #kernel: FakeKernel;
  readonly #host: string;

  constructor(cluster: FakeCluster, kernel: FakeKernel, host: string, type = 'block') {
    this.#cluster = cluster;
    this.#kernel = kernel;
    this.#host = host;
    this.type = type;
  }

  async #step<T>(call: Call, name: string, c: Context, effect: () => T): Promise<T> {
    this.calls.push(name === '' ? call : `${call} ${name}`);
    const wait = this.held.get(call);
    if (wait !== undefined) {
      const ended = new Promise<never>((_, reject) =>
        c.signal.addEventListener('abort', () => reject(c.signal.reason), { once: true }),
      );
      // Timers of contexts do not keep a process alive.
      const alive = setInterval(() => undefined, 1_000);
      await Promise.race([wait, ended]).finally(() => clearInterval(alive));
    }
    throwIfDone(c);
    const failure = this.failing.get(call);
    if (failure !== undefined) throw failure;
    const result = effect();
    const after = this.failingAfter.get(call);
    if (after !== undefined) throw after;
    return result;
  }

  async start(c: Context): Promise<void> {
    await this.#step('start', '', c, () => undefined);
  }
  async list(c: Context): Promise<readonly ListedVolume[]> {
    return await this.#step('list', '', c, () =>
      [...this.#cluster.volumes.values()].filter(({ name }) => !this.#cluster.hidden.has(name)),
    );
  }
  async find(name: string, c: Context): Promise<ListedVolume | undefined> {
    return await this.#step('find', name, c, () => this.#cluster.volumes.get(name));
  }
  async create({ name, options }: VolumeSpec, c: Context): Promise<Volume> {
    return await this.#step('create', name, c, () => {
      const existing = this.#cluster.volumes.get(name);
      if (existing !== undefined && JSON.stringify(existing.options) !== JSON.stringify(options)) {
        throw new PluginError('VOLUME_EXISTS', { volume: name, differences: 'as the cluster has it' });
      }
      const volume = { name, options, handle: { disk: `disk-${name}` }, created: '2026-01-01T00:00:00Z' };
      this.#cluster.volumes.set(name, existing ?? { ...volume, whereabouts: 'available' });
      return volume;
    });
  }
  async mount({ name }: Volume, target: string, c: Context): Promise<Mounted> {
    return await this.#step('mount', name, c, () => {
      const holder = this.#cluster.holders.get(name);
      if (holder !== undefined && holder !== this.#host) throw new PluginError('VOLUME_BUSY', { volume: name, holder });
      this.#cluster.holders.set(name, this.#host);
      const { source, device } = this.#kernel.mount(this.lies ? `${target}-else` : target, `/dev/${name}`);
      return { source, device, inside: 'data' };
    });
  }
  async unmount({ name }: Volume, target: string, c: Context): Promise<void> {
    await this.#step('unmount', name, c, () => this.#kernel.mounts.delete(target));
  }
  async leave({ name }: Volume, c: Context): Promise<void> {
    await this.#step('leave', name, c, () => {
      if (this.#cluster.holders.get(name) === this.#host) this.#cluster.holders.delete(name);
    });
  }
  async remove({ name }: Volume, c: Context): Promise<void> {
    await this.#step('remove', name, c, () => {
      const holder = this.#cluster.holders.get(name);
      if (holder !== undefined) throw new PluginError('VOLUME_BUSY', { volume: name, holder });
      this.#cluster.volumes.delete(name);
    });
  }
  tellHolds({ name }: Volume, count: number): void {
    this.told.push(`${name} ${count}`);
  }
  status() {
    return { size: '1GiB' };
  }
  async close(): Promise<void> {
    this.calls.push('close');
  }
}

export interface BenchParts {
  readonly cluster?: FakeCluster;
  readonly kernel?: FakeKernel;
  readonly store?: StateStore<VolumeState>;
  readonly host?: string;
  readonly clock?: { now: number };
  /** The back-end fails to start with this. */
  readonly startFailure?: PluginError;
  /** One more back-end. */
  readonly other?: Backend;
}

/** A driver on a host, its back-end started. The same parts again: the plugin after a crash. */
export async function bench(parts: BenchParts = {}) {
  const { cluster = new FakeCluster(), kernel = new FakeKernel(), host = 'host-1', clock = { now: 1e12 } } = parts;
  const store = parts.store ?? new MemoryStore<VolumeState>();
  const backend = new FakeBackend(cluster, kernel, host);
  if (parts.startFailure !== undefined) backend.failing.set('start', parts.startFailure);
  const life = cancellable(newContext(silentLogger, Number.POSITIVE_INFINITY));
  const backends = new BackendSet([backend, ...(parts.other === undefined ? [] : [parts.other])], silentLogger);
  const deps: DriverDeps = {
    ...{ store, backends, log: silentLogger, life: life.context, tables: kernel, folders: kernel },
    locks: new KeyedMutex(),
    unattended: new Unattended(silentLogger, life.context.signal),
    boot: kernel.boot,
    usualType: 'block',
    now: () => clock.now,
    windows: { idleMs: 120_000, staleMs: 120_000, findMs: 200 },
  };
  const driver = new Driver(deps);
  const reconciler = new Reconciler(deps, driver);
  await reconciler.atStart();
  await backends.start(life.context);
  const stop = async (): Promise<void> => {
    life.cancel(new Error('stopped'));
    await driver.releasing.settled();
  };
  /** Lets everything in the background come to its end. */
  const quiet = async (): Promise<void> => {
    reconciler.tick();
    await new Promise((resolve) => setTimeout(resolve, 2));
    await driver.releasing.settled();
  };
  return { driver, deps, reconciler, backend, backends, cluster, kernel, store, clock, stop, quiet, life };
}
