import type { Context } from '../../shared/context.ts';
import { type Caller, Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import { factsOf } from './attributes.ts';
import { copyObject } from './copying.ts';
import { type Intent, Intents, intentOf } from './folder-intents.ts';
import type { Move } from './journal.ts';
import type { Parts } from './namespace-parts.ts';
import type { Facts, Node } from './nodes.ts';
import type { Removing } from './removing.ts';
import { isFailure } from './store-errno.ts';

/** Copies that go on side by side, and keys that are listed at a time. */
const COPIES_AT_ONCE = 64;
const COPY_MS = 24 * 3_600_000;
/** When another host has not seen the holder of a rename for so long, it goes on with it. */
const SILENCE_MS = 120_000;
/** A folder in which files go on being written is copied again so often before it is taken as it is. */
const PASSES = 5;

/** How far the times that a store tells may be from each other. */
const CLOCK_MS = 2_000;

/** What was copied. */
interface Copies {
  /** Epoch milliseconds by the store's clock: what was written before, and not since, was copied as it is. */
  readonly since: number;
  /** ETags of the sources of what was written later, by the target's key. */
  readonly recent: Map<string, string>;
  /** What became of the objects of nodes. */
  readonly known: Map<Node, { readonly of: string; readonly facts: Facts }>;
}

/** rename(2) of folders. */
export class FolderRenaming {
  readonly #parts: Parts;
  readonly #removing: Removing;
  readonly #intents: Intents;
  readonly #running = new Map<string, Promise<void>>();
  /** Of other hosts: what was seen of them last, and when. */
  readonly #watched = new Map<string, { readonly etag: string; readonly since: number }>();

  constructor(parts: Parts, removing: Removing) {
    this.#parts = parts;
    this.#removing = removing;
    this.#intents = new Intents(parts.space);
  }

  get running(): number {
    return this.#running.size;
  }

  async rename(node: Node, to: Node, name: string, target: Node | undefined, caller: Caller): Promise<void> {
    const { space, lookups } = this.#parts;
    if (target !== undefined) await this.#removing.mustBeEmpty(target);
    const from = node.parent;
    if (from === undefined) throw new Errno('ESTALE', 'it was removed');
    if (space.nodes.isWithin(to, node)) throw new Errno('EINVAL');
    await this.#removing.keepFolder(from);
    const path = lookups.pathOf(to, name);
    const move: Move = {
      ...{ id: `${space.host.id}-${node.id}-${caller.unique}`, node: node.id },
      ...{ from: space.naming.folderKey(space.path(node)), to: space.naming.folderKey(path), etag: '', size: 0 },
      ...{ replaced: '', over: 0, parent: to.id, name, unique: String(caller.unique) },
    };
    space.journal.append(...space.written(node), ...space.written(to));
    space.journal.beginTree(move);
    const intent = intentOf(move, space.host.id);
    await this.#run(intent, move, async (c) => {
      await this.#carryOut(intent, move, c);
    });
  }

  /** Goes on with what this host had begun in an earlier life. */
  async resume(move: Move): Promise<void> {
    const { space } = this.#parts;
    const intent = intentOf(move, space.host.id);
    await this.#run(intent, move, async (c) => {
      const there = await this.#intents.read(intent.id, c);
      // It was not said to others yet: nothing was done.
      if (there === undefined && !this.#isSwitched(move)) {
        space.journal.endTree(move);
        return;
      }
      await this.#carryOut(there ?? { ...intent, phase: 'remove' }, move, c);
    });
  }

  /** Looks for renames of hosts that are silent, and goes on with them. */
  async adopt(): Promise<void> {
    const { space } = this.#parts;
    if (space.semantics.readonly) return;
    const c = space.context();
    const { objects } = await space.store.list(space.naming.hidden('renames/'), {}, c);
    const there = new Set<string>();
    for (const { key, etag } of objects) {
      there.add(key);
      const id = key.slice(space.naming.hidden('renames/').length, -'.json'.length);
      if (this.#running.has(id)) continue;
      const seen = this.#watched.get(key);
      if (seen?.etag !== etag) this.#watched.set(key, { etag, since: space.ms() });
      else if (space.ms() - seen.since >= SILENCE_MS) await this.#takeOver(id, etag, c);
    }
    for (const key of this.#watched.keys()) if (!there.has(key)) this.#watched.delete(key);
  }

  async #takeOver(id: string, etag: string, c: Context): Promise<void> {
    const { space } = this.#parts;
    const there = await this.#intents.read(id, c);
    if (there === undefined) return;
    const intent: Intent = { ...there, host: space.host.id };
    try {
      await this.#intents.write(intent, c, etag);
    } catch (error) {
      if (isFailure(error, 'CONFLICT')) return;
      throw error;
    }
    space.logger.warn('going on with the rename of a folder that another host has left', { from: intent.from });
    await this.#run(intent, undefined, (rest) => this.#carryOut(intent, undefined, rest));
  }

  async #run(intent: Intent, move: Move | undefined, work: (c: Context) => Promise<void>): Promise<void> {
    const { space } = this.#parts;
    const joined = this.#running.get(intent.id);
    if (joined !== undefined) return await joined;
    const c = space.context(COPY_MS);
    const running = work(c).finally(() => {
      this.#intents.done(intent.id);
      this.#running.delete(intent.id);
    });
    this.#running.set(intent.id, running);
    try {
      await running;
    } catch (error) {
      if (move !== undefined) await this.#giveUp(intent, move, error);
      throw error;
    }
  }

  /** What was refused before the switch is undone by whoever wants it; what may pass is gone on with. */
  async #giveUp(intent: Intent, move: Move, error: unknown): Promise<void> {
    const { space } = this.#parts;
    if (this.#isSwitched(move) || !isFailure(error, 'DENIED', 'READ_ONLY', 'FULL', 'CONFLICT', 'INVALID')) return;
    await this.#removeCopies(intent, space.context(COPY_MS));
    await space.store.remove(this.#intents.key(intent.id), space.context());
    space.journal.endTree(move);
  }

  /** Of what was copied: what is at the old place, too, as it is there. */
  async #removeCopies(intent: Intent, c: Context): Promise<void> {
    for await (const page of this.#pages(intent.from, c)) {
      const copies = await this.#each(page, async ({ key, etag }) => {
        const to = intent.to + key.slice(intent.from.length);
        const there = await this.#parts.space.store.head(to, c);
        return there?.etag === etag ? to : undefined;
      });
      await this.#parts.space.store.removeAll(
        copies.filter((key) => key !== undefined),
        c,
      );
    }
  }

  #isSwitched(move: Move): boolean {
    const { space } = this.#parts;
    const node = space.nodes.get(move.node);
    const path = node === undefined ? undefined : space.nodes.path(node);
    return path !== undefined && space.naming.folderKey(path) === move.to;
  }

  async #carryOut(begun: Intent, move: Move | undefined, c: Context): Promise<void> {
    const { space } = this.#parts;
    const node = move === undefined ? undefined : space.nodes.get(move.node);
    // Nothing is opened, made or removed here in the folder meanwhile.
    if (node !== undefined) await space.alone(node, () => this.#copyAndSwitch(begun, move, node, c));
    else await this.#copyAndSwitch(begun, move, undefined, c);
    await space.store.remove(this.#intents.key(begun.id), c);
    if (move === undefined) return;
    space.journal.endTree(move, { of: 'did', u: move.unique });
    space.journal.noteAnswer(move.unique, {});
  }

  async #copyAndSwitch(begun: Intent, move: Move | undefined, node: Node | undefined, c: Context): Promise<void> {
    let intent = begun;
    let copies: Copies | undefined;
    if (intent.phase === 'copy') {
      const releases = node === undefined ? [] : await this.#holdBelow(node, c);
      try {
        const { modified } = await this.#intents.write(intent, c);
        copies = { since: modified - CLOCK_MS, recent: new Map(), known: new Map() };
        intent = { ...intent, begun: copies.since };
        await this.#copyAll(intent, copies, node, c);
        intent = { ...intent, phase: 'remove' };
        if (move !== undefined) this.#noteCopies(move, copies);
        await this.#intents.write(intent, c);
        if (move !== undefined) this.#switch(move, copies.known);
      } finally {
        for (const release of releases) release();
      }
    } else if (move !== undefined) {
      const known = this.#copiesOf(move);
      if (this.#isSwitched(move)) this.#follow(node, known);
      else this.#switch(move, known);
    }
    await this.#removeOld(intent, copies, c);
  }

  /** What is open, or not stored yet, must find its object again when the engine dies before the switch. */
  #noteCopies(move: Move, { known }: Copies): void {
    const { space } = this.#parts;
    const open = [...known].filter(([node]) => !node.isFolder && space.contentOf(node) !== undefined);
    if (open.length === 0) return;
    space.journal.noteCopies(
      move,
      open.map(([{ id }, { of, facts }]) => ({ node: id, source: of, ...facts })),
    );
  }

  #copiesOf(move: Move): Copies['known'] {
    const { space } = this.#parts;
    const known: Copies['known'] = new Map();
    for (const { node: id, source, ...facts } of space.journal.copiesOf(move)) {
      const node = space.nodes.get(id);
      if (node !== undefined) known.set(node, { of: source, facts });
    }
    return known;
  }

  async #holdBelow(folder: Node, c: Context): Promise<(() => void)[]> {
    const { space, saver } = this.#parts;
    const releases: (() => void)[] = [];
    for (const node of [...space.nodes.below(folder)]) {
      await saver.ended(node);
      const content = node.isFolder ? undefined : space.contentOf(node);
      if (content !== undefined) releases.push(await content.hold(c));
    }
    return releases;
  }

  /** Until there is nothing that was not copied, as it is. */
  async #copyAll(intent: Intent, copies: Copies, folder: Node | undefined, c: Context): Promise<void> {
    const nodes = folder === undefined ? new Map<string, Node>() : this.#nodesByKey(folder);
    for (let pass = 1, done = 1; pass <= PASSES && done > 0; pass += 1) {
      done = 0;
      for await (const page of this.#pages(intent.from, c)) {
        const targets = new Map((await this.#sameRange(intent, page, c)).map((there) => [there.key, there]));
        await this.#each(page, async (source) => {
          const to = intent.to + source.key.slice(intent.from.length);
          const there = targets.get(to);
          const isSame = there?.etag === source.etag && there.size === source.size && there.modified >= source.modified;
          const isCopied = copies.recent.get(to) === source.etag;
          let facts: Facts | undefined = there;
          if (!isSame && !isCopied) {
            done += 1;
            facts = await this.#copy(source, to, c);
          }
          if (facts === undefined) return;
          if (source.modified >= copies.since || facts.etag !== source.etag) copies.recent.set(to, source.etag);
          const node = nodes.get(source.key);
          if (node !== undefined)
            copies.known.set(node, { of: source.etag, facts: factsOf({ ...facts, size: source.size }) });
        });
      }
    }
  }

  /** Undefined: it was changed or removed meanwhile; the next pass sees what it is now. */
  async #copy(source: ObjectFacts, to: string, c: Context): Promise<ObjectFacts | undefined> {
    return await copyObject(this.#parts.space.store, source, to, {}, c).catch((error: unknown) => {
      if (isFailure(error, 'CONFLICT', 'NOT_FOUND')) return undefined;
      throw error;
    });
  }

  #nodesByKey(folder: Node): Map<string, Node> {
    const { space } = this.#parts;
    return new Map([...space.nodes.below(folder)].map((node) => [space.keyOf(node), node]));
  }

  /** What is at the new place between the first and the last of a page. */
  async #sameRange(intent: Intent, page: readonly ObjectFacts[], c: Context): Promise<readonly ObjectFacts[]> {
    const first = page[0]?.key.slice(intent.from.length);
    const last = page.at(-1)?.key.slice(intent.from.length);
    if (first === undefined || last === undefined) return [];
    const there: ObjectFacts[] = [];
    const { store } = this.#parts.space;
    let from: string | undefined;
    do {
      const listed = await store.list(intent.to, from === undefined ? {} : { from }, c);
      there.push(...listed.objects);
      from = listed.next;
    } while (from !== undefined && (there.at(-1)?.key ?? '') < intent.to + last);
    return there;
  }

  /** From now on the nodes are at the new place; open files go on with the copies. */
  #switch(move: Move, copies: Copies['known']): void {
    const { space, listings, lookups } = this.#parts;
    const node = space.nodes.get(move.node);
    const to = space.nodes.get(move.parent);
    if (node?.parent === undefined || to === undefined) return;
    const oldPath = space.path(node);
    const from = node.parent;
    const oldName = node.name;
    space.nodes.place(node, to, move.name);
    space.journal.append({ of: 'move', id: node.id, in: to.id, name: move.name });
    const newPath = space.path(node);
    listings.forgetBelow(oldPath);
    listings.forgetBelow(newPath);
    listings.changed(space.path(from), oldName, false);
    listings.changed(space.path(to), move.name, true);
    lookups.touchedBelow(oldPath);
    lookups.touchedBelow(newPath);
    space.absent(oldPath, space.ms());
    this.#follow(node, copies);
    node.seen = space.ms();
  }

  /** What is in the folder goes on with the copies. */
  #follow(folder: Node | undefined, copies: Copies['known']): void {
    const { space } = this.#parts;
    if (folder === undefined) return;
    for (const one of space.nodes.below(folder)) {
      one.seen = Number.NEGATIVE_INFINITY;
      const copy = copies.get(one);
      const content = one.isFolder ? undefined : space.contentOf(one);
      // After a death it is the content that knows what it was.
      if (copy === undefined || copy.of !== (one.facts?.etag ?? content?.base?.etag)) continue;
      const { etag, size } = copy.facts;
      if (one.pages === copy.of) one.pages = etag;
      one.facts = copy.facts;
      content?.moved({ key: space.keyOf(one), etag, size });
    }
  }

  /** What was copied is removed; what was written at the old place since goes along. */
  async #removeOld(intent: Intent, copies: Copies | undefined, c: Context): Promise<void> {
    const { space, notes } = this.#parts;
    const since = intent.begun ?? Number.NEGATIVE_INFINITY;
    for (let left = true; left; ) {
      left = false;
      for await (const page of this.#pages(intent.from, c)) {
        left = true;
        const gone = await this.#each(page, async (source) => {
          const to = intent.to + source.key.slice(intent.from.length);
          const isCopied = source.modified < since || copies?.recent.get(to) === source.etag;
          if (!isCopied) await this.#bringAlong(source, to, intent, c);
          return source.key;
        });
        const kept = await space.store.removeAll(gone, c);
        if (kept[0] !== undefined) throw kept[0].reason;
      }
    }
    await notes.forget(intent.from.slice(space.naming.prefix.length, -1));
  }

  /** Written while the folder was being copied, or after: what is at the new place stays, and this is kept beside it. */
  async #bringAlong(source: ObjectFacts, to: string, intent: Intent, c: Context): Promise<void> {
    const { space } = this.#parts;
    const there = await space.store.head(to, c);
    if (there?.etag === source.etag) return;
    if (there === undefined) {
      await copyObject(space.store, source, to, { condition: { ifAbsent: true } }, c);
      return;
    }
    if (to.endsWith('/')) return;
    space.counts.conflicts += 1;
    space.logger.warn('a file was changed while its folder was renamed: kept beside it', { key: to });
    await copyObject(space.store, source, `${to}.conflict-${intent.id}`, {}, c);
  }

  async *#pages(prefix: string, c: Context): AsyncGenerator<readonly ObjectFacts[]> {
    let after: string | undefined;
    for (;;) {
      const page = await this.#parts.space.store.list(prefix, after === undefined ? {} : { after }, c);
      if (page.objects.length > 0) yield page.objects;
      after = page.objects.at(-1)?.key;
      if (page.next === undefined || after === undefined) return;
    }
  }

  async #each<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
    const results: R[] = [];
    for (let at = 0; at < items.length; at += COPIES_AT_ONCE) {
      results.push(...(await Promise.all(items.slice(at, at + COPIES_AT_ONCE).map(work))));
    }
    return results;
  }
}
