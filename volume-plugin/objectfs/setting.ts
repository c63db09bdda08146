import { type Answer, type Caller, type Changes, Errno, type TimedAttributes } from '../fuse/file-system.ts';
import { describe } from './attributes.ts';
import type { Files } from './files.ts';
import type { Parts } from './namespace-parts.ts';
import { GUESSED, type Node } from './nodes.ts';
import { metadataBytes, S_IFMT } from './object-metadata.ts';

/** S3's bound for the metadata of an object, names and values. */
const METADATA_MAX = 2_048;
/** setxattr(2) */
const CREATE = 1;
const REPLACE = 2;
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;
const S_IXGRP = 0o010;

/** getattr, setattr, readlink, and extended attributes. */
export class Setting {
  readonly #parts: Parts;
  readonly #files: Files;

  constructor(parts: Parts, files: Files) {
    this.#parts = parts;
    this.#files = files;
  }

  getattr(id: number, caller: Caller): Answer<TimedAttributes> {
    const { space, lookups, storms } = this.#parts;
    const node = space.node(id);
    if (
      node.unlinked ||
      space.isFresh(node) ||
      (node.live !== undefined && node.live.opens > 0 && node.facts !== undefined)
    ) {
      return space.attributes(node);
    }
    const { parent } = node;
    if (parent === undefined) return lookups.refresh(node).then(() => space.attributes(node));
    const listed = storms.answer(parent, space.path(parent), node.name, caller.pid);
    if (listed === node) return space.attributes(node);
    if (listed !== undefined && listed !== null) space.drop(listed);
    const begun = space.ms();
    return lookups.refresh(node).then(() => {
      storms.waited(parent, space.ms() - begun);
      return space.attributes(node);
    });
  }

  async setattr(id: number, changes: Changes): Promise<TimedAttributes> {
    const { space } = this.#parts;
    space.mayChange();
    const node = space.node(id);
    const { size } = changes;
    if (size !== undefined) await this.#files.resize(node, size);
    if (Object.keys(changes).some((name) => name !== 'size' && name !== 'handle')) {
      await this.#exact(node);
      this.#apply(node, changes);
      await this.#changed(node);
    }
    return space.attributes(node);
  }

  #apply(node: Node, { mode, uid, gid, mtime, atime, ctime, dropSetId }: Changes): void {
    const now = this.#parts.space.time();
    if (mode !== undefined) node.mode = (node.mode & S_IFMT) | (mode & 0o7777);
    if (uid !== undefined) node.uid = uid;
    if (gid !== undefined) node.gid = gid;
    if (dropSetId === true && !node.isFolder) {
      node.mode &= ~S_ISUID;
      if ((node.mode & S_IXGRP) !== 0) node.mode &= ~S_ISGID;
    }
    const set = (time: bigint | 'now'): bigint => (time === 'now' ? now : time);
    node.times = {
      // What follows from the object's time would change with the copy that stores the new attributes.
      mtime: BigInt(Math.trunc(node.facts?.modified ?? Number(this.#parts.space.begun / 1_000_000n))) * 1_000_000n,
      ...node.times,
      ...(mtime !== undefined && { mtime: set(mtime) }),
      ...(atime !== undefined && { atime: set(atime) }),
      ctime: ctime ?? now,
    };
  }

  /** What is changed is changed as a whole: all metadata must be known. */
  async #exact(node: Node): Promise<void> {
    const { lookups } = this.#parts;
    if (!node.unlinked && !lookups.isOwn(node) && !node.isChanged) await lookups.exact(node);
  }

  async #changed(node: Node): Promise<void> {
    const { space, saver } = this.#parts;
    saver.changed(node);
    if (space.semantics.consistency === 'strict' && !node.unlinked) await saver.now(node);
  }

  async readlink(id: number): Promise<string> {
    const { space } = this.#parts;
    const node = space.node(id);
    const { data } = await space.store.get(space.keyOf(node), {}, space.context());
    return Buffer.concat(data).toString('utf8');
  }

  getxattr(id: number, name: string): Answer<Buffer> {
    const node = this.#xattrNode(id, name);
    if (node === undefined) throw new Errno('ENODATA');
    const value = (): Buffer => {
      const found = node.more?.xattrs?.get(name);
      if (found === undefined) throw new Errno('ENODATA');
      return found;
    };
    // The kernel asks for it before each write, and programs for each file of a listing.
    if (node.known === GUESSED && name.startsWith('security.')) throw new Errno('ENODATA');
    return this.#isKnown(node) ? value() : this.#exact(node).then(value);
  }

  listxattr(id: number): Answer<readonly string[]> {
    const node = this.#parts.space.node(id);
    return [...(node.more?.xattrs?.keys() ?? [])];
  }

  async setxattr(id: number, name: string, value: Buffer, flags: number): Promise<void> {
    const { space } = this.#parts;
    space.mayChange();
    const node = this.#xattrNode(id, name);
    if (node === undefined) throw new Errno('ENOTSUP');
    await this.#exact(node);
    const old = node.more?.xattrs;
    const isThere = old?.has(name) === true;
    if ((flags & CREATE) !== 0 && isThere) throw new Errno('EEXIST');
    if ((flags & REPLACE) !== 0 && !isThere) throw new Errno('ENODATA');
    const xattrs = new Map(old).set(name, Buffer.from(value));
    const more = node.more;
    node.more = { ...more, xattrs };
    if (metadataBytes(describe(node).meta) > METADATA_MAX) {
      node.more = more;
      throw new Errno('ENOSPC', `an object has ${METADATA_MAX} bytes of metadata at most`);
    }
    this.#apply(node, {});
    await this.#changed(node);
  }

  async removexattr(id: number, name: string): Promise<void> {
    const { space } = this.#parts;
    space.mayChange();
    const node = this.#xattrNode(id, name);
    if (node !== undefined) await this.#exact(node);
    if (node?.more?.xattrs?.has(name) !== true) throw new Errno('ENODATA');
    const xattrs = new Map(node.more.xattrs);
    xattrs.delete(name);
    node.more = { ...node.more, xattrs };
    this.#apply(node, {});
    await this.#changed(node);
  }

  #isKnown(node: Node): boolean {
    return node.unlinked || this.#parts.lookups.isOwn(node) || node.isChanged || node.known > 1;
  }

  /** Access lists would be there to be read and not be heeded; others are the system's. Undefined: no such label is kept. */
  #xattrNode(id: number, name: string): Node | undefined {
    const node = this.#parts.space.node(id);
    if (name.startsWith('user.')) return node;
    if (name === 'security.selinux') return undefined;
    if (name.startsWith('security.')) return node;
    throw new Errno('ENOTSUP');
  }
}
