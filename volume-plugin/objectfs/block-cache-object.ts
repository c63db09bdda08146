import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlink,
  write,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { codeOf } from '../../shared/error-code.ts';
import { PAGE } from './budget.ts';
import type { Base } from './content.ts';
import { Ranges } from './ranges.ts';

/** How long after a change the map of a file that is there in part is written. */
const MAP_AFTER_MS = 2_000;

/** The cache that an object is in. */
export interface CacheRoom {
  take(bytes: number): boolean;
  giveBack(bytes: number): void;
  added(name: string, bytes: number): void;
  closed(name: string, keep: boolean): void;
  refused(error: unknown): void;
}

/**
 * The local file of one object. While it is there in part it has a map beside it, of bytes that were written before the map
 * was; when it is whole it gets its name, and needs none.
 */
export class CachedObject {
  readonly base: Base;
  users = 1;
  readonly #folder: string;
  readonly #name: string;
  readonly #room: CacheRoom;
  readonly #fd: number;
  /** The same file past the page cache; undefined: not opened yet, or the file system cannot. */
  #direct: number | undefined;
  #mayDirect = true;
  readonly #there: Ranges;
  #complete: boolean;
  #writing = 0;
  #timer: NodeJS.Timeout | undefined;
  #gone = false;
  #failed = false;

  private constructor(
    folder: string,
    name: string,
    base: Base,
    room: CacheRoom,
    fd: number,
    there: Ranges,
    complete: boolean,
  ) {
    this.#folder = folder;
    this.#name = name;
    this.base = base;
    this.#room = room;
    this.#fd = fd;
    this.#there = there;
    this.#complete = complete;
  }

  /** Errors: those of the disk. */
  static open(folder: string, name: string, base: Base, room: CacheRoom): CachedObject {
    const whole = openIfThere(join(folder, name), constants.O_RDWR);
    if (whole !== undefined) {
      if (fstatSync(whole).size === base.size) {
        return new CachedObject(folder, name, base, room, whole, Ranges.of([{ start: 0, end: base.size }]), true);
      }
      closeSync(whole);
    }
    const spans = readMap(join(folder, `${name}.map`), base);
    const path = join(folder, `${name}.part`);
    const old = spans === undefined ? undefined : openIfThere(path, constants.O_RDWR);
    if (old !== undefined && spans !== undefined && fstatSync(old).size >= spans.end) {
      return new CachedObject(folder, name, base, room, old, spans, false);
    }
    if (old !== undefined) closeSync(old);
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o600);
    return new CachedObject(folder, name, base, room, fd, new Ranges(), false);
  }

  static isWhole(folder: string, name: string, size: number): boolean {
    return statSync(join(folder, name), { throwIfNoEntry: false })?.size === size;
  }

  /** Takes its files away: at once those of that name, which may be made anew at once. Resolves when the disk is free of them. */
  static async remove(folder: string, name: string): Promise<void> {
    const path = join(folder, name);
    const gone = [path, `${path}.part`, `${path}.map`].flatMap((one) => {
      const aside = `${one}.gone`;
      return renameIfThere(one, aside) ? [aside] : [];
    });
    await Promise.all(gone.map((one) => rm(one, { force: true })));
  }

  get complete(): boolean {
    return this.#complete;
  }

  get bytes(): number {
    return this.#there.bytes;
  }

  /** Of a file that is whole. */
  get descriptor(): number | undefined {
    return this.#complete ? this.#fd : undefined;
  }

  has(start: number, end: number): boolean {
    return this.#there.covers(start, end);
  }

  missing(): { start: number; end: number }[] {
    return [...this.#there.pieces(0, this.base.size)].filter(({ inside }) => !inside);
  }

  /** Bytes that it has. False: the file is damaged, and all of it is dropped. */
  readNow(offset: number, into: Buffer): boolean {
    try {
      for (let done = 0; done < into.length; ) {
        const got = readSync(this.#fd, into, done, into.length - done, offset + done);
        if (got === 0) throw new Error('a file of the cache is shorter than it was');
        done += got;
      }
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  /**
   * Keeps bytes, on another thread; `done` is called when nobody reads `data` any more. Bytes that it has, or has no room for, are passed
   * over. `past`: past the page cache, if that is possible with this piece: it takes the disk's time, and hardly any of a processor.
   */
  keep(offset: number, data: Buffer, done: () => void, past = false): void {
    const end = offset + data.length;
    if (this.#failed || this.#gone || this.#there.covers(offset, end) || !this.#room.take(data.length)) {
      done();
      return;
    }
    this.#writing += 1;
    const step = (at: number, fd: number): void => {
      write(fd, data, at, data.length - at, offset + at, (error, written) => {
        if (error?.code === 'EINVAL' && fd === this.#direct) {
          this.#mayDirect = false;
          step(at, this.#fd);
          return;
        }
        if (error === null && at + written < data.length) {
          // What is left need not be whole pages.
          step(at + written, this.#fd);
          return;
        }
        this.#kept(error, offset, end);
        done();
        // Last: either of them may have closed it, which waits for this.
        this.#writing -= 1;
        if (this.#writing > 0) return;
        if (this.#gone) this.#shut();
        else if (this.users === 0) this.#closed();
      });
    };
    const isWhole = offset % PAGE === 0 && data.length % PAGE === 0;
    step(0, (past && isWhole ? this.#directly() : undefined) ?? this.#fd);
  }

  #directly(): number | undefined {
    if (!this.#mayDirect || this.#direct !== undefined) return this.#mayDirect ? this.#direct : undefined;
    try {
      const fd = openSync(join(this.#folder, `${this.#name}.part`), constants.O_WRONLY | constants.O_DIRECT);
      this.#direct = fd;
      // Writes that make a file longer wait for one another.
      ftruncateSync(fd, this.base.size);
      return fd;
    } catch {
      // It goes through the page cache then, which works everywhere or tells why not.
      this.#mayDirect = false;
      return undefined;
    }
  }

  #shut(): void {
    closeSync(this.#fd);
    if (this.#direct !== undefined) closeSync(this.#direct);
    this.#direct = undefined;
  }

  /** What is on its way to the disk gets there, unless somebody opens it again meanwhile. */
  close(): void {
    this.users -= 1;
    if (this.users === 0 && this.#writing === 0) this.#closed();
  }

  #closed(): void {
    if (!this.#complete && !this.#failed) this.#writeMap();
    this.#end();
    this.#room.closed(this.#name, !this.#failed && this.#there.bytes > 0);
  }

  /** At the end of the engine's life. */
  leave(): void {
    this.#end();
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    clearTimeout(this.#timer);
    if (this.#writing === 0) this.#shut();
  }

  #kept(error: unknown, start: number, end: number): void {
    const bytes = end - start;
    if (error !== null) {
      this.#room.giveBack(bytes);
      this.#fail(error);
      return;
    }
    const before = this.#there.bytes;
    this.#there.add(start, end);
    const added = this.#there.bytes - before;
    this.#room.giveBack(bytes - added);
    this.#room.added(this.#name, added);
    if (this.#there.bytes === this.base.size && !this.#complete) this.#finish();
    else this.#timer ??= setTimeout(() => this.#writeMap(), MAP_AFTER_MS).unref();
  }

  #finish(): void {
    clearTimeout(this.#timer);
    try {
      // At once: by another thread it might come after the object was forgotten, and its file removed.
      renameSync(join(this.#folder, `${this.#name}.part`), join(this.#folder, this.#name));
      this.#complete = true;
      unlink(join(this.#folder, `${this.#name}.map`), (error) => {
        if (error !== null && error.code !== 'ENOENT') this.#room.refused(error);
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** At once: a map that comes late would be believed of the file that has the name by then. */
  #writeMap(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#complete || this.#failed || this.#there.bytes === 0) return;
    const { key, etag, size } = this.base;
    const text = JSON.stringify({ key, etag, size, spans: [...this.#there].flatMap(({ start, end }) => [start, end]) });
    const fresh = join(this.#folder, `${this.#name}.new`);
    try {
      writeFileSync(fresh, `${crc32(text)} ${text}`, { mode: 0o600 });
      renameSync(fresh, join(this.#folder, `${this.#name}.map`));
    } catch (error) {
      this.#room.refused(error);
    }
  }

  /** Nothing of it is believed any more. */
  #fail(error: unknown): void {
    this.#failed = true;
    this.#there.clear();
    this.#room.refused(error);
  }
}

const openIfThere = (path: string, flags: number): number | undefined => {
  try {
    return openSync(path, flags);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
};

const renameIfThere = (path: string, to: string): boolean => {
  try {
    renameSync(path, to);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
};

/** The spans that a map names; undefined when there is none, it is damaged, or of another object. */
const readMap = (path: string, base: Base): Ranges | undefined => {
  const fd = openIfThere(path, constants.O_RDONLY);
  if (fd === undefined) return undefined;
  const line = readFileSync(fd, 'utf8');
  closeSync(fd);
  const at = line.indexOf(' ');
  const text = line.slice(at + 1);
  if (at < 0 || Number(line.slice(0, at)) !== crc32(text)) return undefined;
  const map: unknown = JSON.parse(text);
  if (typeof map !== 'object' || map === null || !('key' in map && 'etag' in map && 'size' in map && 'spans' in map)) {
    return undefined;
  }
  const fits = map.key === base.key && map.etag === base.etag && map.size === base.size;
  if (!fits || !Array.isArray(map.spans)) return undefined;
  const spans = new Ranges();
  for (let i = 0; i + 1 < map.spans.length; i += 2) spans.add(Number(map.spans[i]), Number(map.spans[i + 1]));
  return spans;
};
