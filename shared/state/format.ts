/**
 * The two files of a FileStore, as text. Each line is JSON that begins with a checksum of the rest of it:
 * `{"sum":"…","n":7,"changes":[["networks","<id>",{…}],["endpoints","<id>"]]}`. A change without a record deletes. `n`
 * counts the writes: a snapshot holds everything up to its own `n`, so that older lines in the journal do no harm. `d`
 * is the last write that was known to be on the disk when this one was made; without it that is the one before.
 */
import { hash } from 'node:crypto';
import type { Change } from './store.ts';

export interface Write {
  readonly n: number;
  /** The last write that was on the disk by then; `n - 1` when absent. */
  readonly durable?: number;
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

export const encodeWrite = ({ n, durable = n - 1, changes }: Write): string =>
  seal({
    n,
    ...(durable === n - 1 ? {} : { d: durable }),
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
  /** Bytes behind it: writes that a crash cut short before anybody could rely on them. */
  readonly torn: number;
}

/**
 * Reads a journal that goes on behind write `from`. A crash can only have cut off the last write: bytes without a line
 * feed. After a power cut what was not on the disk yet may have holes, which read as zeros: it is dropped, unless a later
 * line says that it had been on the disk. Anything else that is wrong throws Damage.
 */
export const decodeJournal = (bytes: Buffer, from = 0): Journal => {
  const writes: Write[] = [];
  let length = 0;
  while (length < bytes.length) {
    const end = bytes.indexOf(10, length);
    if (end < 0) break;
    const line = bytes.subarray(length, end);
    if (line.includes(0) && lastDurable(bytes.subarray(length + 1)) <= (writes.at(-1)?.n ?? from)) break;
    const what = `line ${writes.length + 1}`;
    const { n, d, changes } = open(line.toString(), what);
    const before = writes.at(-1);
    if (typeof n !== 'number' || !Array.isArray(changes)) throw new Damage(`${what} has another form`);
    if (before !== undefined && n !== before.n + 1) throw new Damage(`a write is missing before ${what}`);
    const durable = typeof d === 'number' ? { durable: d } : {};
    writes.push({ n, ...durable, changes: changes.map(([collection, id, record]) => ({ collection, id, record })) });
    length = end + 1;
  }
  // Without a hole it is one write at most: the beginning of a second one means that a line feed between was damaged.
  if (!bytes.subarray(length).includes(0) && bytes.indexOf(HEAD, length + 1) >= 0) {
    throw new Damage(`line ${writes.length + 1} has no end`);
  }
  return { writes, length, torn: bytes.length - length };
};

/** The last write that any line in `bytes`, wherever it begins, knows to be on the disk; 0 when there is no whole line. */
const lastDurable = (bytes: Buffer): number => {
  let last = 0;
  for (let at = bytes.indexOf(HEAD); at >= 0; at = bytes.indexOf(HEAD, at + 1)) {
    const end = bytes.indexOf(10, at);
    if (end < 0) break;
    try {
      const { n, d } = open(bytes.subarray(at, end).toString(), 'a later line');
      if (typeof n === 'number') last = Math.max(last, typeof d === 'number' ? d : n - 1);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
    }
  }
  return last;
};
