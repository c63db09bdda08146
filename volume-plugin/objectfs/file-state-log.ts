import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { codeOf } from '../../shared/error-code.ts';
import { Errno } from '../fuse/file-system.ts';
import type { StateLog, StateRecord } from './state-log.ts';

/** A log is begun anew when it has grown by so many bytes, and to twice what it was begun with. */
const COMPACT_BYTES = 4 * 2 ** 20;
/** Eight digits of CRC-32 and a space stand before each record. */
const HEAD = 9;
/** Records of a compaction are written in pieces of about so many characters. */
const PIECE = 256 * 1024;

const sum = (text: string): string => crc32(text).toString(16).padStart(8, '0');

const lineOf = (record: StateRecord): string => {
  const text = JSON.stringify(record);
  return `${sum(text)} ${text}\n`;
};

const isRecord = (value: unknown): value is StateRecord =>
  typeof value === 'object' && value !== null && 'of' in value && typeof value.of === 'string';

/** Records of a log, and how many bytes of it are whole: what lies behind was torn by a death in the middle of a write. */
export const readRecords = (bytes: Buffer): { readonly records: StateRecord[]; readonly whole: number } => {
  const records: StateRecord[] = [];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) return { records, whole: at };
    const text = bytes.toString('utf8', at + HEAD, end);
    if (bytes.toString('latin1', at, at + HEAD) !== `${sum(text)} `) return { records, whole: at };
    const record: unknown = JSON.parse(text);
    if (!isRecord(record)) return { records, whole: at };
    records.push(record);
    at = end + 1;
  }
};

const asErrno = (error: unknown): Errno => {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new Errno('ENOSPC', 'the disk of the state log is full', error);
  return new Errno('EIO', `the state log cannot be written${code === undefined ? '' : `: ${code}`}`, error);
};

/** A log in one file, a line a record. Not for two processes at once. */
export class FileStateLog implements StateLog {
  readonly #path: string;
  readonly #compactBytes: number;
  readonly #parts: (() => Iterable<StateRecord>)[] = [];
  #left: StateRecord[];
  #fd: number;
  /** Whole lines, in bytes: a line that could be written in part only is cut off again. */
  #size: number;
  #begunWith: number;
  #due: NodeJS.Immediate | undefined;

  /** Errors: those of the disk. */
  constructor(path: string, compactBytes: number = COMPACT_BYTES) {
    this.#path = path;
    this.#compactBytes = compactBytes;
    this.#fd = openSync(path, 'a+', 0o600);
    const bytes = readFileSync(path);
    const { records, whole } = readRecords(bytes);
    if (whole < bytes.length) ftruncateSync(this.#fd, whole);
    this.#left = records;
    this.#size = whole;
    this.#begunWith = 0;
  }

  left(...kinds: readonly string[]): readonly StateRecord[] {
    return this.#left.filter(({ of }) => kinds.includes(of));
  }

  keeps(part: () => Iterable<StateRecord>): void {
    this.#parts.push(part);
  }

  append(...records: readonly StateRecord[]): void {
    let lines = '';
    for (const record of records) lines += lineOf(record);
    this.#write(lines);
    if (this.length > this.#compactBytes && this.#size > 2 * this.#begunWith) this.#compactSoon();
  }

  async sync(): Promise<void> {
    await promisify(fdatasync)(this.#fd).catch((error: unknown) => {
      // A compaction has put another file in its place, and that one was synced.
      if (codeOf(error) !== 'EBADF') throw asErrno(error);
    });
  }

  compact(): void {
    clearImmediate(this.#due);
    this.#due = undefined;
    // The parts know it by now.
    this.#left = [];
    const next = `${this.#path}.next`;
    const fd = openSync(next, 'w', 0o600);
    try {
      let size = 0;
      let lines = '';
      for (const part of this.#parts) {
        for (const record of part()) {
          lines += lineOf(record);
          if (lines.length < PIECE) continue;
          size += writeAll(fd, lines);
          lines = '';
        }
      }
      size += writeAll(fd, lines);
      fsyncSync(fd);
      renameSync(next, this.#path);
      syncFolder(dirname(this.#path));
      this.#size = size;
      this.#begunWith = size;
    } catch (error) {
      closeSync(fd);
      throw asErrno(error);
    }
    closeSync(fd);
    closeSync(this.#fd);
    this.#fd = openSync(this.#path, 'a', 0o600);
  }

  get length(): number {
    return this.#size - this.#begunWith;
  }

  close(): void {
    clearImmediate(this.#due);
    closeSync(this.#fd);
  }

  #write(lines: string): void {
    try {
      this.#size += writeAll(this.#fd, lines);
    } catch (error) {
      ftruncateSync(this.#fd, this.#size);
      throw asErrno(error);
    }
  }

  #compactSoon(): void {
    this.#due ??= setImmediate(() => {
      try {
        this.compact();
      } catch {
        // The long log is as good as it was; the next one that appends comes back to it.
        this.#begunWith = this.#size;
        this.#due = undefined;
      }
    });
  }
}

/** Answers how many bytes it were. */
const writeAll = (fd: number, text: string): number => {
  if (text === '') return 0;
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  return bytes.length;
};

const syncFolder = (path: string): void => {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};
