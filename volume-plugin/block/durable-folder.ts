import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PluginError } from '../../shared/errors.ts';

/** Fills a file that nobody sees yet. */
export type Fill = (file: Awaited<ReturnType<typeof open>>, path: string) => Promise<void>;

/** Names of files that only exist while they are written; what a crash left of them goes after this long. */
const TEMPORARY = /^\.[0-9a-f-]{36}$/;
const ABANDONED_MS = 3_600_000;

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/** Answers undefined where there is no such file. */
const unlessMissing = async <T>(work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
};

/** Files of a folder that hosts may share: each appears whole, at once and for good, or not at all. */
export class DurableFolder {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async prepare(): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    for (const name of await this.names()) if (TEMPORARY.test(name)) await this.removeAbandoned(name);
  }

  /** Removes what nobody has touched for long: who writes it would have done so. */
  async removeAbandoned(name: string): Promise<void> {
    const found = await unlessMissing(stat(this.path(name)));
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(this.path(name), { force: true });
  }

  names(): Promise<string[]> {
    return readdir(this.folder);
  }

  /** Reads a file that may not be there. Errors: BACKEND_REFUSED for one that is spoilt. */
  async read<T extends { readonly id: string }>(name: string): Promise<T | undefined> {
    const text = await unlessMissing(readFile(this.path(name), 'utf8'));
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
    const found = await unlessMissing(stat(this.path(name)));
    return found === undefined ? undefined : { bytes: found.size, taken: found.blocks * 512 };
  }

  /** Writes a new file under its name, which only appears when it is whole; false: the name is taken. */
  async create(name: string, content: string | Fill): Promise<boolean> {
    const written = await this.#temporary(typeof content === 'string' ? (file) => file.writeFile(content) : content);
    try {
      await link(written, this.path(name));
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw error;
    } finally {
      await rm(written, { force: true });
    }
    await this.sync();
    return true;
  }

  /** Writes a file anew. */
  async replace(name: string, content: string): Promise<void> {
    await rename(await this.#temporary((file) => file.writeFile(content)), this.path(name));
    await this.sync();
  }

  /** Gives a file another name; succeeds when it has none of the two any more or the new one already. */
  async rename(from: string, to: string): Promise<void> {
    await unlessMissing(rename(this.path(from), this.path(to)));
    await this.sync();
  }

  /** Removes files that may not be there, in this order. */
  async remove(...names: readonly string[]): Promise<void> {
    for (const name of names) await rm(this.path(name), { force: true });
    await this.sync();
  }

  /** Changes a file that is there, and writes out what of it is still in memory. */
  async change(name: string, work: Fill): Promise<void> {
    const file = await unlessMissing(open(this.path(name), 'r+'));
    if (file === undefined) return;
    try {
      await work(file, this.path(name));
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #temporary(fill: Fill): Promise<string> {
    const path = this.path(`.${randomUUID()}`);
    const file = await open(path, 'wx', 0o600);
    try {
      await fill(file, path);
      await file.sync();
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    return path;
  }

  async sync(): Promise<void> {
    const folder = await open(this.folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}
