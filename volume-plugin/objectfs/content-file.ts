import { type Context, noLongerThan } from '../../shared/context.ts';
import { Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Base, FileContent, FileHome } from './content.ts';
import { BaseBytes } from './content-base.ts';
import { asErrno } from './content-errors.ts';
import type { Layer, Snapshot } from './content-layer.ts';
import { type Past, records } from './content-records.ts';
import { Stack } from './content-stack.ts';
import type { World } from './content-world.ts';
import { longestFile } from './parts-plan.ts';
import { type PartsUpload, TOKEN } from './parts-upload.ts';
import { bring, type Freight, LostUpdate } from './uploader.ts';
import { keepAside } from './uploader-conflict.ts';
import { EarlyUpload } from './uploader-early.ts';

const ZEROS = Buffer.alloc(256 * 1024);
/** So many layers are made one before the next upload. */
const LAYERS_MOST = 4;
const MIB = 1024 * 1024;

/** What a content tells those who keep it. */
export interface Keeper {
  /** It is to be brought to the store, again and again until that succeeds. */
  later(content: FileBytes): void;
  /** It became dirty or clean, or was released. */
  turned(content: FileBytes): void;
}

const copied = (buffers: readonly Buffer[]): readonly Buffer[] => buffers.map((one) => Buffer.from(one));

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
  /** Of writes whose outcome is open. */
  #tokens: string[] = [];
  /** The one whose write was of all that is here. */
  #current: string | undefined;
  #upload: PartsUpload | undefined;
  /** The version that its parts were last brought in line with. */
  #uploadVersion = -1;
  #early: EarlyUpload | undefined;
  #running: { readonly version: number; readonly done: Promise<void> } | undefined;
  /** Changes wait for this: layers are being joined, or a conflict settled. */
  #still: Promise<void> | undefined;
  #placing: Promise<unknown> | undefined;
  #holds = 0;
  #held = Promise.withResolvers<void>();
  #wanted = false;
  #open = true;
  #lost = false;
  #synced = false;

  constructor(world: World, keeper: Keeper, home: FileHome, base: Base | undefined) {
    this.#world = world;
    this.#keeper = keeper;
    this.home = home;
    this.#base = new BaseBytes(world, home, base, () => !this.dirty);
    this.#stack = new Stack(world, home.node, () => {
      this.#current = undefined;
      if (this.#stack.layers.length === 1) keeper.turned(this);
    });
  }

  /** A new file: dirty from the start. */
  static fresh(world: World, keeper: Keeper, home: FileHome): FileBytes {
    const made = new FileBytes(world, keeper, home, undefined);
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
    made.#tokens = [...past.tokens];
    made.#current = past.current;
    // What may have been put already does not change any more.
    if (past.tokens.length > 0) made.#stack.frozen = layers.length;
    made.#version = 1;
    made.#wanted = past.wanted;
    made.#synced = past.synced;
    made.#upload = upload;
    made.#open = false;
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
    if (offset >= end) return [];
    if (this.#stack.layers.length === 0) return this.#readBase(offset, end - offset, c);
    const found: (readonly Buffer[] | Promise<readonly Buffer[]>)[] = [];
    let waits = false;
    for (const { start, end: until, from } of this.#stack.pieces(offset, end)) {
      const bytes = until - start;
      if (from === 'base') {
        const some = this.#readBase(start, bytes, c);
        waits ||= some instanceof Promise;
        // Pieces that come in different turns: only what is copied stays as it is.
        found.push(some instanceof Promise ? some.then(copied) : copied(some));
      } else if (from === 'zeros') {
        for (let left = bytes; left > 0; left -= ZEROS.length)
          found.push([ZEROS.subarray(0, Math.min(left, ZEROS.length))]);
      } else {
        const into = end - offset === bytes ? this.#world.passing(bytes) : Buffer.allocUnsafe(bytes);
        from.staging.readNow(start, into);
        found.push([into]);
      }
    }
    return waits
      ? Promise.all(found).then((all) => all.flat())
      : found.flatMap((one) => (one instanceof Promise ? [] : one));
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
    this.#changed(offset, offset + data.length);
    return data.length;
  }

  truncate(size: number, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const before = this.size;
      if (size === before) return;
      this.#mustFit(size);
      this.#stack.cut(this.base, size);
      this.#changed(Math.min(size, before), Math.max(size, before));
    });
  }

  zero(offset: number, length: number, keepSize: boolean, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const end = keepSize ? Math.min(offset + length, this.size) : offset + length;
      if (offset >= end) return;
      this.#mustFit(end);
      this.#stack.zero(this.base, offset, end);
      this.#changed(offset, end);
    });
  }

  #mustFit(size: number): void {
    const longest = longestFile(this.#world.store.limits);
    if (size > longest) throw new Errno('EFBIG', `an object has at most ${longest} bytes`);
  }

  seek(offset: number, data: boolean): number | undefined {
    return this.#stack.seek(this.base, offset, data);
  }

  async flush(c: Context): Promise<void> {
    try {
      const wanted = this.#version;
      while (this.#stored < wanted || this.#lost) {
        if (this.#lost) {
          this.#lost = false;
          throw new Errno('ESTALE', 'somebody else has changed the object: what was written here was kept beside it');
        }
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

  flushLater(): void {
    if (!this.due) return;
    this.#want();
    this.#keeper.later(this);
  }

  #want(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#stack.log(records.wanted(this.home.node));
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
  }

  async detach(copy: Base | undefined, c: Context): Promise<void> {
    const { base } = this;
    if (base === undefined) return;
    if (copy !== undefined) {
      this.moved(copy);
      return;
    }
    // Everything that others might remove comes here, as if it had been written.
    try {
      await this.#pull(base, c);
    } catch (error) {
      throw asErrno(error);
    }
  }

  async #pull(base: Base, c: Context): Promise<void> {
    for (const { start, end, from } of [...this.#stack.pieces(0, this.size)]) {
      if (from !== 'base') continue;
      for (let at = start; at < end; at += 4 * MIB) {
        const lent = await this.#world.memory.take(Math.min(4 * MIB, end - at), c);
        try {
          await this.#world.fetch(base, at, lent.buffer, c);
          // What was written meanwhile stays.
          for (const now of [...this.#stack.pieces(at, Math.min(at + lent.buffer.length, this.size))]) {
            if (now.from === 'base') this.#write(now.start, lent.buffer.subarray(now.start - at, now.end - at));
          }
          lent.free();
        } finally {
          lent.leave();
        }
      }
    }
  }

  local(): number | undefined {
    return this.dirty ? undefined : this.#base.local;
  }

  async hold(c: Context): Promise<() => void> {
    if (this.#holds === 0) this.#held = Promise.withResolvers<void>();
    this.#holds += 1;
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      this.#holds -= 1;
      if (this.#holds === 0) this.#held.resolve();
    };
    try {
      while (this.#placing !== undefined)
        await noLongerThan(
          c,
          this.#placing.catch(() => undefined),
        );
    } catch (error) {
      end();
      throw asErrno(error);
    }
    return end;
  }

  async landed(c: Context): Promise<ObjectFacts | undefined> {
    const key = this.home.key();
    if (key === undefined || this.#tokens.length === 0) return undefined;
    const found = await this.#world.store.head(key, c);
    const token = found?.meta[TOKEN];
    if (found === undefined || token === undefined || !this.#tokens.includes(token)) return undefined;
    const { base } = this;
    if (found.etag !== base?.etag || base.key !== key) this.moved({ key, etag: found.etag, size: found.size });
    return found;
  }

  release(): void {
    this.#open = false;
    if (this.dirty) {
      if (this.home.key() === undefined && this.#running === undefined)
        this.#drop(this.#stack.layers.length, this.base);
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
      tokens: this.#tokens,
      current: this.#current,
      upload: this.#upload?.over === false ? this.#upload.state : undefined,
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
    const done = this.#carry().finally(() => {
      this.#running = undefined;
    });
    // Whoever waits for it is told; for others it is in the queue again.
    done.catch(() => undefined);
    this.#running = { version, done };
    return this.#running;
  }

  async #carry(): Promise<void> {
    this.#early?.stop();
    await this.#early?.begun;
    this.#early = undefined;
    if (this.#stack.layers.length > LAYERS_MOST) await this.#quietly(() => this.#join());
    const before = this.#stack.frozen;
    // What may be in the store already stays as it is after a failure, too: it can be known again by its token.
    let announced = false;
    this.#stack.frozen = this.#stack.layers.length;
    const version = this.#version;
    this.#fitUpload(version);
    const snapshot: Snapshot = { layers: [...this.#stack.layers], base: this.base, size: this.size };
    try {
      const brought = await bring(
        this.#world,
        this.#freight(snapshot, version, () => {
          announced = true;
        }),
      );
      if (brought === undefined) {
        // Unlinked: readers may have it open still.
        this.#stack.frozen = before;
        if (!this.#open) this.#drop(this.#stack.layers.length, this.base);
        this.#stored = version;
        return;
      }
      const { key, etag, size } = brought.facts;
      this.#drop(snapshot.layers.length, { key, etag, size });
      this.#stored = version;
      this.home.stored(brought.facts, brought.described);
    } catch (error) {
      if (!announced) this.#stack.frozen = before;
      if (!(error instanceof LostUpdate)) throw error;
      await this.#quietly(() => this.#giveWay(error));
    } finally {
      this.#keeper.turned(this);
    }
  }

  /** Somebody else was faster: all that was written here goes beside it, and the file is theirs. */
  async #giveWay({ theirs }: LostUpdate): Promise<void> {
    const snapshot: Snapshot = { layers: [...this.#stack.layers], base: this.base, size: this.size };
    const version = this.#version;
    const { keptAs, whole } = await keepAside(
      this.#world,
      this.#freight(snapshot, version, () => undefined),
      this.home.conflictKey(),
    );
    const base = theirs === undefined ? undefined : { key: theirs.key, etag: theirs.etag, size: theirs.size };
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#drop(snapshot.layers.length, base, false);
    this.#stored = version;
    this.#lost = true;
    this.#world.logger.warn('somebody else has changed an object: what was written here is kept beside it', {
      key: this.home.key(),
      keptAs,
      whole,
    });
    this.home.conflicted(keptAs, whole, theirs);
  }

  #freight(snapshot: Snapshot, version: number, announced: () => void): Freight {
    const content = this;
    let current = this.#current;
    return {
      node: this.home.node,
      snapshot,
      base: () => this.base,
      key: () => this.home.key(),
      replaces: () => this.home.replaces(),
      describe: () => this.home.description(),
      get tokens() {
        return content.#tokens;
      },
      get current() {
        return current;
      },
      announce: (token) => {
        this.#stack.log(records.put(this.home.node, token, snapshot.layers.length));
        this.#tokens.push(token);
        current = token;
        this.#current = this.#stack.layers.length === snapshot.layers.length ? token : undefined;
        announced();
      },
      upload: () => this.#upload,
      setUpload: (upload) => {
        this.#upload = upload;
        this.#uploadVersion = version;
      },
      place: (work) => this.#place(work),
      rebase: (found) => {
        this.#stack.log(records.stored(this.home.node, found, 0));
        this.#base.replace(found);
      },
    };
  }

  async #place<T>(work: () => Promise<T>): Promise<T> {
    while (this.#holds > 0) await this.#held.promise;
    const placing = work();
    this.#placing = placing;
    try {
      return await placing;
    } finally {
      if (this.#placing === placing) this.#placing = undefined;
    }
  }

  /** The lowest layers are needed no more; below what remains is `base`, which is what they made unless it is somebody else's. */
  #drop(count: number, base: Base | undefined, isOurs = true): void {
    const dropped = this.#stack.shift(count, base);
    this.#early?.stop();
    this.#early = undefined;
    // One that was completed is over.
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#tokens = [];
    this.#current = undefined;
    if (!this.dirty) {
      this.#wanted = false;
      this.#synced = false;
    }
    if (isOurs) this.#base.replace(base);
    else this.#base.rebase(base);
    for (const layer of dropped) {
      const only = isOurs && dropped.length === 1 && base !== undefined;
      const cache = only && layer.written.covers(0, base.size) ? this.#world.cache : undefined;
      if (base === undefined || cache === undefined || !layer.staging.become((path) => cache.adopt(base, path))) {
        layer.staging.drop();
      }
    }
  }

  #changed(start: number, end: number): void {
    this.#version += 1;
    // What is written over what is on its way is looked at when that has ended.
    const upload = this.#upload;
    if (upload !== undefined && this.#stack.layers.length <= upload.state.layers) upload.touched(start, end);
    if (this.#early !== undefined) this.#early.pump();
    else if (end > this.#world.sizes.putMost) this.#beginEarly();
  }

  /** A long file that is written from its beginning on is uploaded meanwhile. */
  #beginEarly(): void {
    const layer = this.#stack.layers[0];
    const key = this.home.key();
    const { sizes } = this.#world;
    const only = this.#stack.layers.length === 1 && this.#stack.frozen === 0 && this.#upload === undefined;
    if (layer === undefined || key === undefined || !only || layer.limit > 0 || sizes.limits.equalParts) return;
    if (layer.written.prefix <= sizes.putMost) return;
    this.#early = new EarlyUpload(
      this.#world,
      {
        node: this.home.node,
        written: () => (this.#stack.layers[0] === layer && this.#stack.frozen === 0 ? layer.written.prefix : 0),
        describe: () => this.home.description(),
        begun: (upload) => {
          if (this.#stack.layers[0] === layer) this.#upload = upload;
          else upload.abandon();
        },
        read: (offset, into) => layer.staging.readLater(offset, into),
      },
      key,
    );
  }

  /** An upload that was begun earlier: its parts of bytes that were written since are not to be used. */
  #fitUpload(version: number): void {
    const upload = this.#upload;
    if (upload === undefined) return;
    const changed = this.#uploadVersion !== version;
    this.#uploadVersion = version;
    if (upload.state.copies && changed) {
      upload.abandon();
      this.#upload = undefined;
      return;
    }
    for (const layer of this.#stack.layers.slice(upload.state.layers)) {
      for (const { start, end } of layer.written) upload.touched(start, end);
      for (const { start, end } of layer.holes) upload.touched(start, end);
      upload.touched(layer.limit, Math.max(layer.limit, layer.size));
    }
    upload.state.layers = this.#stack.layers.length;
  }

  #change<T>(c: Context, work: () => T): T | Promise<T> {
    if (this.#still === undefined) return work();
    return noLongerThan(c, this.#still).then(
      () => this.#change(c, work),
      (error: unknown) => Promise.reject(asErrno(error)),
    );
  }

  async #join(): Promise<void> {
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#current = undefined;
    await this.#stack.join();
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
