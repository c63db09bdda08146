import type { FileContent } from './content.ts';
import { S_IFDIR, S_IFMT } from './object-metadata.ts';

/** What the store has told of an object. */
export interface Facts {
  readonly etag: string;
  /** Bytes. */
  readonly size: number;
  /** Epoch milliseconds by the store's clock. */
  readonly modified: number;
}

/** Nanoseconds since the epoch; what is absent follows from another: of atime and ctime mtime, of mtime the object's time. */
export interface Times {
  readonly mtime?: bigint;
  readonly atime?: bigint;
  readonly ctime?: bigint;
}

/** What few files have. */
export interface More {
  readonly xattrs?: ReadonlyMap<string, Buffer>;
  readonly others?: Readonly<Record<string, string>>;
  readonly contentType?: string;
}

/** How well attributes are known: from a listing only; all that stat(2) tells; all metadata. */
export const GUESSED = 0;
export const STATED = 1;
export const EXACT = 2;

/** Of a node that is open, or has something that is not in the store. */
export interface Live {
  /** Open files and folders. */
  opens: number;
  content: FileContent | undefined;
  /** Counts changes of attributes, and what of them is in the store. */
  changed: number;
  saved: number;
  /** ETag of another object that a file which was renamed takes the place of. */
  replaces: string | undefined;
  /** Changes wait for it: its folder, or it, is being renamed. */
  gate: Promise<void> | undefined;
  /** It was never in the store, and nobody has begun to bring it there. */
  isNew: boolean;
}

/** A file or folder that the kernel knows, or that is open or not in the store yet. */
export class Node {
  readonly id: number;
  /** Undefined: the root, or it was unlinked. */
  parent: Node | undefined;
  name: string;
  /** With the type. */
  mode: number;
  uid: number;
  gid: number;
  rdev = 0;
  times: Times | undefined;
  more: More | undefined;
  known: number = GUESSED;
  /** Of its object; of a folder: of its marker, if there is one. */
  facts: Facts | undefined;
  /** When the store was asked last; milliseconds of a clock that never steps. */
  seen = Number.NEGATIVE_INFINITY;
  /** The ETag that the pages in the kernel are from. */
  pages: string | undefined;
  /** References that the kernel was given in this life. */
  refs = 0;
  /** The kernel may have references from an earlier life, too. */
  inherited = false;
  /** Is it in the state log? */
  logged = false;
  unlinked = false;
  /** It was not this host that has taken its name away. */
  isLost = false;
  children: Map<string, Node> | undefined;
  live: Live | undefined;

  constructor(id: number, parent: Node | undefined, name: string, mode: number) {
    this.id = id;
    this.parent = parent;
    this.name = name;
    this.mode = mode;
    this.uid = 0;
    this.gid = 0;
  }

  get isFolder(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  /** Are there attributes that are not in the store? */
  get isChanged(): boolean {
    return this.live !== undefined && this.live.changed > this.live.saved;
  }

  /** What it has while it is open or not in the store; made when it is asked for first. */
  get lively(): Live {
    this.live ??= {
      opens: 0,
      content: undefined,
      changed: 0,
      saved: 0,
      replaces: undefined,
      gate: undefined,
      isNew: false,
    };
    return this.live;
  }
}

export const ROOT = 1;

/** All nodes by their numbers, which are never given twice, and by their names. */
export class Nodes {
  readonly root: Node;
  readonly #byId = new Map<number, Node>();
  #next = ROOT + 1;

  constructor(rootMode: number) {
    this.root = new Node(ROOT, undefined, '', S_IFDIR | rootMode);
    this.root.logged = true;
    this.#byId.set(ROOT, this.root);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The number that the next node gets. */
  get next(): number {
    return this.#next;
  }

  /** Numbers below are taken, by an earlier life too. */
  skipTo(id: number): void {
    this.#next = Math.max(this.#next, id);
  }

  get(id: number): Node | undefined {
    return this.#byId.get(id);
  }

  child(parent: Node, name: string): Node | undefined {
    return parent.children?.get(name);
  }

  values(): Iterable<Node> {
    return this.#byId.values();
  }

  /** A new one under this name; one that had the name is cut off. `id` is given for one of an earlier life. */
  make(parent: Node, name: string, mode: number, id: number = this.#next): Node {
    this.skipTo(id + 1);
    const node = new Node(id, parent, name, mode);
    this.#byId.set(id, node);
    this.place(node, parent, name);
    return node;
  }

  /** One that is in no table: to describe what is about to be made. */
  sketch(name: string, mode: number): Node {
    return new Node(0, undefined, name, mode);
  }

  /** Puts it under a name; one that had the name is cut off. */
  place(node: Node, parent: Node, name: string): void {
    const old = parent.children?.get(name);
    if (old !== undefined && old !== node) this.cut(old);
    if (node.parent?.children?.get(node.name) === node) node.parent.children.delete(node.name);
    node.parent = parent;
    node.name = name;
    parent.children ??= new Map();
    parent.children.set(name, node);
  }

  /** Takes its name away: it was unlinked, or is another one now. */
  cut(node: Node): void {
    if (node.parent?.children?.get(node.name) === node) node.parent.children.delete(node.name);
    node.parent = undefined;
    node.unlinked = true;
  }

  /** From the root, without a slash in front; undefined when it, or a folder on the way, was unlinked. */
  path(node: Node): string | undefined {
    if (node === this.root) return '';
    if (node.parent === undefined) return undefined;
    if (node.parent === this.root) return node.name;
    const above = this.path(node.parent);
    return above === undefined ? undefined : `${above}/${node.name}`;
  }

  /** Is `node` the folder, or below it? */
  isWithin(node: Node, folder: Node): boolean {
    for (let at: Node | undefined = node; at !== undefined; at = at.parent) if (at === folder) return true;
    return false;
  }

  /** All below a folder, and it. */
  *below(folder: Node): Generator<Node> {
    yield folder;
    for (const child of folder.children?.values() ?? []) yield* this.below(child);
  }

  /** The kernel gave `count` references back. */
  forget(node: Node, count: number): void {
    // References of earlier lives were not counted. When the kernel gives back more than it has got in this one, it gives back all.
    if (count > node.refs) node.inherited = false;
    node.refs = Math.max(0, node.refs - count);
  }

  /** Takes it out of the table if neither the kernel nor anything else needs it; answers those that went, its folders among them. */
  drop(node: Node, isKept: (node: Node) => boolean): readonly Node[] {
    const gone: Node[] = [];
    for (let at: Node | undefined = node; at !== undefined && !this.#isNeeded(at) && !isKept(at); ) {
      const parent: Node | undefined = at.parent;
      if (parent?.children?.get(at.name) === at) parent.children.delete(at.name);
      if (parent?.children?.size === 0) parent.children = undefined;
      this.#byId.delete(at.id);
      gone.push(at);
      at = parent;
    }
    return gone;
  }

  #isNeeded(node: Node): boolean {
    return (
      node === this.root ||
      node.refs > 0 ||
      node.inherited ||
      (node.children !== undefined && node.children.size > 0) ||
      (node.live !== undefined && (node.live.opens > 0 || node.live.gate !== undefined || node.isChanged))
    );
  }
}
