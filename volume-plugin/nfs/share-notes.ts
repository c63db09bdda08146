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
/** Volumes that are made or removed one after the other are written down together. */
const GATHER_MS = 500;

/**
 * Notes on shares, in files of this host: of those that only volumes name, so that they are known at the next start, and of
 * every share's volumes, so that those of a server that does not answer are not taken for removed ones.
 */
export class ShareNotes {
  readonly #folder: string;
  readonly #writing = new KeyedMutex();
  readonly #later = new Set<string>();
  #notes: Map<string, ShareNote> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #log: Logger | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads them all; one that cannot be read is left out, and said to be. */
  async load(log: Logger): Promise<void> {
    if (this.#notes !== undefined) return;
    this.#log = log;
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

  /** Changes the note on a share, durably. */
  async change(share: string, change: Partial<Omit<ShareNote, 'share'>>): Promise<void> {
    const before = this.get(share);
    const blank: ShareNote = { share, wish: { options: {}, readonly: false }, records: [], local: [] };
    const note = { ...blank, ...before, ...change };
    if (before !== undefined && noteText(before) === noteText(note)) return;
    this.#notes?.set(share, note);
    await this.#write(share);
  }

  /**
   * A volume was made on a share, or removed (undefined). That the share is known lasts when this resolves; the volume is
   * written down with others in a moment, for the share itself has it.
   */
  async put(share: string, name: string, record: ShareRecord | undefined): Promise<void> {
    const before = this.get(share);
    const rest = (before?.records ?? []).filter((one) => one.name !== name);
    const records = record === undefined ? rest : [...rest, record];
    if (before === undefined) return await this.change(share, { records });
    this.#notes?.set(share, { ...before, records });
    this.#later.add(share);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, GATHER_MS).unref();
  }

  /** For a volume whose record is kept on this host alone. False: there is none. */
  async forgetLocal(share: string, name: string): Promise<boolean> {
    const { local = [] } = this.get(share) ?? {};
    const rest = local.filter((one) => one.name !== name);
    if (rest.length === local.length) return false;
    await this.change(share, { local: rest });
    return true;
  }

  /** Writes what was not written yet; what fails is said in the log, and written with the next change. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const shares = [...this.#later];
    this.#later.clear();
    for (const share of shares) {
      await this.#write(share).catch((error: unknown) => this.#log?.warn('a note on a share is old', { share, error }));
    }
  }

  #write(share: string): Promise<void> {
    return this.#writing.run(share, async () => {
      const note = this.get(share);
      if (note !== undefined) await replaceFile(this.#file(share), Buffer.from(noteText(note)), () => undefined);
    });
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
