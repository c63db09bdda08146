import { type Caller, Errno } from '../fuse/file-system.ts';
import { describe, factsOf } from './attributes.ts';
import { copyObject } from './copying.ts';
import { FOLDER_TYPE } from './media-types.ts';
import type { Parts } from './namespace-parts.ts';
import type { Node } from './nodes.ts';
import type { Space } from './space.ts';
import { isFailure } from './store-errno.ts';

/** What an open file that is unlinked has in the store is copied aside when it is larger, and else brought to this host. */
const BROUGHT_BYTES = 8 * 2 ** 20;
const COPY_MS = 30 * 60_000;

/** The copy of an unlinked file, if there is one, is needed no more. */
export const dropOrphan = (space: Space, node: Node): void => {
  const orphan = space.journal.orphanOf(node.id);
  if (orphan === undefined) return;
  space.store.remove(orphan.key, space.context()).then(
    () => space.journal.dropOrphan(orphan),
    (error: unknown) => space.failed('a copy of an unlinked file could not be removed', error),
  );
};

/** unlink, rmdir. */
export class Removing {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async unlink(parentId: number, name: string, caller: Caller): Promise<void> {
    const { space } = this.#parts;
    space.mayChange();
    const parent = space.folder(parentId);
    await space.passGates(parent);
    const node = await this.#find(parent, name, caller);
    if (node === undefined) return;
    if (node.isFolder) throw new Errno('EISDIR');
    await this.hold(node, async () => {
      const attach = await this.detach(node);
      try {
        // What it was to take the place of is there still, when it was never stored itself.
        if (node.facts !== undefined || node.lively.replaces !== undefined) {
          const key = space.keyOf(node);
          space.journal.will(caller.unique, key);
          await this.keepFolder(parent);
          await space.store.remove(key, space.context());
        }
      } catch (error) {
        attach();
        throw error;
      }
      this.gone(parent, node);
      space.journal.did(caller.unique, {}, { of: 'cut', id: node.id });
    });
    this.letGo(node);
  }

  /** It has lost its name: what waits to be brought to the store, and nobody has open, is needed no more. */
  letGo(node: Node): void {
    const { space } = this.#parts;
    if (node.lively.opens === 0) space.contentOf(node)?.release();
    space.drop(node);
  }

  async rmdir(parentId: number, name: string, caller: Caller): Promise<void> {
    const { space, notes, listings } = this.#parts;
    space.mayChange();
    const parent = space.folder(parentId);
    await space.passGates(parent);
    const node = await this.#find(parent, name, caller);
    if (node === undefined) return;
    if (!node.isFolder) throw new Errno('ENOTDIR');
    const path = space.path(node);
    await this.hold(node, async () => {
      await this.mustBeEmpty(node);
      const key = space.naming.folderKey(path);
      space.journal.will(caller.unique, key);
      await this.keepFolder(parent);
      await space.store.remove(key, space.context());
      this.gone(parent, node);
      listings.forgetBelow(path);
      space.journal.did(caller.unique, {}, { of: 'cut', id: node.id });
    });
    notes.forget(path).catch((error: unknown) => space.failed('notes of a folder could not be removed', error));
    space.drop(node);
  }

  /** Undefined: a request that comes again was carried out. ENOENT otherwise. */
  async #find(parent: Node, name: string, caller: Caller): Promise<Node | undefined> {
    const { space, lookups } = this.#parts;
    if (caller.resent && space.journal.answerOf(caller.unique) !== undefined) return undefined;
    if (space.naming.isHidden(space.path(parent), name)) throw new Errno('ENOENT');
    const node = lookups.known(parent, name) ?? (await lookups.find(parent, name));
    if (node !== undefined) return node;
    // The engine died between removing it and saying so.
    if (caller.resent && space.journal.wasBegun(caller.unique)) return undefined;
    throw new Errno('ENOENT');
  }

  /** ENOTEMPTY when there is anything in a folder, in the store or here. */
  async mustBeEmpty(node: Node): Promise<void> {
    const { space, lookups } = this.#parts;
    const key = space.naming.folderKey(space.path(node));
    for (const child of node.children?.values() ?? []) if (lookups.isOwn(child)) throw new Errno('ENOTEMPTY');
    const { objects } = await space.store.list(key, { limit: 2 }, space.context());
    if (objects.some((object) => object.key !== key)) throw new Errno('ENOTEMPTY');
  }

  /**
   * A folder that is there only because there is something in it gets a marker before something is taken out of it: it may be
   * the last.
   */
  async keepFolder(folder: Node): Promise<void> {
    const { space, lookups } = this.#parts;
    if (folder === space.nodes.root) return;
    await lookups.exact(folder);
    if (folder.facts !== undefined) return;
    const condition = space.store.limits.conditionalPut ? { condition: { ifAbsent: true } } : {};
    const { meta } = describe(folder);
    try {
      const key = space.keyOf(folder);
      folder.facts = factsOf(
        await space.store.put(key, [], { meta, contentType: FOLDER_TYPE, ...condition }, space.context()),
      );
    } catch (error) {
      // Another host has made one.
      if (!isFailure(error, 'CONFLICT')) throw error;
      folder.seen = Number.NEGATIVE_INFINITY;
    }
  }

  /** While `work` goes on nothing of the file is put in its place in the store, and nobody opens it. */
  async hold<T>(node: Node, work: () => Promise<T>): Promise<T> {
    const { space, saver } = this.#parts;
    await space.passGates(node);
    return await space.alone(node, async () => {
      await saver.ended(node);
      const content = space.contentOf(node);
      const release = await content?.hold(space.context(COPY_MS));
      try {
        const landed = await content?.landed(space.context());
        const base = content?.base;
        if (landed !== undefined) node.facts = factsOf(landed);
        else if (node.facts === undefined && base !== undefined && base.key === this.#keyOf(node)) {
          // In an earlier life it was known what is stored.
          node.facts = { etag: base.etag, size: base.size, modified: Number(space.time() / 1_000_000n) };
        }
        if (node.facts !== undefined) node.lively.isNew = false;
        return await work();
      } finally {
        release?.();
      }
    });
  }

  #keyOf(node: Node): string | undefined {
    const { space } = this.#parts;
    return space.nodes.path(node) === undefined ? undefined : space.keyOf(node);
  }

  /** A file's object is about to be removed or replaced: whoever has it open goes on reading what it was. Under `hold`. Answers what is called when it stays. */
  async detach(node: Node): Promise<() => void> {
    const { space } = this.#parts;
    const content = space.contentOf(node);
    if (content === undefined) return () => undefined;
    const base = space.baseOf(node);
    const c = space.context(COPY_MS);
    if (node.lively.opens === 0 || base === undefined || base.size <= BROUGHT_BYTES || content.local() !== undefined) {
      return await content.detach(undefined, c);
    }
    const key = space.naming.hidden('orphans/', `${space.host.id}-${node.id}`);
    const { etag } = await copyObject(space.store, base, key, {}, c);
    const orphan = { node: node.id, key, etag, size: base.size };
    space.journal.keepOrphan(orphan);
    const attach = await content.detach(orphan, c);
    return () => {
      attach();
      dropOrphan(space, node);
    };
  }

  /** A name is not there any more. */
  gone(parent: Node, node: Node): void {
    const { space, lookups, listings } = this.#parts;
    const folder = space.path(parent);
    const path = space.path(node);
    const { name } = node;
    space.nodes.cut(node);
    lookups.touched(path);
    space.absent(path, space.ms());
    listings.changed(folder, name, false);
    const now = space.time();
    parent.times = { ...parent.times, mtime: now, ctime: now };
    node.times = {
      ...node.times,
      mtime: node.times?.mtime ?? BigInt(node.facts?.modified ?? 0) * 1_000_000n,
      ctime: now,
    };
  }
}
