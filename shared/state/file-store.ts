import { join } from 'node:path';
import { PluginError } from '../errors.ts';
import { makeFolder, reasonOf, replaceFile } from './files.ts';
import { FolderLock } from './folder-lock.ts';
import { encodeSnapshot, encodeWrite } from './format.ts';
import { Journal } from './journal.ts';
import { type FileStoreOptions, JOURNAL, type Loaded, load, SNAPSHOT } from './loading.ts';
import type { AppliedChange, Lasting, Records, StateStore, Transaction } from './store.ts';

export type { FileStoreOptions } from './loading.ts';

interface Pending {
  readonly changes: readonly AppliedChange[];
  readonly lasting: Lasting;
  resolve(): void;
  reject(error: unknown): void;
}

/** How long everybody may have to wait for one write. */
const QUICK_MS = 2;
/** What was changed `soon` is written, and what the kernel has is brought to the disk, after so many milliseconds at most. */
const SOON_MS = 100;

const nobody = (): void => undefined;

/**
 * A store in a folder of its own: `snapshot.json`, and `journal.jsonl` with what has changed since. An update is one
 * line appended by one write; updates made meanwhile share the next line. A full disk rejects updates with STATE_WRITE and
 * does no other harm.
 */
export class FileStore<S> implements StateStore<S> {
  /** The damage that was set aside, when the store started empty because of it. */
  readonly startedEmpty: PluginError | undefined;
  readonly #folder: string;
  readonly #options: FileStoreOptions<S>;
  readonly #lock: FolderLock;
  readonly #journal: Journal;
  readonly #records: Records<S>;
  #pending: Pending[] = [];
  #writing: Promise<void> | undefined;
  /** Runs while there are changes that nobody waits for. */
  #later: NodeJS.Timeout | undefined;
  #closed = false;
  /** Number of the last write. */
  #n: number;
  /** Number of the last write that is on the disk, and what brings later ones there. */
  #durable: number;
  #syncing: NodeJS.Timeout | undefined;
  /** Bytes of the journal that count. */
  #length: number;
  #snapshotLength: number;
  /** A write has failed, and what it left in the journal is not yet taken back. */
  #broken = false;
  /** The snapshot may hold changes that were rejected since, or the journal may have lost some that were not. */
  #suspect = false;

  private constructor(
    folder: string,
    options: FileStoreOptions<S>,
    lock: FolderLock,
    journal: Journal,
    loaded: Loaded<S>,
  ) {
    this.#folder = folder;
    this.#options = options;
    this.#lock = lock;
    this.#journal = journal;
    this.#records = loaded.records;
    this.#n = loaded.n;
    this.#durable = loaded.n;
    this.#length = loaded.journalLength;
    this.#snapshotLength = loaded.snapshotLength;
    this.startedEmpty = loaded.startedEmpty;
  }

  /**
   * Opens or creates. Errors: STATE_LOCKED (another process has it), STATE_CORRUPT, STATE_VERSION, and STATE_WRITE
   * when the folder cannot be used.
   */
  static async open<S>(folder: string, options: FileStoreOptions<S>): Promise<FileStore<S>> {
    let lock: FolderLock | undefined;
    let journal: Journal | undefined;
    try {
      await makeFolder(folder);
      lock = await FolderLock.take(folder);
      const loaded = await load(folder, options);
      journal = await Journal.open(join(folder, JOURNAL), options.quickMs ?? QUICK_MS);
      // What a plugin that was killed had left to the kernel alone counts as being on the disk from now on.
      if (loaded.journalLength > 0) await journal.sync();
      const store = new FileStore(folder, options, lock, journal, loaded);
      if (loaded.torn > 0) {
        options.log.warn('what was being written was cut short by a crash and is dropped; nothing relied on it', {
          bytes: loaded.torn,
        });
        await store.#takeBack();
      }
      if (loaded.rewrite) await store.#compact(loaded.n);
      return store;
    } catch (error) {
      await journal?.close();
      await lock?.release();
      if (error instanceof PluginError) throw error;
      throw new PluginError('STATE_WRITE', { file: folder, reason: reasonOf(error) }, { cause: error });
    }
  }

  get<K extends keyof S & string>(collection: K, id: string): S[K] | undefined {
    return this.#records.collection(collection).get(id);
  }

  all<K extends keyof S & string>(collection: K): ReadonlyMap<string, S[K]> {
    return this.#records.collection(collection);
  }

  async update<R>(change: (tx: Transaction<S>) => R, lasting: Lasting = 'disk'): Promise<R> {
    this.#refuseWhenClosed();
    const { result, changes } = this.#records.transact(change);
    if (changes.length > 0) await this.#written(changes, lasting);
    // What was only read may have been read from changes that are not written yet.
    else if (this.#pending.length > 0 || this.#writing !== undefined) await this.#written([], lasting);
    return result;
  }

  soon(change: (tx: Transaction<S>) => void): void {
    this.#refuseWhenClosed();
    const { changes } = this.#records.transact(change);
    if (changes.length === 0) return;
    // A failure is logged when it happens.
    this.#pending.push({ changes, lasting: 'kernel', resolve: nobody, reject: nobody });
    if (this.#writing !== undefined) return;
    this.#later ??= setTimeout(() => {
      this.#writing ??= this.#drain();
    }, SOON_MS).unref();
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new PluginError('STATE_WRITE', { file: this.#folder, reason: 'the store is closed' });
  }

  /** Writes what is pending, and gives the folder free. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pending.length > 0) this.#writing ??= this.#drain();
    while (this.#writing !== undefined) await this.#writing;
    clearTimeout(this.#syncing);
    if (this.#durable < this.#n) await this.#sync();
    await this.#journal.close();
    await this.#lock.release();
  }

  #written(changes: readonly AppliedChange[], lasting: Lasting): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending.push({ changes, lasting, resolve, reject });
    this.#writing ??= this.#drain();
    return promise;
  }

  /** Writes what is pending, one batch after the other. Never rejects: each update is told by itself. */
  async #drain(): Promise<void> {
    clearTimeout(this.#later);
    this.#later = undefined;
    // Not before the field that holds this promise is set.
    await undefined;
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      try {
        const lasting = batch.every((one) => one.lasting === 'kernel') ? 'kernel' : 'disk';
        await this.#write(
          batch.flatMap(({ changes }) => changes),
          lasting,
        );
        for (const { resolve } of batch) resolve();
      } catch (error) {
        await this.#fail(batch, error);
      }
    }
    // In the same step as the last look at what is pending: an update made later starts a new round.
    this.#writing = undefined;
  }

  #take(): readonly Pending[] {
    const batch = this.#pending;
    this.#pending = [];
    return batch;
  }

  async #write(changes: readonly AppliedChange[], lasting: Lasting): Promise<void> {
    if (changes.length === 0) return;
    // Taken before anything is awaited: later updates must not get into a snapshot of this batch.
    const n = this.#n + 1;
    const line = Buffer.from(encodeWrite({ n, durable: this.#durable, changes }));
    const limit = Math.max(this.#options.compactAfter ?? 1 << 20, 2 * this.#snapshotLength);
    const whole = this.#suspect || this.#length + line.length > limit ? this.#snapshot(n) : undefined;
    if (this.#broken) await this.#takeBack();
    if (whole !== undefined && (await this.#tryCompact(n, whole))) return;
    if (lasting === 'disk') await this.#journal.appendToDisk(line, this.#durable < this.#n);
    else await this.#journal.appendToKernel(line);
    this.#length += line.length;
    this.#n = n;
    if (lasting === 'disk') this.#durable = n;
    else this.#syncing ??= setTimeout(() => void this.#sync(), SOON_MS).unref();
  }

  /** Brings to the disk what the kernel has, while others may go on writing. Never rejects. */
  async #sync(): Promise<void> {
    const upTo = this.#n;
    try {
      await this.#journal.sync();
      this.#durable = Math.max(this.#durable, upTo);
    } catch (error) {
      // The kernel forgets what it could not write: only the whole state, written anew, is sure to be there.
      this.#suspect = true;
      this.#options.log.warn('the state could not be brought to the disk; the next change writes all of it', { error });
    }
    this.#syncing = undefined;
    if (this.#durable < this.#n && !this.#suspect && !this.#closed) {
      this.#syncing = setTimeout(() => void this.#sync(), SOON_MS).unref();
    }
  }

  /** Rejects a batch and everything that was built on it, and puts memory and journal back to what is durable. */
  async #fail(batch: readonly Pending[], error: unknown): Promise<void> {
    const all = [...batch, ...this.#take()];
    // What only the kernel had may have been lost with it.
    if (this.#durable < this.#n) this.#suspect = true;
    this.#records.revert(all.flatMap(({ changes }) => changes));
    this.#broken = true;
    const file = join(this.#folder, JOURNAL);
    const failure = new PluginError('STATE_WRITE', { file, reason: reasonOf(error) }, { cause: error });
    this.#options.log.error('the state could not be written', { error: failure, updates: all.length });
    try {
      await this.#takeBack();
    } catch (second) {
      this.#options.log.warn('what a failed write left in the journal will be taken back later', { error: second });
    }
    for (const { reject } of all) reject(failure);
  }

  /** Cuts off what a failed or torn write left at the end of the journal. */
  async #takeBack(): Promise<void> {
    await this.#journal.truncate(this.#length);
    await this.#journal.sync();
    this.#broken = false;
  }

  #snapshot(n: number): Buffer {
    const records = Object.fromEntries(this.#options.collections.map((name) => [name, [...this.all(name)]]));
    return Buffer.from(encodeSnapshot({ version: this.#options.version, n, records }));
  }

  async #compact(n: number, whole = this.#snapshot(n)): Promise<void> {
    await this.#lock.verify();
    await replaceFile(join(this.#folder, SNAPSHOT), whole, () => {
      this.#suspect = true;
    });
    await this.#journal.truncate(0);
    this.#suspect = false;
    this.#length = 0;
    this.#snapshotLength = whole.length;
    this.#n = n;
    this.#durable = n;
  }

  /** Compaction is house-keeping: when it fails, the journal goes on, unless the snapshot must be put right first. */
  async #tryCompact(n: number, whole: Buffer): Promise<boolean> {
    const needed = this.#suspect;
    try {
      await this.#compact(n, whole);
      return true;
    } catch (error) {
      if (needed || (error instanceof PluginError && error.code === 'STATE_LOCKED')) throw error;
      this.#options.log.warn('the state could not be compacted; the journal goes on growing', { error });
      return false;
    }
  }
}
