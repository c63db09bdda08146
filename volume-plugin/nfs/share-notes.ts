import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { makeFolder, replaceFile } from '../../shared/state/files.ts';
import type { MountWish } from './mounted-share.ts';
import { parseRecord, recordText, type ShareRecord } from './records.ts';

/** What this host remembers of a share. */
export interface ShareNote {
  /** Its id. */
  readonly share: string;
  /** How it was mounted the last time. */
  readonly wish: MountWish;
  /** The volumes that it had when it was read last. */
  readonly records: readonly ShareRecord[];
  /** Volumes on it whose records cannot be kept there, since nobody can write to it: of this host only. */
  readonly local: readonly ShareRecord[];
}

const FORMAT = 1;
const ENDING = '.json';

/**
 * Notes on shares, in files of this host: of those that only volumes name, so that they are known at the next start, and of
 * every share's volumes, so that those of a server that does not answer are not taken for removed ones.
 */
export class ShareNotes {
  readonly #folder: string;
  readonly #writing = new KeyedMutex();
  #notes: Map<string, ShareNote> | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads them all; one that cannot be read is left out, and said to be. */
  async load(log: Logger): Promise<void> {
    if (this.#notes !== undefined) return;
    await makeFolder(this.#folder);
    const notes = new Map<string, ShareNote>();
    for (const name of await readdir(this.#folder)) {
      if (!name.endsWith(ENDING)) continue;
      const note = parseNote(await readFile(join(this.#folder, name), 'utf8'));
      if (note !== undefined) notes.set(note.share, note);
      else log.warn('a note on a share cannot be read', { file: join(this.#folder, name) });
    }
    this.#notes = notes;
  }

  all(): readonly ShareNote[] {
    return [...(this.#notes?.values() ?? [])];
  }

  get(share: string): ShareNote | undefined {
    return this.#notes?.get(share);
  }

  /** Writes what has changed, durably. */
  async change(share: string, change: Partial<Omit<ShareNote, 'share'>>): Promise<void> {
    await this.#writing.run(share, async () => {
      const before = this.get(share);
      const blank: ShareNote = { share, wish: { options: {}, readonly: false }, records: [], local: [] };
      const note = { ...blank, ...before, ...change };
      const text = noteText(note);
      if (before !== undefined && noteText(before) === text) return;
      await replaceFile(this.#file(share), Buffer.from(text), () => this.#notes?.set(share, note));
    });
  }

  /** A volume was made on a share, or removed (undefined). */
  async put(share: string, name: string, record: ShareRecord | undefined): Promise<void> {
    const rest = (this.get(share)?.records ?? []).filter((one) => one.name !== name);
    await this.change(share, { records: record === undefined ? rest : [...rest, record] });
  }

  async forget(share: string): Promise<void> {
    await this.#writing.run(share, async () => {
      this.#notes?.delete(share);
      await rm(this.#file(share), { force: true });
    });
  }

  #file(share: string): string {
    return join(this.#folder, `${createHash('sha256').update(share).digest('hex').slice(0, 32)}${ENDING}`);
  }
}

const byName = (a: ShareRecord, b: ShareRecord): number => (a.name < b.name ? -1 : 1);

const noteText = ({ records, local, ...rest }: ShareNote): string => {
  const texts = (of: readonly ShareRecord[]) =>
    [...of].sort(byName).map((one) => ({ name: one.name, text: recordText(one) }));
  return `${JSON.stringify({ format: FORMAT, ...rest, records: texts(records), local: texts(local) })}\n`;
};

const recordsIn = (value: unknown): readonly ShareRecord[] =>
  (Array.isArray(value) ? value : []).flatMap((one: unknown) => {
    const { name, text } = (one ?? {}) as Readonly<Record<string, unknown>>;
    return typeof name === 'string' && typeof text === 'string' ? [parseRecord(name, text)] : [];
  });

const parseNote = (text: string): ShareNote | undefined => {
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const { format, share, wish, records, local } = value;
    if (format !== FORMAT || typeof share !== 'string') return undefined;
    const { version, options } = wish as MountWish;
    return {
      share,
      wish: { ...(version !== undefined && { version }), options, readonly: false },
      ...{ records: recordsIn(records), local: recordsIn(local) },
    };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
};
