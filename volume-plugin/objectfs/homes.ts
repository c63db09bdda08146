import type { ObjectFacts } from '../object/store.ts';
import { describe, factsOf, sameDescription } from './attributes.ts';
import type { Description, FileHome } from './content.ts';
import type { Listings } from './listings.ts';
import type { Lookups } from './lookups.ts';
import { NAME_MAX } from './naming.ts';
import { GUESSED, type Node } from './nodes.ts';
import type { Notes } from './notes.ts';
import type { Saver } from './saving.ts';
import type { Space } from './space.ts';

export interface HomeParts {
  readonly space: Space;
  readonly lookups: Lookups;
  readonly listings: Listings;
  readonly notes: Notes;
  readonly saver: Saver;
  /** A file was stored under a key that is not its own any more. */
  readonly misplaced: (node: Node, facts: ObjectFacts) => void;
}

/** `name.conflict-<host>-20261122T160829Z`, of 255 bytes at most. */
export const conflictName = (name: string, host: string, time: Date): string => {
  const stamp = time.toISOString().replace(/[-:]|\.\d+/g, '');
  const ending = `.conflict-${host.replace(/[^\w.-]/g, '_').slice(0, 64)}-${stamp}`;
  let kept = name;
  while (Buffer.byteLength(kept) + ending.length > NAME_MAX) kept = [...kept].slice(0, -1).join('');
  return kept + ending;
};

/** What the contents of files are told of their nodes, and tell them. */
export class Homes {
  readonly #parts: HomeParts;
  readonly #homes = new WeakMap<Node, FileHome>();

  constructor(parts: HomeParts) {
    this.#parts = parts;
  }

  of(node: Node): FileHome {
    const known = this.#homes.get(node);
    if (known !== undefined) return known;
    const home = new Home(node, this.#parts);
    this.#homes.set(node, home);
    return home;
  }
}

class Home implements FileHome {
  readonly node: number;
  readonly #node: Node;
  readonly #parts: HomeParts;

  constructor(node: Node, parts: HomeParts) {
    this.node = node.id;
    this.#node = node;
    this.#parts = parts;
  }

  key(): string | undefined {
    const { nodes, naming } = this.#parts.space;
    const path = nodes.path(this.#node);
    return path === undefined ? undefined : naming.key(path);
  }

  replaces(): string | undefined {
    return this.#node.live?.replaces;
  }

  description(): Description {
    return describe(this.#node);
  }

  stored(facts: ObjectFacts, described: Description): void {
    const { space, lookups, listings, notes, saver, misplaced } = this.#parts;
    const node = this.#node;
    const live = node.lively;
    if (node.pages === node.facts?.etag) node.pages = facts.etag;
    node.facts = factsOf(facts);
    node.seen = space.ms();
    live.isNew = false;
    const path = space.nodes.path(node);
    if (path === undefined || space.naming.key(path) !== facts.key) {
      misplaced(node, facts);
      return;
    }
    live.replaces = undefined;
    lookups.touched(path);
    if (node.parent !== undefined) listings.changed(space.path(node.parent), node.name, true);
    if (sameDescription(described, describe(node))) saver.saved(node, live.changed);
    else if (space.contentOf(node)?.dirty !== true) saver.later(node);
    notes.note(node);
    space.drop(node);
  }

  conflictKey(): string {
    const { space } = this.#parts;
    const { parent, name } = this.#node;
    const folder = parent === undefined ? '' : (space.nodes.path(parent) ?? '');
    const time = new Date(Number(space.time() / 1_000_000n));
    return `${space.naming.folderKey(folder)}${conflictName(name, space.host.name, time)}`;
  }

  conflicted(keptAs: string, whole: boolean, theirs: ObjectFacts | undefined): void {
    const { space, lookups, listings } = this.#parts;
    const node = this.#node;
    const { parent } = node;
    space.counts.conflicts += 1;
    space.logger.warn('another host has changed the file: what was written here is kept beside it', {
      key: this.key(),
      keptAs,
      whole,
    });
    if (parent !== undefined) {
      const folder = space.nodes.path(parent);
      const kept = keptAs.slice(keptAs.lastIndexOf('/') + 1);
      if (folder !== undefined) listings.changed(folder, kept, true);
      if (folder !== undefined) lookups.touched(folder === '' ? kept : `${folder}/${kept}`);
    }
    this.#takeOver(theirs);
  }

  changed(now: ObjectFacts | undefined, rebased: boolean): void {
    // What was written here has its name until it is brought to the store, which keeps it beside theirs and tells.
    const isOurs = this.#parts.space.contentOf(this.#node)?.dirty === true;
    if (rebased || (now === undefined && !isOurs)) this.#takeOver(now);
    else this.#node.seen = Number.NEGATIVE_INFINITY;
  }

  /** The file is what others have made of it. */
  #takeOver(theirs: ObjectFacts | undefined): void {
    const { space, saver, lookups } = this.#parts;
    const node = this.#node;
    const live = node.lively;
    live.isNew = false;
    live.replaces = undefined;
    const path = space.nodes.path(node);
    if (path !== undefined) lookups.touched(path);
    saver.saved(node, live.changed);
    node.known = GUESSED;
    node.seen = Number.NEGATIVE_INFINITY;
    node.facts = theirs === undefined ? undefined : factsOf(theirs);
    space.invalidate(node);
    if (theirs === undefined) space.lose(node);
  }
}
