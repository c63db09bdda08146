import type { Context } from '../../shared/context.ts';
import type { RecordFiles, TextFile } from '../nfs/share-files.ts';
import { type NewObject, type ObjectFacts, type ObjectStore, StoreError } from '../object/store.ts';
import { asked } from './object-errors.ts';

/** A record may have so many bytes; what is larger is none. */
const RECORD_MAX = 256 * 1024;
/** Records that are read at once. */
const READS = 16;

const TEXT = { meta: {}, contentType: 'application/json' } as const satisfies NewObject;

/** An object with a record, and what a conditional write of it needs. */
export interface RecordText {
  readonly text: string;
  readonly etag: string;
  /** Epoch milliseconds by the store's clock. */
  readonly modified: number;
}

/**
 * Records in a bucket. Folders need not be made there. What is read is kept by its ETag: records that have not changed are
 * listed and not read again. Errors of each: BUCKET_*.
 */
export class BucketFiles implements RecordFiles {
  readonly store: ObjectStore;
  readonly #known = new Map<string, RecordText>();

  constructor(store: ObjectStore) {
    this.store = store;
  }

  async makeFolder(): Promise<boolean> {
    return false;
  }

  async readFile(path: string, c: Context): Promise<string | undefined> {
    return (await this.read(path, c))?.text;
  }

  /** The same, with what a conditional write needs. */
  async read(path: string, c: Context): Promise<RecordText | undefined> {
    const work = async (): Promise<RecordText | undefined> => {
      try {
        const { data, details } = await this.store.get(path, { range: { offset: 0, length: RECORD_MAX } }, c);
        const { etag, modified, size } = details;
        return { text: size > RECORD_MAX ? '' : Buffer.concat(data).toString('utf8'), etag, modified };
      } catch (error) {
        if (error instanceof StoreError && error.failure === 'NOT_FOUND') return undefined;
        throw error;
      }
    };
    const found = await asked(this.store.name, `to read ${path}`, work);
    if (found === undefined) this.#known.delete(path);
    else this.#known.set(path, found);
    return found;
  }

  async readFiles(folder: string, ending: string, c: Context): Promise<readonly TextFile[]> {
    const all = await this.readAll(folder, ending, c);
    return all.map(({ name, text }) => ({ name, content: text }));
  }

  /** The same, with when each was written. */
  async readAll(folder: string, ending: string, c: Context): Promise<readonly (RecordText & { name: string })[]> {
    const { objects } = await this.#list(folder, c);
    const wanted = objects.filter(({ key }) => key.endsWith(ending));
    const names = new Set(wanted.map(({ key }) => key));
    for (const path of this.#known.keys()) {
      if (path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes('/') && !names.has(path)) {
        this.#known.delete(path);
      }
    }
    const found: (RecordText & { name: string })[] = [];
    const waiting = wanted.values();
    const reader = async (): Promise<void> => {
      for (const { key, etag } of waiting) {
        const known = this.#known.get(key);
        const record = known?.etag === etag ? known : await this.read(key, c);
        if (record !== undefined) found.push({ ...record, name: key.slice(folder.length + 1) });
      }
    };
    await Promise.all(Array.from({ length: READS }, reader));
    return found;
  }

  async createFile(path: string, content: string, c: Context): Promise<boolean> {
    return await this.#write(path, content, { ifAbsent: true }, c);
  }

  async replaceFile(path: string, content: string, c: Context): Promise<void> {
    await this.#write(path, content, undefined, c);
  }

  /** Writes it anew if nobody has changed it since; false: somebody has. */
  async replaceIf(path: string, content: string, etag: string, c: Context): Promise<boolean> {
    return await this.#write(path, content, { ifMatch: etag }, c);
  }

  async removeFile(path: string, c: Context): Promise<void> {
    await asked(this.store.name, `to remove ${path}`, () => this.store.remove(path, c));
    this.#known.delete(path);
  }

  async names(folder: string, c: Context): Promise<readonly string[]> {
    const { objects, prefixes } = await this.#list(folder, c);
    const skip = folder.length + 1;
    return [...objects.map(({ key }) => key.slice(skip)), ...prefixes.map((prefix) => prefix.slice(skip, -1))];
  }

  async #list(folder: string, c: Context): Promise<{ objects: ObjectFacts[]; prefixes: string[] }> {
    const objects: ObjectFacts[] = [];
    const prefixes: string[] = [];
    let from: string | undefined;
    do {
      const page = await asked(this.store.name, `to list ${folder}`, () =>
        this.store.list(`${folder}/`, { delimiter: '/', ...(from !== undefined && { from }) }, c),
      );
      // The folder's own marker has no name in it.
      objects.push(...page.objects.filter(({ key }) => key.length > folder.length + 1));
      prefixes.push(...page.prefixes);
      from = page.next;
    } while (from !== undefined);
    return { objects, prefixes };
  }

  /** False: the condition does not hold. Of a store that knows no conditions it is looked at before, which is not certain. */
  async #write(path: string, content: string, condition: NewObject['condition'], c: Context): Promise<boolean> {
    const isCertain = condition === undefined || this.store.limits.conditionalPut;
    const work = async (): Promise<boolean> => {
      if (!isCertain) {
        const there = await this.store.head(path, c);
        if (condition.ifAbsent === true ? there !== undefined : there?.etag !== condition.ifMatch) return false;
      }
      const object: NewObject = { ...TEXT, ...(isCertain && condition !== undefined && { condition }) };
      try {
        const { etag, modified } = await this.store.put(path, [Buffer.from(content)], object, c);
        this.#known.set(path, { text: content, etag, modified });
        return true;
      } catch (error) {
        if (condition === undefined || !(error instanceof StoreError) || error.failure !== 'CONFLICT') throw error;
        return false;
      }
    };
    return await asked(this.store.name, `to write ${path}`, work);
  }
}
