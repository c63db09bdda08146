import { type Context, noLongerThan } from '../../shared/context.ts';
import { Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Base, FileContent, FileHome } from './content.ts';
import { BaseBytes } from './content-base.ts';
import { Carrier } from './content-carrier.ts';
import { asErrno } from './content-errors.ts';
import type { Layer } from './content-layer.ts';
import { Loss } from './content-loss.ts';
import { pullBase } from './content-pulling.ts';
import { readOver } from './content-reading.ts';
import { type Past, records } from './content-records.ts';
import { Stack } from './content-stack.ts';
import type { World } from './content-world.ts';
import { longestFile } from './parts-plan.ts';
import type { PartsUpload } from './parts-upload.ts';

/** What a content tells those who keep it. */
export interface Keeper {
  /** It is to be brought to the store, again and again until that succeeds. */
  later(content: FileBytes): void;
  /** It became dirty or clean, or was released. */
  turned(content: FileBytes): void;
}

/** The bytes of one file: those of its base, under layers of what was written here. */
export class FileBytes implements FileContent {
  readonly home: FileHome;
  readonly #world: World;
  readonly #keeper: Keeper;
  readonly #base: BaseBytes;
  readonly #stack: Stack;
  /** Counts changes. */
  #version = 0;
  /** Up to here everything is in the store. */
  #stored = 0;
  readonly #carrier: Carrier;
  #running: { readonly version: number; readonly done: Promise<void> } | undefined;
  /** Changes wait for this: layers are being joined, or a conflict settled. */
  #still: Promise<void> | undefined;
  #wanted = false;
  #open = true;
  readonly #loss: Loss;
  #synced = false;

  constructor(world: World, keeper: Keeper, home: FileHome, base: Base | undefined) {
    this.#world = world;
    this.#keeper = keeper;
    this.home = home;
    this.#base = new BaseBytes(world, home, base, {
      clean: () => !this.dirty,
      landed: async (c) => (await this.landed(c)) !== undefined,
    });
    this.#stack = new Stack(world, home.node, () => {
      this.#carrier.outgrown();
      if (this.#stack.layers.length === 1) keeper.turned(this);
    });
    this.#loss = new Loss(home.node, this.#stack, world.logger);
    this.#carrier = new Carrier(world, {
      home,
      base: this.#base,
      stack: this.#stack,
      version: () => this.#version,
      isOpen: () => this.#open,
      quietly: (work) => this.#quietly(work),
      clean: () => {
        this.#wanted = false;
        this.#synced = false;
      },
      lost: () => this.#loss.happened(),
    });
  }

  /** One that is opened. A new file (no base) is dirty from the start. */
  static opened(world: World, keeper: Keeper, home: FileHome, base: Base | undefined): FileBytes {
    const made = new FileBytes(world, keeper, home, base);
    made.#base.note();
    if (base !== undefined) return made;
    made.#stack.top(undefined);
    made.#version = 1;
    return made;
  }

  /** What an earlier life has left. */
  static again(
    world: World,
    keeper: Keeper,
    home: FileHome,
    past: Past,
    layers: readonly Layer[],
    upload: PartsUpload | undefined,
  ): FileBytes {
    const made = new FileBytes(world, keeper, home, past.base);
    made.#stack.layers.push(...layers);
    made.#carrier.resume(past, upload);
    // What may have been put already does not change any more.
    if (past.tokens.length > 0) made.#stack.frozen = layers.length;
    made.#version = 1;
    made.#wanted = past.wanted;
    made.#synced = past.synced;
    if (past.lost) made.#loss.happened();
    made.#open = false;
    if (layers.length === 0) made.#base.again();
    return made;
  }

  get size(): number {
    return this.#stack.size(this.base);
  }

  get dirty(): boolean {
    return this.#stack.dirty;
  }

  get base(): Base | undefined {
    return this.#base.now;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  /** Something can be brought to the store: an unlinked file's bytes stay for those who have it open. */
  get due(): boolean {
    return this.dirty && this.home.key() !== undefined;
  }

  /** Bytes that are here and not in the store. */
  get waiting(): number {
    return this.#stack.waiting;
  }

  reopen(): void {
    this.#open = true;
  }

  read(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]> {
    const end = Math.min(offset + length, this.size);
    if (offset >= end) return this.base === undefined ? this.#loss.atEnd() : [];
    if (this.#stack.layers.length === 0) return this.#readBase(offset, end - offset, c);
    const { generation } = this.#base;
    const some = readOver(this.#world, this.#stack, offset, end, (start, bytes) => this.#readBase(start, bytes, c));
    if (!(some instanceof Promise)) return some;
    // What was read of it may be what was written here, and the rest what others have made of it since.
    return some.then((bytes) => (generation === this.#base.generation ? bytes : this.read(offset, length, c)));
  }

  #readBase(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]> {
    return this.#base.read(offset, length, c, () => this.read(offset, length, c));
  }

  write(offset: number, data: Buffer, c: Context): number | Promise<number> {
    return this.#change(c, () => this.#write(offset, data));
  }

  #write(offset: number, data: Buffer): number {
    if (data.length === 0) return 0;
    this.#mustFit(offset + data.length);
    this.#stack.write(this.base, offset, data);
    this.#noteChange(offset, offset + data.length);
    return data.length;
  }

  truncate(size: number, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const before = this.size;
      if (size === before) return;
      this.#mustFit(size);
      this.#stack.cut(this.base, size);
      this.#noteChange(Math.min(size, before), Math.max(size, before));
    });
  }

  zero(offset: number, length: number, keepSize: boolean, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const end = keepSize ? Math.min(offset + length, this.size) : offset + length;
      if (offset >= end) return;
      this.#mustFit(end);
      this.#stack.zero(this.base, offset, end);
      this.#noteChange(offset, end);
    });
  }

  #mustFit(size: number): void {
    const longest = longestFile(this.#world.store.limits);
    if (size > longest) throw new Errno('EFBIG', `an object has at most ${longest} bytes`);
  }

  #noteChange(start: number, end: number): void {
    this.#version += 1;
    this.#carrier.changed(start, end);
  }

  seek(offset: number, data: boolean): number | undefined {
    return this.#stack.seek(this.base, offset, data);
  }

  async flush(c: Context): Promise<void> {
    try {
      this.told();
      const wanted = this.#version;
      while (this.#stored < wanted || this.#loss.isUntold) {
        if (this.#loss.isUntold) throw this.#loss.tell();
        if (!this.dirty) return;
        const running = this.#running;
        const goesOn = running ?? this.#bring();
        await noLongerThan(c, goesOn.done).catch((error: unknown) => {
          // What failed may not have been ours.
          if (running === undefined || running.version >= wanted || c.signal.aborted) throw error;
        });
      }
    } catch (error) {
      if (this.dirty && !this.#wanted) this.#want();
      throw asErrno(error);
    }
  }

  told(): void {
    this.#loss.told();
  }

  flushLater(): void {
    if (!this.due) return;
    this.#want();
    this.#keeper.later(this);
  }

  #want(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    try {
      this.#stack.log(records.wanted(this.home.node));
    } catch (error) {
      // It is wanted all the same; only after a loss of the host's power nobody would know.
      this.#world.logger.warn('the state log does not take what is wanted in the store', { error });
    }
  }

  async sync(_c: Context): Promise<void> {
    try {
      await this.#stack.sync();
      if (this.dirty) {
        this.#stack.log(records.synced(this.home.node));
        this.#synced = true;
      }
      await this.#world.log.sync();
    } catch (error) {
      throw asErrno(error);
    }
  }

  rebase(base: Base | undefined): void {
    if (!this.dirty) this.#base.rebase(base);
  }

  moved(base: Base): void {
    if (this.dirty) this.#stack.log(records.stored(this.home.node, base, 0));
    this.#base.replace(base);
    if (!this.dirty) this.#base.note();
  }

  async detach(copy: Base | undefined, c: Context): Promise<() => void> {
    const { base } = this;
    if (base === undefined) return () => undefined;
    if (copy !== undefined) {
      this.moved(copy);
      return () => this.moved(base);
    }
    const wasDirty = this.dirty;
    // Everything that others might remove comes here, as if it had been written.
    try {
      await pullBase(this.#world, this.#stack, base, (offset, data) => this.#write(offset, data), c);
      // Of an empty file, too, something must be known after the engine's death.
      if (!this.dirty) {
        this.#stack.cut(this.base, this.size);
        this.#noteChange(0, 0);
      }
    } catch (error) {
      throw asErrno(error);
    }
    const version = this.#version;
    return () => {
      if (wasDirty || this.#version !== version || this.#running !== undefined) return;
      this.#carrier.drop(this.#stack.layers.length, base);
      this.#keeper.turned(this);
    };
  }

  local(): number | undefined {
    return this.dirty ? undefined : this.#base.local;
  }

  hold(c: Context): Promise<() => void> {
    return this.#carrier.hold(c);
  }

  landed(c: Context): Promise<ObjectFacts | undefined> {
    return this.#carrier.landed(c);
  }

  release(): void {
    this.#open = false;
    this.#loss.over();
    if (this.dirty) {
      if (this.home.key() === undefined && this.#running === undefined)
        this.#carrier.drop(this.#stack.layers.length, this.base);
      else this.flushLater();
    }
    this.#base.close();
    this.#keeper.turned(this);
  }

  /** One upload of everything that is here now, or the one that goes on. Used by the queue, too. */
  push(): Promise<void> {
    return this.dirty ? (this.#running ?? this.#bring()).done : Promise.resolve();
  }

  /** For a compaction of the log. */
  past(): Past {
    return {
      node: this.home.node,
      base: this.base,
      layers: this.#stack.layers.map((layer) => ({ id: layer.id, state: layer })),
      wanted: this.#wanted,
      synced: this.#synced,
      lost: this.#loss.isKept,
      ...this.#carrier.past(),
    };
  }

  lengthOf(layer: string): number {
    return this.#stack.layers.find(({ id }) => id === layer)?.staging.length ?? 0;
  }

  /** At the end of the engine's life: files stay as they are. */
  leave(): void {
    this.#stack.leave();
    this.#base.close();
  }

  #bring(): { readonly version: number; readonly done: Promise<void> } {
    const version = this.#version;
    const arrived = this.#carrier.carry().then((stored) => {
      this.#stored = stored;
    });
    const done = arrived.finally(() => {
      this.#running = undefined;
      this.#keeper.turned(this);
    });
    // Whoever waits for it is told; for others it is in the queue again.
    done.catch(() => undefined);
    this.#running = { version, done };
    return this.#running;
  }

  #change<T>(c: Context, work: () => T): T | Promise<T> {
    if (this.#still === undefined) {
      this.#loss.mayChange();
      return work();
    }
    return noLongerThan(c, this.#still).then(
      () => this.#change(c, work),
      (error: unknown) => Promise.reject(asErrno(error)),
    );
  }

  /** Does what changes must wait for. */
  async #quietly(work: () => Promise<void>): Promise<void> {
    const still = Promise.withResolvers<void>();
    this.#still = still.promise;
    try {
      await work();
    } finally {
      this.#still = undefined;
      still.resolve();
    }
  }
}
