import { type Context, noLongerThan } from '../../shared/context.ts';
import type { ObjectFacts } from '../object/store.ts';
import type { Base, FileHome } from './content.ts';
import type { BaseBytes } from './content-base.ts';
import { asErrno } from './content-errors.ts';
import type { Snapshot } from './content-layer.ts';
import { type Past, records } from './content-records.ts';
import type { Stack } from './content-stack.ts';
import type { World } from './content-world.ts';
import { type PartsUpload, TOKEN } from './parts-upload.ts';
import { bring, type Freight, LostUpdate } from './uploader.ts';
import { keepAside } from './uploader-conflict.ts';
import { EarlyUpload } from './uploader-early.ts';

/** So many layers are made one before the next upload. */
const LAYERS_MOST = 4;

/** What a carrier must know of the file, and of those who have it open. */
export interface Carried {
  readonly home: FileHome;
  readonly base: BaseBytes;
  readonly stack: Stack;
  /** Counts changes. */
  version(): number;
  isOpen(): boolean;
  /** Does what changes must wait for. */
  quietly(work: () => Promise<void>): Promise<void>;
  /** Everything that was written is in the store, or nobody wants it. */
  clean(): void;
  /** It is what somebody else has made of it, and whoever has it open must be told. */
  lost(): void;
}

/** Brings what was written to a file to the store, and remembers what is on its way. */
export class Carrier {
  readonly #world: World;
  readonly #file: Carried;
  /** Of writes whose outcome is open. */
  #tokens: string[] = [];
  /** The one whose write was of all that is here. */
  #current: string | undefined;
  #upload: PartsUpload | undefined;
  /** The version that its parts were last brought in line with. */
  #uploadVersion = -1;
  #early: EarlyUpload | undefined;
  #placing: Promise<unknown> | undefined;
  #holds = 0;
  #held = Promise.withResolvers<void>();

  constructor(world: World, file: Carried) {
    this.#world = world;
    this.#file = file;
  }

  /** Takes up what an earlier life has left. */
  resume(past: Past, upload: PartsUpload | undefined): void {
    this.#tokens = [...past.tokens];
    this.#current = past.current;
    this.#upload = upload;
  }

  /** For a compaction of the log. */
  past(): Pick<Past, 'tokens' | 'current' | 'upload'> {
    return {
      tokens: this.#tokens,
      current: this.#current,
      upload: this.#upload?.over === false ? this.#upload.state : undefined,
    };
  }

  /** A layer has begun: what is here is more than what may have been put. */
  outgrown(): void {
    this.#current = undefined;
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
    const key = this.#file.home.key();
    if (key === undefined || this.#tokens.length === 0) return undefined;
    const found = await this.#world.store.head(key, c);
    const token = found?.meta[TOKEN];
    if (found === undefined || token === undefined || !this.#tokens.includes(token)) return undefined;
    const base = this.#file.base.now;
    if (found.etag !== base?.etag || base.key !== key) {
      this.#file.stack.log(records.stored(this.#file.home.node, { key, etag: found.etag, size: found.size }, 0));
      this.#file.base.replace({ key, etag: found.etag, size: found.size });
    }
    return found;
  }

  /** Bytes were written, or cut off, or made zeros. */
  changed(start: number, end: number): void {
    // What is written over what is on its way is looked at when that has ended.
    const upload = this.#upload;
    if (upload !== undefined && this.#file.stack.layers.length <= upload.state.layers) upload.touched(start, end);
    if (this.#early !== undefined) this.#early.pump();
    else if (end > this.#world.sizes.putMost) this.#beginEarly();
  }

  /** Answers the version up to which everything is in the store, or beside what is there. */
  async carry(): Promise<number> {
    this.#early?.stop();
    await this.#early?.begun;
    this.#early = undefined;
    if (this.#file.stack.layers.length > LAYERS_MOST) await this.#file.quietly(() => this.#join());
    const before = this.#file.stack.frozen;
    // What may be in the store already stays as it is after a failure, too: it can be known again by its token.
    let announced = false;
    this.#file.stack.frozen = this.#file.stack.layers.length;
    const version = this.#file.version();
    this.#fitUpload(version);
    const snapshot: Snapshot = {
      layers: [...this.#file.stack.layers],
      base: this.#file.base.now,
      size: this.#file.stack.size(this.#file.base.now),
    };
    try {
      const brought = await bring(
        this.#world,
        this.#freight(snapshot, version, () => {
          announced = true;
        }),
      );
      if (brought === undefined) {
        // Unlinked: readers may have it open still.
        this.#file.stack.frozen = before;
        if (!this.#file.isOpen()) this.drop(this.#file.stack.layers.length, this.#file.base.now);
        return version;
      }
      const { key, etag, size } = brought.facts;
      this.drop(snapshot.layers.length, { key, etag, size });
      this.#file.home.stored(brought.facts, brought.described);
      return version;
    } catch (error) {
      if (!announced) this.#file.stack.frozen = before;
      if (!(error instanceof LostUpdate)) throw error;
      // It has been unlinked here meanwhile.
      if (this.#file.home.key() === undefined) {
        this.#file.stack.frozen = before;
        if (!this.#file.isOpen()) this.drop(this.#file.stack.layers.length, this.#file.base.now);
        return version;
      }
      let now = version;
      await this.#file.quietly(async () => {
        now = await this.#giveWay(error);
      });
      return now;
    }
  }

  /** The lowest layers are needed no more; below what remains is `base`, which is what they made unless it is somebody else's. */
  drop(count: number, base: Base | undefined, isOurs = true): void {
    const lost = !isOurs && this.#file.isOpen();
    const dropped = this.#file.stack.shift(count, base, lost);
    if (lost) this.#file.lost();
    this.#early?.stop();
    this.#early = undefined;
    // One that was completed is over.
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#tokens = [];
    this.#current = undefined;
    if (!this.#file.stack.dirty) this.#file.clean();
    if (isOurs) this.#file.base.replace(base);
    else this.#file.base.rebase(base);
    for (const layer of dropped) {
      const only = isOurs && dropped.length === 1 && base !== undefined;
      const cache = only && layer.written.covers(0, base.size) ? this.#world.cache : undefined;
      if (base === undefined || cache === undefined || !layer.staging.become((path) => cache.adopt(base, path))) {
        layer.staging.drop();
      }
    }
  }

  /** Somebody else was faster: all that was written here goes beside it, and the file is theirs. */
  async #giveWay({ theirs }: LostUpdate): Promise<number> {
    const snapshot: Snapshot = {
      layers: [...this.#file.stack.layers],
      base: this.#file.base.now,
      size: this.#file.stack.size(this.#file.base.now),
    };
    const version = this.#file.version();
    const { keptAs, whole } = await keepAside(
      this.#world,
      this.#freight(snapshot, version, () => undefined),
      this.#file.home.conflictKey(),
    );
    const base = theirs === undefined ? undefined : { key: theirs.key, etag: theirs.etag, size: theirs.size };
    this.#upload?.abandon();
    this.#upload = undefined;
    this.drop(snapshot.layers.length, base, false);
    this.#world.logger.warn('somebody else has changed an object: what was written here is kept beside it', {
      key: this.#file.home.key(),
      keptAs,
      whole,
    });
    this.#file.home.conflicted(keptAs, whole, theirs);
    return version;
  }

  #freight(snapshot: Snapshot, version: number, announced: () => void): Freight {
    const content = this;
    let current = this.#current;
    return {
      node: this.#file.home.node,
      snapshot,
      base: () => this.#file.base.now,
      key: () => this.#file.home.key(),
      replaces: () => this.#file.home.replaces(),
      describe: () => this.#file.home.description(),
      get tokens() {
        return content.#tokens;
      },
      get current() {
        return current;
      },
      announce: (token) => {
        this.#file.stack.log(records.put(this.#file.home.node, token, snapshot.layers.length));
        this.#tokens.push(token);
        current = token;
        this.#current = this.#file.stack.layers.length === snapshot.layers.length ? token : undefined;
        announced();
      },
      upload: () => this.#upload,
      setUpload: (upload) => {
        this.#upload = upload;
        this.#uploadVersion = version;
      },
      place: (work) => this.#place(work),
      rebase: (found) => {
        this.#file.stack.log(records.stored(this.#file.home.node, found, 0));
        this.#file.base.replace(found);
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

  /** A long file that is written from its beginning on is uploaded meanwhile. */
  #beginEarly(): void {
    const layer = this.#file.stack.layers[0];
    const key = this.#file.home.key();
    const { sizes } = this.#world;
    const only = this.#file.stack.layers.length === 1 && this.#file.stack.frozen === 0 && this.#upload === undefined;
    if (layer === undefined || key === undefined || !only || layer.limit > 0 || sizes.limits.equalParts) return;
    if (layer.written.prefix <= sizes.putMost) return;
    this.#early = new EarlyUpload(
      this.#world,
      {
        node: this.#file.home.node,
        written: () =>
          this.#file.stack.layers[0] === layer && this.#file.stack.frozen === 0 ? layer.written.prefix : 0,
        describe: () => this.#file.home.description(),
        begun: (upload) => {
          if (this.#file.stack.layers[0] === layer) this.#upload = upload;
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
    for (const layer of this.#file.stack.layers.slice(upload.state.layers)) {
      for (const { start, end } of layer.written) upload.touched(start, end);
      for (const { start, end } of layer.holes) upload.touched(start, end);
      upload.touched(layer.limit, Math.max(layer.limit, layer.size));
    }
    upload.state.layers = this.#file.stack.layers.length;
  }

  async #join(): Promise<void> {
    this.#upload?.abandon();
    this.#upload = undefined;
    this.#current = undefined;
    await this.#file.stack.join();
  }
}
