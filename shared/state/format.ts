/**
 * The two files of a FileStore, as text. Each line is JSON that begins with a checksum of the rest of it:
 * `{"sum":"…","n":7,"changes":[["networks","<id>",{…}],["endpoints","<id>"]]}`. A change without a record deletes. `n`
 * counts the writes: a snapshot holds everything up to its own `n`, so that older lines in the journal do no harm.
 */
import { hash } from 'node:crypto';
import type { Change } from './store.ts';

export interface Write {
  readonly n: number;
  readonly changes: readonly Change[];
}

export type RawRecords = Record<string, readonly (readonly [id: string, record: unknown])[]>;

export interface Snapshot {
  readonly version: number;
  readonly n: number;
  readonly records: RawRecords;
}

/** What is wrong with a file, as a clause. */
export class Damage extends Error {}

const DIGITS = 32;
const HEAD = '{"sum":"';
const REST = HEAD.length + DIGITS + 2;

const sumOf = (rest: string): string => hash('sha256', rest, 'hex').slice(0, DIGITS);

const seal = (value: object): string => {
  const rest = JSON.stringify(value).slice(1);
  return `${HEAD}${sumOf(rest)}",${rest}\n`;
};

/** The value of a sealed line (without its line feed). Throws Damage. */
const open = (line: string, what: string): Record<string, unknown> => {
  if (!line.startsWith(HEAD) || line.slice(REST - 2, REST) !== '",') throw new Damage(`${what} has no checksum`);
  const rest = line.slice(REST);
  if (line.slice(HEAD.length, REST - 2) !== sumOf(rest)) throw new Damage(`the checksum of ${what} is wrong`);
  return JSON.parse(`{${rest}`) as Record<string, unknown>;
};

export const encodeWrite = ({ n, changes }: Write): string =>
  seal({
    n,
    changes: changes.map(({ collection, id, record }) =>
      record === undefined ? [collection, id] : [collection, id, record],
    ),
  });

export const encodeSnapshot = ({ version, n, records }: Snapshot): string => seal({ version, n, records });

/** Throws Damage. */
export const decodeSnapshot = (text: string): Snapshot => {
  if (!text.endsWith('\n')) throw new Damage('its end is missing');
  const { version, n, records } = open(text.slice(0, -1), 'the snapshot');
  if (typeof version !== 'number' || typeof n !== 'number' || typeof records !== 'object' || records === null) {
    throw new Damage('the snapshot has another form');
  }
  return { version, n, records: records as RawRecords };
};

export interface Journal {
  readonly writes: readonly Write[];
  /** Bytes up to the end of the last whole line. */
  readonly length: number;
  /** Bytes behind it: a write that was cut short and never acknowledged. */
  readonly torn: number;
}

/**
 * Reads a journal. What was cut off by a crash can only be the last write: bytes without a line feed, or (after a power
 * cut) a last line with holes, which read as zeros. Anything else that is wrong throws Damage.
 */
export const decodeJournal = (bytes: Buffer): Journal => {
  const writes: Write[] = [];
  let length = 0;
  while (length < bytes.length) {
    const end = bytes.indexOf(10, length);
    if (end < 0) break;
    const line = bytes.subarray(length, end);
    if (line.includes(0) && !bytes.includes(10, end + 1)) break;
    const what = `line ${writes.length + 1}`;
    const { n, changes } = open(line.toString(), what);
    const before = writes.at(-1);
    if (typeof n !== 'number' || !Array.isArray(changes)) throw new Damage(`${what} has another form`);
    if (before !== undefined && n !== before.n + 1) throw new Damage(`a write is missing before ${what}`);
    writes.push({ n, changes: changes.map(([collection, id, record]) => ({ collection, id, record })) });
    length = end + 1;
  }
  // One write at most: the beginning of a second one means that a line feed between them was damaged.
  if (bytes.indexOf(HEAD, length + 1) >= 0) throw new Damage(`line ${writes.length + 1} has no end`);
  return { writes, length, torn: bytes.length - length };
};
