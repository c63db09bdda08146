import type { Context } from '../../shared/context.ts';
import { Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Base, FileHome } from './content.ts';
import { asErrno, isLost } from './content-errors.ts';
import { records } from './content-records.ts';
import type { World } from './content-world.ts';
import { Reader } from './reader.ts';

/** What a base must know of its file. */
interface Above {
  /** Nothing was written here over it. */
  clean(): boolean;
  /** Looks whether an upload of ours is in its place, and takes it for the base then. */
  landed(c: Context): Promise<boolean>;
}

/** The object below what was written to a file, and how it is read. */
export class BaseBytes {
  readonly #world: World;
  readonly #home: FileHome;
  readonly #above: Above;
  #base: Base | undefined;
  #reader: Reader | undefined;
  /** Bytes of it were given to somebody. */
  #shown = false;
  /** Counts how often it has become other bytes. */
  generation = 0;

  constructor(world: World, home: FileHome, base: Base | undefined, above: Above) {
    this.#world = world;
    this.#home = home;
    this.#base = base;
    this.#above = above;
  }

  get now(): Base | undefined {
    return this.#base;
  }

  /** The same bytes, or those with what was written here, are in this object now. */
  replace(base: Base | undefined): void {
    const before = this.#base;
    this.#base = base;
    this.close();
    if (before !== undefined && before.etag !== base?.etag) this.#world.cache?.forget(before);
  }

  /** That of an earlier life, in which bytes of it may have been given to somebody. */
  again(): void {
    this.#shown = true;
  }

  /** Other bytes. */
  rebase(base: Base | undefined): void {
    this.replace(base);
    this.#shown = false;
    this.generation += 1;
    this.note();
  }

  /** What is open, and not written to, stays what it is over the engine's death. A log that is full keeps nobody from reading. */
  note(): void {
    if (this.#base === undefined) return;
    try {
      this.#world.log.append(records.base(this.#home.node, this.#base));
    } catch (error) {
      this.#world.logger.warn('the state log does not take what a file is that is open', { error });
    }
  }

  /** `again` reads what takes its place, if something else does meanwhile. Errors: Errno, ESTALE when others have changed it. */
  read(
    offset: number,
    length: number,
    c: Context,
    again: () => readonly Buffer[] | Promise<readonly Buffer[]>,
  ): readonly Buffer[] | Promise<readonly Buffer[]> {
    const base = this.#base;
    if (base === undefined) return [Buffer.alloc(length)];
    this.#reader ??= new Reader(this.#world, base);
    const found = this.#reader.read(offset, length, c);
    if (!(found instanceof Promise)) {
      this.#shown = true;
      return found;
    }
    return found.then(
      (buffers) => {
        if (this.#base === base) this.#shown = true;
        return buffers;
      },
      (error: unknown) => this.#missed(base, error, c, again),
    );
  }

  /** A descriptor of a local file that has all of it. */
  get local(): number | undefined {
    if (this.#base === undefined) return undefined;
    if (this.#reader === undefined && this.#world.cache?.has(this.#base) !== true) return undefined;
    this.#reader ??= new Reader(this.#world, this.#base);
    return this.#reader.descriptor;
  }

  /** Nobody reads it now. */
  close(): void {
    this.#reader?.close();
    this.#reader = undefined;
  }

  /** It could not be read: it may have been changed by others. */
  async #missed(
    base: Base,
    error: unknown,
    c: Context,
    again: () => readonly Buffer[] | Promise<readonly Buffer[]>,
  ): Promise<readonly Buffer[]> {
    if (!isLost(error)) throw asErrno(error);
    // What was written here has become the object, or the namespace has heard of another one.
    if (this.#base !== base) return again();
    let now: ObjectFacts | undefined;
    try {
      // It was put there a moment ago, and its answer is not here yet, or was lost.
      if (await this.#above.landed(c)) return again();
      if (this.#base !== base) return again();
      now = await this.#world.store.head(base.key, c);
    } catch (failure) {
      throw asErrno(failure);
    }
    if (this.#base !== base) return again();
    const rebased = now !== undefined && !this.#shown && this.#above.clean();
    if (now !== undefined && rebased) this.rebase({ key: now.key, etag: now.etag, size: now.size });
    this.#home.changed(now, rebased);
    if (rebased) return again();
    throw new Errno('ESTALE', `${base.key} was changed by others while it was open here`, error);
  }
}
