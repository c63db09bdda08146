import { closeSync, constants, ftruncateSync, openSync, read, readSync, unlinkSync, writeSync } from 'node:fs';
import { open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Errno } from '../fuse/file-system.ts';
import { asErrno } from './content-errors.ts';
import type { StagingRoom } from './staging-room.ts';

/**
 * A local sparse file for bytes that were written and are not in the store yet, at the offsets that they have in the file.
 * Which of its bytes count is known elsewhere. It is made when the first byte comes.
 */
export class StagingFile {
  readonly id: string;
  readonly #path: string;
  readonly #room: StagingRoom;
  #fd: number | undefined;
  #length = 0;
  /** Reads on other threads that need the descriptor. */
  #users = 0;
  #ended = false;

  private constructor(path: string, id: string, room: StagingRoom, fd: number | undefined, length: number) {
    this.#path = path;
    this.id = id;
    this.#room = room;
    this.#fd = fd;
    this.#length = length;
  }

  static fresh(folder: string, id: string, room: StagingRoom): StagingFile {
    return new StagingFile(join(folder, id), id, room, undefined, 0);
  }

  /** One of an earlier life; empty when nothing was written to it. */
  static async again(folder: string, id: string, room: StagingRoom): Promise<StagingFile> {
    const path = join(folder, id);
    try {
      const handle = await open(path, constants.O_RDWR);
      const { size } = await handle.stat();
      await handle.close();
      return new StagingFile(path, id, room, openSync(path, constants.O_RDWR), size);
    } catch (error) {
      if (asErrno(error).code !== 'ENOENT') throw error;
      return StagingFile.fresh(folder, id, room);
    }
  }

  /** Behind the last byte that was ever written, as far as it was not cut off. */
  get length(): number {
    return this.#length;
  }

  /** All of `data`, or nothing and an Errno. */
  write(offset: number, data: Buffer): void {
    try {
      this.#fd ??= openSync(this.#path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
      for (let done = 0; done < data.length; ) {
        done += writeSync(this.#fd, data, done, data.length - done, offset + done);
      }
    } catch (error) {
      // Bytes behind the length would count as written after a crash.
      this.#cut();
      throw asErrno(error);
    }
    this.#length = Math.max(this.#length, offset + data.length);
  }

  /** Fills `into`; what was never written is zeros. */
  readNow(offset: number, into: Buffer): void {
    if (this.#fd === undefined) {
      into.fill(0);
      return;
    }
    for (let done = 0; done < into.length; ) {
      const got = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (got === 0) {
        into.fill(0, done);
        return;
      }
      done += got;
    }
  }

  /** The same on another thread. */
  readLater(offset: number, into: Buffer): Promise<void> {
    const fd = this.#fd;
    if (fd === undefined) {
      into.fill(0);
      return Promise.resolve();
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#users += 1;
    const end = (error?: unknown): void => {
      this.#users -= 1;
      if (this.#ended && this.#users === 0) this.#close();
      if (error === undefined) resolve();
      else reject(asErrno(error));
    };
    const step = (done: number): void => {
      read(fd, into, done, into.length - done, offset + done, (error, got) => {
        if (error !== null) end(error);
        else if (got === 0) {
          into.fill(0, done);
          end();
        } else if (done + got < into.length) step(done + got);
        else end();
      });
    };
    step(0);
    return promise;
  }

  /** Gives back what is behind `length`. */
  shorten(length: number): void {
    if (length >= this.#length) return;
    this.#length = length;
    this.#cut();
  }

  /** On the disk, whatever happens to the host. */
  async sync(): Promise<void> {
    if (this.#fd === undefined) return;
    const handle = await open(this.#path, constants.O_RDWR);
    try {
      await handle.datasync();
    } catch (error) {
      throw asErrno(error);
    } finally {
      await handle.close();
    }
  }

  /** Nothing is written to it any more: gives it to who can use it as it is, and has put it elsewhere when that answers true. */
  become(take: (path: string) => boolean): boolean {
    if (this.#fd === undefined || this.#ended || !take(this.#path)) return false;
    this.#end();
    return true;
  }

  /** Its bytes are needed no more. */
  drop(): void {
    if (this.#ended) return;
    if (this.#fd !== undefined) {
      try {
        unlinkSync(this.#path);
      } catch (error) {
        // Whatever stands in the way stays for the next start, which removes what nobody knows.
        this.#room.couldNotRemove(this.id, error);
      }
    }
    this.#end();
  }

  /** At the end of the engine's life: the file stays. */
  leave(): void {
    if (!this.#ended) this.#end();
  }

  #end(): void {
    this.#ended = true;
    if (this.#users === 0) this.#close();
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #cut(): void {
    if (this.#fd === undefined) return;
    try {
      ftruncateSync(this.#fd, this.#length);
    } catch (error) {
      throw new Errno('EIO', 'the staging file cannot be shortened', error);
    }
  }
}

/** Removes files of a staging folder that no record knows. */
export const removeUnknown = async (folder: string, known: ReadonlySet<string>): Promise<number> => {
  let removed = 0;
  for (const name of await readdir(folder)) {
    if (known.has(name)) continue;
    await unlink(join(folder, name));
    removed += 1;
  }
  return removed;
};
