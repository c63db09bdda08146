import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Context, cancellable, sleep } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import type { ObjectStore } from '../object/store.ts';
import { BlockCache } from './block-cache.ts';
import { type Lent, Memory } from './budget.ts';
import type { Base, Contents, FileContent, FileHome } from './content.ts';
import { FileBytes, type Keeper } from './content-file.ts';
import { Layer } from './content-layer.ts';
import { OF_CONTENT, type Past, Replay, records, recordsOf } from './content-records.ts';
import type { World } from './content-world.ts';
import { sizesFor } from './parts-plan.ts';
import { PartsUpload } from './parts-upload.ts';
import { copyFrom, Offered } from './reader-offered.ts';
import { removeUnknown, StagingFile } from './staging.ts';
import { StagingRoom } from './staging-room.ts';
import type { StateLog, StateRecord } from './state-log.ts';
import { UploadQueue } from './uploader-queue.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

export interface ContentOptions {
  /** Bytes of objects on the local disk; 0: none. */
  readonly cache?: number;
  /** Bytes that may wait for upload on the local disk. */
  readonly staging?: number;
  /** Bytes of the disk that stay free. */
  readonly reserve?: number;
  /** Bytes of memory on their way between the store, the disk and programs. */
  readonly memory?: number;
  /** Files that are uploaded at once. */
  readonly uploads?: number;
  /** Milliseconds that a store which does not answer is waited for. */
  readonly retryMs?: number;
  /** Of PartSizes, in bytes. For tests. */
  readonly sizes?: Parameters<typeof sizesFor>[1];
  /** Of this start of the host: what was on the disk then and not synced may not be there any more. For tests. */
  readonly boot?: string;
}

export const CONTENT_DEFAULTS = {
  cache: 2 * GIB,
  staging: 64 * GIB,
  reserve: 256 * MIB,
  memory: 64 * MIB,
  uploads: 64,
  retryMs: 60_000,
} as const satisfies ContentOptions;

export interface ContentParts {
  readonly store: ObjectStore;
  /** The engine's folder, on the host's disk: `staging` and `cache` are made in it. */
  readonly folder: string;
  readonly log: StateLog;
  readonly logger: Logger;
  /** Lasts as long as the engine. */
  readonly context: Context;
  readonly options?: ContentOptions;
}

/** Takes up the state of earlier lives; `recover` goes on with it. Errors: those of the disk. */
export const openContents = async (parts: ContentParts): Promise<Contents> => {
  const replay = new Replay().take(parts.log.left(OF_CONTENT));
  const options = { ...CONTENT_DEFAULTS, ...parts.options };
  const staging = join(parts.folder, 'staging');
  await mkdir(staging, { recursive: true, mode: 0o700 });
  const boot = parts.options?.boot ?? bootOfHost();
  const cache = await BlockCache.open(join(parts.folder, 'cache'), options.cache, options.reserve, boot, parts.logger);
  return new ContentSet(parts, options, replay, staging, cache, boot);
};

class ContentSet implements Contents, Keeper {
  readonly #parts: ContentParts;
  readonly #world: World;
  readonly #context: ReturnType<typeof cancellable>;
  readonly #memory: Memory;
  readonly #room: StagingRoom;
  readonly #queue: UploadQueue<FileBytes>;
  readonly #replay: Replay;
  readonly #boot: string;
  /** Open or dirty. */
  readonly #contents = new Map<number, FileBytes>();
  #told = false;
  readonly #offered = new Offered();
  /** Bytes of memory that wait for the cache's disk. */
  #keeping = 0;
  /** Memory that is in use until this turn is over. */
  #passed: Lent[] = [];

  constructor(
    parts: ContentParts,
    options: Required<Omit<ContentOptions, 'boot' | 'sizes'>> & ContentOptions,
    replay: Replay,
    staging: string,
    cache: BlockCache | undefined,
    boot: string,
  ) {
    this.#parts = parts;
    this.#replay = replay;
    this.#context = cancellable(parts.context);
    const { context } = this.#context;
    this.#memory = new Memory(options.memory);
    this.#room = new StagingRoom(staging, options.staging, options.reserve, parts.logger);
    this.#queue = new UploadQueue(options.uploads, context);
    this.#boot = boot;
    const { store, log, logger } = parts;
    const fetch: World['fetch'] = async (base, offset, into, c) => {
      const offered = this.#offered.find(base);
      if (offered !== undefined) {
        copyFrom(offered, offset, into);
        return;
      }
      const range = { offset, length: into.length };
      const { data } = await store.get(base.key, { range, ifMatch: base.etag, into }, c);
      place(data, into);
    };
    this.#world = {
      store,
      log,
      logger,
      context,
      memory: this.#memory,
      room: this.#room,
      sizes: sizesFor(store.limits, options.sizes),
      retryMs: options.retryMs,
      cache,
      fetch,
      passing: (bytes) => this.#passing(bytes),
      mayKeep: (bytes) => {
        const all = this.#keeping + bytes;
        if (all > (options.memory / 8) * 3) return undefined;
        return all > options.memory / 4 ? 'later' : 'soon';
      },
      keeping: (bytes) => {
        this.#keeping += bytes;
      },
    };
  }

  of(home: FileHome, base: Base | undefined): FileContent {
    const known = this.#contents.get(home.node);
    if (known !== undefined) {
      known.reopen();
      return known;
    }
    this.#tellBoot();
    const made = FileBytes.opened(this.#world, this, home, base);
    this.#contents.set(home.node, made);
    return made;
  }

  find(node: number): FileContent | undefined {
    return this.#contents.get(node);
  }

  has(base: Base): boolean {
    return base.size === 0 || this.#offered.has(base) || this.#world.cache?.has(base) === true;
  }

  offer(base: Base, data: readonly Buffer[]): void {
    this.#offered.add(base, data);
    const cached = this.#world.cache?.open(base);
    if (cached === undefined) return;
    if (cached.complete) {
      cached.close();
      return;
    }
    cached.keep(0, data.length === 1 && data[0] !== undefined ? data[0] : Buffer.concat(data), () => cached.close());
  }

  dirtyNodes(): readonly number[] {
    const found = new Set(
      [...this.#replay.past.values()].filter(({ layers }) => layers.length > 0).map(({ node }) => node),
    );
    for (const [node, content] of this.#contents) if (content.dirty) found.add(node);
    return [...found];
  }

  *records(): Generator<StateRecord> {
    if (this.#told) yield records.boot(this.#boot);
    else if (this.#replay.boot !== undefined) yield records.boot(this.#replay.boot);
    for (const past of this.#replay.past.values()) yield* recordsOf(past, () => undefined);
    for (const content of this.#contents.values()) {
      yield* recordsOf(content.past(), (layer) => content.lengthOf(layer));
    }
  }

  async recover(
    homeOf: (node: number) => FileHome | undefined,
    isOpen: (node: number) => boolean = () => false,
  ): Promise<void> {
    const { past, boot } = this.#replay;
    const known = this.#replay.layers;
    // What the disk had not got when the host lost its power may be there in part.
    const trusted = boot === undefined || boot === this.#boot;
    for (const [node, one] of past) {
      const home = homeOf(node);
      if (one.layers.length === 0 && (home === undefined || !isOpen(node))) {
        // It was stored and closed.
      } else if (home === undefined || !(one.layers.length === 0 || trusted || one.synced || one.wanted))
        await this.#forget(one);
      else {
        const content = await this.#takeUp(home, one);
        if (isOpen(node)) content.reopen();
        this.#contents.set(node, content);
      }
      past.delete(node);
    }
    for (const layer of known) if (!this.#isKnown(layer)) known.delete(layer);
    const removed = await removeUnknown(this.#room.folder, known);
    if (removed > 0) this.#parts.logger.info('staging files that nobody needs were removed', { removed });
    for (const content of this.#contents.values()) if (content.wanted) this.later(content);
  }

  async drain(left: (bytes: number, files: number) => void): Promise<void> {
    for (const content of this.#contents.values()) content.flushLater();
    for (let looked = 0; ; looked += 1) {
      if (looked % 10 === 0) this.#queue.hurry();
      const dirty = [...this.#contents.values()].filter((content) => content.due);
      left(
        dirty.reduce((sum, content) => sum + content.waiting, 0),
        dirty.length,
      );
      if (dirty.length === 0) return;
      await sleep(100, this.#context.context);
    }
  }

  status(): Readonly<Record<string, string | number | boolean>> {
    let files = 0;
    let bytes = 0;
    for (const content of this.#contents.values()) {
      if (!content.dirty) continue;
      files += 1;
      bytes += content.waiting;
    }
    return {
      'files that wait for upload': files,
      'bytes that wait for upload': bytes,
      'staging bytes': this.#room.used,
      'cache bytes': this.#world.cache?.bytes ?? 0,
      'memory bytes': this.#memory.lent,
      'uploads under way': this.#queue.size,
      'uploads failing': this.#queue.failing,
      ...(this.#queue.lastFailure !== undefined && { 'last failure': this.#queue.lastFailure }),
    };
  }

  async close(): Promise<void> {
    this.#queue.close();
    this.#context.cancel(new Error('the engine ends'));
    for (const content of this.#contents.values()) content.leave();
    this.#contents.clear();
    this.#world.cache?.close();
  }

  later(content: FileBytes): void {
    this.#queue.add(content);
  }

  turned(content: FileBytes): void {
    if (content.isOpen || content.dirty) return;
    content.leave();
    if (this.#contents.get(content.home.node) === content) this.#contents.delete(content.home.node);
  }

  #passing(bytes: number): Buffer {
    // Small ones are cheaper from Node's own pool.
    const lent = bytes < 64 * 1024 ? undefined : this.#memory.tryTake(bytes);
    if (lent === undefined) return Buffer.allocUnsafe(bytes);
    if (this.#passed.length === 0) {
      setImmediate(() => {
        for (const one of this.#passed.splice(0)) one.free();
      });
    }
    this.#passed.push(lent);
    return lent.buffer;
  }

  /** Once in a life, before the first record of anything that is not synced. */
  #tellBoot(): void {
    if (this.#told) return;
    this.#told = true;
    this.#parts.log.append(records.boot(this.#boot));
  }

  #isKnown(layer: string): boolean {
    for (const content of this.#contents.values())
      if (content.past().layers.some(({ id }) => id === layer)) return true;
    return false;
  }

  async #takeUp(home: FileHome, past: Past): Promise<FileBytes> {
    this.#tellBoot();
    const layers: Layer[] = [];
    for (const { id, state } of past.layers) {
      const staging = await StagingFile.again(this.#room.folder, id, this.#room);
      const { tail } = state;
      state.endTail(staging.length);
      const layer = new Layer(staging, state.size, state.limit);
      for (const { start, end } of state.written) layer.written.add(start, end);
      for (const { start, end } of state.holes) layer.holes.add(start, end);
      // The log knows of no end of it yet.
      layer.tail = tail;
      layer.room = layer.written.bytes;
      this.#room.found(layer.room);
      layers.push(layer);
    }
    const upload = past.upload === undefined ? undefined : new PartsUpload(this.#world, home.node, past.upload);
    if (upload !== undefined && past.tokens.includes(upload.state.token)) upload.tried = true;
    return FileBytes.again(this.#world, this, home, past, layers, upload);
  }

  /** Its node is gone, or its bytes are not to be trusted: the object stays as it is. */
  async #forget(past: Past): Promise<void> {
    if (past.upload !== undefined) new PartsUpload(this.#world, past.node, past.upload).abandon();
    this.#parts.log.append(records.stored(past.node, past.base, past.layers.length));
    this.#parts.logger.warn('what was written before the host went down, and was not synced, is dropped', {
      node: past.node,
      key: past.base?.key,
    });
  }
}

/** Data where it was asked to be: copied, unless the store has put it there already. */
const place = (data: readonly Buffer[], into: Buffer): void => {
  let at = 0;
  for (const piece of data) {
    const there = piece.buffer === into.buffer && piece.byteOffset === into.byteOffset + at;
    if (!there) piece.copy(into, at);
    at += piece.length;
  }
  if (at < into.length) into.fill(0, at);
};

const bootOfHost = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
