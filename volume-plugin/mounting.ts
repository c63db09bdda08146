import { join } from 'node:path';
import type { Context } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { Mounted, Volume } from './backends/backend.ts';
import type { Catalogue } from './catalogue.ts';
import type { Making } from './making.ts';
import type { DriverDeps } from './parts.ts';
import { countDown, countUp, holdsOn, reference } from './references.ts';
import type { Releasing } from './releasing.ts';
import type { MountRecord } from './state.ts';
import { tellHolds } from './telling.ts';

/** How often a mount may be lost again between its making and its being held. */
const ATTEMPTS = 3;

/** The path that containers get. */
export const pathOf = ({ target, inside = '' }: MountRecord): string => join(target, inside);

/**
 * Mount: intent, the back-end's work, verification in the kernel's mount table, and only then Docker's hold and the
 * answer. The work belongs to the volume, not to the call: it goes on when the call is over, whoever asks next joins it,
 * and what nobody asks for again is released.
 */
export class Mounting {
  readonly #deps: DriverDeps;
  readonly #catalogue: Catalogue;
  readonly #making: Making;
  readonly #releasing: Releasing;

  constructor(deps: DriverDeps, catalogue: Catalogue, making: Making, releasing: Releasing) {
    this.#deps = deps;
    this.#catalogue = catalogue;
    this.#making = making;
    this.#releasing = releasing;
  }

  /**
   * Answers the path that Docker hands to the container. Errors: VOLUME_UNKNOWN, VOLUME_UNCONFIRMED, VOLUME_REMOVING,
   * VOLUME_NOT_MOUNTED, STILL_WORKING, and the back-end's.
   */
  async mount(name: string, id: string, c: Context): Promise<string> {
    const leave = this.#releasing.want(name);
    let refused = false;
    try {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
        const bring = (inner: Context) => this.#deps.locks.run(name, () => this.#bring(name, inner), inner);
        await this.#deps.unattended.run(`mount ${name}`, () => this.#at(name), bring, c);
        const path = await this.#deps.locks.run(name, () => this.#hold(name, id), c);
        if (path !== undefined) return path;
      }
      throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason: 'it is lost again and again' });
    } catch (thrown) {
      // What may go better soon is left as it is for the next try; a refusal must not keep the volume from other hosts.
      refused = asPluginError(thrown).retry !== 'backoff';
      throw thrown;
    } finally {
      leave();
      if (refused && holdsOn(this.#deps.store, name) === 0) this.#releasing.later(name);
    }
  }

  /** Unmount: takes one hold away; with the last one the volume leaves this host. Succeeds when there is none. */
  async unmount(name: string, id: string, c: Context): Promise<void> {
    const { store, now } = this.#deps;
    const left = await store.update((tx) => {
      countDown(tx, name, id, now());
      const holds = holdsOn(tx, name);
      if (holds === 0) this.#releasing.intend(tx, name);
      return holds;
    });
    tellHolds(this.#deps, name);
    if (left === 0) await this.#releasing.release(name, c);
  }

  /** Under the lock: sees to it that the volume is mounted. */
  async #bring(name: string, c: Context): Promise<void> {
    const { store, backends, folders, boot, now } = this.#deps;
    const before = store.get('mounts', name);
    if (before !== undefined && this.#isMounted(before)) {
      if (before.lost !== undefined) throw new PluginError('VOLUME_LOST', { volume: name, reason: before.lost });
      const known = this.#catalogue.known(name);
      if (known !== undefined) await backends.all.get(known.type)?.reach?.(known, c);
      return;
    }
    const record = await this.#catalogue.confirmed(name, c);
    if (record.phase === 'removing') {
      throw new PluginError('VOLUME_REMOVING', { volume: name, reason: record.lastError?.text });
    }
    const volume = await this.#making.finishLocked(record, c);
    const backend = backends.working(volume.type, name);
    const target = folders.target(name);
    // Whoever still has it from before is told by what was mounted then.
    const { lost: _, ...rest }: Partial<MountRecord> = before?.boot === boot ? before : {};
    const intent: MountRecord = { ...rest, volume: name, phase: 'mounting', boot, target, since: now() };
    await store.update((tx) => tx.put('mounts', name, intent));
    try {
      await folders.prepare(name);
      const mounted = await backend.mount(volume, target, c);
      this.#verify(volume, target, mounted);
      // Durable with the hold that follows, in one write. A crash before that finds the intent, and mounts what is mounted.
      store.soon((tx) => {
        const { source, device, inside, epoch, shared } = mounted;
        const done: MountRecord = {
          ...{ ...intent, phase: 'mounted', source, device, inside, since: now() },
          ...(epoch !== undefined && { epoch }),
          ...(shared !== undefined && { shared }),
        };
        tx.put('mounts', name, done);
        const { lastError: _, ...fine } = tx.get('volumes', name) ?? volume;
        tx.put('volumes', name, fine);
      });
    } catch (thrown) {
      this.#failed(name, asPluginError(thrown), c);
      throw thrown;
    }
  }

  /** What a Mount is at, for whoever cannot wait any longer. */
  #at(name: string): string {
    const { store, backends } = this.#deps;
    const type = store.get('volumes', name)?.type ?? '';
    return backends.all.get(type)?.progress?.(name) ?? `mounting ${name}`;
  }

  /** Never hand out what is not mounted: the kernel must show what the back-end says. */
  #verify({ name }: Volume, target: string, { source, device }: Mounted): void {
    const found = this.#deps.tables.at(target);
    if (found?.source === source && found.device === device) return;
    const reason =
      found === undefined
        ? 'nothing is mounted there'
        : `${found.source} (${found.device}) is there, not ${source} (${device})`;
    throw new PluginError('VOLUME_NOT_MOUNTED', { volume: name, reason });
  }

  #isMounted({ phase, boot, target, source, device }: MountRecord): boolean {
    if (phase !== 'mounted' || boot !== this.#deps.boot) return false;
    const found = this.#deps.tables.at(target);
    return found !== undefined && found.source === source && found.device === device;
  }

  #failed(name: string, error: PluginError, c: Context): void {
    const { store, now } = this.#deps;
    const lastError = { text: error.toUserText(c.requestId), at: new Date(now()).toISOString() };
    store.soon((tx) => {
      const record = tx.get('volumes', name);
      if (record !== undefined) tx.put('volumes', name, { ...record, lastError });
    });
  }

  /** Under the lock: writes down Docker's hold; undefined when the mount was lost meanwhile. */
  async #hold(name: string, id: string): Promise<string | undefined> {
    const { store, boot, now } = this.#deps;
    const mount = store.get('mounts', name);
    if (mount === undefined || !this.#isMounted(mount)) return undefined;
    // The same id again is `docker cp` with a running container, or a daemon that was killed and starts its container
    // anew: then nobody has the volume mounted.
    const again = reference(store, name, id) !== undefined;
    const replay = again && !this.#isUsed(mount);
    await store.update((tx) => countUp(tx, { volume: name, id, boot, since: now() }, replay));
    tellHolds(this.#deps, name);
    return pathOf(mount);
  }

  #isUsed({ device = '', source, shared }: MountRecord): boolean {
    try {
      return this.#deps.tables.users(device, shared === true ? source : undefined).length > 0;
    } catch (error) {
      this.#deps.log.warn('it cannot be told who uses a volume: counted as used', { device, error });
      return true;
    }
  }
}
