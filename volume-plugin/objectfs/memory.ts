import { applyStated } from './attributes.ts';
import { KINDS } from './journal.ts';
import type { Parts } from './namespace-parts.ts';
import { EXACT, type Node, ROOT } from './nodes.ts';
import { readMetadata } from './object-metadata.ts';
import { attrRecord } from './saving.ts';
import type { StateLog, StateRecord } from './state-log.ts';

const NOTES = ['note', 'noted'] as const;

/**
 * What the namespace remembers over the engine's death: nodes and their names, what is open, attributes that are not in the
 * store, and (in the journal) what was begun. Of an earlier mount only what is not in the store counts.
 */
export class Memory {
  readonly #parts: Parts;
  readonly #log: StateLog;

  constructor(parts: Parts, log: StateLog) {
    this.#parts = parts;
    this.#log = log;
    log.keeps(() => this.records());
  }

  /** Before anything is appended. `survived`: the kernel has the nodes and handles of the earlier life. */
  recall(survived: boolean): void {
    for (const record of this.#log.left(...KINDS, ...NOTES)) this.#replay(record);
    const { space, handles } = this.#parts;
    if (survived) return;
    for (const handle of [...handles.values()]) handles.shut(handle.id);
    space.journal.forgetRequests();
    for (const node of space.nodes.values()) node.inherited = false;
  }

  /** After the contents have been recovered: a file that has nothing to store is stored, and nodes that nobody needs go. */
  recovered(): void {
    const { space } = this.#parts;
    for (const node of [...space.nodes.values()]) {
      const { live } = node;
      if (live !== undefined && space.contents.find(node.id)?.dirty !== true) {
        // The engine died when its contents had written down that it is, and before its attributes were.
        live.isNew = false;
        live.replaces = undefined;
      }
      if (node.children === undefined) space.drop(node);
    }
  }

  *records(): Generator<StateRecord> {
    const { space, handles, notes } = this.#parts;
    const { root } = space.nodes;
    yield { of: 'next', id: space.nodes.next, h: handles.next };
    if (root.isChanged) yield attrRecord(root);
    // What has lost its name comes first: others may have it now. Folders come before what is in them.
    for (const node of space.nodes.values()) {
      if (node.parent !== undefined || node === root) continue;
      yield* this.#recordsOf(node);
      for (const child of node.children?.values() ?? []) {
        for (const one of space.nodes.below(child)) yield* this.#recordsOf(one);
      }
    }
    for (const child of root.children?.values() ?? []) {
      for (const node of space.nodes.below(child)) yield* this.#recordsOf(node);
    }
    for (const handle of handles.values()) yield handle.record();
    yield* space.journal.records();
    yield* notes.records();
  }

  *#recordsOf(node: Node): Generator<StateRecord> {
    if (!node.logged) return;
    yield { of: 'node', id: node.id, in: node.parent?.id ?? 0, name: node.name, mode: node.mode };
    if (node.unlinked) yield { of: 'cut', id: node.id };
    if (node.isChanged || node.live?.isNew === true) yield attrRecord(node);
  }

  #replay(record: StateRecord): void {
    const { space, handles, notes } = this.#parts;
    const { nodes } = space;
    const number = (name: string): number => Number(record[name] ?? 0);
    switch (record.of) {
      case 'next':
        nodes.skipTo(number('id'));
        handles.skipTo(number('h'));
        break;
      case 'node': {
        // Of one that was unlinked the folder may be gone, too.
        const parent = nodes.get(number('in')) ?? nodes.root;
        const node = nodes.make(parent, String(record['name']), number('mode'), number('id'));
        node.logged = true;
        node.inherited = true;
        break;
      }
      case 'gone':
        this.#goneNodes(record['ids']);
        break;
      case 'move': {
        const node = nodes.get(number('id'));
        const parent = nodes.get(number('in'));
        if (node !== undefined && parent !== undefined) nodes.place(node, parent, String(record['name']));
        break;
      }
      case 'cut': {
        const node = nodes.get(number('id'));
        if (node !== undefined) nodes.cut(node);
        break;
      }
      case 'attr':
        this.#replayAttributes(record);
        break;
      case 'saved':
        for (const id of numbers(record['ids'])) this.#saved(nodes.get(id));
        break;
      case 'open': {
        const node = nodes.get(number('id'));
        if (node === undefined) break;
        const { locals } = record;
        const handle = handles.open(node, number('flags'), String(record['u'] ?? ''), number('h'));
        if (Array.isArray(locals)) handle.locals = locals.map(String);
        break;
      }
      case 'shut':
        handles.shut(number('h'));
        break;
      case 'note':
      case 'noted':
        notes.replay(record);
        break;
      default:
        space.journal.replay(record);
    }
  }

  #replayAttributes(record: StateRecord): void {
    const { space } = this.#parts;
    const node = space.nodes.get(Number(record['id']));
    const { meta } = record;
    if (node === undefined || typeof meta !== 'object' || meta === null || Array.isArray(meta)) return;
    const type = typeof record['type'] === 'string' ? record['type'] : undefined;
    applyStated(node, readMetadata(meta as Readonly<Record<string, string>>), type, space.semantics.defaults);
    node.known = EXACT;
    const live = node.lively;
    live.changed += 1;
    live.isNew = record['fresh'] === true;
    live.replaces = typeof record['replaces'] === 'string' ? record['replaces'] : undefined;
  }

  #saved(node: Node | undefined): void {
    if (node?.live === undefined) return;
    node.live.saved = node.live.changed;
    node.live.isNew = false;
    node.live.replaces = undefined;
  }

  #goneNodes(ids: StateRecord[string] | undefined): void {
    const { nodes } = this.#parts.space;
    for (const id of numbers(ids)) {
      const node = nodes.get(id);
      if (node === undefined || id === ROOT) continue;
      node.inherited = false;
      nodes.drop(node, (one) => one !== node);
    }
  }
}

const numbers = (value: StateRecord[string] | undefined): number[] => (Array.isArray(value) ? value.map(Number) : []);
