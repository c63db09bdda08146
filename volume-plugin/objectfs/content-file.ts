import { randomBytes } from 'node:crypto';
import { type Context, noLongerThan } from '../../shared/context.ts';
import { Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Base, FileContent, FileHome } from './content.ts';
import { asErrno, isLost } from './content-errors.ts';
import { Layer, piecesOf, type Snapshot } from './content-layer.ts';
import { type Past, records } from './content-records.ts';
import type { World } from './content-world.ts';
import type { PartsUpload } from './parts-upload.ts';
import { Reader } from './reader.ts';
import { StagingFile } from './staging.ts';
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
  #base: Base | undefined;
  #reader: Reader | undefined;
  /** The undermost first. The first `#frozen` are on their way to the store and do not change. */
  readonly #layers: Layer[] = [];
  #frozen = 0;
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
  /** Bytes of this base were given to somebody. */
  #shown = false;

  constructor(world: World, keeper: Keeper, home: FileHome, base: Base | undefined) {
    this.#world = world;
    this.#keeper = keeper;
    this.home = home;
    this.#base = base;
  }

  /** A new file: dirty from the start. */
  static fresh(world: World, keeper: Keeper, home: FileHome): FileBytes {
    const made = new FileBytes(world, keeper, home, undefined);
    made.#top();
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
    made.#layers.push(...layers);
    made.#tokens = [...past.tokens];
    made.#current = past.current;
    // What may have been put already does not change any more.
    if (past.tokens.length > 0) made.#frozen = layers.length;
    made.#version = 1;
    made.#wanted = past.wanted;
    made.#upload = upload;
    made.#open = false;
    return made;
  }

  get size(): number {
    return this.#layers.at(-1)?.size ?? this.#base?.size ?? 0;
  }

  get dirty(): boolean {
    return this.#layers.length > 0;
  }

  get base(): Base | undefined {
    return this.#base;
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
    return this.#layers.reduce((sum, layer) => sum + layer.written.bytes, 0);
  }

  reopen(): void {
    this.#open = true;
  }

  read(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]> {
    const end = Math.min(offset + length, this.size);
    if (offset >= end) return [];
    if (this.#layers.length === 0) return this.#readBase(offset, end - offset, c);
    const found: (readonly Buffer[] | Promise<readonly Buffer[]>)[] = [];
    let waits = false;
    for (const { start, end: until, from } of piecesOf(this.#layers, offset, end)) {
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
        this.#shown = true;
        return buffers;
      },
      (error: unknown) => this.#missed(base, offset, length, error, c),
    );
  }

  /** The base could not be read: it may have been changed by others. */
  async #missed(base: Base, offset: number, length: number, error: unknown, c: Context): Promise<readonly Buffer[]> {
    if (!isLost(error)) throw asErrno(error);
    // Somebody here has put another one in its place meanwhile, or the namespace has heard of it.
    if (this.#base !== base && !this.#shown && !this.dirty) return this.#readAgain(offset, length, c);
    let now: ObjectFacts | undefined;
    try {
      now = await this.#world.store.head(base.key, c);
    } catch (failure) {
      throw asErrno(failure);
    }
    const rebased = now !== undefined && !this.#shown && !this.dirty && this.#base === base;
    if (now !== undefined && rebased) this.rebase({ key: now.key, etag: now.etag, size: now.size });
    this.home.changed(now, rebased);
    if (rebased) return this.#readAgain(offset, length, c);
    throw new Errno('ESTALE', `${base.key} was changed by others while it was open here`, error);
  }

  async #readAgain(offset: number, length: number, c: Context): Promise<readonly Buffer[]> {
    return this.read(offset, length, c);
  }

  write(offset: number, data: Buffer, c: Context): number | Promise<number> {
    return this.#change(c, () => this.#write(offset, data));
  }

  #write(offset: number, data: Buffer): number {
    if (data.length === 0) return 0;
    const end = offset + data.length;
    const layer = this.#top();
    const { staging } = layer;
    let fresh = 0;
    for (const one of layer.written.pieces(offset, end)) if (!one.inside) fresh += one.end - one.start;
    this.#world.room.take(fresh);
    const length = staging.length;
    try {
      // Bytes that are appended to the staging file count by its length; all others by a record that follows them.
      if (end > length && (layer.tail === undefined || offset > length)) {
        const from = Math.max(offset, length);
        this.#log(records.tail(this.home.node, from, layer.tail === undefined ? undefined : length));
        layer.tail = from;
      }
      staging.write(offset, data);
      const told = Math.min(end, layer.tail ?? end);
      if (offset < told && !layer.written.covers(offset, told)) this.#log(records.write(this.home.node, offset, told));
    } catch (error) {
      this.#world.room.giveBack(fresh);
      staging.shorten(length);
      throw asErrno(error);
    }
    layer.room += fresh;
    layer.write(offset, end);
    this.#changed(offset, end);
    return data.length;
  }

  truncate(size: number, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const before = this.size;
      if (size === before) return;
      const layer = this.#top();
      this.#log(records.cut(this.home.node, size, layer.staging.length));
      layer.endTail(layer.staging.length);
      layer.cut(size);
      layer.staging.shorten(size);
      this.#settleRoom(layer);
      this.#changed(Math.min(size, before), Math.max(size, before));
    });
  }

  zero(offset: number, length: number, keepSize: boolean, c: Context): void | Promise<void> {
    return this.#change(c, () => {
      const before = this.size;
      const end = keepSize ? Math.min(offset + length, before) : offset + length;
      if (offset >= end) return;
      const layer = this.#top();
      const size = Math.max(before, end);
      this.#log(records.zero(this.home.node, offset, end, size, layer.staging.length));
      layer.endTail(layer.staging.length);
      layer.zero(offset, end, size);
      this.#settleRoom(layer);
      this.#changed(offset, end);
    });
  }

  seek(offset: number, data: boolean): number | undefined {
    const { size } = this;
    if (offset >= size) return undefined;
    for (const { start, from } of piecesOf(this.#layers, offset, size)) {
      if ((from === 'zeros') !== data) return start;
    }
    return data ? undefined : size;
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
    this.#log(records.wanted(this.home.node));
  }

  async sync(_c: Context): Promise<void> {
    try {
      await Promise.all(this.#layers.map((layer) => layer.staging.sync()));
      if (this.dirty) this.#log(records.synced(this.home.node));
      await this.#world.log.sync();
    } catch (error) {
      throw asErrno(error);
    }
  }

  rebase(base: Base | undefined): void {
    if (this.dirty) return;
    this.#setBase(base);
  }

  moved(base: Base): void {
    const shown = this.#shown;
    if (this.dirty) this.#log(records.stored(this.home.node, base, 0));
    this.#setBase(base);
    this.#shown = shown;
  }

  async detach(copy: Base | undefined, c: Context): Promise<void> {
    const base = this.#base;
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
    for (const { start, end, from } of [...piecesOf(this.#layers, 0, this.size)]) {
      if (from !== 'base') continue;
      for (let at = start; at < end; at += 4 * MIB) {
        const lent = await this.#world.memory.take(Math.min(4 * MIB, end - at), c);
        try {
          await this.#world.fetch(base, at, lent.buffer, c);
          // What was written meanwhile stays.
          for (const now of [...piecesOf(this.#layers, at, Math.min(at + lent.buffer.length, this.size))]) {
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
    if (this.dirty || this.#base === undefined) return undefined;
    if (this.#reader === undefined && this.#world.cache?.has(this.#base) !== true) return undefined;
    this.#reader ??= new Reader(this.#world, this.#base);
    return this.#reader.descriptor;
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

  release(): void {
    this.#open = false;
    if (this.dirty) {
      if (this.home.key() === undefined && this.#running === undefined) this.#drop(this.#layers.length, this.#base);
      else this.flushLater();
    }
    this.#reader?.close();
    this.#reader = undefined;
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
      base: this.#base,
      layers: this.#layers.map((layer) => ({ id: layer.id, state: layer })),
      wanted: this.#wanted,
      synced: false,
      tokens: this.#tokens,
      current: this.#current,
      upload: this.#upload?.over === false ? this.#upload.state : undefined,
    };
  }

  lengthOf(layer: string): number {
    return this.#layers.find(({ id }) => id === layer)?.staging.length ?? 0;
  }

  /** At the end of the engine's life: files stay as they are. */
  leave(): void {
    for (const layer of this.#layers) layer.staging.leave();
    this.#reader?.close();
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
    if (this.#layers.length > LAYERS_MOST) await this.#quietly(() => this.#join());
    const before = this.#frozen;
    // What may be in the store already stays as it is after a failure, too: it can be known again by its token.
    let announced = false;
    this.#frozen = this.#layers.length;
    const version = this.#version;
    this.#fitUpload(version);
    const snapshot: Snapshot = { layers: [...this.#layers], base: this.#base, size: this.size };
    try {
      const brought = await bring(
        this.#world,
        this.#freight(snapshot, version, () => {
          announced = true;
        }),
      );
      if (brought === undefined) {
        // Unlinked: readers may have it open still.
        this.#frozen = before;
        if (!this.#open) this.#drop(this.#layers.length, this.#base);
        this.#stored = version;
        return;
      }
      const { key, etag, size } = brought.facts;
      this.#drop(snapshot.layers.length, { key, etag, size });
      this.#stored = version;
      this.home.stored(brought.facts, brought.described);
    } catch (error) {
      if (!announced) this.#frozen = before;
      if (!(error instanceof LostUpdate)) throw error;
      await this.#quietly(() => this.#giveWay(error));
    } finally {
      this.#keeper.turned(this);
    }
  }

  /** Somebody else was faster: all that was written here goes beside it, and the file is theirs. */
  async #giveWay({ theirs }: LostUpdate): Promise<void> {
    const snapshot: Snapshot = { layers: [...this.#layers], base: this.#base, size: this.size };
    const version = this.#version;
    const keptAs = this.home.conflictKey();
    const { whole } = await keepAside(
      this.#world,
      this.#freight(snapshot, version, () => undefined),
      keptAs,
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
      base: () => this.#base,
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
        this.#log(records.put(this.home.node, token, snapshot.layers.length));
        this.#tokens.push(token);
        current = token;
        this.#current = this.#layers.length === snapshot.layers.length ? token : undefined;
        announced();
      },
      upload: () => this.#upload,
      setUpload: (upload) => {
        this.#upload = upload;
        this.#uploadVersion = version;
      },
      place: (work) => this.#place(work),
      rebase: (found) => {
        this.#log(records.stored(this.home.node, found, 0));
        this.#setBase(found);
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
    this.#log(records.stored(this.home.node, base, count));
    const dropped = this.#layers.splice(0, count);
    this.#early?.stop();
    this.#early = undefined;
    // One that was completed is over.
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#frozen = 0;
    this.#tokens = [];
    this.#current = undefined;
    if (this.#layers.length === 0) this.#wanted = false;
    this.#setBase(base);
    for (const layer of dropped) {
      this.#world.room.giveBack(layer.room);
      const only = isOurs && dropped.length === 1 && base !== undefined;
      const cache = only && layer.written.covers(0, base.size) ? this.#world.cache : undefined;
      if (base === undefined || cache === undefined || !layer.staging.become((path) => cache.adopt(base, path))) {
        layer.staging.drop();
      }
    }
  }

  #setBase(base: Base | undefined): void {
    const before = this.#base;
    this.#base = base;
    this.#shown = false;
    this.#reader?.close();
    this.#reader = undefined;
    if (before !== undefined && before.etag !== base?.etag) this.#world.cache?.forget(before);
  }

  /** The layer that changes go to. */
  #top(): Layer {
    const top = this.#layers.at(-1);
    if (top !== undefined && this.#layers.length > this.#frozen) return top;
    const { size } = this;
    const id = `${this.home.node.toString(36)}-${randomBytes(9).toString('base64url')}`;
    const staging = StagingFile.fresh(this.#world.room.folder, id, this.#world.room);
    this.#log(records.open(this.home.node, id, this.#base, size, size, top?.staging.length));
    top?.endTail(top.staging.length);
    const layer = new Layer(staging, size, size);
    this.#current = undefined;
    this.#layers.push(layer);
    if (this.#layers.length === 1) this.#keeper.turned(this);
    return layer;
  }

  #changed(start: number, end: number): void {
    this.#version += 1;
    // What is written over what is on its way is looked at when that has ended.
    const upload = this.#upload;
    if (upload !== undefined && this.#layers.length <= upload.state.layers) upload.touched(start, end);
    if (this.#early !== undefined) this.#early.pump();
    else if (end > this.#world.sizes.putMost) this.#beginEarly();
  }

  /** A long file that is written from its beginning on is uploaded meanwhile. */
  #beginEarly(): void {
    const layer = this.#layers[0];
    const key = this.home.key();
    const { sizes } = this.#world;
    const only = this.#layers.length === 1 && this.#frozen === 0 && this.#upload === undefined;
    if (layer === undefined || key === undefined || !only || layer.limit > 0 || sizes.limits.equalParts) return;
    if (layer.written.prefix <= sizes.putMost) return;
    this.#early = new EarlyUpload(
      this.#world,
      {
        node: this.home.node,
        written: () => (this.#layers[0] === layer && this.#frozen === 0 ? layer.written.prefix : 0),
        describe: () => this.home.description(),
        begun: (upload) => {
          if (this.#layers[0] === layer) this.#upload = upload;
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
    for (const layer of this.#layers.slice(upload.state.layers)) {
      for (const { start, end } of layer.written) upload.touched(start, end);
      for (const { start, end } of layer.holes) upload.touched(start, end);
      upload.touched(layer.limit, Math.max(layer.limit, layer.size));
    }
    upload.state.layers = this.#layers.length;
  }

  #change<T>(c: Context, work: () => T): T | Promise<T> {
    if (this.#still === undefined) return work();
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

  /** Brings the bytes of upper layers into the lowest one. After a crash in the middle of it the upper ones still cover what was changed. */
  async #join(): Promise<void> {
    this.#upload?.abandon();
    this.#upload = undefined;
    for (let upper = this.#layers.at(-1); upper !== undefined && this.#layers.length > 1; upper = this.#layers.at(-1)) {
      const lower = this.#layers.at(-2);
      if (lower === undefined) return;
      for (const { start, end } of upper.written) {
        for (let at = start; at < end; at += MIB) {
          const into = Buffer.allocUnsafe(Math.min(MIB, end - at));
          await upper.staging.readLater(at, into);
          lower.staging.write(at, into);
        }
      }
      this.#log(records.merge(this.home.node, upper.staging.length));
      this.#current = undefined;
      upper.endTail(upper.staging.length);
      lower.merge(upper);
      this.#layers.pop();
      this.#frozen = 0;
      this.#settleRoom(lower);
      this.#world.room.giveBack(upper.room);
      upper.staging.drop();
    }
  }

  #settleRoom(layer: Layer): void {
    const bytes = layer.written.bytes;
    if (bytes < layer.room) this.#world.room.giveBack(layer.room - bytes);
    else this.#world.room.found(bytes - layer.room);
    layer.room = bytes;
  }

  #log(record: ReturnType<(typeof records)[keyof typeof records]>): void {
    try {
      this.#world.log.append(record);
    } catch (error) {
      throw asErrno(error);
    }
  }
}
