import type { Context } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { Backend } from './backends/backend.ts';
import type { DriverDeps } from './parts.ts';
import type { MountRecord } from './state.ts';

/**
 * Finds volumes that are mounted here and belong to this host no more: it was taken for dead, its volume was given to
 * another one, and then it woke up. They are handed to nobody any more, and nobody can write to them.
 */
export class Losing {
  readonly #deps: DriverDeps;

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  /** After the cluster's list was read. Answers what was lost, in words. */
  async check(c: Context): Promise<readonly string[]> {
    const { store, backends, boot } = this.#deps;
    const lost: string[] = [];
    for (const mount of [...store.all('mounts').values()]) {
      const { volume, phase, lost: before } = mount;
      const type = store.get('volumes', volume)?.type;
      const backend = type === undefined ? undefined : backends.all.get(type);
      if (phase !== 'mounted' || mount.boot !== boot || before !== undefined || backend?.lost === undefined) continue;
      if (this.#deps.locks.isHeld(volume) || backend.lost(volume, mount) === undefined) continue;
      try {
        if (await this.#deps.locks.run(volume, () => this.#confirm(mount, backend, c), c)) lost.push(volume);
      } catch (error) {
        c.log.warn('it cannot be told whether a volume is lost', { volume, error: asPluginError(error) });
      }
    }
    return lost;
  }

  /** The same for one that a back-end tells of, as soon as nobody is at work with it. */
  async checkOne(volume: string, c: Context): Promise<void> {
    const { store, backends, locks, boot } = this.#deps;
    await locks.run(
      volume,
      async () => {
        const mount = store.get('mounts', volume);
        const backend = backends.all.get(store.get('volumes', volume)?.type ?? '');
        if (mount?.phase !== 'mounted' || mount.boot !== boot || mount.lost !== undefined) return;
        if (backend !== undefined) await this.#confirm(mount, backend, c);
      },
      c,
    );
  }

  /** Under the lock. A list may be behind, so it is asked again by name. */
  async #confirm(mount: MountRecord, backend: Backend, c: Context): Promise<boolean> {
    const { store, backends, now } = this.#deps;
    const { volume, target } = mount;
    if (store.get('mounts', volume) !== mount) return false;
    await backends.working(backend.type, volume).find(volume, c);
    const reason = backend.lost?.(volume, mount);
    if (reason === undefined) return false;
    const error = new PluginError('VOLUME_LOST', { volume, reason });
    c.log.error('a mounted volume is lost; it is handed out no more', { volume, target, error });
    await store.update((tx) => {
      tx.put('mounts', volume, { ...mount, lost: reason });
      const record = tx.get('volumes', volume);
      const at = new Date(now()).toISOString();
      if (record !== undefined) tx.put('volumes', volume, { ...record, lastError: { text: error.toUserText(), at } });
    });
    await backend.cutOff?.(target, c).catch((thrown: unknown) => {
      c.log.error('a lost volume can still be written to here: stop its containers', { volume, error: thrown });
    });
    return true;
  }
}
