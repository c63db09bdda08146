import { type Context, cancellable } from '../../shared/context.ts';
import type { CachedObject } from './block-cache-object.ts';
import type { Base } from './content.ts';
import { callContext, type World } from './content-world.ts';
import { PREFETCH, type PrefetchSizes, type Stream, Streams } from './prefetch.ts';
import { Chunk } from './prefetch-chunk.ts';
import { fill } from './reader-fill.ts';

const MIB = 1024 * 1024;
/** Objects up to here come in one piece. */
const SMALL = MIB;
/** Bytes that no stream needs any more, and that may be asked for again. */
const KEPT = 2 * MIB;
const OVER = new Error('the call is over');
/** After so many random reads that had to ask the store, all of the object is fetched to the disk. */
const MISSES = 16;

/** Brings bytes of one object: from the disk where they are there, else from the store, ahead of who reads in sequence. */
export class Reader {
  readonly #world: World;
  readonly #base: Base;
  readonly #sizes: PrefetchSizes;
  readonly #streams: Streams;
  readonly #cached: CachedObject | undefined;
  readonly #context: ReturnType<typeof cancellable>;
  /** In memory or on their way there, the one that was asked for first as the first. */
  #chunks: Chunk[] = [];
  #misses = 0;
  #filling = false;
  #closed = false;

  constructor(world: World, base: Base, sizes: PrefetchSizes = PREFETCH) {
    this.#world = world;
    this.#base = base;
    // A part of what memory there is, so that sixteen are not more than all.
    this.#sizes = { ...sizes, most: Math.max(sizes.random, Math.min(sizes.most, world.memory.limit / sizes.window)) };
    this.#streams = new Streams(this.#sizes);
    this.#cached = world.cache?.open(base);
    this.#context = cancellable(world.context);
  }

  /** A descriptor of a local file that has all of it. */
  get descriptor(): number | undefined {
    return this.#cached?.descriptor;
  }

  /** Bytes that are all within the object; at once where they are at hand. The memory is theirs until this turn is over. Errors: StoreError. */
  read(offset: number, length: number, c: Context): readonly Buffer[] | Promise<readonly Buffer[]> {
    const end = offset + length;
    const stream = this.#streams.take(offset, end);
    let waits = false;
    const needed: Chunk[] = [];
    for (let at = offset; at < end; ) {
      const chunk = this.#chunkAt(at);
      waits ||= chunk?.there !== true;
      if (chunk === undefined) break;
      needed.push(chunk);
      at = chunk.end;
    }
    if (!waits) {
      const found = this.#serve(needed, offset, end);
      if (stream !== undefined) this.#ahead(stream);
      return found;
    }
    // What is in memory is on the disk soon as well, and would stay in memory if it was read from there.
    const local = this.#readLocal(offset, length);
    if (local === undefined) return this.#readLater(offset, end, stream, c);
    if (stream !== undefined) {
      stream.ahead = Math.max(stream.ahead, end);
      if (this.#cached?.complete === false) this.#ahead(stream);
    }
    return local;
  }

  /** What somebody waits for comes still; what was fetched ahead does not. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.cancel(new Error('the file was closed'));
    for (const chunk of [...this.#chunks]) chunk.retire();
    this.#cached?.close();
  }

  #readLocal(offset: number, length: number): readonly Buffer[] | undefined {
    if (this.#cached?.has(offset, offset + length) !== true) return undefined;
    const into = this.#world.passing(length);
    return this.#cached.readNow(offset, into) ? [into] : undefined;
  }

  async #readLater(offset: number, end: number, stream: Stream | undefined, c: Context): Promise<readonly Buffer[]> {
    // All that is missing is asked for at once, and before anything ahead.
    const needed: Chunk[] = [];
    const unpin: (() => void)[] = [];
    try {
      for (let at = offset; at < end; ) {
        const chunk = this.#chunkAt(at) ?? (await this.#fetchFor(at, end, stream, needed.length > 0, c));
        needed.push(chunk);
        unpin.push(chunk.pin());
        at = chunk.end;
      }
      if (stream !== undefined) this.#ahead(stream);
      else this.#miss();
      for (const chunk of needed) if (!chunk.there) await chunk.wait(c);
      return this.#serve(needed, offset, end);
    } finally {
      // The bytes are looked at until the turn is over in which they are answered.
      setImmediate(() => {
        for (const one of unpin) one();
        if (this.#closed) for (const chunk of needed) chunk.retire();
      });
    }
  }

  #chunkAt(at: number): Chunk | undefined {
    return this.#chunks.find(({ start, end, failed }) => start <= at && at < end && !failed);
  }

  /** Asks the store for what begins at `at`, and for as much more as is good. */
  async #fetchFor(at: number, end: number, stream: Stream | undefined, holding: boolean, c: Context): Promise<Chunk> {
    const { size } = this.#base;
    const { random, most } = this.#sizes;
    let start = at;
    let until: number;
    if (size <= SMALL) {
      start = 0;
      until = size;
    } else if (stream === undefined) {
      start = at - (at % random);
      until = Math.min(size, Math.ceil(end / random) * random);
    } else {
      until = Math.min(size, Math.max(end, at + stream.size));
      stream.ahead = Math.max(stream.ahead, until);
    }
    if (size > SMALL) until = Math.min(until, start + Math.max(most, random));
    // Not what is there, or on its way, already.
    for (const one of this.#chunks) {
      if (one.failed) continue;
      if (one.start > at && one.start < until) until = one.start;
      if (one.end <= at && one.end > start) start = one.end;
    }
    const { memory } = this.#world;
    if (holding) {
      const lent = memory.tryTake(until - start);
      return this.#fetch(start, lent ?? memory.beyond(Math.min(until, end) - start));
    }
    const lent = await memory.take(until - start, c);
    // Somebody else has asked for it meanwhile.
    const meanwhile = this.#chunkAt(at);
    if (meanwhile === undefined) return this.#fetch(start, lent);
    lent.free();
    return meanwhile;
  }

  #fetch(start: number, lent: Chunk['lent']): Chunk {
    const { context, cancel } = cancellable(this.#world.context);
    const chunk = new Chunk(
      this.#world.memory,
      start,
      lent,
      async (into) => {
        try {
          await this.#world.fetch(this.#base, start, into, callContext(this.#world, into.length, context));
        } finally {
          // Its contexts would be kept until their time is over, or the engine's.
          cancel(OVER);
        }
        this.#keep(chunk);
      },
      () => {
        const at = this.#chunks.indexOf(chunk);
        if (at >= 0) this.#chunks.splice(at, 1);
      },
      () => cancel(new Error('the file was closed')),
    );
    this.#chunks.push(chunk);
    chunk.came.catch(() => chunk.retire());
    return chunk;
  }

  /** To the disk, for the next time: while programs have its bytes already. */
  #keep(chunk: Chunk): void {
    const cached = this.#cached;
    const when = this.#world.mayKeep(chunk.length);
    if (cached === undefined || this.#closed || when === undefined) return;
    const unpin = chunk.pin();
    this.#world.keeping(chunk.length);
    cached.keep(
      chunk.start,
      chunk.lent.buffer,
      () => {
        this.#world.keeping(-chunk.length);
        unpin();
      },
      // What is read in a stream the kernel keeps for its readers by itself. A disk that falls behind gets it by the page cache.
      when === 'soon' && chunk.length > this.#sizes.random,
    );
  }

  #serve(chunks: readonly Chunk[], offset: number, end: number): readonly Buffer[] {
    const buffers: Buffer[] = [];
    for (const chunk of chunks) {
      const from = Math.max(offset, chunk.start) - chunk.start;
      const to = Math.min(end, chunk.end) - chunk.start;
      buffers.push(chunk.lent.buffer.subarray(from, to));
      chunk.read += to - from;
    }
    this.#tidy();
    return buffers;
  }

  /** Gives back what was read, and what no stream comes to any more. */
  #tidy(): void {
    let kept = 0;
    for (let i = this.#chunks.length - 1; i >= 0; i -= 1) {
      const chunk = this.#chunks[i];
      if (chunk === undefined || !chunk.there) continue;
      if (chunk.read >= chunk.length && this.#base.size > SMALL) chunk.retire();
      else if (!this.#streams.follows(chunk.end)) {
        kept += chunk.length;
        if (kept > KEPT) chunk.retire();
      }
    }
  }

  /** Fetches ahead of a stream, as far as there is memory. */
  #ahead(stream: Stream): void {
    const { size } = this.#base;
    if (size <= SMALL || this.#closed) return;
    // The next read has come: it is a stream.
    if (stream.run > this.#sizes.first / 2 && stream.next > stream.ahead - stream.size * stream.window) {
      this.#streams.grow(stream);
    }
    if (stream.window < 2) return;
    while (stream.ahead < size && stream.ahead - stream.next < stream.size * stream.window) {
      const start = stream.ahead;
      const known = this.#chunkAt(start);
      if (known !== undefined) {
        stream.ahead = known.end;
        continue;
      }
      let until = Math.min(size, start + stream.size);
      for (const one of this.#chunks) if (!one.failed && one.start > start && one.start < until) until = one.start;
      if (this.#cached?.has(start, until) === true) {
        stream.ahead = until;
        continue;
      }
      // A quarter stays for others.
      if (this.#world.memory.lent + (until - start) > this.#world.memory.limit * 0.75) return;
      const lent = this.#world.memory.tryTake(until - start);
      if (lent === undefined) return;
      this.#fetch(start, lent);
      stream.ahead = until;
    }
  }

  #miss(): void {
    this.#misses += 1;
    if (this.#misses < MISSES || this.#filling || this.#cached === undefined || this.#base.size <= SMALL) return;
    this.#filling = true;
    fill(this.#world, this.#base, this.#cached, this.#sizes.most, this.#context.context).catch((error: unknown) => {
      this.#filling = false;
      this.#misses = 0;
      if (!this.#closed)
        this.#world.logger.debug('an object could not be fetched to the disk', { key: this.#base.key, error });
    });
  }
}
