import { type Answer, type Caller, type Entry, Errno } from '../fuse/file-system.ts';
import type { Parts } from './namespace-parts.ts';
import type { Node } from './nodes.ts';

/** lookup: from what is known, from a listing, or from the store. */
export class Finding {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  lookup(parentId: number, name: string, caller: Caller): Answer<Entry> {
    const { space, lookups, storms } = this.#parts;
    const folder = space.folder(parentId);
    const path = space.path(folder);
    if (space.naming.isHidden(path, name)) throw new Errno('ENOENT');
    const known = lookups.known(folder, name);
    if (known !== undefined) return space.give(known);
    space.naming.check(path, name);
    const listed = this.#isListedAbsent(folder, path, name) ? null : storms.answer(folder, path, name, caller.pid);
    if (listed === null && !this.#hasOwn(folder, name)) return this.#missing(folder, name, caller);
    if (listed !== undefined && listed !== null) return space.give(listed);
    const begun = space.ms();
    return lookups.find(folder, name).then((node) => {
      storms.waited(folder, space.ms() - begun);
      if (node !== undefined) return space.give(node);
      storms.missed(folder, lookups.pathOf(folder, name), caller.pid);
      throw new Errno('ENOENT');
    });
  }

  #hasOwn(folder: Node, name: string): boolean {
    const child = this.#parts.space.nodes.child(folder, name);
    return child !== undefined && this.#parts.lookups.hasOwn(child);
  }

  #missing(folder: Node, name: string, caller: Caller): never {
    const { space, lookups, storms } = this.#parts;
    const path = lookups.pathOf(folder, name);
    const child = space.nodes.child(folder, name);
    if (child !== undefined) space.lose(child);
    space.absent(path, space.ms());
    storms.missed(folder, path, caller.pid);
    throw new Errno('ENOENT');
  }

  /** `relaxed`: what a whole listing did not have is not there. */
  #isListedAbsent(folder: Node, path: string, name: string): boolean {
    const { space, listings } = this.#parts;
    if (space.semantics.consistency !== 'relaxed' || space.nodes.child(folder, name) !== undefined) return false;
    const listing = listings.fresh(path);
    if (listing?.isWhole !== true) return false;
    const change = listing.changes.get(name);
    return change === false || (change === undefined && listing.find(name) === undefined);
  }
}
