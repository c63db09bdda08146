import { randomBytes } from 'node:crypto';
import type { Context } from '../../shared/context.ts';
import { type Caller, Errno } from '../fuse/file-system.ts';
import type { ObjectFacts } from '../object/store.ts';
import { describe, factsOf } from './attributes.ts';
import { copyObject } from './copying.ts';
import type { FolderRenaming } from './folder-renaming.ts';
import type { Move } from './journal.ts';
import type { Parts } from './namespace-parts.ts';
import { EXACT, type Facts, type Node } from './nodes.ts';
import type { Removing } from './removing.ts';
import { attrRecord } from './saving.ts';
import { isFailure } from './store-errno.ts';

const NOREPLACE = 1;
/** What others do to the target meanwhile is followed so often. */
const TRIES = 8;
const COPY_MS = 30 * 60_000;
/** A rename whose outcome is open is looked at again after this. */
const AGAIN_MS = 5_000;

export const newMoveId = (): string => randomBytes(8).toString('hex');

/** rename(2). Of a file: a copy and a removal, which the next life finishes; of what was never stored: of the name only. */
export class Renaming {
  readonly #parts: Parts;
  readonly #removing: Removing;
  readonly #folders: FolderRenaming;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(parts: Parts, removing: Removing, folders: FolderRenaming) {
    this.#parts = parts;
    this.#removing = removing;
    this.#folders = folders;
  }

  async rename(
    fromId: number,
    name: string,
    toId: number,
    newName: string,
    flags: number,
    caller: Caller,
  ): Promise<void> {
    const { space, lookups } = this.#parts;
    space.mayChange();
    // EXCHANGE and WHITEOUT have no counterpart in a store.
    if ((flags & ~NOREPLACE) !== 0) throw new Errno('EINVAL');
    const from = space.folder(fromId);
    const to = space.folder(toId);
    await space.passGates(from, to);
    space.naming.check(space.path(to), newName);
    if (caller.resent && space.journal.answerOf(caller.unique) !== undefined) return;
    if (space.naming.isHidden(space.path(from), name)) throw new Errno('ENOENT');
    const node = await lookups.need(from, name);
    this.#parts.storms.made(to, lookups.pathOf(to, newName), caller.pid);
    for (let attempt = 1; ; attempt += 1) {
      const target = await this.#target(to, newName);
      if (target === node) return;
      this.#check(node, target, flags);
      try {
        if (node.isFolder) await this.#folders.rename(node, to, newName, target, caller);
        else await this.#file(node, to, newName, target, caller);
        return;
      } catch (error) {
        if (!isFailure(error, 'CONFLICT') || attempt === TRIES) throw error;
        if (target !== undefined) target.seen = Number.NEGATIVE_INFINITY;
        lookups.touched(lookups.pathOf(to, newName));
        await lookups.refresh(node);
      }
    }
  }

  async #target(to: Node, name: string): Promise<Node | undefined> {
    const { space, lookups } = this.#parts;
    const child = space.nodes.child(to, name);
    if (child !== undefined && lookups.isOwn(child)) return child;
    if (child === undefined && space.isAbsent(lookups.pathOf(to, name))) return undefined;
    return await lookups.find(to, name);
  }

  #check(node: Node, target: Node | undefined, flags: number): void {
    if (target === undefined) return;
    if ((flags & NOREPLACE) !== 0) throw new Errno('EEXIST');
    if (node.isFolder && !target.isFolder) throw new Errno('ENOTDIR');
    if (!node.isFolder && target.isFolder) throw new Errno('EISDIR');
  }

  async #file(node: Node, to: Node, newName: string, target: Node | undefined, caller: Caller): Promise<void> {
    const from = node.parent;
    if (from === undefined) throw new Errno('ESTALE', 'it was removed');
    await this.#removing.hold(node, async () => {
      if (target === undefined) await this.#move(node, from, to, newName, target, caller);
      else {
        await this.#removing.hold(target, async () => {
          const attach = await this.#removing.detach(target);
          try {
            await this.#move(node, from, to, newName, target, caller);
          } catch (error) {
            // What may have been carried out is gone on with.
            if (!this.#isOpen(node)) attach();
            throw error;
          }
        });
        this.#removing.letGo(target);
      }
    });
    if (node.isChanged) this.#parts.saver.later(node);
  }

  /** Has a rename of it been begun whose outcome nobody knows? */
  #isOpen(node: Node): boolean {
    return this.#parts.space.journal.renames.some((move) => move.node === node.id);
  }

  async #move(
    node: Node,
    from: Node,
    to: Node,
    newName: string,
    target: Node | undefined,
    caller: Caller,
  ): Promise<void> {
    const { space } = this.#parts;
    if (node.lively.isNew || node.facts === undefined) {
      const { replaces } = node.lively;
      if (replaces !== undefined) await this.#removeReplaced(node, from, replaces);
      node.lively.replaces = replacedBy(target);
      this.place(node, from, to, newName);
      space.journal.did(caller.unique, {}, moveRecord(node), attrRecord(node));
      return;
    }
    const move: Move = {
      ...{ id: newMoveId(), node: node.id, from: space.keyOf(node) },
      to: space.naming.key(this.#parts.lookups.pathOf(to, newName)),
      ...{ etag: node.facts.etag, size: node.facts.size, replaced: replacedBy(target) ?? '' },
      ...{ over: target?.id ?? 0, parent: to.id, name: newName, unique: String(caller.unique) },
    };
    space.journal.append(...space.written(node), ...space.written(to));
    space.journal.beginRename(move);
    let copied: ObjectFacts | undefined;
    try {
      await this.#removing.keepFolder(from);
      copied = await this.#copy(node, move);
      await space.store.remove(move.from, space.context());
      this.#finish(move, node, from, to, copied);
    } catch (error) {
      if (isFailure(error, 'CONFLICT', 'NOT_FOUND', 'DENIED', 'READ_ONLY', 'FULL')) {
        await this.#undo(move, target === undefined ? copied : undefined);
      } else this.#resumeLater(move);
      throw error;
    }
  }

  /** What it was to take the place of at the old name would be there again. What others have put there since is theirs, and stays. */
  async #removeReplaced(node: Node, from: Node, replaces: string): Promise<void> {
    const { store } = this.#parts.space;
    const key = this.#parts.space.keyOf(node);
    const there = await store.head(key, this.#parts.space.context());
    if (there?.etag !== replaces) return;
    await this.#removing.keepFolder(from);
    await store.remove(key, this.#parts.space.context());
  }

  /** With the attributes that it has by now, when all are known; what is dirty brings its own. */
  #copy(node: Node, move: Move): Promise<ObjectFacts> {
    const { space } = this.#parts;
    const source = { key: move.from, etag: move.etag, size: move.size };
    const replace = node.known === EXACT ? describeAs(node, move.name) : undefined;
    const condition = move.replaced === '' ? { ifAbsent: true } : { ifMatch: move.replaced };
    const { changed } = node.lively;
    return copyObject(space.store, source, move.to, { replace, condition }, space.context(COPY_MS)).then((facts) => {
      if (replace !== undefined) this.#parts.saver.saved(node, changed);
      return facts;
    });
  }

  #finish(move: Move, node: Node, from: Node, to: Node, facts: Facts): void {
    const { space, notes } = this.#parts;
    this.place(node, from, to, move.name);
    if (node.pages === node.facts?.etag) node.pages = facts.etag;
    node.facts = factsOf({ ...facts, size: move.size });
    node.seen = space.ms();
    space.contentOf(node)?.moved({ key: move.to, etag: facts.etag, size: move.size });
    space.journal.endRename(move, moveRecord(node), ...(move.unique === '' ? [] : [{ of: 'did', u: move.unique }]));
    if (move.unique !== '') space.journal.noteAnswer(move.unique, {});
    notes.note(node);
  }

  /** In the tree and in what is known of folders. */
  place(node: Node, from: Node, to: Node, newName: string): void {
    const { space, lookups, listings } = this.#parts;
    const oldPath = space.path(node);
    const oldName = node.name;
    const newPath = lookups.pathOf(to, newName);
    const now = space.time();
    space.nodes.place(node, to, newName);
    node.times = {
      ...node.times,
      mtime: node.times?.mtime ?? BigInt(node.facts?.modified ?? 0) * 1_000_000n,
      ctime: now,
    };
    for (const folder of [from, to]) folder.times = { ...folder.times, mtime: now, ctime: now };
    listings.changed(space.path(from), oldName, false);
    listings.changed(space.path(to), newName, true);
    lookups.touched(oldPath);
    lookups.touched(newPath);
    space.absent(oldPath, space.ms());
  }

  /** It was refused: what was copied is taken away again where there was nothing before, and nobody else's of the same bytes. */
  async #undo(move: Move, copied: ObjectFacts | undefined): Promise<void> {
    const { space } = this.#parts;
    if (copied !== undefined) {
      const there = await space.store.head(move.to, space.context());
      if (there?.etag === copied.etag) await space.store.remove(move.to, space.context());
    }
    space.journal.endRename(move);
  }

  #resumeLater(move: Move): void {
    const { space } = this.#parts;
    if (space.isEnding) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.resume(move).catch((error: unknown) => {
        space.failed('a rename could not be finished', error);
        this.#resumeLater(move);
      });
    }, AGAIN_MS).unref();
    this.#timers.add(timer);
  }

  /**
   * A rename that was begun, and perhaps carried out in part: forward, unless somebody has changed the source, or the target
   * is neither what was to be replaced nor the copy.
   */
  async resume(move: Move): Promise<void> {
    const node = this.#parts.space.nodes.get(move.node);
    if (node === undefined || node.unlinked) await this.#resume(move);
    else await this.#removing.hold(node, () => this.#resume(move));
  }

  async #resume(move: Move): Promise<void> {
    const { space, lookups } = this.#parts;
    const c = space.context(COPY_MS);
    const to = space.nodes.get(move.parent);
    /** By what was made here since. */
    const isTaken = (): boolean => {
      const there = to === undefined ? undefined : space.nodes.child(to, move.name);
      return there !== undefined && there.id !== move.node && there.id !== move.over && lookups.isOwn(there);
    };
    let source: Facts | undefined;
    let copied: Facts | undefined;
    // A copy that was asked for before the engine died may be carried out only now: whoever meets it looks again.
    for (let attempt = 1, isOver = false; !isOver && attempt <= TRIES; attempt += 1) {
      let target: Facts | undefined;
      [source, target] = await Promise.all([space.store.head(move.from, c), space.store.head(move.to, c)]);
      // What was to be replaced is there still when it is others that have taken the source away.
      const isLike = target?.etag === move.etag || (source === undefined && target?.etag !== move.replaced);
      const isCopy = target?.size === move.size && isLike;
      if (isCopy) copied = target;
      else if (source?.etag === move.etag && !isTaken()) copied = await this.#copyAgain(move, c);
      const isReplaceable = move.replaced === '' ? target === undefined : target?.etag === move.replaced;
      isOver = copied !== undefined || source?.etag !== move.etag || !isReplaceable || isTaken();
    }
    if (copied === undefined) {
      space.journal.endRename(move);
      space.logger.warn('a rename was given up: others have changed what it was about', {
        from: move.from,
        to: move.to,
      });
      return;
    }
    if (source?.etag === move.etag) await space.store.remove(move.from, c);
    const node = space.nodes.get(move.node);
    if (node?.parent !== undefined && to !== undefined && !isTaken()) {
      const replaced = space.nodes.child(to, move.name);
      this.#finish(move, node, node.parent, to, copied);
      if (replaced !== undefined && replaced !== node) this.#removing.letGo(replaced);
      space.kernel.invalidateName(to.id, move.name);
      lookups.touched(space.path(node));
      return;
    }
    // What was made here has the name, and finds the copy in its way when it is closed: then it is kept beside it.
    if (node?.parent !== undefined && to !== undefined && !lookups.isOwn(node)) space.lose(node);
    space.journal.endRename(move);
  }

  /** Undefined: the target is not what it was, or the source is gone. */
  async #copyAgain(move: Move, c: Context): Promise<Facts | undefined> {
    const base = { key: move.from, etag: move.etag, size: move.size };
    const condition = move.replaced === '' ? { ifAbsent: true } : { ifMatch: move.replaced };
    try {
      return await copyObject(this.#parts.space.store, base, move.to, { condition }, c);
    } catch (error) {
      if (isFailure(error, 'CONFLICT', 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** A file was stored where it was before it was renamed: it follows. */
  misplaced(node: Node, facts: ObjectFacts): void {
    const { space } = this.#parts;
    const { parent } = node;
    const path = space.nodes.path(node);
    if (parent === undefined || path === undefined) {
      space.store
        .remove(facts.key, space.context())
        .catch((error: unknown) => space.failed('an unlinked file could not be removed', error));
      return;
    }
    const move: Move = {
      ...{ id: newMoveId(), node: node.id, from: facts.key, to: space.naming.key(path) },
      ...{ etag: facts.etag, size: facts.size, replaced: node.live?.replaces ?? '' },
      ...{ over: 0, parent: parent.id, name: node.name, unique: '' },
    };
    space.journal.beginRename(move);
    this.resume(move).catch((error: unknown) => {
      space.failed('a renamed file could not be brought to its name', error);
      this.#resumeLater(move);
    });
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

export const moveRecord = (node: Node) => ({ of: 'move', id: node.id, in: node.parent?.id ?? 0, name: node.name });

/** Under another name a file may have another usual type. */
const describeAs = (node: Node, name: string): ReturnType<typeof describe> => {
  const old = node.name;
  node.name = name;
  const description = describe(node);
  node.name = old;
  return description;
};

/** ETag of what is in the store at a target's name: a new one may have taken the place of another before it is stored itself. */
const replacedBy = (target: Node | undefined): string | undefined => target?.facts?.etag ?? target?.live?.replaces;
