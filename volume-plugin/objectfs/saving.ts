import { describe, factsOf } from './attributes.ts';
import { copyObject } from './copying.ts';
import type { Lookups } from './lookups.ts';
import { FOLDER_TYPE } from './media-types.ts';
import type { Node } from './nodes.ts';
import type { Notes } from './notes.ts';
import type { Space } from './space.ts';
import { isFailure } from './store-errno.ts';

/** Changes of attributes in a row become one: they are gathered for so long. */
const GATHER_MS = 50;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;
/** Repetitions of a copy whose source was changed by others meanwhile. */
const TRIES = 5;
/** A copy of a very large object takes its time. */
const COPY_MS = 30 * 60_000;

/**
 * Brings attributes of what is not dirty to the store: of a file by a copy of its object to itself with other metadata, of a
 * folder by its marker. What is dirty takes its attributes along when it is uploaded.
 */
export class Saver {
  readonly #space: Space;
  readonly #lookups: Lookups;
  readonly #notes: Notes;
  readonly #timers = new Map<Node, NodeJS.Timeout>();
  readonly #running = new Map<Node, Promise<void>>();
  readonly #pauses = new Map<Node, number>();

  constructor(space: Space, lookups: Lookups, notes: Notes) {
    this.#space = space;
    this.#lookups = lookups;
    this.#notes = notes;
  }

  /** Nodes whose attributes wait. */
  get waiting(): number {
    return new Set([...this.#timers.keys(), ...this.#running.keys()]).size;
  }

  /** Attributes were changed here: remembered over the engine's death, and in the store soon. */
  changed(node: Node): void {
    node.lively.changed += 1;
    this.#space.journal.append(attrRecord(node));
    if (!node.unlinked && !this.#lookups.isOwn(node)) this.later(node);
  }

  later(node: Node, pauseMs: number = GATHER_MS): void {
    if (this.#timers.has(node) || this.#space.isEnding) return;
    const timer = setTimeout(() => {
      this.#timers.delete(node);
      this.now(node).catch((error: unknown) => this.#space.failed('attributes could not be stored', error));
    }, pauseMs);
    this.#timers.set(node, timer.unref());
  }

  /** Answers when all that was changed before is in the store. Errors: StoreError; then it is tried again later. */
  async now(node: Node): Promise<void> {
    for (;;) {
      await this.ended(node);
      await this.#space.passGates(node);
      if (this.#running.has(node)) continue;
      // What is being removed or renamed has a gate: it must not come back by a copy or a marker that was on its way.
      clearTimeout(this.#timers.get(node));
      this.#timers.delete(node);
      // What is not in the store takes its attributes along.
      if (!node.isChanged || this.#space.nodes.path(node) === undefined || this.#lookups.isOwn(node)) return;
      // The ETag of what was uploaded in parts changes with the copy: nobody may begin with the old one meanwhile.
      const isInParts = node.facts?.etag.includes('-') === true;
      const work = isInParts ? this.#space.alone(node, () => this.#save(node)) : this.#save(node);
      const save = work.finally(() => this.#running.delete(node));
      this.#running.set(node, save);
      try {
        await save;
      } catch (error) {
        const pause = this.#pauses.get(node) ?? FIRST_PAUSE_MS;
        this.#pauses.set(node, Math.min(2 * pause, LONGEST_PAUSE_MS));
        this.later(node, pause);
        throw error;
      }
      this.#pauses.delete(node);
    }
  }

  /** Nothing of the node is on its way to the store. */
  async ended(node: Node): Promise<void> {
    for (let run = this.#running.get(node); run !== undefined; run = this.#running.get(node)) {
      await run.catch(() => undefined);
    }
  }

  /** Everything that waits is in the store. */
  async settled(): Promise<void> {
    while (this.waiting > 0) {
      const nodes = new Set([...this.#timers.keys(), ...this.#running.keys()]);
      await Promise.all([...nodes].map((node) => this.now(node)));
    }
  }

  /** What is changed of a node is in the store. */
  saved(node: Node, upTo: number): void {
    const { live } = node;
    if (live === undefined || upTo <= live.saved) return;
    live.saved = upTo;
    if (live.saved === live.changed) this.#space.journal.note({ of: 'saved', ids: [node.id] });
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #save(node: Node): Promise<void> {
    const path = this.#space.nodes.path(node);
    if (path === undefined) return;
    const content = this.#space.contentOf(node);
    const c = this.#space.context(COPY_MS);
    const release = await content?.hold(c);
    try {
      for (let attempt = 1; ; attempt += 1) {
        try {
          if (node.isFolder) await this.#saveFolder(node);
          else await this.#saveFile(node);
          break;
        } catch (error) {
          // It has lost its name meanwhile, and its attributes are nobody's.
          if (this.#space.nodes.path(node) === undefined) {
            this.saved(node, node.lively.changed);
            return;
          }
          if (!isFailure(error, 'CONFLICT', 'NOT_FOUND') || attempt === TRIES) throw error;
          // Somebody else has written it; theirs are the bytes, ours the attributes.
          node.seen = Number.NEGATIVE_INFINITY;
          if (!(await this.#isThere(node))) {
            this.saved(node, node.lively.changed);
            return;
          }
          if (content !== undefined && !content.dirty) content.rebase(this.#space.baseOf(node));
        }
      }
    } finally {
      release?.();
    }
    this.#lookups.touched(path);
    node.seen = this.#space.ms();
    this.#notes.note(node);
    this.#space.drop(node);
  }

  /** Others may have removed it: then its attributes are nobody's. */
  async #isThere(node: Node): Promise<boolean> {
    const { parent, name } = node;
    return parent !== undefined && (await this.#lookups.find(parent, name)) === node;
  }

  async #saveFolder(node: Node): Promise<void> {
    const { store } = this.#space;
    const { changed } = node.lively;
    const c = this.#space.context();
    node.facts = factsOf(
      await store.put(this.#space.keyOf(node), [], { ...describe(node), contentType: FOLDER_TYPE }, c),
    );
    this.saved(node, changed);
  }

  async #saveFile(node: Node): Promise<void> {
    if (node.facts === undefined && !(await this.#isThere(node))) {
      this.saved(node, node.lively.changed);
      return;
    }
    const base = this.#space.baseOf(node);
    if (base === undefined) return;
    const { changed } = node.lively;
    const c = this.#space.context(COPY_MS);
    const wishes = { replace: describe(node), condition: { ifMatch: base.etag } };
    const facts = await copyObject(this.#space.store, base, base.key, wishes, c);
    if (node.pages === base.etag) node.pages = facts.etag;
    node.facts = factsOf({ ...facts, size: base.size });
    this.#space.contentOf(node)?.moved({ key: base.key, etag: facts.etag, size: base.size });
    this.saved(node, changed);
  }
}

/** What a node has that the store does not know yet. */
export const attrRecord = (node: Node) => {
  const { meta, contentType } = describe(node);
  return {
    ...{ of: 'attr', id: node.id, meta },
    ...(contentType !== undefined && { type: contentType }),
    ...(node.live?.isNew === true && { fresh: true }),
    ...(node.live?.replaces !== undefined && { replaces: node.live.replaces }),
  };
};
