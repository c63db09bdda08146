// Random operations on a few files, with an engine that is killed at any record and any call, a store that loses requests and
// answers, and another host that changes objects; what is read and what is stored is compared with plain buffers.
import t, { type Test } from 'tap';
import type { Contents, FileContent } from '../../../../volume-plugin/objectfs/content.ts';
import { baseOf, context, Home, MemoryLog, Site, tapped, unreachable } from './content-site.ts';

const STEPS = Number(process.env['STEPS'] ?? 1_000);
const SEEDS = (process.env['SEEDS'] ?? '1,2').split(',').map(Number);
const FILES = 3;
const LONGEST = 700;
const SIZES = { part: 64, putMost: 100, copyMost: 150 };

/** Mulberry32. */
const randomOf = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

class Dead extends Error {
  override readonly name = 'Dead';
}

/** What the model knows of a file. */
class Slot {
  readonly home: Home;
  local: Buffer;
  /** What may be in the store under its key: every state that the bytes had since the last one that is known to be there. */
  allowed: Buffer[];
  /** What the other host has put there. */
  readonly others: Buffer[] = [];
  unlinked = false;

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

class Model {
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

const all = async (content: FileContent): Promise<Buffer> => {
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

const among = (one: Buffer, some: readonly Buffer[]): boolean => some.some((other) => other.equals(one));

interface Change {
  readonly after: (before: Buffer) => Buffer;
  readonly make: (content: FileContent) => unknown;
  readonly what: string;
}

/** One change: what the bytes are after it, and how it is made. */
const changeOf = (model: Model, before: Buffer): Change => {
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

const run = async (t: Test, seed: number): Promise<void> => {
  const site = await Site.make({ partMin: 16 });
  t.teardown(() => site.remove());
  const model = new Model(site, seed);
  await model.live();
  const problems: string[] = [];
  const problem = (step: number, text: string): void => {
    problems.push(`seed ${seed}, step ${step}: ${text}`);
  };

  for (let step = 0; step < STEPS && problems.length === 0; step += 1) {
    const slot = await model.slot(model.below(FILES));
    model.lossy = model.random() < 0.2 ? 0.2 : 0;
    if (model.random() < 0.12) model.light();
    let pending: Change | undefined;
    try {
      const content = await model.answer(() => model.open(slot));
      const kind = model.below(100);
      if (kind < 45) {
        pending = changeOf(model, slot.local);
        model.count(pending.what);
        // What may be there if it is killed in the middle of it.
        slot.allowed.push(pending.after(slot.local));
        const { make, after } = pending;
        await model.answer(() => make(content));
        slot.now(after(slot.local));
        pending = undefined;
      } else if (kind < 60) {
        const { local } = slot;
        let got: Buffer | undefined;
        try {
          got = await model.answer(() => all(content));
        } catch (error) {
          if (model.dead) throw error;
          // Changed by the other host, or no answer.
          model.count('refused reads');
          if (!/ESTALE|EIO/.test(String(error))) problem(step, `read: ${error}`);
        }
        if (got !== undefined && !got.equals(local) && !got.equals(slot.local)) {
          const head = await site.plain.head(slot.home.at ?? '', context());
          const theirs = model.theirs.get(head?.etag ?? '');
          if (theirs?.equals(got)) model.seeTheirs(slot, head?.etag ?? '');
          else problem(step, `read ${got.length} bytes that never were; expected ${local.length}`);
        }
      } else if (kind < 75) {
        model.count('flush');
        const conflicts = slot.home.conflicts.length;
        const wanted = slot.local;
        try {
          await model.answer(() => content.flush(context()));
          const stored = await site.bytes(slot.home.at ?? '');
          const etag = (await site.plain.head(slot.home.at ?? '', context()))?.etag ?? '';
          if (stored === undefined || !(stored.equals(wanted) || model.theirs.get(etag)?.equals(stored))) {
            problem(step, `a flush of ${wanted.length} bytes answered, and ${stored?.length} others are stored`);
          }
          slot.allowed = [slot.local];
        } catch (error) {
          if (model.dead) throw error;
          model.count('failed flushes');
          const expected = /ESTALE/.test(String(error))
            ? slot.home.conflicts.length >= Math.max(conflicts, 1)
            : /EIO/.test(String(error));
          if (!expected) problem(step, `flush: ${error}`);
        }
      } else if (kind < 82) {
        content.flushLater();
      } else if (kind < 88) {
        content.release();
      } else if (kind < 92) {
        // Another host.
        const bytes = model.bytes(model.below(LONGEST));
        const key = slot.home.at ?? '';
        if ((await site.plain.head(key, context())) !== undefined) {
          model.count('theirs');
          const base = await site.put(key, bytes);
          model.theirs.set(base.etag, bytes);
          slot.others.push(bytes);
        }
      } else if (kind < 95) {
        model.count('rename');
        const free = await model.answer(() => content.hold(context()));
        try {
          const from = slot.home.at ?? '';
          const to = `${from.replace(/-r\d+$/, '')}-r${step}`;
          const base = content.base;
          if (base !== undefined && base.key === from) {
            const facts = await site.plain
              .copy(from, to, { ifSourceMatch: base.etag }, context())
              .catch(() => undefined);
            if (facts !== undefined) {
              content.moved(baseOf(facts));
              slot.home.at = to;
              await site.plain.remove(from, context());
            }
          } else if (base === undefined && (await site.plain.head(from, context())) === undefined) {
            slot.home.at = to;
          }
        } finally {
          free();
        }
      } else if (kind < 97) {
        model.count('unlink');
        const free = await model.answer(() => content.hold(context()));
        try {
          const key = slot.home.at ?? '';
          await model.answer(() => content.detach(undefined, context()));
          slot.home.at = undefined;
          await site.plain.remove(key, context());
          const got = await model.answer(() => all(content));
          if (!got.equals(slot.local)) problem(step, 'an unlinked file has other bytes');
        } catch (error) {
          if (model.dead) throw error;
          if (!/ESTALE|EIO/.test(String(error))) problem(step, `unlink: ${error}`);
        } finally {
          free();
        }
        slot.home.at = undefined;
        slot.unlinked = true;
        content.release();
      } else {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      if (model.dead) throw new Dead();
    } catch (error) {
      if (!model.dead) {
        if (!(error instanceof Error && /ESTALE|EIO/.test(error.message))) throw error;
        problem(step, `refused: ${pending?.what} ${error.stack}`);
      }
    }
    if (model.dead) {
      model.lossy = 0;
      await model.live();
      for (const one of model.slots) {
        if (one === undefined || one.unlinked) continue;
        if (model.contents.find(one.home.node) === undefined && one !== slot) continue;
        const content = await model.open(one);
        const got = await all(content).catch((error: unknown) => {
          if (!/ESTALE/.test(String(error))) throw error;
        });
        const expected = one === slot && pending !== undefined ? [one.local, pending.after(one.local)] : [one.local];
        if (got !== undefined && !among(got, expected)) {
          // A write that was not acknowledged may be there in part; the kernel sends it again.
          if (one !== slot || pending === undefined)
            problem(step, `after a death ${got.length} bytes are others; expected ${one.local.length}`);
          one.allowed.push(got);
        }
        if (one === slot && pending !== undefined) {
          await pending.make(content);
          one.now(pending.after(one.local));
          pending = undefined;
          const wanted = one.local;
          const redone = await all(content).catch(() => undefined);
          if (redone !== undefined && one.local === wanted && !redone.equals(one.local))
            problem(step, 'a write that was sent again is not there');
        }
      }
    }
    for (const { keptAs, whole, expected } of model.pendingLosses.splice(0)) {
      const kept = await site.bytes(keptAs);
      if (kept === undefined) problem(step, `${keptAs} is not there`);
      else if (whole && !among(kept, expected)) problem(step, `${keptAs} has bytes that never were`);
      else if (
        !whole &&
        !expected.some((one) => one.length === kept.length && kept.every((byte, i) => byte === 0 || byte === one[i]))
      ) {
        problem(step, `${keptAs} has bytes that never were`);
      }
    }
    for (const one of step % 4 === 0 ? model.slots : [slot]) {
      if (one === undefined || one.unlinked || one.home.at === undefined) continue;
      const { at } = one.home;
      const stored = await site.bytes(at);
      if (stored !== undefined && !among(stored, [...one.allowed, ...one.others]))
        problem(
          step,
          `${at} is stored with ${stored.length} bytes that it never had: ${JSON.stringify(await site.plain.head(at, context()))}; ${one.allowed.map((b) => b.length)}`,
        );
    }
  }
  model.unlight();
  if (problems.length === 0) {
    await model.contents.drain(() => undefined);
    for (const one of model.slots) {
      if (one === undefined || one.unlinked || one.home.at === undefined) continue;
      const stored = await site.bytes(one.home.at);
      const etag = (await site.plain.head(one.home.at, context()))?.etag ?? '';
      if (stored !== undefined && !stored.equals(one.local) && !model.theirs.has(etag))
        problem(STEPS, 'drained, and other bytes are stored');
    }
  }
  await model.contents.close();
  t.same(problems, []);
  t.comment(Object.fromEntries(model.counts));
};

t.test('nothing that was acknowledged is lost, and nothing is mixed, whatever happens when', async (t) => {
  for (const seed of SEEDS) await t.test(`seed ${seed}`, (t) => run(t, seed));
});
