import { randomUUID } from 'node:crypto';
import { type Context, newContext } from '../shared/context.ts';
import { asPluginError, PluginError } from '../shared/errors.ts';
import type { DayTwo, ImportRequest, ListedSnapshot } from './backends/backend.ts';
import type { Catalogue } from './catalogue.ts';
import type { Making } from './making.ts';
import type { DriverDeps } from './parts.ts';
import type { VolumeRecord, WorkRecord } from './state.ts';
import { checkName } from './volume-name.ts';

/** For one mount that nobody can write to since a crash. */
const THAW_MS = 5_000;

type Work = WorkRecord['work'];

/**
 * What is done with volumes after their making: they grow, are copied, and are made of disks that are there. What is begun
 * is written down first, goes on when its caller cannot wait any longer, and is finished after a crash; the same asked for
 * again joins it.
 */
export class DayTwoWork {
  readonly #deps: DriverDeps;
  readonly #catalogue: Catalogue;
  readonly #making: Making;

  constructor(deps: DriverDeps, catalogue: Catalogue, making: Making) {
    this.#deps = deps;
    this.#catalogue = catalogue;
    this.#making = making;
  }

  /** Errors: VOLUME_UNKNOWN, OPTION_INVALID, VOLUME_ELSEWHERE, DISK_QUOTA, STILL_WORKING, BACKEND_*. */
  async resize(name: string, size: string, c: Context): Promise<void> {
    await this.#run(name, { kind: 'resize', size }, `resizing ${name} to ${size}`, c);
  }

  /** Begins a snapshot. Errors: VOLUME_UNKNOWN, DISK_QUOTA, STILL_WORKING, BACKEND_*. */
  async snapshot(name: string, c: Context): Promise<ListedSnapshot> {
    const taken = await this.#run(name, { kind: 'snapshot', token: randomUUID() }, `taking a snapshot of ${name}`, c);
    if (taken === undefined) throw new Error('a snapshot without an answer');
    return taken;
  }

  /** Makes a disk that is there a volume. Errors: VOLUME_NAME, VOLUME_EXISTS, IMPORT_REFUSED, STILL_WORKING, BACKEND_*. */
  async import({ disk, volume, inside }: ImportRequest, c: Context): Promise<void> {
    checkName(volume);
    const work: Work = { kind: 'import', disk, ...(inside !== undefined && { inside }) };
    await this.#run(volume, work, `importing ${disk} as ${volume}`, c);
  }

  /** The type that a copy of a volume, or of a snapshot, has. Errors: VOLUME_UNABLE where there are none. */
  typeOfCopy(source: string): string {
    const { store, backends, usualType } = this.#deps;
    const type = store.get('volumes', source)?.type ?? this.#types()[0] ?? usualType;
    if (backends.all.get(type)?.schema['from'] !== undefined) return type;
    const instead = 'Create another volume, and copy the files with a container that has both';
    throw new PluginError('VOLUME_UNABLE', { what: 'A clone', volume: source, type, instead });
  }

  /** The cluster's snapshots, the newest first; those of one volume when it is named, which may be gone. */
  async snapshots(volume: string | undefined, c: Context): Promise<readonly ListedSnapshot[]> {
    const found = this.#types().map((type) => this.#dayTwo(type, volume ?? '').snapshots(volume, c));
    return (await Promise.all(found)).flat().sort((a, b) => b.created.localeCompare(a.created));
  }

  /** Errors: SNAPSHOT_UNKNOWN. */
  async removeSnapshot(id: string, c: Context): Promise<ListedSnapshot> {
    for (const type of this.#types()) {
      try {
        return await this.#dayTwo(type, '').removeSnapshot(id, c);
      } catch (error) {
        if (asPluginError(error).code !== 'SNAPSHOT_UNKNOWN') throw error;
      }
    }
    throw new PluginError('SNAPSHOT_UNKNOWN', { snapshot: id });
  }

  /** Volumes with which something was begun. */
  begun(): readonly string[] {
    return [...this.#deps.store.all('works').keys()];
  }

  /** Finishes what was begun with a volume. Errors: those of the back-end. */
  async finish(name: string, c: Context): Promise<void> {
    const finish = async (): Promise<void> => {
      const found = this.#deps.store.get('works', name);
      if (found !== undefined) await this.#do(found, c);
    };
    await this.#deps.locks.run(name, finish, c);
  }

  /** At the start: a snapshot that a crash cut off may have left volumes that nobody can write to. */
  async thaw(): Promise<void> {
    const { store, backends, tables, boot, log } = this.#deps;
    const mounts = [...store.all('mounts').values()].map(async ({ volume, target, device, boot: of }) => {
      const type = store.get('volumes', volume)?.type ?? '';
      const dayTwo = backends.all.get(type)?.dayTwo;
      // What lies beneath, when it is not mounted, is none of ours.
      if (dayTwo === undefined || of !== boot || device === undefined || tables.at(target)?.device !== device) return;
      try {
        if (await dayTwo.thaw(target, newContext(log, THAW_MS))) {
          log.warn('a crash had left a volume that nobody could write to', { volume });
        }
      } catch (error) {
        log.error('a volume that nobody can write to may be left', { volume, error: asPluginError(error) });
      }
    });
    await Promise.all(mounts);
  }

  async #run(volume: string, work: Work, what: string, c: Context): Promise<ListedSnapshot | undefined> {
    const { unattended, locks } = this.#deps;
    const { token: _, ...same } = { token: '', ...work };
    const run = (inner: Context) => locks.run(volume, () => this.#begin(volume, work, inner), inner);
    return await unattended.run(`${volume} ${JSON.stringify(same)}`, what, run, c);
  }

  async #begin(volume: string, work: Work, c: Context): Promise<ListedSnapshot | undefined> {
    const { store, now, usualType } = this.#deps;
    const before = store.get('works', volume);
    if (before !== undefined) {
      const same = isSame(before.work, work);
      try {
        const joined = await this.#do(before, c);
        if (same) return joined;
      } catch (error) {
        // What was refused is over.
        if (same || store.get('works', volume) !== undefined) throw error;
      }
    }
    const known = work.kind === 'import' ? undefined : await this.#catalogue.confirmed(volume, c);
    const type = known?.type ?? this.#types()[0] ?? usualType;
    const record = { volume, type, work, since: new Date(now()).toISOString() };
    this.#dayTwo(record.type, volume);
    await store.update((tx) => tx.put('works', volume, record));
    return await this.#do(record, c);
  }

  async #do(record: WorkRecord, c: Context): Promise<ListedSnapshot | undefined> {
    const { store, now } = this.#deps;
    const { volume } = record;
    try {
      const result = await this.#step(record, c);
      await store.update((tx) => tx.delete('works', volume));
      return result;
    } catch (thrown) {
      const error = asPluginError(thrown);
      const lastError = { text: error.toUserText(c.requestId), at: new Date(now()).toISOString() };
      const open = error.retry === 'backoff' || error.code === 'INTERNAL';
      await store.update((tx) => {
        if (!open) tx.delete('works', volume);
        const known = tx.get('volumes', volume);
        if (known !== undefined) tx.put('volumes', volume, { ...known, lastError });
      });
      throw error;
    }
  }

  async #step({ volume, type, work }: WorkRecord, c: Context): Promise<ListedSnapshot | undefined> {
    const { store } = this.#deps;
    const dayTwo = this.#dayTwo(type, volume);
    switch (work.kind) {
      case 'resize': {
        const record = await this.#ready(volume, c);
        const { options, handle } = await dayTwo.resize(record, work.size, c);
        await store.update((tx) => {
          const { lastError: _, ...rest } = tx.get('volumes', volume) ?? record;
          tx.put('volumes', volume, { ...rest, options, handle });
        });
        return undefined;
      }
      case 'snapshot':
        return await dayTwo.snapshot(await this.#ready(volume, c), work.token, c);
      case 'import': {
        const { disk, inside } = work;
        const request = { disk, volume, ...(inside !== undefined && { inside }) };
        await this.#catalogue.adopt({ ...(await dayTwo.import(request, c)), type });
        return undefined;
      }
    }
  }

  /** The volume, made if it is only promised so far. Errors: VOLUME_UNKNOWN, VOLUME_REMOVING. */
  async #ready(name: string, c: Context): Promise<VolumeRecord> {
    const record = await this.#catalogue.confirmed(name, c);
    if (record.phase === 'removing') {
      throw new PluginError('VOLUME_REMOVING', { volume: name, reason: record.lastError?.text });
    }
    return await this.#making.finishLocked(record, c);
  }

  #types(): readonly string[] {
    return [...this.#deps.backends.all].flatMap(([type, { dayTwo }]) => (dayTwo === undefined ? [] : [type]));
  }

  #dayTwo(type: string, volume: string): DayTwo {
    const { dayTwo } = this.#deps.backends.working(type, volume);
    if (dayTwo !== undefined) return dayTwo;
    const instead = 'Only volumes with a disk of their own are resized, copied or imported';
    throw new PluginError('VOLUME_UNABLE', { what: 'That', volume, type, instead });
  }
}

/** Snapshots are alike: whoever asks for one while one is being taken gets that. */
const isSame = (a: Work, b: Work): boolean =>
  a.kind === b.kind && (a.kind === 'snapshot' || JSON.stringify(a) === JSON.stringify(b));
