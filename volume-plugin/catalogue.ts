import { Coalescer } from '../shared/coalesce.ts';
import { type Context, newContext } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { FoundVolume } from './backends/backend-set.ts';
import type { DriverDeps } from './parts.ts';
import { holdsOn } from './references.ts';
import type { UnconfirmedRecord, VolumeRecord } from './state.ts';
import { isUnmade, unmakeAll } from './unmaking.ts';
import { isAnonymous, nameProblem } from './volume-name.ts';

/** Docker asks for names of other drivers' volumes, too: a made-up one is hardly ever a volume of the cluster. */
const ANONYMOUS_MS = 3_000;

/**
 * What is known here of the cluster's volumes. Get, List and Path are answered from it.
 *
 * "Unknown" is said only when every back-end has confirmed it: Docker takes any error from Get for "there is none", and
 * then makes a volume of its own under that name, in which the data lands. A name that nobody can be asked about is
 * answered as a volume, which cannot be mounted before it is known to be one.
 */
export class Catalogue {
  readonly #deps: DriverDeps;
  readonly #questions = new Coalescer<VolumeRecord | UnconfirmedRecord>();

  constructor(deps: DriverDeps) {
    this.#deps = deps;
  }

  known(name: string): VolumeRecord | undefined {
    return this.#deps.store.get('volumes', name);
  }

  all(): readonly VolumeRecord[] {
    return [...this.#deps.store.all('volumes').values()];
  }

  /** A volume that was not in the catalogue, or a name that could not be confirmed. Errors: VOLUME_UNKNOWN. */
  async lookUp(name: string, c: Context): Promise<VolumeRecord | UnconfirmedRecord> {
    // It cannot be one of ours, whoever is asked.
    if (nameProblem(name) !== undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
    return await this.#questions.run(name, async () => {
      let found: FoundVolume | undefined;
      try {
        found = await this.#find(name, c);
      } catch (error) {
        if (isAnonymous(name)) throw new PluginError('VOLUME_UNKNOWN', { volume: name }, { cause: error });
        return await this.#unconfirmed(name, asPluginError(error), c);
      }
      if (found !== undefined) return await this.adopt(found);
      const told = this.#deps.store.get('unconfirmed', name);
      if (told === undefined) throw new PluginError('VOLUME_UNKNOWN', { volume: name });
      // Docker may have answered `docker volume create` with success because of us: the name stays.
      const absent: UnconfirmedRecord = { ...told, absent: true };
      if (told.absent !== true) await this.#deps.store.update((tx) => tx.put('unconfirmed', name, absent));
      return absent;
    });
  }

  /** The volume, from the cluster if need be. Errors: VOLUME_UNKNOWN, VOLUME_UNCONFIRMED, BACKEND_*. */
  async confirmed(name: string, c: Context): Promise<VolumeRecord> {
    const known = this.known(name);
    if (known !== undefined) return known;
    const found = await this.find(name, c);
    if (found !== undefined) return await this.adopt(found);
    const told = this.#deps.store.get('unconfirmed', name);
    throw new PluginError(told === undefined ? 'VOLUME_UNKNOWN' : 'VOLUME_UNCONFIRMED', { volume: name });
  }

  /** Takes up what a back-end has found. */
  async adopt(found: FoundVolume): Promise<VolumeRecord> {
    const record = recordOf(found);
    return await this.#deps.store.update((tx) => {
      tx.delete('unconfirmed', found.name);
      const known = tx.get('volumes', found.name);
      if (known !== undefined) return known;
      tx.put('volumes', found.name, record);
      return record;
    });
  }

  /** Takes up names that Docker was told are volumes while the catalogue could not be read. */
  async remember(names: readonly string[], reason: string): Promise<void> {
    const { store, now } = this.#deps;
    const since = new Date(now()).toISOString();
    await store.update((tx) => {
      for (const name of names) {
        if (nameProblem(name) !== undefined || tx.get('volumes', name) !== undefined) continue;
        if (tx.get('unconfirmed', name) === undefined) tx.put('unconfirmed', name, { name, since, reason });
      }
    });
  }

  async #find(name: string, c: Context): Promise<FoundVolume | undefined> {
    const ms = isAnonymous(name) ? ANONYMOUS_MS : this.#deps.windows.findMs;
    return await this.find(name, newContext(c.log, ms, c));
  }

  /** Looks a name up in every back-end but `except`; what only came late of a removed volume is none. */
  async find(name: string, c: Context, except?: string): Promise<FoundVolume | undefined> {
    const found = await this.#deps.backends.find(name, c, except);
    return found === undefined || isUnmade(this.#deps, found) ? undefined : found;
  }

  async #unconfirmed(name: string, error: PluginError, c: Context): Promise<UnconfirmedRecord> {
    const { store, now } = this.#deps;
    const since = store.get('unconfirmed', name)?.since ?? new Date(now()).toISOString();
    const record: UnconfirmedRecord = { name, since, reason: error.message };
    c.log.warn('nobody could be asked whether this is a volume; it is answered as one', { volume: name, error });
    // On a full disk, too, the answer must not be an error.
    await store
      .update((tx) => tx.put('unconfirmed', name, record))
      .catch((failure: unknown) => c.log.error('not written down', { volume: name, error: failure }));
    return record;
  }

  /** Brings the catalogue up to date with the cluster, one back-end after the other. Answers what could not be asked. */
  async refresh(c: Context): Promise<readonly PluginError[]> {
    const failures: PluginError[] = [];
    for (const type of this.#deps.backends.all.keys()) {
      try {
        await this.#refresh(type, c);
      } catch (error) {
        failures.push(asPluginError(error));
        c.log.warn('the list of volumes could not be refreshed', { type, error: asPluginError(error) });
      }
    }
    return failures;
  }

  async #refresh(type: string, c: Context): Promise<void> {
    const { store, backends, locks } = this.#deps;
    const before = new Map(store.all('volumes'));
    const listed = await backends.working(type, '').list(c);
    const found = new Map(listed.map((volume) => [volume.name, { ...volume, type }]));
    const left = [...found.values()].filter((one) => isUnmade(this.#deps, one));
    for (const { name } of left) found.delete(name);
    const news = [...found.values()].filter(({ name }) => nameProblem(name) === undefined);
    await store.update((tx) => {
      for (const volume of news) {
        const record = recordOf(volume);
        const known = tx.get('volumes', volume.name);
        tx.delete('unconfirmed', volume.name);
        // One that is being made or removed here belongs to that work; of two types with one name the first stays.
        if (known !== undefined && (known.phase !== 'ready' || known.type !== type)) continue;
        // What changed here during the list is newer than the list.
        if (known !== before.get(volume.name)) continue;
        const merged = known?.lastError === undefined ? record : { ...record, lastError: known.lastError };
        if (JSON.stringify(known) !== JSON.stringify(merged)) tx.put('volumes', volume.name, merged);
      }
    });
    for (const [name, record] of before) {
      if (record.type !== type || record.phase !== 'ready' || found.has(name)) continue;
      await locks.run(name, () => this.#dropWhenGone(name, record, c), c);
    }
    await unmakeAll(this.#deps, left, c);
  }

  /** A list may be behind, so it is asked again by name; what this host uses is kept whatever the cluster says. */
  async #dropWhenGone(name: string, seen: VolumeRecord, c: Context): Promise<void> {
    const { store, backends } = this.#deps;
    if (store.get('volumes', name) !== seen) return;
    const found = await backends.working(seen.type, name).find(name, c);
    const used = store.get('mounts', name) !== undefined || holdsOn(store, name) > 0;
    await store.update((tx) => {
      if (found !== undefined) tx.put('volumes', name, recordOf({ ...found, type: seen.type }));
      else if (used) tx.put('volumes', name, { ...seen, whereabouts: 'missing from the cluster' });
      else tx.delete('volumes', name);
    });
  }
}

function recordOf({ name, type, options, handle, created, whereabouts }: FoundVolume): VolumeRecord {
  return { name, type, options, handle, phase: 'ready', created, whereabouts };
}
