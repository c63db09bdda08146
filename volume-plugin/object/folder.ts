import { join } from 'node:path';
import { type Context, throwIfDone } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { md5Of, sizeOf } from './body.ts';
import { mustBeKey, mustBeMeta } from './checking.ts';
import { removeEach } from './deletions.ts';
import { descriptionOf, listedAt, type ObjectRecord, recordAt } from './folder-file.ts';
import { type Found, fileOf, walk } from './folder-paths.ts';
import { FolderShelf } from './folder-shelf.ts';
import { FolderUploads } from './folder-uploads.ts';
import {
  type CopyOptions,
  type GetOptions,
  type Got,
  type Left,
  type ListOptions,
  type NewObject,
  type ObjectDetails,
  type ObjectFacts,
  type ObjectStore,
  type Page,
  type Part,
  type PartSource,
  StoreError,
  type StoreLimits,
  type Unfinished,
  type WriteCondition,
} from './store.ts';

export interface FolderOptions {
  /** Absolute; buckets are folders in it. */
  readonly folder: string;
  readonly bucket: string;
  /** Does what was acknowledged outlive the host's loss of power? Usually true; tests save the time. */
  readonly durable?: boolean;
  /** Instead of the usual ones, to try out what callers make of others. */
  readonly limits?: Partial<StoreLimits>;
}

const GIB = 2 ** 30;
const LIMITS: StoreLimits = {
  partMin: 1,
  partMax: 5 * GIB,
  parts: 10_000,
  putMax: 5 * GIB,
  copyMax: 5 * GIB,
  metaMax: 2048,
  conditionalPut: true,
  conditionalCopy: true,
  conditionalComplete: true,
  copyPart: true,
  equalParts: false,
};
const PAGE = 1_000;

const factsOf = (key: string, { size, etag, modified }: ObjectRecord): ObjectFacts => ({ key, size, etag, modified });

const detailsOf = (key: string, record: ObjectRecord): ObjectDetails => ({
  ...factsOf(key, record),
  ...descriptionOf(record),
});

/** Objects in a local folder, which processes of this host may share. Replacing is atomic, conditions hold between processes. */
export class FolderStore implements ObjectStore {
  readonly name: string;
  readonly limits: StoreLimits;
  readonly #shelf: FolderShelf;
  readonly #uploads: FolderUploads;

  constructor({ folder, bucket, durable = true, limits }: FolderOptions) {
    this.name = `folder://${bucket}`;
    this.limits = { ...LIMITS, ...limits };
    this.#shelf = new FolderShelf(join(folder, bucket), durable);
    this.#uploads = new FolderUploads(this.#shelf);
  }

  get(key: string, { range, ifMatch, into }: GetOptions, c: Context): Promise<Got> {
    return this.#call(key, c, async () => {
      const found = await this.#shelf.read(key, range, into);
      if (found === undefined) throw new StoreError('NOT_FOUND', `there is no ${key} in ${this.name}`, { key });
      if (ifMatch !== undefined && found.record.etag !== ifMatch) throw conflict(key, 'has changed');
      return { details: detailsOf(key, found.record), data: found.data.length === 0 ? [] : [found.data] };
    });
  }

  head(key: string, c: Context): Promise<ObjectDetails | undefined> {
    return this.#call(key, c, async () => {
      const record = recordAt(fileOf(this.#shelf.objects, key));
      if (record === undefined) await this.#shelf.mustBe();
      return record === undefined ? undefined : detailsOf(key, record);
    });
  }

  put(key: string, body: readonly Buffer[], object: NewObject, c: Context): Promise<ObjectFacts> {
    return this.#call(key, c, async () => {
      mustBeMeta(object.meta, this.limits.metaMax, key);
      const record: ObjectRecord = {
        size: sizeOf(body),
        etag: md5Of(body, 'hex'),
        modified: Date.now(),
        ...descriptionOf(object),
      };
      const file = await this.#shelf.write(record, async (add) => add(body));
      await this.#shelf.replace(key, file, object.condition, c);
      return factsOf(key, record);
    });
  }

  copy(from: string, to: string, options: CopyOptions, c: Context): Promise<ObjectFacts> {
    return this.#call(from, c, async () => {
      mustBeKey(to);
      if (options.replace !== undefined) mustBeMeta(options.replace.meta, this.limits.metaMax, to);
      const source = await this.#shelf.openObject(from);
      if (source === undefined) throw new StoreError('NOT_FOUND', `there is no ${from} in ${this.name}`, { key: from });
      let file: string;
      let record: ObjectRecord;
      try {
        const { etag } = source.record;
        if (options.ifSourceMatch !== undefined && etag !== options.ifSourceMatch) throw conflict(from, 'has changed');
        record = {
          ...descriptionOf(options.replace ?? source.record),
          ...{ size: source.record.size, etag, modified: Date.now() },
        };
        file = await this.#shelf.write(record, (add) => source.pass(0, source.record.size, (bytes) => add([bytes])));
      } finally {
        await source.close();
      }
      await this.#shelf.replace(to, file, options.condition, c);
      return factsOf(to, record);
    });
  }

  remove(key: string, c: Context): Promise<void> {
    return this.#call(key, c, () => this.#shelf.remove(key, c));
  }

  removeAll(keys: readonly string[], c: Context): Promise<readonly Left[]> {
    return removeEach(keys, 1, (key) => this.remove(key, c));
  }

  list(prefix: string, options: ListOptions, c: Context): Promise<Page> {
    return this.#call(undefined, c, async () => {
      await this.#shelf.mustBe();
      const { delimiter, from = '', after = '', limit = PAGE } = options;
      const found = walk(this.#shelf.objects, {
        prefix,
        delimited: delimiter !== undefined,
        after: from.startsWith('k') ? from.slice(1) : after,
        afterPrefix: from.startsWith('p') ? from.slice(1) : '',
      });
      return this.#page(found, Math.min(limit, PAGE), c);
    });
  }

  async #page(found: AsyncIterable<Found>, limit: number, c: Context): Promise<Page> {
    const objects: ObjectFacts[] = [];
    const prefixes: string[] = [];
    let last: string | undefined;
    for await (const { name, path } of found) {
      throwIfDone(c);
      const record = path === undefined ? undefined : listedAt(path);
      // It has gone since the folder was read.
      if (path !== undefined && record === undefined) continue;
      if (objects.length + prefixes.length === limit)
        return { objects, prefixes, ...(last !== undefined && { next: last }) };
      if (record === undefined) prefixes.push(name);
      else objects.push(factsOf(name, record));
      last = `${record === undefined ? 'p' : 'k'}${name}`;
    }
    return { objects, prefixes };
  }

  beginUpload(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    return this.#call(key, c, () => {
      mustBeMeta(object.meta, this.limits.metaMax, key);
      return this.#uploads.begin(key, object);
    });
  }

  uploadPart(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    return this.#call(key, c, async () => {
      const size = sizeOf(body);
      return this.#uploads.part(key, id, number, { size, etag: md5Of(body, 'hex') }, async (add) => add(body));
    });
  }

  copyPart(key: string, id: string, number: number, source: PartSource, c: Context): Promise<Part> {
    return this.#call(key, c, async () => {
      const got = await this.get(source.key, { range: source.range, ifMatch: source.ifMatch }, c);
      const { offset, length } = source.range;
      if (offset + length > got.details.size || length <= 0) {
        throw new StoreError('INVALID', `${source.key} has no such range`, { key: source.key });
      }
      return this.#uploads.part(key, id, number, { size: length, etag: md5Of(got.data, 'hex') }, async (add) =>
        add(got.data),
      );
    });
  }

  completeUpload(
    key: string,
    id: string,
    parts: readonly Part[],
    condition: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts> {
    return this.#call(key, c, async () => {
      const { file, record } = await this.#uploads.join(key, id, parts, this.limits.partMin);
      await this.#shelf.replace(key, file, condition, c);
      await this.#uploads.drop(id);
      return factsOf(key, record);
    });
  }

  abortUpload(_key: string, id: string, c: Context): Promise<void> {
    return this.#call(undefined, c, () => this.#uploads.drop(id));
  }

  unfinished(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    return this.#call(undefined, c, () => this.#uploads.list(prefix));
  }

  check(c: Context): Promise<void> {
    return this.#call(undefined, c, () => this.#shelf.mustBe());
  }

  createBucket(c: Context): Promise<void> {
    return this.#call(undefined, c, () => this.#shelf.make());
  }

  removeBucket(c: Context): Promise<void> {
    return this.#call(undefined, c, () => this.#shelf.unmake());
  }

  async close(): Promise<void> {
    // Nothing is kept open.
  }

  /** All that is thrown is a StoreError. */
  async #call<T>(key: string | undefined, c: Context, work: () => Promise<T>): Promise<T> {
    try {
      throwIfDone(c);
      if (key !== undefined) mustBeKey(key);
      return await work();
    } catch (error) {
      throw this.#failureOf(error, key, c);
    }
  }

  #failureOf(error: unknown, key: string | undefined, c: Context): StoreError {
    if (error instanceof StoreError) return error;
    const more = { cause: error, ...(key !== undefined && { key }) };
    if (c.signal.aborted) return new StoreError('DEADLINE', 'the call has ended', more);
    const code = codeOf(error);
    const known = code === undefined ? undefined : BY_CODE[code];
    return new StoreError(known ?? 'UNREACHABLE', `${this.name}: ${code ?? String(error)}`, more);
  }
}

const BY_CODE: Readonly<Record<string, 'FULL' | 'READ_ONLY' | 'DENIED' | 'INVALID' | 'DEADLINE'>> = {
  ENOSPC: 'FULL',
  EDQUOT: 'FULL',
  EROFS: 'READ_ONLY',
  EACCES: 'DENIED',
  EPERM: 'DENIED',
  ENAMETOOLONG: 'INVALID',
  DEADLINE: 'DEADLINE',
};

const conflict = (key: string, text: string): StoreError => new StoreError('CONFLICT', `${key} ${text}`, { key });
