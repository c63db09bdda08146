import { type Answer, type Caller, type Entry, Errno, type Opened } from '../fuse/file-system.ts';
import type { NewObject } from '../object/store.ts';
import { describe, factsOf } from './attributes.ts';
import type { Description } from './content.ts';
import type { Files } from './files.ts';
import { O_EXCL } from './handles.ts';
import { FOLDER_TYPE } from './media-types.ts';
import type { Parts } from './namespace-parts.ts';
import { EXACT, type Node } from './nodes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './object-metadata.ts';
import { attrRecord } from './saving.ts';
import { isFailure } from './store-errno.ts';

const S_ISGID = 0o2000;

/** create, mkdir, mknod, symlink: new names. */
export class Making {
  readonly #parts: Parts;
  readonly #files: Files;

  constructor(parts: Parts, files: Files) {
    this.#parts = parts;
    this.#files = files;
  }

  create(parentId: number, name: string, mode: number, flags: number, caller: Caller): Answer<Entry & Opened> {
    const { space } = this.#parts;
    space.mayChange();
    const parent = space.folder(parentId);
    const path = this.#path(parent, name);
    const again = caller.resent ? this.#createdBefore(caller) : undefined;
    if (again !== undefined) return again;
    const child = space.nodes.child(parent, name);
    this.#parts.storms.made(parent, path, caller.pid);
    const isFree = child === undefined && space.isAbsent(path) && space.gateOf(parent) === undefined;
    if (isFree && !(space.semantics.consistency === 'strict' && (flags & O_EXCL) !== 0)) {
      return this.#create(parent, name, mode, flags, caller);
    }
    return this.#createSlowly(parent, name, mode, flags, caller);
  }

  #createdBefore(caller: Caller): Answer<Entry & Opened> | undefined {
    const { space, handles } = this.#parts;
    const answer = space.journal.answerOf(caller.unique);
    const handle = handles.find(answer?.handle);
    if (handle === undefined) return undefined;
    const opened = this.#files.reopened(handle.node, handle);
    if (!(opened instanceof Promise)) return { ...space.entry(handle.node), ...opened };
    return opened.then((one) => ({ ...space.entry(handle.node), ...one }));
  }

  async #createSlowly(
    parent: Node,
    name: string,
    mode: number,
    flags: number,
    caller: Caller,
  ): Promise<Entry & Opened> {
    const { space, lookups } = this.#parts;
    await space.passGates(parent);
    const known = space.nodes.child(parent, name);
    const node = known !== undefined && lookups.isOwn(known) ? known : await lookups.find(parent, name);
    if (node === undefined) {
      if (space.semantics.consistency === 'strict' && (flags & O_EXCL) !== 0)
        await this.#reserve(parent, name, mode, caller);
      else return this.#create(parent, name, mode, flags, caller);
      const made = await lookups.need(parent, name);
      return await this.#openMade(made, flags, caller);
    }
    if ((flags & O_EXCL) !== 0) throw new Errno('EEXIST');
    return await this.#openMade(node, flags, caller);
  }

  async #openMade(node: Node, flags: number, caller: Caller): Promise<Entry & Opened> {
    const opened = await this.#files.open(node.id, flags, caller);
    return { ...this.#parts.space.give(node), ...opened };
  }

  /** Only one of all hosts makes the file: it is in the store at once. */
  async #reserve(parent: Node, name: string, mode: number, caller: Caller): Promise<void> {
    await this.#put(parent, name, S_IFREG | (mode & 0o7777), 0, [], caller);
  }

  /** It is this host's alone until it is closed. */
  #create(parent: Node, name: string, mode: number, flags: number, caller: Caller): Entry & Opened {
    const { space, homes } = this.#parts;
    const node = this.#make(parent, name, S_IFREG | (mode & 0o7777), 0, caller);
    const live = node.lively;
    live.isNew = true;
    live.changed = 1;
    try {
      live.content = space.contents.of(homes.of(node), undefined);
      const handle = this.#files.handle(node, flags, caller);
      const answered = { node: node.id, handle: handle.id };
      space.journal.did(caller.unique, answered, ...space.written(node), attrRecord(node), handle.record());
      return { ...space.entry(node), handle: handle.id, keepCache: true };
    } catch (error) {
      // The local disk is full: nothing was made.
      space.nodes.cut(node);
      this.#files.letGo(node);
      throw error;
    }
  }

  mkdir(parentId: number, name: string, mode: number, caller: Caller): Promise<Entry> {
    return this.#new(parentId, name, S_IFDIR | (mode & 0o7777), 0, [], caller);
  }

  mknod(parentId: number, name: string, mode: number, rdev: number, caller: Caller): Promise<Entry> {
    const typed = (mode & S_IFMT) === 0 ? mode | S_IFREG : mode;
    return this.#new(parentId, name, typed, rdev, [], caller);
  }

  symlink(parentId: number, name: string, target: string, caller: Caller): Promise<Entry> {
    if (!target.isWellFormed()) throw new Errno('EILSEQ');
    return this.#new(parentId, name, S_IFLNK | 0o777, 0, [Buffer.from(target)], caller);
  }

  /** What is in the store when it is answered. */
  async #new(
    parentId: number,
    name: string,
    mode: number,
    rdev: number,
    body: readonly Buffer[],
    caller: Caller,
  ): Promise<Entry> {
    const { space, lookups } = this.#parts;
    space.mayChange();
    const parent = space.folder(parentId);
    await space.passGates(parent);
    const path = this.#path(parent, name);
    const answered = caller.resent ? space.nodes.get(space.journal.answerOf(caller.unique)?.node ?? 0) : undefined;
    if (answered !== undefined) return space.entry(answered);
    this.#parts.storms.made(parent, path, caller.pid);
    const known = space.nodes.child(parent, name);
    const there = known === undefined && space.isAbsent(path) ? undefined : await lookups.find(parent, name);
    if (there !== undefined) {
      // The engine died between making it and saying so.
      const isOurs =
        caller.resent && space.journal.wasBegun(caller.unique) && (there.mode & S_IFMT) === (mode & S_IFMT);
      if (!isOurs) throw new Errno('EEXIST');
      return space.give(there);
    }
    const node = await this.#put(parent, name, mode, rdev, body, caller);
    space.journal.did(caller.unique, { node: node.id }, ...space.written(node));
    return space.entry(node);
  }

  async #put(
    parent: Node,
    name: string,
    mode: number,
    rdev: number,
    body: readonly Buffer[],
    caller: Caller,
  ): Promise<Node> {
    const { space, lookups, listings, notes } = this.#parts;
    const path = this.#path(parent, name);
    const isFolder = (mode & S_IFMT) === S_IFDIR;
    const key = isFolder ? space.naming.folderKey(path) : space.naming.key(path);
    space.journal.will(caller.unique, path);
    const draft = this.#draft(parent, name, mode, rdev, caller);
    const condition: Pick<NewObject, 'condition'> = space.store.limits.conditionalPut
      ? { condition: { ifAbsent: true } }
      : {};
    const c = space.context();
    const begun = space.ms();
    try {
      const facts = await space.store.put(key, body, { ...draft.description, ...condition }, c);
      const node = space.nodes.make(parent, name, draft.mode);
      draft.give(node);
      node.facts = factsOf(facts);
      node.known = EXACT;
      node.seen = space.ms();
      lookups.touched(path);
      listings.changed(space.path(parent), name, true);
      // Nothing can have been in a folder that was not there.
      if (isFolder && condition.condition !== undefined) listings.seed(path, begun);
      this.#entered(parent);
      notes.note(node);
      return node;
    } catch (error) {
      lookups.touched(path);
      if (isFailure(error, 'CONFLICT')) throw new Errno('EEXIST', 'another host has made it', error);
      throw error;
    }
  }

  #draft(
    parent: Node,
    name: string,
    mode: number,
    rdev: number,
    caller: Caller,
  ): { readonly mode: number; readonly description: Description; give(node: Node): void } {
    const now = this.#parts.space.time();
    const isFolder = (mode & S_IFMT) === S_IFDIR;
    const isInherited = (parent.mode & S_ISGID) !== 0;
    const given = isFolder && isInherited ? mode | S_ISGID : mode;
    const give = (node: Node): void => {
      node.mode = given;
      node.uid = caller.uid;
      node.gid = isInherited ? parent.gid : caller.gid;
      node.rdev = rdev;
      node.times = { mtime: now, ctime: now };
    };
    const sketch = this.#parts.space.nodes.sketch(name, given);
    give(sketch);
    const description = describe(sketch);
    return { mode: given, description: isFolder ? { ...description, contentType: FOLDER_TYPE } : description, give };
  }

  #make(parent: Node, name: string, mode: number, rdev: number, caller: Caller): Node {
    const { space, lookups } = this.#parts;
    const path = this.#path(parent, name);
    const draft = this.#draft(parent, name, mode, rdev, caller);
    const node = space.nodes.make(parent, name, draft.mode);
    draft.give(node);
    node.known = EXACT;
    node.seen = space.ms();
    lookups.touched(path);
    this.#entered(parent);
    return node;
  }

  /** A folder's time is that of its last change; it is this host's, as LIST does not tell it. */
  #entered(parent: Node): void {
    const now = this.#parts.space.time();
    parent.times = { ...parent.times, mtime: now, ctime: now };
  }

  #path(parent: Node, name: string): string {
    const { space, lookups } = this.#parts;
    space.naming.check(space.path(parent), name);
    return lookups.pathOf(parent, name);
  }
}
