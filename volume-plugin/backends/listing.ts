import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { ShareRecord } from '../nfs/records.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ListedVolume } from './backend.ts';

/** For all volumes of one place; others are not held up for longer. */
const READ_MS = 20_000;

/** Where volumes are: shares or buckets. `P`: one that is open; `F`: a volume's record as it is read there. */
export interface Places<P, F> {
  /** What handles and the log call one. */
  readonly kind: 'share' | 'bucket';
  /** Ids of those that every host of the cluster looks at, and of those that only volumes have named here. */
  all(c: Context): Promise<{
    readonly usual: readonly string[];
    readonly named: readonly string[];
    /** Why the usual ones are not known. */
    readonly failure?: PluginError;
  }>;
  open(id: string, c: Context): Promise<P>;
  readAll(place: P, c: Context): Promise<readonly F[]>;
  read(place: P, name: string, c: Context): Promise<F | undefined>;
  /** Undefined: the volume is being removed. */
  recordOf(found: F): ShareRecord | undefined;
  /** Nothing is in it, for it does not exist. */
  isMissing(failure: PluginError): boolean;
  /** Nothing of it is remembered any more: what was opened may be closed. */
  release(id: string): void;
}

/** What a place has, or why that is not known. */
interface Look<T> {
  readonly id: string;
  /** Every host of the cluster looks at it. */
  readonly isUsual: boolean;
  readonly found?: T;
  readonly failure?: PluginError;
}

export const listedVolume = (kind: 'share' | 'bucket', id: string, record: ShareRecord): ListedVolume => {
  const { name, options, created, uuid, damage, onRemove } = record;
  const handle = { [kind]: id, uuid, ...(onRemove !== undefined && { onRemove }) };
  return { name, options, created, handle, whereabouts: damage ?? 'available' };
};

/**
 * Finds the cluster's volumes where they are. Every host looks at the usual places; one that only volumes have named is
 * looked at by the hosts on which they did.
 */
export class Listing<P, F> {
  readonly #places: Places<P, F>;
  readonly #notes: ShareNotes;

  constructor(places: Places<P, F>, notes: ShareNotes) {
    this.#places = places;
    this.#notes = notes;
  }

  /**
   * All volumes. Those of a place that does not answer are as they were when it did the last time; one that this host has
   * never read is an error. Of two volumes of one name that of the first place counts. `onLook` is told of each that was read.
   */
  async list(c: Context, onLook: (place: P, found: readonly F[]) => void): Promise<readonly ListedVolume[]> {
    const { kind, readAll, recordOf } = this.#places;
    const looks = await this.#each(c, async (id, place, inner, isUsual) => {
      const all = await readAll(place, inner);
      const records = all.flatMap((found) => recordOf(found) ?? []);
      await this.#remember(id, records, isUsual);
      onLook(place, all);
      return records;
    });
    const volumes = new Map<string, ListedVolume>();
    for (const { id, found, failure } of looks) {
      const note = this.#notes.get(id);
      if (found === undefined && note === undefined && failure !== undefined) throw failure;
      for (const record of [...(found ?? note?.records ?? []), ...(note?.local ?? [])]) {
        const other = volumes.get(record.name);
        if (other === undefined) volumes.set(record.name, listedVolume(kind, id, record));
        // One place by two names is one place.
        else if (other.handle[kind] !== id && other.handle['uuid'] !== record.uuid) {
          const both = { [`${kind}s`]: [other.handle[kind], id] };
          c.log.warn(`two ${kind}s have a volume of one name; the first one counts`, { volume: record.name, ...both });
        }
      }
    }
    return [...volumes.values()];
  }

  /**
   * One volume. Undefined: no usual place has it, and no place that volumes have named here is known to have had it.
   * Errors: why a usual place, or one that had it, cannot be asked.
   */
  async find(name: string, c: Context, except?: string): Promise<ListedVolume | undefined> {
    const { kind, read, recordOf } = this.#places;
    const looks = await this.#each(
      c,
      async (id, place, inner) => {
        const found = await read(place, name, inner);
        return (found === undefined ? this.localOf(id, name) : recordOf(found)) ?? null;
      },
      except,
    );
    for (const { id, found } of looks) if (found !== undefined && found !== null) return listedVolume(kind, id, found);
    for (const { id, isUsual, failure } of looks) {
      if (failure === undefined) continue;
      const had = this.#notes.get(id)?.records.find((one) => one.name === name) ?? this.localOf(id, name);
      if (had !== undefined) return listedVolume(kind, id, had);
      if (isUsual) throw failure;
    }
    return undefined;
  }

  /** Before a volume is made in the place `id`. Errors: VOLUME_EXISTS, when another place has one of that name. */
  async refuseElsewhere(name: string, id: string, c: Context): Promise<void> {
    const { kind } = this.#places;
    const other = await this.find(name, c, id).catch((error: unknown) => {
      // One that cannot be asked does not keep volumes from being made in others.
      c.log.warn(`it is not known whether another ${kind} has a volume of that name`, {
        ...{ volume: name, error: asPluginError(error) },
      });
      return undefined;
    });
    if (other === undefined) return;
    const differences = `${kind}=${other.handle[kind] ?? ''}, not ${id}`;
    throw new PluginError('VOLUME_EXISTS', { volume: name, differences });
  }

  /** A volume whose record is kept on this host, for nobody can write to its place. */
  localOf(id: string, name: string): ShareRecord | undefined {
    return this.#notes.get(id)?.local.find((one) => one.name === name);
  }

  async #each<T>(
    c: Context,
    work: (id: string, place: P, c: Context, isUsual: boolean) => Promise<T>,
    except?: string,
  ): Promise<readonly Look<T>[]> {
    const { kind, open, isMissing } = this.#places;
    const { usual, named, failure: unknown } = await this.#places.all(c);
    const inner = newContext(c.log, READ_MS, c);
    const look = async (id: string): Promise<Look<T>> => {
      const isUsual = usual.includes(id);
      try {
        return { id, isUsual, found: await work(id, await open(id, inner), inner, isUsual) };
      } catch (thrown) {
        const failure = asPluginError(thrown);
        if (isMissing(failure)) {
          await this.#remember(id, [], isUsual);
          return { id, isUsual };
        }
        c.log.debug(`a ${kind} could not be looked at`, { [kind]: id, error: failure });
        return { id, isUsual, failure };
      }
    };
    const looks = await Promise.all([...usual, ...named].filter((id) => id !== except).map(look));
    return unknown === undefined ? looks : [...looks, { id: '', isUsual: true, failure: unknown }];
  }

  /** For when it does not answer, and, of places that only volumes name, for the next start. */
  async #remember(id: string, records: readonly ShareRecord[], isUsual: boolean): Promise<void> {
    const local = this.#notes.get(id)?.local ?? [];
    if (isUsual || records.length > 0 || local.length > 0) {
      await this.#notes.change(id, { records });
      return;
    }
    await this.#notes.forget(id);
    this.#places.release(id);
  }
}
