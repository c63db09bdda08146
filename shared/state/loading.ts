import { readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PluginError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { readIfThere } from './files.ts';
import { Damage, decodeJournal, decodeSnapshot, type RawRecords, type Write } from './format.ts';
import { Records } from './store.ts';

export interface FileStoreOptions<S> {
  /** Of the records' form, from 1. Files of a later version are refused with STATE_VERSION. */
  readonly version: number;
  readonly collections: readonly (keyof S & string)[];
  /** Turns the records of an older version into those of this one. */
  readonly migrate?: (from: number, records: RawRecords) => RawRecords;
  readonly log: Logger;
  /** A damaged file is always kept aside. `refuse` (the default) then fails with STATE_CORRUPT, at every start. */
  readonly onCorrupt?: 'refuse' | 'start-empty';
  /** What an empty state would mean, for the error: a sentence. */
  readonly recovery?: string;
  /** Bytes of journal after which the snapshot is written anew. */
  readonly compactAfter?: number;
  /** Milliseconds within which a disk is quick: everybody may have to wait for a write so long. See `Pace`. */
  readonly quickMs?: number;
}

export const SNAPSHOT = 'snapshot.json';
export const JOURNAL = 'journal.jsonl';
const KEPT = '.corrupt-';

export interface Loaded<S> {
  readonly records: Records<S>;
  readonly n: number;
  readonly journalLength: number;
  readonly torn: number;
  readonly snapshotLength: number;
  /** A snapshot must be written before anything else. */
  readonly rewrite: boolean;
  readonly startedEmpty?: PluginError;
}

/** Reads the two files. Throws STATE_CORRUPT (what is damaged is kept aside) and STATE_VERSION. */
export const load = async <S>(folder: string, options: FileStoreOptions<S>): Promise<Loaded<S>> => {
  const files = { [SNAPSHOT]: join(folder, SNAPSHOT), [JOURNAL]: join(folder, JOURNAL) };
  const [snapshot, journal] = await Promise.all([readIfThere(files[SNAPSHOT]), readIfThere(files[JOURNAL])]);
  const empty = { records: new Records<S>(), n: 0, journalLength: 0, torn: 0, snapshotLength: 0, rewrite: true };
  // A first start that was cut short may leave an empty journal. What was refused before stays refused: a plugin is
  // started again at once, and must not forget everything at the second try.
  const refused = options.onCorrupt !== 'start-empty' && (await readdir(folder)).some((name) => name.includes(KEPT));
  if (snapshot === undefined && (journal?.length ?? 0) === 0 && !refused) return empty;
  let at: keyof typeof files = SNAPSHOT;
  try {
    if (snapshot === undefined) throw new Damage('it is missing');
    const base = decodeSnapshot(snapshot.toString());
    if (base.version > options.version) {
      throw new PluginError('STATE_VERSION', { file: files[SNAPSHOT], found: base.version, known: options.version });
    }
    at = JOURNAL;
    if (journal === undefined) throw new Damage('it is missing');
    const { writes, length, torn } = decodeJournal(journal, base.n);
    const records = rebuild({ ...options, file: files[SNAPSHOT] }, base.version, base.records, base.n, writes);
    const n = Math.max(base.n, writes.at(-1)?.n ?? 0);
    const rewrite = base.version !== options.version;
    return { records, n, journalLength: length, torn, snapshotLength: snapshot.length, rewrite };
  } catch (error) {
    if (!(error instanceof Damage)) throw error;
    const startedEmpty = await setAside(files, at, error.message, options);
    return { ...empty, startedEmpty };
  }
};

/** Snapshot and journal together, in the form of this version. Throws Damage. */
const rebuild = <S>(
  options: FileStoreOptions<S> & { readonly file: string },
  version: number,
  base: RawRecords,
  n: number,
  writes: readonly Write[],
): Records<S> => {
  const raw = new Map(Object.entries(base).map(([name, entries]) => [name, new Map(entries)]));
  const first = writes[0];
  if (first !== undefined && first.n > n + 1) throw new Damage('its first writes are missing');
  for (const write of writes) {
    if (write.n <= n) continue;
    for (const { collection, id, record } of write.changes) {
      const entries = raw.get(collection) ?? new Map<string, unknown>();
      raw.set(collection, entries);
      if (record === undefined) entries.delete(id);
      else entries.set(id, record);
    }
  }
  let plain: RawRecords = Object.fromEntries([...raw].map(([name, entries]) => [name, [...entries]]));
  if (version !== options.version) {
    if (options.migrate === undefined) throw new Error(`no migration of the state from version ${version}`);
    plain = options.migrate(version, plain);
  }
  const records = new Records<S>();
  for (const [collection, entries] of Object.entries(plain)) {
    if (entries.length > 0 && !options.collections.some((name) => name === collection)) {
      const found = `${version} with a collection "${collection}"`;
      throw new PluginError('STATE_VERSION', { file: options.file, found, known: options.version });
    }
    for (const [id, record] of entries) records.apply({ collection, id, record });
  }
  return records;
};

/** Keeps damaged files. Throws STATE_CORRUPT, or answers it when the caller has chosen to start empty. */
const setAside = async (
  files: Readonly<Record<string, string>>,
  at: string,
  reason: string,
  options: Pick<FileStoreOptions<never>, 'log' | 'onCorrupt' | 'recovery'>,
): Promise<PluginError> => {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const file = files[at] ?? at;
  const keep = async (path: string): Promise<string | undefined> => {
    const kept = `${path}${KEPT}${stamp}`;
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return undefined;
    await rename(path, kept);
    return kept;
  };
  const kept = await keep(file);
  const error = new PluginError('STATE_CORRUPT', { file, reason, kept, recovery: options.recovery });
  options.log.error('the state is damaged', { error });
  if (options.onCorrupt !== 'start-empty') throw error;
  // The other file means nothing without this one.
  for (const path of Object.values(files)) await keep(path);
  return error;
};
