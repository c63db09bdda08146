import { type Context, cancellable, newContext, sleep } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import { pauseMs } from '../shared/retry.ts';
import type { Transaction } from '../shared/state/store.ts';
import type { DriverDeps } from './parts.ts';
import { holdsOn } from './references.ts';
import type { MountRecord, VolumeRecord, VolumeState } from './state.ts';

/** Time for one attempt to unmount or to detach in the background. */
const ATTEMPT_MS = 180_000;

/**
 * How a volume leaves this host: unmounted, written down, and then, when its user has been answered, detached. Begun for
 * a volume that nobody holds and nobody is waiting for; a Mount that comes meanwhile stops the detaching and goes first.
 */
export class Releasing {
  readonly #deps: DriverDeps;
  /** Calls that want the volume here. */
  readonly #wanted = new Map<string, number>();
  /** Volumes that are being detached, with what stops that. */
  readonly #leaving = new Map<string, () => void>();
  readonly #background = new Set<Promise<void>>();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  /** Keeps the volume here until what is answered is called. */
  want(name: string): () => void {
    this.#wanted.set(name, (this.#wanted.get(name) ?? 0) + 1);
    this.#leaving.get(name)?.();
    return () => {
      const left = (this.#wanted.get(name) ?? 1) - 1;
      if (left > 0) this.#wanted.set(name, left);
      else this.#wanted.delete(name);
    };
  }

  /** Writes down, with the last hold's end, that the volume is to go: unless somebody is at work with it or wants it. */
  intend(tx: Transaction<VolumeState>, name: string): void {
    const mount = tx.get('mounts', name);
    if (mount?.phase !== 'mounted' || this.#wanted.has(name) || this.#deps.locks.isHeld(name)) return;
    tx.put('mounts', name, { ...mount, phase: 'unmounting', since: this.#deps.now() });
  }

  /**
   * Unmounts a volume that nobody holds, and has it detached in the background. Errors: VOLUME_IN_USE, STILL_WORKING and
   * the back-end's; the volume is then unmounted later.
   */
  async release(name: string, c: Context): Promise<void> {
    const { unattended, locks } = this.#deps;
    const work = (inner: Context) => locks.run(name, () => this.#unmount(name, inner), inner);
    await unattended.run(`release ${name}`, `unmounting ${name}`, work, c);
  }

  /** The same, waited for by nobody. */
  later(name: string): void {
    const work = this.release(name, newContext(this.#deps.log, ATTEMPT_MS, this.#deps.life)).catch((error: unknown) =>
      this.#deps.log.warn('a volume could not be released; it is tried again', {
        volume: name,
        error: asPluginError(error),
      }),
    );
    this.#follow(work);
  }

  /** Takes the volume off this host and waits for it; under the volume's lock, by who wants to remove it. */
  async finishLocked(volume: VolumeRecord, c: Context): Promise<void> {
    await this.#unmount(volume.name, c, false);
    if (this.#deps.store.get('mounts', volume.name) !== undefined) await this.#detach(volume.name, c);
  }

  /** Carries on with every volume that is leaving, but for those that may be asked for again in a moment. */
  resume(isDue: (mount: MountRecord) => boolean): void {
    const { store } = this.#deps;
    for (const mount of [...store.all('mounts').values()]) {
      const { volume, phase } = mount;
      if (this.#wanted.has(volume) || holdsOn(store, volume) > 0 || !isDue(mount)) continue;
      if (phase === 'leaving') this.#leave(volume);
      else if (!this.#deps.locks.isHeld(volume)) this.later(volume);
    }
  }

  /** Does any call wait for a volume to come? */
  get isWaitedFor(): boolean {
    return this.#wanted.size > 0;
  }

  /** Waits for what goes on in the background; it ends with the plugin's life. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#background);
  }

  async #unmount(name: string, c: Context, detach = true): Promise<void> {
    const { store, backends, folders, now } = this.#deps;
    const mount = store.get('mounts', name);
    if (mount === undefined || this.#wanted.has(name) || holdsOn(store, name) > 0) return;
    if (mount.phase !== 'leaving') {
      const volume = this.#volume(name);
      if (mount.phase !== 'unmounting') {
        await store.update((tx) => tx.put('mounts', name, { ...mount, phase: 'unmounting', since: now() }));
      }
      await backends.working(volume.type, name).unmount(volume, mount.target, c);
      // Before the device is let go: with the folder go copies of the mount in namespaces that only look at the host.
      await folders.remove(name);
      // A crash that forgets it finds the intent, and nothing left to unmount.
      store.soon((tx) => tx.put('mounts', name, { ...mount, phase: 'leaving', since: now() }));
    }
    if (detach) this.#leave(name);
  }

  /** A volume is not forgotten before it has left. */
  #volume(name: string): VolumeRecord {
    const volume = this.#deps.store.get('volumes', name);
    if (volume === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    return volume;
  }

  /** Detaches in the background, again and again until it is done or the volume is wanted. */
  #leave(name: string): void {
    if (this.#leaving.has(name) || this.#deps.life.signal.aborted) return;
    const { context, cancel } = cancellable(this.#deps.life);
    this.#leaving.set(name, () => cancel(new PluginError('VOLUME_IN_USE', { volume: name })));
    this.#follow(this.#detachUntilDone(name, context).finally(() => this.#leaving.delete(name)));
  }

  async #detachUntilDone(name: string, c: Context): Promise<void> {
    const { locks, log } = this.#deps;
    for (let attempt = 1; !c.signal.aborted; attempt += 1) {
      try {
        const inner = newContext(log, ATTEMPT_MS, c);
        await locks.run(name, () => this.#detach(name, inner), inner);
        return;
      } catch (thrown) {
        if (c.signal.aborted) return;
        const error = asPluginError(thrown);
        log.warn('a volume could not be detached yet', { volume: name, attempt, error });
        this.#remember(name, error);
      }
      await sleep(500 + pauseMs(attempt, { firstMs: 1_000, longestMs: 30_000 }), c).catch(() => undefined);
    }
  }

  async #detach(name: string, c: Context): Promise<void> {
    const { store, backends } = this.#deps;
    if (store.get('mounts', name)?.phase !== 'leaving' || this.#wanted.has(name)) return;
    const volume = this.#volume(name);
    await backends.working(volume.type, name).leave(volume, c);
    await store.update((tx) => {
      tx.delete('mounts', name);
      // Until the cluster's list says where it is then.
      tx.put('volumes', name, { ...(tx.get('volumes', name) ?? volume), whereabouts: 'available' });
    });
  }

  #remember(name: string, error: PluginError): void {
    this.#deps.store.soon((tx) => {
      const record = tx.get('volumes', name);
      const at = new Date(this.#deps.now()).toISOString();
      if (record !== undefined) tx.put('volumes', name, { ...record, lastError: { text: error.toUserText(), at } });
    });
  }

  #follow(work: Promise<void>): void {
    this.#background.add(work);
    void work.finally(() => this.#background.delete(work));
  }
}
