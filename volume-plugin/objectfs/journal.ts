import { Errno } from '../fuse/file-system.ts';
import type { StateLog, StateRecord } from './state-log.ts';

/** A change of the store that takes several steps, which the next life goes on with: from one key, or what keys begin with, to another. */
export interface Move {
  /** Of the journal. */
  readonly id: string;
  readonly node: number;
  readonly from: string;
  readonly to: string;
  /** Of the object that is moved. */
  readonly etag: string;
  readonly size: number;
  /** ETag of what is replaced; empty: there was nothing. */
  readonly replaced: string;
  /** The file that has the name until then; 0: none. */
  readonly over: number;
  /** Where the node goes. */
  readonly parent: number;
  readonly name: string;
  /** The request; empty: none. */
  readonly unique: string;
}

/** What became of a file's object in a folder that is being renamed. */
export interface Copied {
  readonly node: number;
  /** ETag of what was copied. */
  readonly source: string;
  /** Of the copy. */
  readonly etag: string;
  readonly size: number;
  /** Epoch milliseconds by the store's clock. */
  readonly modified: number;
}

/** A copy of an object that was unlinked while it was open. */
export interface Orphan {
  readonly node: number;
  readonly key: string;
  readonly etag: string;
  readonly size: number;
}

/** What a request that was carried out is answered when the kernel sends it again. */
export interface Answered {
  readonly node?: number;
  readonly handle?: number;
  /** ESTALE: a lost update was told. */
  readonly stale?: boolean;
}

/** So many requests are remembered: more than the kernel has in flight. */
const REMEMBERED = 1_024;

export const KINDS = [
  'next',
  'node',
  'gone',
  'move',
  'cut',
  'attr',
  'saved',
  'open',
  'shut',
  'will',
  'did',
  'rename',
  'renamed',
  'tree',
  'treed',
  'copied',
  'orphan',
  'unorphan',
] as const;

/**
 * What the namespace writes into the state log about requests and about what takes several steps; for the records of nodes
 * and handles, see memory.ts.
 */
export class Journal {
  readonly #log: StateLog;
  /** Records that found no room on the disk. */
  unwritten = 0;
  readonly #begun = new Map<string, string>();
  readonly #answered = new Map<string, Answered>();
  readonly #renames = new Map<string, Move>();
  readonly #trees = new Map<string, Move>();
  readonly #copies = new Map<string, Copied[]>();
  readonly #orphans = new Map<string, Orphan>();

  constructor(log: StateLog) {
    this.#log = log;
  }

  append(...records: readonly StateRecord[]): void {
    if (records.length > 0) this.#log.append(...records);
  }

  /**
   * As `append`, of what is read only: on a disk that is full a volume can still be read. What could not be written is not known to
   * the next life, which asks the kernel to look it up again (ESTALE).
   */
  note(...records: readonly StateRecord[]): void {
    if (records.length === 0) return;
    try {
      this.#log.append(...records);
    } catch (error) {
      if (!(error instanceof Errno && error.code === 'ENOSPC')) throw error;
      this.unwritten += records.length;
    }
  }

  sync(): Promise<void> {
    return this.#log.sync();
  }

  /** Said before the store is asked to change something: whoever finds it done afterwards knows that it was this request. */
  will(unique: bigint, what: string): void {
    const u = String(unique);
    this.append({ of: 'will', u, what });
    remember(this.#begun, u, what);
  }

  wasBegun(unique: bigint): boolean {
    return this.#begun.has(String(unique));
  }

  /** Said with the last step of a request, in one with its other records. */
  did(unique: bigint, answered: Answered, ...records: readonly StateRecord[]): void {
    const u = String(unique);
    this.append(...records, didRecord(u, answered));
    this.noteAnswer(u, answered);
  }

  noteAnswer(u: string, answered: Answered): void {
    this.#begun.delete(u);
    remember(this.#answered, u, answered);
  }

  answerOf(unique: bigint): Answered | undefined {
    return this.#answered.get(String(unique));
  }

  beginRename(move: Move): void {
    this.append(moveRecord('rename', move));
    this.#renames.set(move.id, move);
  }

  endRename({ id }: Move, ...records: readonly StateRecord[]): void {
    this.append({ of: 'renamed', id }, ...records);
    this.#renames.delete(id);
  }

  beginTree(move: Move): void {
    this.append(moveRecord('tree', move));
    this.#trees.set(move.id, move);
  }

  /** What is open in a folder that is being renamed was copied; told before its old place is emptied. */
  noteCopies({ id }: Move, copies: readonly Copied[]): void {
    this.append(...copies.map((copy) => copiedRecord(id, copy)));
    this.#copies.set(id, [...copies]);
  }

  copiesOf({ id }: Move): readonly Copied[] {
    return this.#copies.get(id) ?? [];
  }

  endTree({ id }: Move, ...records: readonly StateRecord[]): void {
    this.append({ of: 'treed', id }, ...records);
    this.#trees.delete(id);
    this.#copies.delete(id);
  }

  keepOrphan(orphan: Orphan): void {
    this.append(orphanRecord(orphan));
    this.#orphans.set(orphan.key, orphan);
  }

  dropOrphan({ key }: Orphan): void {
    this.append({ of: 'unorphan', key });
    this.#orphans.delete(key);
  }

  orphanOf(node: number): Orphan | undefined {
    for (const orphan of this.#orphans.values()) if (orphan.node === node) return orphan;
    return undefined;
  }

  get orphans(): readonly Orphan[] {
    return [...this.#orphans.values()];
  }

  get renames(): readonly Move[] {
    return [...this.#renames.values()];
  }

  get trees(): readonly Move[] {
    return [...this.#trees.values()];
  }

  /** Requests and numbers of an earlier mount mean nothing to this one's kernel. */
  forgetRequests(): void {
    this.#begun.clear();
    this.#answered.clear();
  }

  /** Takes up a record of an earlier life. */
  replay(record: StateRecord): void {
    const text = (name: string): string => String(record[name] ?? '');
    switch (record.of) {
      case 'will':
        remember(this.#begun, text('u'), text('what'));
        break;
      case 'did':
        this.noteAnswer(text('u'), {
          ...(typeof record['id'] === 'number' && { node: record['id'] }),
          ...(typeof record['h'] === 'number' && { handle: record['h'] }),
          ...(record['stale'] === true && { stale: true }),
        });
        break;
      case 'rename':
        this.#renames.set(text('id'), readMove(record));
        break;
      case 'renamed':
        this.#renames.delete(text('id'));
        break;
      case 'tree':
        this.#trees.set(text('id'), readMove(record));
        break;
      case 'treed':
        this.#trees.delete(text('id'));
        this.#copies.delete(text('id'));
        break;
      case 'copied':
        this.#copies.set(text('id'), [...(this.#copies.get(text('id')) ?? []), readCopied(record)]);
        break;
      case 'orphan':
        this.#orphans.set(text('key'), {
          ...{ node: Number(record['node']), key: text('key') },
          ...{ etag: text('etag'), size: Number(record['size']) },
        });
        break;
      case 'unorphan':
        this.#orphans.delete(text('key'));
        break;
      default:
        break;
    }
  }

  *records(): Generator<StateRecord> {
    for (const [u, what] of this.#begun) yield { of: 'will', u, what };
    for (const [u, answered] of this.#answered) yield didRecord(u, answered);
    for (const move of this.#renames.values()) yield moveRecord('rename', move);
    for (const move of this.#trees.values()) yield moveRecord('tree', move);
    for (const [id, copies] of this.#copies) for (const copy of copies) yield copiedRecord(id, copy);
    for (const orphan of this.#orphans.values()) yield orphanRecord(orphan);
  }
}

const remember = <T>(map: Map<string, T>, key: string, value: T): void => {
  map.set(key, value);
  if (map.size <= REMEMBERED) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
};

const didRecord = (u: string, { node, handle, stale }: Answered): StateRecord => ({
  of: 'did',
  u,
  ...(node !== undefined && { id: node }),
  ...(handle !== undefined && { h: handle }),
  ...(stale === true && { stale }),
});

const moveRecord = (of: 'rename' | 'tree', move: Move): StateRecord => ({ of, ...move });

const orphanRecord = (orphan: Orphan): StateRecord => ({ of: 'orphan', ...orphan });

const copiedRecord = (id: string, copy: Copied): StateRecord => ({ of: 'copied', id, ...copy });

const readCopied = (record: StateRecord): Copied => ({
  ...{ node: Number(record['node']), source: String(record['source']), etag: String(record['etag']) },
  ...{ size: Number(record['size']), modified: Number(record['modified']) },
});

const readMove = (record: StateRecord): Move => {
  const text = (name: string): string => String(record[name] ?? '');
  return {
    ...{ id: text('id'), node: Number(record['node']), from: text('from'), to: text('to'), etag: text('etag') },
    ...{ size: Number(record['size']), replaced: text('replaced'), parent: Number(record['parent']) },
    over: Number(record['over'] ?? 0),
    ...{ name: text('name'), unique: text('unique') },
  };
};
