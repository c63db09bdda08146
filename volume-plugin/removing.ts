import { randomUUID } from 'node:crypto';
import type { Context } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { Catalogue } from './catalogue.ts';
import type { DriverDeps } from './parts.ts';
import { holdsOn } from './references.ts';
import type { Releasing } from './releasing.ts';
import type { VolumeRecord } from './state.ts';
import { noteUnmade } from './unmaking.ts';

/** Removes volumes: the intent is written down first, and an open outcome is carried on in the background. */
export class Removing {
  readonly #deps: DriverDeps;
  readonly #catalogue: Catalogue;
  readonly #releasing: Releasing;

  constructor(deps: DriverDeps, catalogue: Catalogue, releasing: Releasing) {
    this.#deps = deps;
    this.#catalogue = catalogue;
    this.#releasing = releasing;
  }

  /** Succeeds when it is confirmed that there is none. Errors: VOLUME_IN_USE, VOLUME_BUSY, STILL_WORKING, BACKEND_*. */
  async remove(name: string, c: Context): Promise<void> {
    const { unattended, locks } = this.#deps;
    const work = (inner: Context) => locks.run(name, () => this.#remove(name, inner), inner);
    await unattended.run(`remove ${name}`, `removing ${name}`, work, c);
  }

  async #remove(name: string, c: Context): Promise<void> {
    const { store, backends } = this.#deps;
    const found = this.#catalogue.known(name) ?? (await this.#find(name, c));
    if (found === undefined) {
      await store.update((tx) => {
        tx.delete('unconfirmed', name);
        tx.delete('works', name);
      });
      return;
    }
    if (holdsOn(store, name) > 0) throw new PluginError('VOLUME_IN_USE', { volume: name });
    await this.#releasing.finishLocked(found, c);
    // A container that starts meanwhile keeps it here.
    if (store.get('mounts', name) !== undefined) throw new PluginError('VOLUME_IN_USE', { volume: name });
    const resumed = found.phase === 'removing';
    await this.finishLocked(await this.#intend(found), c, { resumed, backend: backends.working(found.type, name) });
  }

  async #find(name: string, c: Context): Promise<VolumeRecord | undefined> {
    const found = await this.#catalogue.find(name, c);
    return found === undefined ? undefined : await this.#catalogue.adopt(found);
  }

  async #intend(record: VolumeRecord): Promise<VolumeRecord> {
    if (record.phase === 'removing') return record;
    const removing: VolumeRecord = { ...record, phase: 'removing', removal: randomUUID() };
    await this.#deps.store.update((tx) => tx.put('volumes', record.name, removing));
    return removing;
  }

  /** Finishes a removal that was begun; under the volume's lock. `resumed`: by an earlier call. */
  async finishLocked(
    record: VolumeRecord,
    c: Context,
    { resumed, backend } = { resumed: true, backend: this.#deps.backends.working(record.type, record.name) },
  ): Promise<void> {
    const { store, now } = this.#deps;
    const { name } = record;
    try {
      await backend.remove({ ...record, resumed }, c);
    } catch (thrown) {
      const error = asPluginError(thrown);
      const lastError = { text: error.toUserText(c.requestId), at: new Date(now()).toISOString() };
      // A refusal leaves the volume as it was; of what is open it is only known that it was to go.
      const open = error.retry === 'backoff' || error.code === 'INTERNAL';
      const { removal: _, ...rest } = record;
      const after: VolumeRecord = open ? { ...record, lastError } : { ...rest, phase: 'ready', lastError };
      await store.update((tx) => tx.put('volumes', name, after));
      throw error;
    }
    await store.update((tx) => {
      tx.delete('volumes', name);
      noteUnmade(tx, record, now());
      tx.delete('unconfirmed', name);
      tx.delete('works', name);
    });
  }
}
