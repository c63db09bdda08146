import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Context, sleep, throwIfDone } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { tryFileLock } from '../../shared/kernel/syscalls.ts';
import { footOf, listedAt, type ObjectRecord, readRecord } from './folder-file.ts';
import { fileOf } from './folder-paths.ts';
import { type Range, StoreError, type WriteCondition } from './store.ts';

/** Locks of a bucket; keys share them. */
const LOCKS = 64;
/** Between two looks at a lock, in milliseconds: it is held for a few system calls. */
const LOCK_MS = 1;
const CHUNK = 2 ** 20;
/** What was being written so long ago was left by a crash, in milliseconds. */
const ABANDONED_MS = 24 * 3_600_000;

/** Adds bytes to a file that is being written. */
export type Add = (body: readonly Buffer[]) => Promise<void>;

export interface OpenObject {
  readonly record: ObjectRecord;
  /** Hands over the bytes of a range, which is within the object. */
  pass(offset: number, length: number, to: (bytes: Buffer) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** A bucket's folder: `objects` and what makes changes to them atomic. Throws errors of the system and StoreError. */
export class FolderShelf {
  readonly root: string;
  readonly objects: string;
  readonly #durable: boolean;

  constructor(root: string, durable: boolean) {
    this.root = root;
    this.objects = join(root, 'objects');
    this.#durable = durable;
  }

  /** Throws NO_BUCKET. */
  async mustBe(): Promise<void> {
    try {
      await stat(this.objects);
    } catch (error) {
      throw codeOf(error) === 'ENOENT' ? this.#missing(error) : error;
    }
  }

  async make(): Promise<void> {
    for (const part of ['being-written', 'uploads', 'locks', 'objects']) {
      await mkdir(join(this.root, part), { recursive: true, mode: 0o700 });
    }
    const folder = join(this.root, 'being-written');
    for (const name of await readdir(folder)) {
      const path = join(folder, name);
      const found = await stat(path).catch((error: unknown) => {
        // Written meanwhile.
        if (codeOf(error) !== 'ENOENT') throw error;
        return undefined;
      });
      if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    }
  }

  /** Throws INVALID when there are objects. */
  async unmake(): Promise<void> {
    try {
      await removeEmpty(this.objects);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') throw this.#missing(error);
      if (codeOf(error) !== 'ENOTEMPTY') throw error;
      throw new StoreError('INVALID', `the bucket ${this.root} is not empty`, { cause: error });
    }
    await rm(this.root, { recursive: true, force: true });
  }

  /** Undefined: there is no object. What was opened stays what it is when the object is replaced. */
  async openObject(key: string): Promise<OpenObject | undefined> {
    const found = await openFile(fileOf(this.objects, key));
    if (found === undefined) await this.mustBe();
    return found;
  }

  async read(
    key: string,
    range: Range | undefined,
    into: Buffer | undefined,
  ): Promise<{ readonly record: ObjectRecord; readonly data: Buffer } | undefined> {
    const file = await this.openObject(key);
    if (file === undefined) return undefined;
    try {
      const { size } = file.record;
      const offset = Math.min(range?.offset ?? 0, size);
      const length = Math.min(range?.length ?? size, size - offset);
      const data = (into ?? Buffer.allocUnsafeSlow(length)).subarray(0, length);
      let done = 0;
      await file.pass(offset, length, async (bytes) => {
        done += bytes.copy(data, done);
      });
      return { record: file.record, data };
    } finally {
      await file.close();
    }
  }

  /** A new file with these bytes and this record, which is nothing yet: its path. */
  async write(record: ObjectRecord, body: (add: Add) => Promise<void>): Promise<string> {
    const path = join(this.root, 'being-written', randomBytes(12).toString('hex'));
    let file: FileHandle;
    try {
      file = await open(path, 'wx', 0o600);
    } catch (error) {
      throw codeOf(error) === 'ENOENT' ? this.#missing(error) : error;
    }
    try {
      await body((chunks) => addAll(file, chunks));
      await addAll(file, [footOf(record)]);
      if (this.#durable) await file.datasync();
      await file.close();
      return path;
    } catch (error) {
      await file.close();
      await rm(path, { force: true });
      throw error;
    }
  }

  /** Makes a file that `write` has made the object of a key. */
  async replace(key: string, file: string, condition: WriteCondition | undefined, c: Context): Promise<void> {
    const target = fileOf(this.objects, key);
    try {
      await this.#alone(key, c, () => {
        if (condition !== undefined) mustHold(key, listedAt(target), condition);
        place(file, target);
      });
    } catch (error) {
      await rm(file, { force: true });
      throw error;
    }
    await this.syncFolder(dirname(target));
  }

  async remove(key: string, c: Context): Promise<void> {
    const target = fileOf(this.objects, key);
    try {
      await this.#alone(key, c, () => unlinkSync(target));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      return this.mustBe();
    }
    await this.syncFolder(dirname(target));
    this.#prune(dirname(target));
  }

  /** What was renamed into a folder is there after a loss of power. */
  async syncFolder(path: string): Promise<void> {
    if (!this.#durable) return;
    try {
      await using folder = await open(path, 'r');
      await folder.sync();
    } catch (error) {
      // Gone with all that was in it.
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** Folders that have become empty go. */
  #prune(folder: string): void {
    try {
      for (let path = folder; path !== this.objects; path = dirname(path)) rmdirSync(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** `work` is done while nobody else, in whatever process, changes this key. */
  async #alone(key: string, c: Context, work: () => void): Promise<void> {
    const path = join(this.root, 'locks', String(numberOf(key) % LOCKS));
    let fd: number;
    try {
      fd = openSync(path, 'a', 0o600);
    } catch (error) {
      throw codeOf(error) === 'ENOENT' ? this.#missing(error) : error;
    }
    try {
      while (!tryFileLock(fd)) await sleep(LOCK_MS, c);
      throwIfDone(c);
      work();
    } finally {
      closeSync(fd);
    }
  }

  #missing(cause: unknown): StoreError {
    return new StoreError('NO_BUCKET', `there is no bucket ${this.root}`, { cause });
  }
}

const numberOf = (key: string): number => {
  let number = 0;
  for (let i = 0; i < key.length; i += 1) number = (number * 31 + key.charCodeAt(i)) >>> 0;
  return number;
};

const mustHold = (key: string, there: ObjectRecord | undefined, condition: WriteCondition): void => {
  const { ifMatch, ifAbsent = false } = condition;
  if (ifAbsent && there !== undefined) throw new StoreError('CONFLICT', `${key} is there already`, { key });
  if (ifMatch === undefined || there?.etag === ifMatch) return;
  throw new StoreError('CONFLICT', `${key} ${there === undefined ? 'is not there any more' : 'has changed'}`, { key });
};

const place = (file: string, target: string): void => {
  for (;;) {
    try {
      renameSync(file, target);
      return;
    } catch (error) {
      // Whoever removes the last object of a folder takes the folder away, perhaps before we are in it.
      if (codeOf(error) !== 'ENOENT') throw error;
      mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    }
  }
};

const addAll = async (file: FileHandle, body: readonly Buffer[]): Promise<void> => {
  for (const bytes of body) {
    for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
  }
};

export const openFile = async (path: string): Promise<OpenObject | undefined> => {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  let record: ObjectRecord;
  try {
    record = readRecord(file.fd, path);
  } catch (error) {
    await file.close();
    throw error;
  }
  return {
    record,
    pass: async (offset, length, to) => {
      for (let done = 0; done < length; ) {
        const bytes = Buffer.allocUnsafeSlow(Math.min(CHUNK, length - done));
        const { bytesRead } = await file.read(bytes, 0, bytes.length, offset + done);
        if (bytesRead === 0) throw new StoreError('DAMAGED', `${path} is shorter than its record says`);
        await to(bytes.subarray(0, bytesRead));
        done += bytesRead;
      }
    },
    close: () => file.close(),
  };
};

/** Throws ENOTEMPTY when there is a file somewhere below. */
const removeEmpty = async (folder: string): Promise<void> => {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeEmpty(join(folder, entry.name));
  }
  await rmdir(folder);
};
