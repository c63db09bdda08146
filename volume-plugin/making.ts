import { type Context, newContext } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { FoundVolume } from './backends/backend-set.ts';
import type { Catalogue } from './catalogue.ts';
import type { DriverDeps } from './parts.ts';
import type { VolumeRecord } from './state.ts';
import { forgetUnmade, noteUnmade, unmakeNamed } from './unmaking.ts';
import { checkName } from './volume-name.ts';
import { differences, readOptions } from './volume-options.ts';

/** For looking whether a refused creation has left something. */
const CHECK_MS = 5_000;

/**
 * Makes volumes. The intent is written down before the back-end is asked; from then on the volume is promised: when the
 * outcome is open it is finished in the background, and only a refusal that left nothing takes the promise back.
 */
export class Making {
  readonly #deps: DriverDeps;
  readonly #catalogue: Catalogue;

  constructor(deps: DriverDeps, catalogue: Catalogue) {
    this.#deps = deps;
    this.#catalogue = catalogue;
  }

  /** Errors: VOLUME_NAME, VOLUME_TYPE, OPTION_*, VOLUME_EXISTS, VOLUME_REMOVING, STILL_WORKING, BACKEND_*. */
  async create(name: string, given: Readonly<Record<string, string>>, c: Context): Promise<void> {
    const { backends, usualType, unattended, locks } = this.#deps;
    checkName(name);
    const asked = readOptions(name, given, backends.all, usualType);
    const work = async (inner: Context): Promise<void> =>
      await locks.run(
        name,
        async () => {
          const elsewhere = this.#catalogue.known(name) ?? (await this.#elsewhere(name, asked.type, inner));
          const existing =
            elsewhere === undefined || 'phase' in elsewhere ? elsewhere : await this.#catalogue.adopt(elsewhere);
          if (existing !== undefined) await this.#join(existing, asked, inner);
          else await this.#begin({ name, ...asked, handle: {}, phase: 'creating', created: this.#time() }, inner);
        },
        inner,
      );
    await unattended.run(`create ${name} ${JSON.stringify(asked)}`, `creating ${name}`, work, c);
  }

  /**
   * A volume of that name and of another type. Who cannot be asked for one must not be in the way of all others: its last
   * list has none. Nor must what came late of a removed volume.
   */
  async #elsewhere(name: string, type: string, c: Context): Promise<FoundVolume | undefined> {
    await unmakeNamed(this.#deps, name, c);
    try {
      return await this.#catalogue.find(name, newContext(c.log, this.#deps.windows.findMs, c), type);
    } catch (thrown) {
      const error = asPluginError(thrown);
      if (error.retry !== 'backoff' || c.signal.aborted) throw thrown;
      c.log.warn('made though nobody could be asked for a volume of another type', { volume: name, error });
      return undefined;
    }
  }

  async #join(existing: VolumeRecord, asked: Pick<VolumeRecord, 'type' | 'options'>, c: Context): Promise<void> {
    const { name, phase } = existing;
    const reason = existing.lastError?.text;
    if (phase === 'removing') throw new PluginError('VOLUME_REMOVING', { volume: name, reason });
    const other = differences(asked, existing, this.#deps.backends.all.get(existing.type)?.schema);
    if (other !== undefined) throw new PluginError('VOLUME_EXISTS', { volume: name, differences: other });
    await this.finishLocked(existing, c);
  }

  async #begin(record: VolumeRecord, c: Context): Promise<void> {
    await this.#deps.store.update((tx) => {
      tx.put('volumes', record.name, record);
      tx.delete('unconfirmed', record.name);
    });
    await this.finishLocked(record, c, true);
  }

  /** Finishes what was begun; under the volume's lock. Answers the volume as it is then. `isNew`: nothing was tried before. */
  async finishLocked(record: VolumeRecord, c: Context, isNew = false): Promise<VolumeRecord> {
    if (record.phase !== 'creating') return record;
    const { store, backends } = this.#deps;
    const { name, options, type } = record;
    try {
      const { handle } = await backends.working(type, name).create({ name, options, making: record.created }, c);
      const { lastError: _, ...rest } = record;
      const ready: VolumeRecord = { ...rest, handle, phase: 'ready' };
      await store.update((tx) => {
        tx.put('volumes', name, ready);
        forgetUnmade(tx, name);
      });
      return ready;
    } catch (thrown) {
      const error = asPluginError(thrown);
      await this.#failed(record, error, c, isNew);
      throw error;
    }
  }

  async #failed(record: VolumeRecord, error: PluginError, c: Context, isNew: boolean): Promise<void> {
    const { store, backends } = this.#deps;
    const { name, type } = record;
    const lastError = { text: error.toUserText(c.requestId), at: this.#time() };
    // Whoever has mistyped an address tries again with another one.
    if (isNew && backends.all.get(type)?.nothingOf?.(name, record.created) === true) {
      await store.update((tx) => tx.delete('volumes', name));
      return;
    }
    if (error.retry === 'backoff' || error.code === 'INTERNAL') {
      await store.update((tx) => tx.put('volumes', name, { ...record, lastError }));
      return;
    }
    try {
      const found = await this.#deps.backends.working(type, name).find(name, newContext(c.log, CHECK_MS));
      if (found === undefined) {
        await store.update((tx) => {
          tx.delete('volumes', name);
          // An earlier try had an open end.
          if (record.lastError !== undefined) noteUnmade(tx, record, this.#deps.now());
        });
      }
      // Made by somebody else meanwhile: theirs.
      else if (error.code === 'VOLUME_EXISTS') {
        await store.update((tx) => tx.delete('volumes', name));
        await this.#catalogue.adopt({ ...found, type });
      } else await store.update((tx) => tx.put('volumes', name, { ...record, lastError }));
    } catch (failure) {
      c.log.warn('it is not known what a refused creation has left', { volume: name, error: asPluginError(failure) });
      await store.update((tx) => tx.put('volumes', name, { ...record, lastError }));
    }
  }

  #time(): string {
    return new Date(this.#deps.now()).toISOString();
  }
}
