import { type Context, newContext } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import { type Caller, type Entry, Errno, type Kernel, type TimedAttributes } from '../fuse/file-system.ts';
import type { ObjectStore } from '../object/store.ts';
import { attributesOf, type Defaults } from './attributes.ts';
import type { Base, Contents, FileContent } from './content.ts';
import { Journal } from './journal.ts';
import type { Naming } from './naming.ts';
import { GUESSED, type Node, Nodes } from './nodes.ts';
import { Shedding } from './shedding.ts';
import type { StateLog, StateRecord } from './state-log.ts';

/** What a volume is to be, as its user wants it. */
export interface VolumeSemantics {
  readonly readonly: boolean;
  readonly consistency: 'close-to-open' | 'strict' | 'relaxed';
  readonly durability: 'server' | 'local';
  /** `objects`: listings ask each object that is not known. */
  readonly attributes: 'listed' | 'objects';
  readonly defaults: Defaults;
  /** Milliseconds for which a request waits for a store that does not answer. */
  readonly retryMs: number;
}

export interface SpaceOptions {
  readonly store: ObjectStore;
  readonly contents: Contents;
  readonly log: StateLog;
  readonly logger: Logger;
  readonly naming: Naming;
  readonly semantics: VolumeSemantics;
  /** This host: made once, and its name for people. */
  readonly host: { readonly id: string; readonly name: string };
  /** Is it the mount of the engine's earlier life, whose nodes and handles the kernel still has? */
  readonly survived: boolean;
  /** How often renames that other hosts have left are looked for, in milliseconds. */
  readonly adoptMs?: number;
  /** Nanoseconds since the epoch. */
  readonly time?: () => bigint;
  /** Milliseconds of a clock that never steps. */
  readonly ms?: () => number;
}

/** For how long what the store has told may be relied on, in milliseconds. */
const RELIED_MS = { strict: 0, 'close-to-open': 1_000, relaxed: 60_000 } as const;
/** What was only guessed from a listing is asked for again after this, at the latest. */
const GUESS_MS = 1_000;
/** A store's own repetitions end before the request does. */
const SPARE_MS = 5_000;

/** The kernel looks up what it is about to make: for so long the answer need not be asked for again. */
const ABSENT_MS = 1_000;
const ABSENCES = 10_000;

const NOBODY: Kernel = { invalidate: () => undefined, invalidateName: () => undefined };

const wallTime = (): bigint => {
  const us = (performance.timeOrigin + performance.now()) * 1_000;
  return BigInt(Math.trunc(us)) * 1_000n;
};

/** What all parts of the namespace share: the nodes, what they are written down in, and what they ask. */
export class Space {
  readonly store: ObjectStore;
  readonly contents: Contents;
  readonly journal: Journal;
  readonly logger: Logger;
  readonly naming: Naming;
  readonly semantics: VolumeSemantics;
  readonly host: SpaceOptions['host'];
  readonly nodes: Nodes;
  readonly time: () => bigint;
  readonly ms: () => number;
  readonly begun: bigint;
  /** For how long entries and attributes may be relied on. */
  readonly reliedMs: number;
  kernel: Kernel = NOBODY;
  /** For Status. */
  readonly counts = { hidden: 0, conflicts: 0, unsaved: 0, failures: 0 };
  lastFailure = '';
  /** Folders in which objects have turned out to be other than a listing and the defaults say. */
  readonly surprising = new WeakSet<Node>();
  /** Paths that the store had nothing under, and when it was asked. */
  readonly #absences = new Map<string, number>();
  readonly #shedding: Shedding;
  #gates = 0;
  readonly #closing = new AbortController();

  constructor(options: SpaceOptions) {
    this.store = options.store;
    this.contents = options.contents;
    this.journal = new Journal(options.log);
    this.logger = options.logger;
    this.naming = options.naming;
    this.semantics = options.semantics;
    this.host = options.host;
    this.time = options.time ?? wallTime;
    this.ms = options.ms ?? (() => performance.now());
    this.begun = this.time();
    this.reliedMs = RELIED_MS[options.semantics.consistency];
    const { dirMode, uid, gid } = options.semantics.defaults;
    this.nodes = new Nodes(dirMode);
    this.nodes.root.uid = uid;
    this.nodes.root.gid = gid;
    this.#shedding = new Shedding(this.nodes, (parent, name) => this.kernel.invalidateName(parent, name));
  }

  /** For what one request asks of the store; `timeoutMs` for what takes longer than a request usually may. */
  context(timeoutMs: number = this.semantics.retryMs + SPARE_MS): Context {
    const parent: Context = {
      requestId: '',
      signal: this.#closing.signal,
      deadline: Number.POSITIVE_INFINITY,
      log: this.logger,
    };
    return newContext(this.logger, timeoutMs, parent);
  }

  /** As `context`, made when somebody looks at it: what is at hand needs none. */
  lazy(timeoutMs?: number): Context {
    let made: Context | undefined;
    const it = (): Context => {
      made ??= this.context(timeoutMs);
      return made;
    };
    return {
      requestId: '',
      log: this.logger,
      get signal() {
        return it().signal;
      },
      get deadline() {
        return it().deadline;
      },
    };
  }

  /** Work in the background ends. */
  end(): void {
    this.#shedding.close();
    this.#closing.abort(new Errno('EIO', 'the volume is being closed'));
  }

  get isEnding(): boolean {
    return this.#closing.signal.aborted;
  }

  mayChange(): void {
    if (this.semantics.readonly) throw new Errno('EROFS');
  }

  node(id: number): Node {
    const node = this.nodes.get(id);
    if (node === undefined) throw new Errno('ESTALE', `node ${id} is not known`);
    return node;
  }

  folder(id: number): Node {
    const node = this.node(id);
    if (!node.isFolder) throw new Errno('ENOTDIR');
    return node;
  }

  /** Of a node that has a name; ESTALE when it was unlinked. */
  path(node: Node): string {
    const path = this.nodes.path(node);
    if (path === undefined) throw new Errno('ESTALE', 'it was removed');
    return path;
  }

  /** Where a node's attributes and bytes are. */
  keyOf(node: Node): string {
    return node.isFolder ? this.naming.markerKey(this.path(node)) : this.naming.key(this.path(node));
  }

  /** What is at hand of a file's bytes: it is open, or not in the store. */
  contentOf(node: Node): FileContent | undefined {
    return node.live?.content ?? this.contents.find(node.id);
  }

  baseOf(node: Node): Base | undefined {
    if (node.facts === undefined) return undefined;
    const { etag, size } = node.facts;
    return { key: this.keyOf(node), etag, size };
  }

  /** Is what is known of it young enough to be relied on, or its own? */
  isFresh(node: Node): boolean {
    if (node === this.nodes.root) return node.known > GUESSED;
    // Of an earlier life's changes the attributes are known, and not the object.
    const isKnown = node.isFolder || node.facts !== undefined;
    if (node.live !== undefined && (node.live.isNew || (node.isChanged && isKnown))) return true;
    if (this.contents.find(node.id)?.dirty === true) return true;
    const age = this.ms() - node.seen;
    return age < this.#reliedMsOf(node) || (this.reliedMs === 0 && age === 0);
  }

  #reliedMsOf(node: Node): number {
    return node.known === GUESSED ? Math.min(GUESS_MS, this.reliedMs) : this.reliedMs;
  }

  attributes(node: Node): TimedAttributes {
    return {
      attributes: attributesOf(node, this.contentOf(node)?.size, this.begun),
      attributesMs: this.#reliedMsOf(node),
    };
  }

  /** An answer that the kernel keeps: the node is written down before it is given away. */
  give(node: Node, ...records: StateRecord[]): Entry {
    this.journal.note(...this.written(node), ...records);
    return this.entry(node);
  }

  /** As `give`, of one that is written down: one more reference. */
  entry(node: Node): Entry {
    node.refs += 1;
    this.#shedding.given();
    const { attributes, attributesMs } = this.attributes(node);
    return { attributes, attributesMs, entryMs: attributesMs };
  }

  /** Records for a node, and for folders on the way to it, that the log has not. */
  written(node: Node): StateRecord[] {
    const records: StateRecord[] = [];
    for (let at: Node | undefined = node; at !== undefined && !at.logged; at = at.parent) {
      at.logged = true;
      records.unshift({ of: 'node', id: at.id, in: at.parent?.id ?? 0, name: at.name, mode: at.mode });
    }
    return records;
  }

  /** Takes nodes out of the table that nobody needs. */
  drop(node: Node): void {
    if (node.refs > 0) return;
    const gone = this.nodes.drop(node, (one) => this.contents.find(one.id) !== undefined);
    const ids = gone.filter(({ logged }) => logged).map(({ id }) => id);
    if (ids.length > 0) this.#forgotten.push(...ids);
    if (this.#forgotten.length >= 256) this.writeForgotten();
  }

  /** Numbers that the log need not know any more; it does no harm when they are lost. */
  readonly #forgotten: number[] = [];

  writeForgotten(): void {
    if (this.#forgotten.length === 0) return;
    this.journal.note({ of: 'gone', ids: this.#forgotten.splice(0) });
  }

  /** A change from outside, seen at a node: what the kernel has of its bytes and attributes is old. */
  invalidate(node: Node): void {
    node.pages = undefined;
    this.kernel.invalidate(node.id, 0, 0);
  }

  /** Its name is another node's, or nobody's. */
  lose(node: Node): void {
    const { parent, name } = node;
    this.nodes.cut(node);
    node.isLost = true;
    if (parent !== undefined) this.kernel.invalidateName(parent.id, name);
  }

  /**
   * Have others taken the name away, its own or that of a folder it is in? Then nothing that is written to it would be found
   * again. What was unlinked here is not lost: that is as its user wanted it.
   */
  isLost(node: Node): boolean {
    for (let at: Node | undefined = node; at !== undefined; at = at.parent) {
      if (at.isLost || (at.parent === undefined && at !== this.nodes.root && at !== node)) return true;
    }
    return false;
  }

  /** While `work` goes on nobody opens the node, or what is below it, and nothing is made or removed there. */
  async alone<T>(node: Node, work: () => Promise<T>): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const live = node.lively;
    const outer = live.gate;
    live.gate = promise;
    this.#gates += 1;
    try {
      return await work();
    } finally {
      this.#gates -= 1;
      if (live.gate === promise) live.gate = outer;
      resolve();
    }
  }

  /** What has to be waited for before something is done with a node; undefined: nothing. */
  gateOf(node: Node): Promise<void> | undefined {
    if (this.#gates === 0) return undefined;
    for (let at: Node | undefined = node; at !== undefined; at = at.parent) {
      if (at.live?.gate !== undefined) return at.live.gate;
    }
    return undefined;
  }

  /** As `gateOf`, until nothing has to be waited for. */
  async passGates(...nodes: readonly Node[]): Promise<void> {
    for (;;) {
      const gate = nodes.map((node) => this.gateOf(node)).find((one) => one !== undefined);
      if (gate === undefined) return;
      await gate;
    }
  }

  absent(path: string, begun: number): void {
    if (this.#absences.size >= ABSENCES) this.#absences.clear();
    this.#absences.set(path, begun);
  }

  present(path: string): void {
    this.#absences.delete(path);
  }

  /** Has the store just said that nothing is there? Then what is made there need not ask again. */
  isAbsent(path: string): boolean {
    const asked = this.#absences.get(path);
    return asked !== undefined && this.ms() - asked < ABSENT_MS;
  }

  failed(what: string, error: unknown): void {
    this.counts.failures += 1;
    this.lastFailure = `${what}: ${error instanceof Error ? error.message : String(error)}`;
    this.logger.warn(what, { error });
  }
}

/** Does a request come again that this engine, or an earlier one, has carried out? */
export const isRepeated = (space: Space, caller: Caller): boolean =>
  caller.resent && space.journal.answerOf(caller.unique) !== undefined;
