import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context } from '../shared/context.ts';
import { codeOf } from '../shared/error-code.ts';
import { exec } from '../shared/kernel/exec.ts';
import { setImmutable } from '../shared/kernel/file-flags.ts';
import { mountAt, readMountTable } from '../shared/kernel/mount-table.ts';
import { SystemCallError } from '../shared/kernel/syscalls.ts';
import type { Logger } from '../shared/log.ts';
import type { MountFolders } from './parts.ts';

/**
 * One folder for each volume below `base`, immutable and empty: whoever gets its path while nothing is mounted there can
 * write nothing. A second, private view of `base` shows the folders themselves also while volumes are mounted on them.
 */
export class LinuxMountFolders implements MountFolders {
  readonly #base: string;
  readonly #beneath: string;
  readonly #log: Logger;
  #told = false;

  private constructor(base: string, beneath: string, log: Logger) {
    this.#base = base;
    this.#beneath = beneath;
    this.#log = log;
  }

  /** `beneath`: where the second view may be; only this plugin looks there. */
  static async open(base: string, beneath: string, log: Logger, c: Context): Promise<LinuxMountFolders> {
    await mkdir(base, { recursive: true });
    await mkdir(beneath, { recursive: true });
    if (mountAt(readMountTable(), beneath) === undefined) {
      await exec('mount', ['--bind', base, beneath], c);
      await exec('mount', ['--make-private', beneath], c);
    }
    return new LinuxMountFolders(base, beneath, log);
  }

  target(volume: string): string {
    return join(this.#base, volume);
  }

  async prepare(volume: string): Promise<void> {
    const folder = join(this.#beneath, volume);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    this.#setImmutable(folder, true);
  }

  async remove(volume: string): Promise<void> {
    const folder = join(this.#beneath, volume);
    try {
      this.#setImmutable(folder, false);
      await rmdir(folder);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') this.#log.warn('the folder of a volume stays', { folder, error });
    }
  }

  /** Before the plugin ends: the engine could not remove a plugin in which a folder is immutable. */
  async expose(): Promise<void> {
    for (const name of await readdir(this.#beneath)) this.#setImmutable(join(this.#beneath, name), false);
  }

  #setImmutable(folder: string, on: boolean): void {
    try {
      setImmutable(folder, on);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      if (!this.#told) this.#log.warn('folders cannot be made immutable here', { folder, error: error.errnoName });
      this.#told = true;
    }
  }
}
