import { randomUUID } from 'node:crypto';
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';

/** Fills a file that nobody sees yet. */
export type Fill = (file: FileHandle, path: string) => Promise<void>;

/** Names of files that only exist while they are written; what a crash left of them goes after this long. */
const TEMPORARY = /^\.[0-9a-f-]{36}$/;
const ABANDONED_MS = 3_600_000;

/** Answers undefined where there is no such file. */
const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
};

/** For what a file still has in memory to get to where it is kept: of a disk that is being copied that is a lot. */
const SYNC_MS = 120_000;

/**
 * Files of a folder that hosts may share: each appears whole, at once and for good, or not at all. A server that does not
 * answer is told of as DEADLINE by everything here: see `blocking`.
 */
export class DurableFolder {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Bounded by time: what it does must end by itself when nobody waits for it any more. */
  #io<T>(what: string, call: () => Promise<T>, patienceMs?: number): Promise<T> {
    return blocking(this.folder, `${what} ${this.folder}`, call, patienceMs);
  }

  #open(path: string, flags: string, mode?: number): Promise<FileHandle | undefined> {
    const call = () => unlessMissing(open(path, flags, mode));
    return blocking(this.folder, `opening ${path}`, call, undefined, (file) => file?.close());
  }

  async prepare(): Promise<void> {
    await this.#io('making', () => mkdir(this.folder, { recursive: true, mode: 0o700 }));
    for (const name of await this.names()) if (TEMPORARY.test(name)) await this.removeAbandoned(name);
  }

  /** Removes what nobody has touched for long: who writes it would have done so. */
  removeAbandoned(name: string): Promise<void> {
    return this.#io('clearing', async () => {
      const found = await unlessMissing(stat(this.path(name)));
      if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(this.path(name), { force: true });
    });
  }

  names(): Promise<string[]> {
    return this.#io('reading', () => readdir(this.folder));
  }

  /** Reads a file that may not be there. Errors: BACKEND_REFUSED for one that is spoilt. */
  async read<T extends { readonly id: string }>(name: string): Promise<T | undefined> {
    const text = await this.#io('reading', () => unlessMissing(readFile(this.path(name), 'utf8')));
    if (text === undefined) return undefined;
    try {
      const value: unknown = JSON.parse(text);
      if (typeof value === 'object' && value !== null && 'id' in value && typeof value.id === 'string')
        return value as T;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    const reason = `${this.path(name)} is spoilt`;
    throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: 'to go on', reason });
  }

  /** Bytes of a file, and those that it takes on the disk; undefined: there is none. */
  async size(name: string): Promise<{ readonly bytes: number; readonly taken: number } | undefined> {
    const found = await this.#io('reading', () => unlessMissing(stat(this.path(name))));
    return found === undefined ? undefined : { bytes: found.size, taken: found.blocks * 512 };
  }

  /** Writes a new file under its name, which only appears when it is whole; false: the name is taken. */
  async create(name: string, content: string | Fill): Promise<boolean> {
    const written = typeof content === 'string' ? await this.#write(content) : await this.#fill(content);
    return await this.#io('writing to', async () => {
      try {
        await link(written, this.path(name));
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return false;
        throw error;
      } finally {
        await rm(written, { force: true });
      }
      await this.#sync();
      return true;
    });
  }

  /** Writes a file anew. */
  async replace(name: string, content: string): Promise<void> {
    const written = await this.#write(content);
    await this.#io('writing to', async () => {
      await rename(written, this.path(name));
      await this.#sync();
    });
  }

  /** Gives a file another name; succeeds when it has none of the two any more or the new one already. */
  rename(from: string, to: string): Promise<void> {
    return this.#io('writing to', async () => {
      await unlessMissing(rename(this.path(from), this.path(to)));
      await this.#sync();
    });
  }

  /** Removes files that may not be there, in this order. */
  remove(...names: readonly string[]): Promise<void> {
    return this.#io('writing to', async () => {
      for (const name of names) await rm(this.path(name), { force: true });
      await this.#sync();
    });
  }

  /** Changes a file that is there, and writes out what of it is still in memory. */
  async change(name: string, work: Fill): Promise<void> {
    const path = this.path(name);
    const file = await this.#open(path, 'r+');
    if (file !== undefined) await this.#finish(file, work(file, path));
  }

  /** What was written to an open file gets to where it is kept. */
  async #finish(file: FileHandle, work: Promise<void>): Promise<void> {
    try {
      await work;
      await this.#io('writing to', () => file.sync(), SYNC_MS);
    } finally {
      await this.#io('writing to', () => file.close());
    }
  }

  #temporary(): string {
    return this.path(`.${randomUUID()}`);
  }

  #write(text: string): Promise<string> {
    const path = this.#temporary();
    return this.#io('writing to', async () => {
      const file = await open(path, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } catch (error) {
        await rm(path, { force: true });
        throw error;
      } finally {
        await file.close();
      }
      return path;
    });
  }

  async #fill(fill: Fill): Promise<string> {
    const path = this.#temporary();
    const file = await this.#open(path, 'wx', 0o600);
    if (file === undefined)
      throw new PluginError('BACKEND_UNREACHABLE', { provider: 'loop', reason: `${this.folder} is gone` });
    try {
      await this.#finish(file, fill(file, path));
    } catch (error) {
      await this.#io('writing to', () => rm(path, { force: true }));
      throw error;
    }
    return path;
  }

  sync(): Promise<void> {
    return this.#io('writing to', () => this.#sync());
  }

  async #sync(): Promise<void> {
    const folder = await open(this.folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}
