import { constants, fdatasyncSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { writeAll, writeAllNow } from './files.ts';
import { Pace } from './pace.ts';

/** How many writes must have been quick in a row before everybody waits for one. */
const QUICK_ONES = 4;
const APPENDING = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT;

/**
 * A file that lines are appended to, so that they last. It is open twice: with `O_DSYNC` a write returns when its bytes
 * are on the disk (with the file's data, not with its times), without it when the kernel has them.
 */
export class Journal {
  readonly #onDisk: FileHandle;
  readonly #inKernel: FileHandle;
  readonly #diskPace: Pace;
  readonly #kernelPace: Pace;

  private constructor(onDisk: FileHandle, inKernel: FileHandle, quickMs: number) {
    this.#onDisk = onDisk;
    this.#inKernel = inKernel;
    this.#diskPace = new Pace(quickMs, QUICK_ONES);
    this.#kernelPace = new Pace(quickMs, QUICK_ONES);
  }

  /** Opens or creates. `quickMs`: how long everybody may have to wait for one write. Rejects with the system's error. */
  static async open(path: string, quickMs: number): Promise<Journal> {
    const onDisk = await open(path, APPENDING | constants.O_DSYNC, 0o600);
    try {
      return new Journal(onDisk, await open(path, APPENDING, 0o600), quickMs);
    } catch (error) {
      await onDisk.close();
      throw error;
    }
  }

  /**
   * Resolves when the line is on the disk. `all`: with whatever only the kernel has of the lines before it, without which
   * it could not be read.
   */
  async appendToDisk(line: Buffer, all: boolean): Promise<void> {
    const file = all ? this.#inKernel : this.#onDisk;
    const started = performance.now();
    if (this.#diskPace.onTheSpot) {
      writeAllNow(file.fd, line);
      if (all) fdatasyncSync(file.fd);
    } else {
      await writeAll(file, line);
      if (all) await file.datasync();
    }
    this.#diskPace.took(performance.now() - started);
  }

  /**
   * Resolves when the kernel has the line. Mostly that copies some bytes; but the kernel may be busy with the same page, or
   * with too many of others.
   */
  async appendToKernel(line: Buffer): Promise<void> {
    const started = performance.now();
    if (this.#kernelPace.onTheSpot) writeAllNow(this.#inKernel.fd, line);
    else await writeAll(this.#inKernel, line);
    this.#kernelPace.took(performance.now() - started);
  }

  /** Resolves when all that was appended before is on the disk. Others may go on appending. */
  async sync(): Promise<void> {
    await this.#inKernel.datasync();
  }

  async truncate(length: number): Promise<void> {
    await this.#onDisk.truncate(length);
  }

  async close(): Promise<void> {
    await this.#onDisk.close();
    await this.#inKernel.close();
  }
}
