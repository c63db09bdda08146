import { createHash } from 'node:crypto';
import { applyStated } from './attributes.ts';
import { type Facts, type Node, STATED } from './nodes.ts';
import { S_IFMT, S_IFREG } from './object-metadata.ts';
import type { Space } from './space.ts';
import type { StateRecord } from './state-log.ts';

/**
 * Attributes that a LIST does not tell, one folder at a time, so that listings need not ask each object:
 * `<prefix>.drayage/notes/<SHA-256 of the folder's path, 32 digits>/<host>-<number>.json`, each written by its host alone. A note counts for
 * as long as the object is the one that it was made for.
 */
export interface Noted {
  readonly facts: Facts;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  /** Nanoseconds, decimal; empty: the object's time. */
  readonly mtime: string;
  readonly ctime: string;
}

type Row = readonly (string | number)[];

/** A file of notes has so many at most: it is written as a whole for each change. */
const ROWS = 500;
/** Folders whose notes are remembered. */
const FOLDERS = 100;
/** Notes are gathered for so long before they are written. */
const GATHER_MS = 500;
const BODY_TYPE = 'application/json';

/** Stores tell an object's time by the second or the millisecond, and not the same with each answer. */
const SAME_MS = 2_000;

export const isSameObject = (a: Facts, b: Facts): boolean =>
  a.etag === b.etag && a.size === b.size && Math.abs(a.modified - b.modified) < SAME_MS;

const rowOf = ({ facts, mode, uid, gid, rdev, mtime, ctime }: Noted): Row => [
  ...[facts.etag, facts.size, facts.modified],
  ...[mode, uid, gid, rdev, mtime, ctime],
];

const readRow = (row: unknown): Noted | undefined => {
  if (!Array.isArray(row) || row.length < 9) return undefined;
  const [etag, size, modified, mode, uid, gid, rdev, mtime, ctime] = row as unknown[];
  const numbers = [size, modified, mode, uid, gid, rdev];
  if (typeof etag !== 'string' || !numbers.every((one) => Number.isFinite(one))) return undefined;
  if (typeof mtime !== 'string' || typeof ctime !== 'string' || !/^(-?\d*) (-?\d*)$/.test(`${mtime} ${ctime}`))
    return undefined;
  return {
    facts: { etag, size: Number(size), modified: Number(modified) },
    ...{ mode: Number(mode), uid: Number(uid), gid: Number(gid), rdev: Number(rdev) },
    ...{ mtime, ctime },
  };
};

/** Answers none for what is not a file of notes. */
const readRows = (text: string): Map<string, Noted> => {
  const rows = new Map<string, Noted>();
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return rows;
    throw error;
  }
  const entries: unknown =
    typeof found === 'object' && found !== null && 'entries' in found ? found.entries : undefined;
  if (typeof entries !== 'object' || entries === null) return rows;
  for (const [name, row] of Object.entries(entries)) {
    const noted = readRow(row);
    if (noted !== undefined) rows.set(name, noted);
  }
  return rows;
};

/** Gives a node what was noted of it. */
export const applyNote = (node: Node, noted: Noted, space: Space): void => {
  const { mode, uid, gid, rdev, mtime, ctime } = noted;
  const times = { ...(mtime !== '' && { mtime: BigInt(mtime) }), ...(ctime !== '' && { ctime: BigInt(ctime) }) };
  applyStated(node, { mode, uid, gid, rdev, ...times }, undefined, space.semantics.defaults);
  node.known = STATED;
};

const noteOf = (node: Node, facts: Facts): Noted => ({
  facts,
  ...{ mode: node.mode, uid: node.uid, gid: node.gid, rdev: node.rdev },
  mtime: node.times?.mtime === undefined ? '' : String(node.times.mtime),
  ctime: node.times?.ctime === undefined ? '' : String(node.times.ctime),
});

interface FolderNotes {
  /** Of all hosts, as they were read. */
  readonly files: Map<string, { readonly etag: string; readonly rows: Map<string, Noted> }>;
  /** What this host has noted and not written yet. */
  readonly waiting: Map<string, Noted>;
  timer: NodeJS.Timeout | undefined;
  writing: Promise<void> | undefined;
  isRead: boolean;
}

export class Notes {
  readonly #space: Space;
  readonly #folders = new Map<string, FolderNotes>();

  constructor(space: Space) {
    this.#space = space;
  }

  /** What is noted of a folder's objects, by their names; of several notes of one the youngest. Errors: StoreError. */
  async read(path: string): Promise<(name: string, facts: Facts | undefined) => Noted | undefined> {
    const notes = this.#of(path);
    const { store } = this.#space;
    const c = this.#space.context();
    const prefix = this.#prefix(path);
    // This host's own files nobody else writes: of what was read once, an answer that comes late tells only what it was before.
    const isOurs = (key: string): boolean => notes.isRead && key.startsWith(this.#own(path));
    const there = new Set<string>();
    for (let from: string | undefined, more = true; more; ) {
      const page = await store.list(prefix, { ...(from !== undefined && { from }) }, c);
      const changed = page.objects.filter(({ key, etag }) => !isOurs(key) && notes.files.get(key)?.etag !== etag);
      await Promise.all(
        changed.map(async ({ key, etag }) => {
          const { data } = await store.get(key, {}, c);
          if (isOurs(key)) return;
          notes.files.set(key, { etag, rows: readRows(Buffer.concat(data).toString('utf8')) });
        }),
      );
      for (const { key } of page.objects) there.add(key);
      from = page.next;
      more = from !== undefined;
    }
    for (const key of notes.files.keys()) if (!there.has(key) && !isOurs(key)) notes.files.delete(key);
    notes.isRead = true;
    this.#forgetOld();
    return (name, facts) => this.#find(notes, name, facts);
  }

  /** Is what is known of an object more than a LIST and the volume's defaults tell? */
  isWorthIt(node: Node, facts: Facts): boolean {
    const { uid, gid, fileMode, dirMode } = this.#space.semantics.defaults;
    const usual = node.isFolder ? dirMode : fileMode;
    if ((node.mode & 0o7777) !== usual || node.uid !== uid || node.gid !== gid) return true;
    if (node.isFolder) return false;
    if ((node.mode & S_IFMT) !== S_IFREG) return true;
    const mtime = node.times?.mtime;
    return mtime !== undefined && Math.abs(Number(mtime / 1_000_000n) - facts.modified) >= 1_000;
  }

  /** Notes what a node's object has, after it was written: at the latest half a second later others can read it. */
  note(node: Node): void {
    const { facts, parent } = node;
    const path = parent === undefined ? undefined : this.#space.nodes.path(parent);
    if (facts === undefined || path === undefined) return;
    const notes = this.#folders.get(path);
    // A listing does not tell which marker a folder has: a note of an earlier one is believed, too.
    const noted = node.isFolder ? undefined : facts;
    if (
      this.isWorthIt(node, facts) ||
      notes?.waiting.has(node.name) === true ||
      this.#hasNoted(notes, node.name, noted)
    ) {
      this.add(path, node.name, noteOf(node, facts));
    }
  }

  add(path: string, name: string, noted: Noted): void {
    const notes = this.#of(path);
    notes.waiting.set(name, noted);
    this.#space.journal.note({ of: 'note', path, name, row: rowOf(noted) });
    notes.timer ??= setTimeout(() => this.#writeSoon(path, notes), GATHER_MS).unref();
  }

  /** Everything that was noted is in the store. Errors: StoreError. */
  async settled(): Promise<void> {
    for (const [path, notes] of this.#folders) {
      clearTimeout(notes.timer);
      notes.timer = undefined;
      await this.#write(path, notes);
    }
  }

  /** Of a folder that is no more. */
  async forget(path: string): Promise<void> {
    const { store, naming } = this.#space;
    const c = this.#space.context();
    const notes = this.#folders.get(path);
    clearTimeout(notes?.timer);
    this.#folders.delete(path);
    this.#space.journal.note({ of: 'noted', path });
    const page = await store.list(this.#prefix(path), {}, c);
    if (page.objects.length > 0)
      await store.removeAll(
        page.objects.map(({ key }) => key),
        c,
      );
    this.#space.logger.debug('notes of a folder removed', { path: naming.key(path), files: page.objects.length });
  }

  get waiting(): number {
    let sum = 0;
    for (const { waiting } of this.#folders.values()) sum += waiting.size;
    return sum;
  }

  replay(record: StateRecord): void {
    const path = String(record['path'] ?? '');
    if (record.of === 'noted') this.#folders.delete(path);
    const noted = record.of === 'note' ? readRow(record['row']) : undefined;
    if (noted === undefined) return;
    const notes = this.#of(path);
    notes.waiting.set(String(record['name'] ?? ''), noted);
    notes.timer ??= setTimeout(() => this.#writeSoon(path, notes), GATHER_MS).unref();
  }

  *records(): Generator<StateRecord> {
    for (const [path, { waiting }] of this.#folders) {
      for (const [name, noted] of waiting) yield { of: 'note', path, name, row: rowOf(noted) };
    }
  }

  close(): void {
    for (const { timer } of this.#folders.values()) clearTimeout(timer);
  }

  #prefix(path: string): string {
    const digits = createHash('sha256').update(path).digest('hex').slice(0, 32);
    return this.#space.naming.hidden('notes/', digits, '/');
  }

  /** What the names of this host's files begin with. */
  #own(path: string): string {
    return `${this.#prefix(path)}${this.#space.host.id}-`;
  }

  #of(path: string): FolderNotes {
    const known = this.#folders.get(path);
    if (known !== undefined) {
      // Those that were used last are remembered.
      this.#folders.delete(path);
      this.#folders.set(path, known);
      return known;
    }
    const notes: FolderNotes = {
      ...{ files: new Map(), waiting: new Map() },
      ...{ timer: undefined, writing: undefined, isRead: false },
    };
    this.#folders.set(path, notes);
    return notes;
  }

  #forgetOld(): void {
    for (const [path, { waiting, writing }] of this.#folders) {
      if (this.#folders.size <= FOLDERS) return;
      if (waiting.size === 0 && writing === undefined) this.#folders.delete(path);
    }
  }

  /** `facts` undefined: of a folder, whose marker a listing does not tell. */
  #find(notes: FolderNotes, name: string, facts: Facts | undefined): Noted | undefined {
    const isOf = (noted: Noted): boolean => facts === undefined || isSameObject(noted.facts, facts);
    let best = notes.waiting.get(name);
    if (best !== undefined && !isOf(best)) best = undefined;
    for (const { rows } of notes.files.values()) {
      const noted = rows.get(name);
      if (noted === undefined || !isOf(noted)) continue;
      if (best === undefined || noted.facts.modified > best.facts.modified) best = noted;
    }
    return best;
  }

  #hasNoted(notes: FolderNotes | undefined, name: string, facts: Facts | undefined): boolean {
    return notes !== undefined && this.#find(notes, name, facts) !== undefined;
  }

  #writeSoon(path: string, notes: FolderNotes): void {
    notes.timer = undefined;
    this.#write(path, notes).catch((error: unknown) => {
      this.#space.failed('notes of a folder could not be written', error);
      if (!this.#space.isEnding) notes.timer ??= setTimeout(() => this.#writeSoon(path, notes), 60 * GATHER_MS).unref();
    });
  }

  /** One after another for a folder. */
  async #write(path: string, notes: FolderNotes): Promise<void> {
    // Of many that wait for the same one the first begins the next one, for which the others wait.
    while (notes.writing !== undefined) await notes.writing.catch(() => undefined);
    if (notes.waiting.size === 0 || this.#space.semantics.readonly) return;
    notes.writing = this.#writeNow(path, notes).finally(() => {
      notes.writing = undefined;
    });
    await notes.writing;
  }

  async #writeNow(path: string, notes: FolderNotes): Promise<void> {
    if (!notes.isRead) await this.read(path);
    const now = new Map(notes.waiting);
    const own = this.#own(path);
    const changed = new Map<string, Map<string, Noted>>();
    const mine = [...notes.files].filter(([key]) => key.startsWith(own));
    for (const [name, noted] of now) {
      const target =
        mine.find(([, { rows }]) => rows.has(name)) ??
        mine.find(([, { rows }]) => rows.size < ROWS) ??
        newFile(own, mine);
      const [key, { rows }] = target;
      rows.set(name, noted);
      changed.set(key, rows);
    }
    const c = this.#space.context();
    await Promise.all(
      [...changed].map(async ([key, rows]) => {
        const entries = Object.fromEntries([...rows].map(([name, noted]) => [name, rowOf(noted)]));
        const body = Buffer.from(JSON.stringify({ version: 1, folder: path, entries }));
        const { etag } = await this.#space.store.put(key, [body], { meta: {}, contentType: BODY_TYPE }, c);
        notes.files.set(key, { etag, rows });
      }),
    );
    for (const [name, noted] of now) if (notes.waiting.get(name) === noted) notes.waiting.delete(name);
    const left = [...notes.waiting].map(
      ([name, noted]): StateRecord => ({ of: 'note', path, name, row: rowOf(noted) }),
    );
    this.#space.journal.note({ of: 'noted', path }, ...left);
  }
}

type NotesFile = [string, { readonly etag: string; readonly rows: Map<string, Noted> }];

const newFile = (own: string, mine: NotesFile[]): NotesFile => {
  const numbers = mine.map(([key]) => Number.parseInt(key.slice(own.length), 10)).filter(Number.isFinite);
  const made: NotesFile = [`${own}${Math.max(0, ...numbers) + 1}.json`, { etag: '', rows: new Map() }];
  mine.push(made);
  return made;
};
