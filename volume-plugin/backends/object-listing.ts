import { type Context, newContext } from '../../shared/context.ts';
import { asPluginError, type PluginError } from '../../shared/errors.ts';
import type { ShareNotes } from '../nfs/share-notes.ts';
import type { ListedVolume } from './backend.ts';
import type { ObjectBuckets, OpenBucket } from './object-buckets.ts';
import { allRecords, type FoundRecord, findRecord, type ObjectRecord } from './object-records.ts';

/** For all volumes of one bucket; others are not held up for longer. */
const READ_MS = 20_000;

interface Look<T> {
  readonly id: string;
  /** Every host of the cluster looks at it. */
  readonly isUsual: boolean;
  readonly found?: T;
  readonly failure?: PluginError;
}

export const listedVolume = (bucket: string, record: ObjectRecord): ListedVolume => {
  const { name, options, created, uuid, damage, onRemove } = record;
  const handle = { bucket, uuid, ...(onRemove !== undefined && { onRemove }) };
  return { name, options, created, handle, whereabouts: damage ?? 'available' };
};

/** Finds the cluster's volumes in the buckets. One that only volumes have named is looked at by the hosts where they did. */
export class ObjectListing {
  readonly #buckets: ObjectBuckets;
  readonly #notes: ShareNotes;

  constructor(buckets: ObjectBuckets, notes: ShareNotes) {
    this.#buckets = buckets;
    this.#notes = notes;
  }

  /** Buckets that were looked at once, and in which there are no volumes that anybody here has named, are looked at no more. */
  async forgetEmpty(): Promise<void> {
    for (const id of this.#buckets.all().named) {
      const { records = [], local = [] } = this.#notes.get(id) ?? {};
      if (records.length === 0 && local.length === 0) await this.#notes.forget(id);
    }
  }

  /**
   * All volumes. Those of a bucket that does not answer are as they were when it did the last time; one that this host has
   * never read is an error. Of two volumes of one name that of the first bucket counts. `onRemoval` is told of removals
   * that go on.
   */
  async list(
    c: Context,
    onRemoval: (bucket: OpenBucket, found: FoundRecord) => void,
  ): Promise<readonly ListedVolume[]> {
    const looks = await this.#each(c, async (bucket, inner, isUsual) => {
      const all = await allRecords(bucket.files, inner);
      for (const found of all) if (found.record.removing !== undefined) onRemoval(bucket, found);
      const records = all.flatMap(({ record }) => (record.removing === undefined ? record : []));
      await this.#remember(bucket.id, records, isUsual);
      return records;
    });
    const volumes = new Map<string, ListedVolume>();
    for (const { id, found, failure } of looks) {
      const note = this.#notes.get(id);
      // A bucket that this host has never read.
      if (found === undefined && note === undefined && failure !== undefined) throw failure;
      for (const record of [...(found ?? note?.records ?? []), ...(note?.local ?? [])]) {
        const other = volumes.get(record.name);
        if (other === undefined) volumes.set(record.name, listedVolume(id, record));
        // One bucket by two ways is one bucket.
        else if (other.handle['bucket'] !== id && other.handle['uuid'] !== record.uuid) {
          const buckets = [other.handle['bucket'], id];
          c.log.warn('two buckets have a volume of one name; the first one counts', { volume: record.name, buckets });
        }
      }
    }
    return [...volumes.values()];
  }

  /**
   * One volume. Undefined: no usual bucket has it, and no bucket that volumes have named here is known to have had it.
   * Errors: why a usual bucket, or one that had it, cannot be asked.
   */
  async find(name: string, c: Context, except?: string): Promise<ListedVolume | undefined> {
    const looks = await this.#each(
      c,
      async (bucket, inner) => {
        const found = await findRecord(bucket.files, name, inner);
        if (found !== undefined) return found.record.removing === undefined ? found.record : null;
        return this.localOf(bucket.id, name) ?? null;
      },
      except,
    );
    for (const { id, found } of looks) if (found !== undefined && found !== null) return listedVolume(id, found);
    for (const { id, isUsual, failure } of looks) {
      if (failure === undefined) continue;
      const had = this.#notes.get(id)?.records.find((one) => one.name === name) ?? this.localOf(id, name);
      if (had !== undefined) return listedVolume(id, had);
      if (isUsual) throw failure;
    }
    return undefined;
  }

  /** A volume whose record is kept on this host, for nobody can write to its bucket. */
  localOf(id: string, name: string): ObjectRecord | undefined {
    return this.#notes.get(id)?.local.find((one) => one.name === name);
  }

  async #each<T>(
    c: Context,
    work: (bucket: OpenBucket, c: Context, isUsual: boolean) => Promise<T>,
    except?: string,
  ): Promise<readonly Look<T>[]> {
    const { usual, named } = this.#buckets.all();
    const inner = newContext(c.log, READ_MS, c);
    const look = async (id: string): Promise<Look<T>> => {
      const isUsual = usual.includes(id);
      try {
        return { id, isUsual, found: await work(await this.#buckets.open(id, inner), inner, isUsual) };
      } catch (thrown) {
        const failure = asPluginError(thrown);
        if (failure.code === 'BUCKET_MISSING') {
          // There is nothing in a bucket that nobody has made, or that somebody has removed.
          await this.#remember(id, [], isUsual);
          return { id, isUsual };
        }
        c.log.debug('a bucket could not be looked at', { bucket: id, error: failure });
        return { id, isUsual, failure };
      }
    };
    return await Promise.all([...usual, ...named].filter((id) => id !== except).map(look));
  }

  /** For when the store does not answer, and, of buckets that only volumes name, for the next start. */
  async #remember(id: string, records: readonly ObjectRecord[], isUsual: boolean): Promise<void> {
    const local = this.#notes.get(id)?.local ?? [];
    if (isUsual || records.length > 0 || local.length > 0) await this.#notes.change(id, { records });
    else await this.#notes.forget(id);
  }
}
