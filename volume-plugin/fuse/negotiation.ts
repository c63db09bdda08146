import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';
import type { Request } from './request.ts';
import { INIT_FLAG, MAX_PAGES, MAX_WRITE } from './wire.ts';

/** Kernels since 5.4; before it the lengths of files and answers had other limits. */
const OLDEST_MINOR = 31;
const OURS_MINOR = 45;
const INIT_OUT = 64;
const FILE = 'init.json';

/**
 * What is used where the kernel has it. Locks are left out: the kernel keeps them itself then, for this host. So are the
 * page cache's writing back (its times and sizes would be newer than those here) and AUTO_INVAL_DATA (each read would
 * ask for attributes first).
 */
const WANTED =
  INIT_FLAG.ASYNC_READ |
  INIT_FLAG.ATOMIC_O_TRUNC |
  INIT_FLAG.BIG_WRITES |
  INIT_FLAG.DO_READDIRPLUS |
  INIT_FLAG.ASYNC_DIO |
  INIT_FLAG.PARALLEL_DIROPS |
  INIT_FLAG.MAX_PAGES |
  INIT_FLAG.CACHE_SYMLINKS |
  INIT_FLAG.HANDLE_KILLPRIV_V2 |
  INIT_FLAG.INIT_EXT |
  INIT_FLAG.PASSTHROUGH |
  INIT_FLAG.HAS_RESEND;

/** Requests that the kernel makes ahead of need, such as those of its read-ahead, at once. */
const BACKGROUND = 64;

/** What this mount's kernel and its first engine have agreed on. */
export interface Negotiated {
  readonly minor: number;
  /** INIT_FLAG, those that both have, as a hexadecimal number. */
  readonly flags: string;
}

export const hasFlag = (agreed: Negotiated, flag: bigint): boolean => (BigInt(agreed.flags) & flag) !== 0n;

/** Answers INIT: what was agreed on (nothing of INIT_FLAGs that are unwanted), and the bytes that tell the kernel. Undefined: the kernel is too old. */
export const negotiate = (
  request: Request,
  readAheadBytes: number,
  unwanted: bigint,
): { readonly agreed: Negotiated; readonly answer: Buffer } | undefined => {
  const [major, minor] = [request.u32(0), request.u32(4)];
  if (major !== 7 || minor < OLDEST_MINOR) return undefined;
  const first = BigInt(request.u32(12));
  const offered = (first & INIT_FLAG.INIT_EXT) === 0n ? first : first | (BigInt(request.u32(16)) << 32n);
  const flags = offered & WANTED & ~unwanted;
  const answer = Buffer.alloc(INIT_OUT);
  answer.writeUInt32LE(7, 0);
  answer.writeUInt32LE(Math.min(minor, OURS_MINOR), 4);
  answer.writeUInt32LE(readAheadBytes, 8);
  answer.writeUInt32LE(Number(flags & 0xffffffffn), 12);
  answer.writeUInt16LE(BACKGROUND, 16);
  answer.writeUInt16LE((BACKGROUND * 3) / 4, 18);
  answer.writeUInt32LE(MAX_WRITE, 20);
  // Times are kept to the nanosecond.
  answer.writeUInt32LE(1, 24);
  answer.writeUInt16LE(MAX_PAGES, 28);
  answer.writeUInt32LE(Number(flags >> 32n), 32);
  // Files that the kernel reads itself may not lie on a file system that lies on another one.
  answer.writeUInt32LE((flags & INIT_FLAG.PASSTHROUGH) === 0n ? 0 : 1, 36);
  return { agreed: { minor: Math.min(minor, OURS_MINOR), flags: `0x${flags.toString(16)}` }, answer };
};

/** For the next life of the engine, which the kernel sends no INIT. There before the kernel has the answer. */
export const keepNegotiated = (folder: string, agreed: Negotiated): void => {
  const path = join(folder, FILE);
  writeFileSync(`${path}.new`, JSON.stringify(agreed), { mode: 0o600 });
  renameSync(`${path}.new`, path);
};

/** Undefined: no engine of this mount has answered INIT. */
export const keptNegotiated = (folder: string): Negotiated | undefined => {
  let text: string;
  try {
    text = readFileSync(join(folder, FILE), 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const kept: unknown = JSON.parse(text);
  if (typeof kept !== 'object' || kept === null || !('minor' in kept) || !('flags' in kept))
    throw new Error(`${join(folder, FILE)} is not what an engine has written`);
  return { minor: Number(kept.minor), flags: String(kept.flags) };
};
