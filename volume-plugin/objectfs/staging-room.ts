import { statfsSync } from 'node:fs';
import type { Logger } from '../../shared/log.ts';
import { Errno } from '../fuse/file-system.ts';

/** How many bytes may be written between looks at the disk. */
const LOOK_EVERY = 64 * 1024 * 1024;

/** The room that bytes may take on the local disk until they are in the store. */
export class StagingRoom {
  readonly folder: string;
  readonly #budget: number;
  readonly #reserve: number;
  readonly #log: Logger;
  #used = 0;
  /** Bytes that were taken since the last look at the disk. */
  #sinceLook = Number.POSITIVE_INFINITY;
  #free = 0;

  /** `budget` in bytes; `reserve`: what stays free on the disk for everybody else. */
  constructor(folder: string, budget: number, reserve: number, log: Logger) {
    this.folder = folder;
    this.#budget = budget;
    this.#reserve = reserve;
    this.#log = log;
  }

  /** Bytes. */
  get used(): number {
    return this.#used;
  }

  /** Errors: ENOSPC when there is not that much room. */
  take(bytes: number): void {
    if (this.#used + bytes > this.#budget) {
      throw new Errno('ENOSPC', `${this.#used} bytes wait for upload already, of ${this.#budget} that may`);
    }
    if (this.#sinceLook + bytes > Math.min(LOOK_EVERY, this.#free / 4)) {
      const { bavail, bsize } = statfsSync(this.folder);
      this.#free = Math.max(0, bavail * bsize - this.#reserve);
      this.#sinceLook = 0;
      if (this.#free < bytes) {
        this.#sinceLook = Number.POSITIVE_INFINITY;
        throw new Errno('ENOSPC', `the disk of ${this.folder} has no more than ${this.#reserve} bytes left`);
      }
    }
    this.#sinceLook += bytes;
    this.#used += bytes;
  }

  /** Takes what is there already, from an earlier life. */
  found(bytes: number): void {
    this.#used += bytes;
  }

  giveBack(bytes: number): void {
    this.#used -= bytes;
  }

  couldNotRemove(id: string, error: unknown): void {
    this.#log.warn('a staging file could not be removed', { id, error });
  }
}
