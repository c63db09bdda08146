import { createHash } from 'node:crypto';
import { renameSync, statfsSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import type { Logger } from '../../shared/log.ts';
import { CachedObject, type CacheRoom } from './block-cache-object.ts';
import type { Base } from './content.ts';

const MIB = 1024 * 1024;
const LOOK_EVERY = 64 * MIB;
/** After the disk has refused something. */
const REST_MS = 60_000;
/** A small file takes a block, an inode and a name as well. */
const EACH = 4096;

interface Entry {
  bytes: number;
  /** While somebody has it open. */
  object: CachedObject | undefined;
}

/**
 * Bytes of objects on the local disk, in a file per object and ETag, so that they are never out of date; the least recently
 * used ones go first. What is there from before the host's last start is dropped: nobody knows what of it the disk had got.
 * A cache that cannot be written is none: everything works without.
 */
export class BlockCache implements CacheRoom {
  readonly #folder: string;
  readonly #limit: number;
  readonly #reserve: number;
  readonly #log: Logger;
  /** By name, the least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  #restsUntil = 0;
  #sinceLook = Number.POSITIVE_INFINITY;

  private constructor(folder: string, limit: number, reserve: number, log: Logger) {
    this.#folder = folder;
    this.#limit = limit;
    this.#reserve = reserve;
    this.#log = log;
  }

  /** `limit` and `reserve` (what stays free on the disk) in bytes. Takes over what another life of the same start of the host has left. */
  static async open(
    folder: string,
    limit: number,
    reserve: number,
    boot: string,
    log: Logger,
  ): Promise<BlockCache | undefined> {
    const name = createHash('sha256').update(boot).digest('hex').slice(0, 16);
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const old of await readdir(folder)) {
        if (old !== name || limit === 0) await rm(join(folder, old), { recursive: true, force: true });
      }
      if (limit === 0) return undefined;
      const mine = join(folder, name);
      await mkdir(mine, { recursive: true, mode: 0o700 });
      const cache = new BlockCache(mine, limit, reserve, log);
      await cache.#scan();
      return cache;
    } catch (error) {
      log.warn('there is no cache on this disk: everything comes from the store', { folder, error });
      return undefined;
    }
  }

  /** Bytes on the disk. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#entries.size;
  }

  get largest(): number {
    return Math.floor(this.#limit / 2);
  }

  /** All bytes of it are here. */
  has(base: Base): boolean {
    const name = nameOf(base);
    const entry = this.#entries.get(name);
    return entry !== undefined && (entry.object?.complete ?? CachedObject.isWhole(this.#folder, name, base.size));
  }

  /** Opens what there is of an object; undefined: it is not to be kept, or the disk refuses. Each one is to be closed again. */
  open(base: Base): CachedObject | undefined {
    if (base.size === 0 || base.size > this.largest) return undefined;
    const name = nameOf(base);
    const known = this.#entries.get(name);
    if (known?.object !== undefined) {
      known.object.users += 1;
      this.#touch(name, known);
      return known.object;
    }
    if (known === undefined && performance.now() < this.#restsUntil) return undefined;
    try {
      const object = CachedObject.open(this.#folder, name, base, this);
      const entry = known ?? { bytes: 0, object };
      entry.object = object;
      this.#touch(name, entry);
      this.#count(entry, object.bytes + EACH);
      return object;
    } catch (error) {
      this.refused(error);
      return undefined;
    }
  }

  /** The local file at `path`, which nobody changes any more, becomes the whole copy of an object. False: it stays where it is. */
  adopt(base: Base, path: string): boolean {
    const name = nameOf(base);
    if (base.size === 0 || base.size > this.largest || this.#entries.has(name) || !this.take(base.size)) return false;
    try {
      renameSync(path, join(this.#folder, name));
    } catch (error) {
      this.giveBack(base.size);
      this.refused(error);
      return false;
    }
    this.#bytes += EACH;
    this.#entries.set(name, { bytes: base.size + EACH, object: undefined });
    return true;
  }

  /** The object is not what it was: nobody will ask for this one again. */
  forget(base: Base): void {
    const name = nameOf(base);
    const entry = this.#entries.get(name);
    if (entry !== undefined && entry.object === undefined) this.#remove(name, entry);
  }

  /** Makes room for so many bytes and counts them. */
  take(bytes: number): boolean {
    if (performance.now() < this.#restsUntil || !this.#fits(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }

  added(name: string, bytes: number): void {
    const entry = this.#entries.get(name);
    if (entry !== undefined) entry.bytes += bytes;
  }

  closed(name: string, keep: boolean): void {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    entry.object = undefined;
    if (!keep) this.#remove(name, entry);
  }

  refused(error: unknown): void {
    if (performance.now() >= this.#restsUntil) {
      this.#log.warn('the disk of the cache refuses: for a minute everything comes from the store', { error });
    }
    this.#restsUntil = performance.now() + REST_MS;
  }

  /** Closes files; what is on the disk stays for the next life. */
  close(): void {
    for (const { object } of this.#entries.values()) object?.leave();
  }

  #touch(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#entries.set(name, entry);
  }

  #count(entry: Entry, bytes: number): void {
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
  }

  #fits(bytes: number): boolean {
    this.#sinceLook += bytes;
    if (this.#sinceLook > LOOK_EVERY) {
      const { bavail, bsize } = statfsSync(this.#folder);
      if (bavail * bsize < this.#reserve + LOOK_EVERY + bytes) {
        this.refused(new Error('the disk is nearly full'));
        return false;
      }
      this.#sinceLook = 0;
    }
    for (const [name, entry] of this.#entries) {
      if (this.#bytes + bytes <= this.#limit) break;
      if (entry.object === undefined) this.#remove(name, entry);
    }
    return this.#bytes + bytes <= this.#limit;
  }

  #remove(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
    CachedObject.remove(this.#folder, name).catch((error: unknown) => this.refused(error));
  }

  /** What is there already, the one that was changed last as the one that was used last. */
  async #scan(): Promise<void> {
    const found: { name: string; bytes: number; at: number }[] = [];
    const names = new Set(await readdir(this.#folder));
    for (const file of names) {
      const path = join(this.#folder, file);
      const name = file.replace(/\.(part|map)$/, '');
      // Data without a map, or the other way round: a death came between.
      const whole = !file.includes('.');
      const half = file.endsWith('.part') && names.has(`${name}.map`);
      if (!whole && !half) {
        if (!file.endsWith('.map') || !names.has(`${name}.part`)) await rm(path, { force: true });
        continue;
      }
      try {
        const { blocks, mtimeMs } = await stat(path);
        found.push({ name, bytes: blocks * 512 + EACH, at: mtimeMs });
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
      }
    }
    for (const { name, bytes } of found.sort((a, b) => a.at - b.at)) {
      this.#entries.set(name, { bytes, object: undefined });
      this.#bytes += bytes;
    }
  }
}

const nameOf = ({ key, etag, size }: Base): string =>
  createHash('sha1').update(`${key}\0${etag}\0${size}`).digest('base64url');
