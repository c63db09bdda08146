import { Errno } from '../fuse/file-system.ts';
import type { ObjectDetails } from '../object/store.ts';
import { applyDetails, applyStated, describe, factsOf, modeOf } from './attributes.ts';
import { EXACT, type Facts, GUESSED, type Node } from './nodes.ts';
import { isSameObject } from './notes.ts';
import { readMetadata, S_IFDIR, S_IFMT } from './object-metadata.ts';
import type { Space } from './space.ts';
import { isFailure } from './store-errno.ts';

/** What the store has under a name: an object, or a folder with or without a marker. */
export type Found =
  | { readonly isFolder: false; readonly details: ObjectDetails }
  | { readonly isFolder: true; readonly marker: ObjectDetails | undefined };

interface Ask {
  /** What was asked for was changed by this host meanwhile: the answer says nothing. */
  isOld: boolean;
  readonly answer: Promise<Found | undefined>;
}

/** Asks the store what is under a name, and keeps the nodes to its answers. */
export class Lookups {
  readonly #space: Space;
  /** In flight, by path. */
  readonly #asks = new Map<string, Set<Ask>>();
  asked = 0;

  constructor(space: Space) {
    this.#space = space;
  }

  /** A child of which enough is known to answer at once. */
  known(parent: Node, name: string): Node | undefined {
    const child = this.#space.nodes.child(parent, name);
    return child !== undefined && this.#space.isFresh(child) ? child : undefined;
  }

  /** Asks the store, or joins who does; `likely`: what a listing shows. Undefined: there is no such file. Errors: StoreError. */
  async find(parent: Node, name: string, likely?: 'file' | 'folder'): Promise<Node | undefined> {
    for (;;) {
      const path = this.pathOf(parent, name);
      const [joined] = this.#asks.get(path) ?? [];
      const begun = this.#space.ms();
      const child = this.#space.nodes.child(parent, name);
      const ask = joined?.isOld === false ? joined : this.#begin(path, this.#ask(path, child, likely));
      const found = await ask.answer;
      if (ask.isOld) continue;
      if (found === undefined) this.#space.absent(path, begun);
      return this.settle(parent, name, found);
    }
  }

  /**
   * Asks anew, whoever else does: what others have closed before this call is seen. The bytes of a small file come along.
   * ESTALE when it is no more.
   */
  async verify(node: Node, mostBytes: number): Promise<void> {
    for (;;) {
      const { parent, name } = node;
      if (parent === undefined) throw new Errno('ESTALE', 'it was removed');
      const ask = this.#begin(this.pathOf(parent, name), this.#read(node, mostBytes));
      const found = await ask.answer;
      if (ask.isOld) continue;
      if (this.settle(parent, name, found) !== node) throw new Errno('ESTALE', 'it was removed, or replaced');
      return;
    }
  }

  async #read(node: Node, mostBytes: number): Promise<Found | undefined> {
    const { store, contents } = this.#space;
    const key = this.#space.keyOf(node);
    const c = this.#space.context();
    this.asked += 1;
    if (node.facts === undefined || node.facts.size > mostBytes || contents.has({ key, ...node.facts })) {
      const details = await store.head(key, c);
      return details === undefined ? undefined : { isFolder: false, details };
    }
    try {
      const { details, data } = await store.get(key, { range: { offset: 0, length: Math.max(1, mostBytes) } }, c);
      const { etag, size } = details;
      if (data.reduce((sum, { length }) => sum + length, 0) === size) contents.offer({ key, etag, size }, data);
      return { isFolder: false, details };
    } catch (error) {
      if (isFailure(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** Known or found; ENOENT otherwise. */
  async need(parent: Node, name: string): Promise<Node> {
    const node = this.known(parent, name) ?? (await this.find(parent, name));
    if (node === undefined) throw new Errno('ENOENT');
    return node;
  }

  /** Brings a node's attributes up to date; ESTALE when it is no more. */
  async refresh(node: Node): Promise<void> {
    const { root } = this.#space.nodes;
    if (node === root) {
      await this.#refreshRoot();
      return;
    }
    if (node.parent === undefined) throw new Errno('ESTALE', 'it was removed');
    const found = await this.find(node.parent, node.name);
    if (found !== node) throw new Errno('ESTALE', 'it was removed, or replaced by something of another kind');
  }

  /** As `refresh`, when not all of its metadata are known. */
  async exact(node: Node): Promise<void> {
    if (node.known !== EXACT) await this.refresh(node);
  }

  pathOf(parent: Node, name: string): string {
    const above = this.#space.path(parent);
    return above === '' ? name : `${above}/${name}`;
  }

  /** This host has changed what is there: whoever is asking asks again. */
  touched(path: string): void {
    this.#space.present(path);
    for (const ask of this.#asks.get(path) ?? []) ask.isOld = true;
  }

  touchedBelow(path: string): void {
    this.touched(path);
    for (const [one, asks] of this.#asks) {
      if (one.startsWith(`${path}/`)) for (const ask of asks) ask.isOld = true;
    }
  }

  /** Keeps the node of a name to what was found there. */
  settle(parent: Node, name: string, found: Found | undefined): Node | undefined {
    const { nodes } = this.#space;
    const child = nodes.child(parent, name);
    if (child !== undefined && this.isOwn(child)) {
      child.seen = this.#space.ms();
      return child;
    }
    if (child !== undefined && found?.isFolder !== true && this.hasOwn(child)) {
      // Others have removed or renamed the folder; it is there again with the first of its files that is stored.
      child.facts = undefined;
      child.known = EXACT;
      child.seen = this.#space.ms();
      return child;
    }
    if (found === undefined) {
      if (child !== undefined) this.#space.lose(child);
      return undefined;
    }
    const mode = this.#modeOf(found);
    if (child?.known === GUESSED && found !== undefined) this.#compare(parent, child, found);
    const isSame = child !== undefined && (child.mode & S_IFMT) === (mode & S_IFMT);
    if (child !== undefined && !isSame) this.#space.lose(child);
    const node = isSame ? child : nodes.make(parent, name, mode);
    if (found.isFolder) this.#applyFolder(node, found.marker);
    else this.applyFile(node, found.details);
    node.seen = this.#space.ms();
    return node;
  }

  /** Has this host bytes of it that nobody else has? Then it is what it is here. */
  isOwn(node: Node): boolean {
    return node.live?.isNew === true || this.#space.contentOf(node)?.dirty === true;
  }

  /** Is there anything below a folder that only this host has? What is to be closed still must not lose its name. */
  hasOwn(folder: Node): boolean {
    if (!folder.isFolder || folder.children === undefined) return false;
    for (const node of this.#space.nodes.below(folder)) if (this.isOwn(node)) return true;
    return false;
  }

  applyFile(node: Node, details: ObjectDetails): void {
    const old = node.facts;
    applyDetails(node, details, this.#space.semantics.defaults);
    this.replaced(node, old);
  }

  /** What follows when an object is not what it was: readers go over to the new one, and the kernel's pages are dropped. */
  replaced(node: Node, old: Facts | undefined): void {
    if (node.facts === undefined || old?.etag === node.facts.etag) return;
    const content = this.#space.contentOf(node);
    if (content === undefined || content.dirty) return;
    // Of a file that was open when the engine died its content may know what it was, and its node not.
    if (old === undefined && content.base?.etag === node.facts.etag) return;
    content.rebase(this.#space.baseOf(node));
    this.#space.invalidate(node);
  }

  /** Of a folder in which a guess was wrong, no more is guessed. */
  #compare(parent: Node, child: Node, found: Found): void {
    const details = found.isFolder ? found.marker : found.details;
    const { uid, gid } = this.#space.semantics.defaults;
    const stated = readMetadata(details?.meta ?? {});
    const mode = modeOf(stated, found.isFolder, this.#space.semantics.defaults);
    if (mode !== child.mode || (stated.uid ?? uid) !== child.uid || (stated.gid ?? gid) !== child.gid) {
      this.#space.surprising.add(parent);
    }
  }

  #modeOf(found: Found): number {
    if (found.isFolder) return S_IFDIR;
    return modeOf(readMetadata(found.details.meta), false, this.#space.semantics.defaults);
  }

  #applyFolder(node: Node, marker: ObjectDetails | undefined): void {
    const { defaults } = this.#space.semantics;
    if (marker !== undefined) applyDetails(node, marker, defaults);
    else if (!node.isChanged) {
      applyStated(node, {}, undefined, defaults);
      node.facts = undefined;
      node.known = EXACT;
    }
  }

  #begin(path: string, answer: Promise<Found | undefined>): Ask {
    const ask: Ask = { isOld: false, answer };
    const asks = this.#asks.get(path) ?? new Set();
    this.#asks.set(path, asks.add(ask));
    const end = (): void => {
      asks.delete(ask);
      if (asks.size === 0) this.#asks.delete(path);
    };
    answer.then(end, end);
    return ask;
  }

  async #ask(path: string, child: Node | undefined, likely?: 'file' | 'folder'): Promise<Found | undefined> {
    const { store, naming } = this.#space;
    const c = this.#space.context();
    this.asked += 1;
    const head = async (): Promise<Found | undefined> => {
      const details = await store.head(naming.key(path), c);
      return details === undefined ? undefined : { isFolder: false, details };
    };
    // What it was last it mostly still is: one question.
    const last = child !== undefined && child.known > GUESSED ? (child.isFolder ? 'folder' : 'file') : likely;
    if (last !== undefined) {
      const again = last === 'folder' ? await this.#folder(path, child) : await head();
      if (again !== undefined) return again;
    }
    // Of a file and a folder of one name the folder is shown: more may be in it.
    const [file, folder] = await Promise.all([head(), this.#folder(path, child)]);
    if (file !== undefined && folder !== undefined) this.#space.counts.hidden += 1;
    return folder ?? file;
  }

  async #folder(path: string, child: Node | undefined): Promise<Found | undefined> {
    const { store, naming } = this.#space;
    const key = naming.folderKey(path);
    const c = this.#space.context();
    const [first] = (await store.list(key, { limit: 1 }, c)).objects;
    if (first === undefined) return undefined;
    if (first.key !== key) return { isFolder: true, marker: undefined };
    // A marker that is known needs no second question.
    if (
      child?.isFolder === true &&
      child.known === EXACT &&
      child.facts !== undefined &&
      isSameObject(child.facts, first)
    ) {
      return { isFolder: true, marker: { ...first, ...describe(child) } };
    }
    return { isFolder: true, marker: (await store.head(key, c)) ?? { ...first, meta: {} } };
  }

  async #refreshRoot(): Promise<void> {
    const { nodes, naming, store, semantics } = this.#space;
    const marker = await store.head(naming.markerKey(''), this.#space.context());
    if (marker !== undefined) applyDetails(nodes.root, marker, semantics.defaults);
    else nodes.root.known = EXACT;
    nodes.root.seen = this.#space.ms();
  }
}

/** Facts that are in memory of their own: those of a listing are parts of a long text. */
export const ownFacts = (facts: Facts): Facts => ({
  ...factsOf(facts),
  etag: Buffer.from(facts.etag).toString('latin1'),
});
