/** Files, an engine that is killed, a store that loses things and another host, beside plain buffers that say what must be. */
import type { Contents, FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import { randomOf } from '../../../suites/random.ts';
import { baseOf, context, Home, MemoryLog, type Site, tapped, unreachable } from './content-site.ts';

export const FILES = 3;
export const LONGEST = 700;
const SIZES = { part: 64, putMost: 100, copyMost: 150 };

export class Dead extends Error {
  override readonly name = 'Dead';
}

/** What the model knows of a file. */
export class Slot {
  readonly home: Home;
  local: Buffer;
  /** What may be in the store under its key: every state that the bytes had since the last one that is known to be there. */
  allowed: Buffer[];
  /** What the other host has put there. */
  readonly others: Buffer[] = [];
  unlinked = false;
  /** An update of it was lost, and no flush has told so yet. */
  untold = false;

  constructor(home: Home, local: Buffer) {
    this.home = home;
    this.local = local;
    this.allowed = [local];
  }

  now(local: Buffer): void {
    this.local = local;
    this.allowed.push(local);
  }
}

export class Model {
  readonly random: () => number;
  readonly site: Site;
  log = new MemoryLog();
  contents!: Contents;
  readonly slots: (Slot | undefined)[] = [];
  readonly theirs = new Map<string, Buffer>();
  #life = 0;
  #nodes = 0;
  /** Records and calls until the engine is killed. */
  #fuse = Number.POSITIVE_INFINITY;
  /** How likely a call to the store is lost, or its answer. */
  lossy = 0;
  dead = false;
  /** Rejects when the engine is killed: nobody gets an answer from it any more. */
  death = Promise.withResolvers<never>();
  counts = new Map<string, number>();

  constructor(site: Site, seed: number) {
    this.site = site;
    this.random = randomOf(seed);
  }

  /** An answer, unless the engine dies before. */
  async answer<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.dead) throw new Dead();
    return Promise.race([work(), this.death.promise]);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => 1 + this.below(255)));
  }

  light(): void {
    this.#fuse = 1 + this.below(12);
  }

  unlight(): void {
    this.#fuse = Number.POSITIVE_INFINITY;
    this.lossy = 0;
  }

  async live(): Promise<void> {
    this.#life += 1;
    const life = this.#life;
    this.dead = false;
    this.death = Promise.withResolvers<never>();
    this.death.promise.catch(() => undefined);
    this.#fuse = Number.POSITIVE_INFINITY;
    const log = new MemoryLog(this.log.all);
    this.log = log;
    const step = (): boolean => {
      if (life !== this.#life || this.dead) throw new Dead();
      this.#fuse -= 1;
      return this.#fuse <= 0;
    };
    log.onAppend = (_, write) => {
      const ends = step();
      if (!ends) {
        write();
        return;
      }
      if (this.random() < 0.5) write();
      this.#die();
    };
    const store = tapped(this.site.plain, async (_, moment) => {
      if (moment === 'after' && (life !== this.#life || this.dead)) throw new Dead();
      if (step()) this.#die();
      if (this.random() < this.lossy) throw unreachable();
    });
    this.contents = await this.site.open(log, { sizes: SIZES, retryMs: 0, memory: 2 ** 20 }, store);
    const homes = new Map(this.slots.flatMap((one) => (one === undefined ? [] : [[one.home.node, one.home]])));
    await this.contents.recover((node) => homes.get(node));
  }

  #die(): never {
    this.dead = true;
    this.site.crash();
    this.count('deaths');
    this.death.reject(new Dead());
    throw new Dead();
  }

  async slot(index: number): Promise<Slot> {
    const known = this.slots[index];
    if (known !== undefined && !known.unlinked) return known;
    this.#nodes += 1;
    const made = new Slot(this.#home(this.#nodes), Buffer.alloc(0));
    this.slots[index] = made;
    if (this.random() < 0.5) {
      const bytes = this.bytes(this.below(LONGEST));
      await this.site.put(`file-${this.#nodes}`, bytes);
      made.local = bytes;
      made.allowed = [bytes];
    }
    return made;
  }

  #home(node: number): Home {
    const model = this;
    return new (class extends Home {
      override conflicted(keptAs: string, whole: boolean, theirs: Parameters<Home['conflicted']>[2]): void {
        super.conflicted(keptAs, whole, theirs);
        model.lostOf(node, keptAs, whole, theirs?.etag);
      }
    })(node, `file-${node}`);
  }

  readonly pendingLosses: { slot: Slot; keptAs: string; whole: boolean; expected: readonly Buffer[] }[] = [];

  lostOf(node: number, keptAs: string, whole: boolean, etag: string | undefined): void {
    const slot = this.slots.find((one) => one?.home.node === node);
    if (slot === undefined) throw new Error('a conflict of a file that is gone');
    this.count(whole ? 'conflicts' : 'conflicts in part');
    this.pendingLosses.push({ slot, keptAs, whole, expected: [...slot.allowed] });
    const theirs = etag === undefined ? Buffer.alloc(0) : this.theirs.get(etag);
    if (theirs === undefined) throw new Error('lost against nobody');
    slot.local = theirs;
    slot.allowed = [theirs];
    slot.untold = true;
  }

  async open(slot: Slot): Promise<FileContent> {
    const known = this.contents.find(slot.home.node);
    if (known !== undefined) {
      const reopened = this.contents.of(slot.home, known.base);
      if (!reopened.dirty) await this.revalidate(slot, reopened);
      return reopened;
    }
    const key = slot.home.key();
    const found = key === undefined ? undefined : await this.site.plain.head(key, context());
    if (found !== undefined) this.seeTheirs(slot, found.etag);
    return this.contents.of(slot.home, found === undefined ? undefined : baseOf(found));
  }

  /** As open does it close-to-open. */
  async revalidate(slot: Slot, content: FileContent): Promise<void> {
    const found = await this.site.plain.head(slot.home.at ?? '', context());
    if (content.dirty || found === undefined || found.etag === content.base?.etag) return;
    content.rebase(baseOf(found));
    this.seeTheirs(slot, found.etag);
  }

  seeTheirs(slot: Slot, etag: string): void {
    const theirs = this.theirs.get(etag);
    if (theirs === undefined || theirs.equals(slot.local)) return;
    slot.local = theirs;
    slot.allowed = [theirs];
  }
}

export const all = async (content: FileContent): Promise<Buffer> => {
  const buffers = await content.read(0, content.size, context());
  return Buffer.concat([...buffers]);
};

const written = (before: Buffer, offset: number, data: Buffer): Buffer => {
  const after = Buffer.alloc(Math.max(before.length, offset + data.length));
  before.copy(after);
  data.copy(after, offset);
  return after;
};

const cut = (before: Buffer, size: number): Buffer => {
  const after = Buffer.alloc(size);
  before.copy(after);
  return after;
};

export const among = (one: Buffer, some: readonly Buffer[]): boolean => some.some((other) => other.equals(one));

export interface Change {
  readonly after: (before: Buffer) => Buffer;
  readonly make: (content: FileContent) => unknown;
  readonly what: string;
}

/** One change: what the bytes are after it, and how it is made. */
export const changeOf = (model: Model, before: Buffer): Change => {
  const kind = model.below(10);
  if (kind < 3) {
    const data = model.bytes(1 + model.below(120));
    const offset = before.length;
    return { after: (b) => written(b, offset, data), make: (f) => f.write(offset, data, context()), what: 'append' };
  }
  if (kind < 7) {
    const offset = model.below(Math.min(LONGEST, before.length + 60));
    const data = model.bytes(1 + model.below(100));
    return { after: (b) => written(b, offset, data), make: (f) => f.write(offset, data, context()), what: 'write' };
  }
  if (kind < 9) {
    const size = model.random() < 0.3 ? 0 : model.below(LONGEST);
    return { after: (b) => cut(b, size), make: (f) => f.truncate(size, context()), what: 'truncate' };
  }
  const offset = model.below(before.length + 20);
  const length = 1 + model.below(80);
  const keep = model.random() < 0.5;
  const after = (b: Buffer): Buffer => {
    const end = keep ? Math.min(offset + length, b.length) : offset + length;
    return offset >= end ? b : written(b, offset, Buffer.alloc(end - offset));
  };
  return { after, make: (f) => f.zero(offset, length, keep, context()), what: 'zero' };
};
