import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Context, newContext } from '../../../../shared/context.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { FolderStore } from '../../../../volume-plugin/object/folder.ts';
import {
  type ObjectDetails,
  type ObjectFacts,
  type ObjectStore,
  StoreError,
} from '../../../../volume-plugin/object/store.ts';
import type { Base, Contents, Description, FileHome } from '../../../../volume-plugin/objectfs/content.ts';
import { type ContentOptions, openContents } from '../../../../volume-plugin/objectfs/content-set.ts';
import type { StateLog, StateRecord } from '../../../../volume-plugin/objectfs/state-log.ts';

export const context = (ms = 30_000): Context => newContext(silentLogger, ms);

/** A log in memory, which a test may let end at any record. */
export class MemoryLog implements StateLog {
  readonly all: StateRecord[];
  onAppend: (record: StateRecord, write: () => void) => void = (_, write) => write();
  synced = 0;

  constructor(all: readonly StateRecord[] = []) {
    this.all = [...all];
  }

  left(...kinds: readonly string[]): readonly StateRecord[] {
    return this.all.filter(({ of }) => kinds.includes(of)).map((one) => structuredClone(one));
  }

  keeps(): void {
    // Compactions are the tests' own.
  }

  append(...records: readonly StateRecord[]): void {
    for (const record of records) this.onAppend(record, () => this.all.push(structuredClone(record)));
  }

  async sync(): Promise<void> {
    this.synced = this.all.length;
  }

  compact(): void {
    // See keeps.
  }

  get length(): number {
    return this.all.length;
  }

  close(): void {
    // Nothing is open.
  }
}

/** A store of which a test sees each call before it is made and after it, and may let it fail on either side. */
export type Tap = (call: string, moment: 'before' | 'after') => Promise<void> | void;

const CALLS = new Set([
  'get',
  'head',
  'put',
  'copy',
  'remove',
  'beginUpload',
  'uploadPart',
  'copyPart',
  'completeUpload',
  'abortUpload',
]);

export const tapped = (store: ObjectStore, tap: Tap): ObjectStore =>
  new Proxy(store, {
    get: (target, name, receiver) => {
      const value: unknown = Reflect.get(target, name, target === receiver ? receiver : target);
      if (typeof value !== 'function') return value;
      if (typeof name !== 'string' || !CALLS.has(name)) return value.bind(target);
      return async (...values: unknown[]): Promise<unknown> => {
        await tap(name, 'before');
        const result: unknown = await value.apply(target, values);
        await tap(name, 'after');
        return result;
      };
    },
  });

export const unreachable = (): StoreError => new StoreError('UNREACHABLE', 'nobody answers');

/** A file as a namespace would have it. */
export class Home implements FileHome {
  readonly node: number;
  at: string | undefined;
  replaced: string | undefined;
  description_: Description = { meta: { mode: '33188' } };
  readonly storedFacts: ObjectFacts[] = [];
  readonly conflicts: { keptAs: string; whole: boolean; theirs: ObjectFacts | undefined }[] = [];
  readonly changes: { now: ObjectFacts | undefined; rebased: boolean }[] = [];
  #kept = 0;

  constructor(node: number, key: string) {
    this.node = node;
    this.at = key;
  }

  key(): string | undefined {
    return this.at;
  }

  replaces(): string | undefined {
    return this.replaced;
  }

  description(): Description {
    return this.description_;
  }

  stored(facts: ObjectFacts): void {
    this.storedFacts.push(facts);
  }

  conflictKey(): string {
    this.#kept += 1;
    return `${this.at}.conflict-here-${this.node}-${this.#kept}`;
  }

  conflicted(keptAs: string, whole: boolean, theirs: ObjectFacts | undefined): void {
    this.conflicts.push({ keptAs, whole, theirs });
  }

  changed(now: ObjectFacts | undefined, rebased: boolean): void {
    this.changes.push({ now, rebased });
  }
}

export const baseOf = (details: ObjectDetails | ObjectFacts): Base => ({
  key: details.key,
  etag: details.etag,
  size: details.size,
});

/** A bucket and the folder of an engine, with lives of an engine's contents. */
export class Site {
  readonly root = mkdtempSync(join(tmpdir(), 'drayage-content-'));
  readonly plain: FolderStore;
  readonly context = newContext(silentLogger, Number.POSITIVE_INFINITY);
  folder: string;
  #lives = 0;

  private constructor(limits: ConstructorParameters<typeof FolderStore>[0]['limits']) {
    this.plain = new FolderStore({
      folder: join(this.root, 'buckets'),
      bucket: 'b',
      durable: false,
      ...(limits !== undefined && { limits }),
    });
    this.folder = join(this.root, 'engine-0');
  }

  static async make(limits?: ConstructorParameters<typeof FolderStore>[0]['limits']): Promise<Site> {
    const site = new Site(limits);
    await site.plain.createBucket(context());
    return site;
  }

  open(log: StateLog, options: ContentOptions = {}, store: ObjectStore = this.plain): Promise<Contents> {
    return openContents({
      store,
      folder: this.folder,
      log,
      logger: silentLogger,
      context: this.context,
      options: { boot: 'one', ...options },
    });
  }

  /** What is on the disk at this moment is what the next life finds. */
  crash(): void {
    this.#lives += 1;
    const next = join(this.root, `engine-${this.#lives}`);
    cpSync(this.folder, next, { recursive: true });
    this.folder = next;
  }

  async put(key: string, bytes: Buffer): Promise<Base> {
    return baseOf(await this.plain.put(key, [bytes], { meta: {} }, context()));
  }

  async bytes(key: string): Promise<Buffer | undefined> {
    if ((await this.plain.head(key, context())) === undefined) return undefined;
    const { data } = await this.plain.get(key, {}, context());
    return Buffer.concat(data);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
