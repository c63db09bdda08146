import type { RpcCall } from './rpc.ts';
import { MalformedXdr, type XdrReader, type XdrWriter } from './xdr.ts';

/** Compounds of NFS 4: several operations in one call, of which the first that fails is the last. RFC 7530, RFC 8881. */
export const NFS_PROGRAM = 100003;

const COMPOUND = 1;
const LONGEST_TAG = 1024;
const MOST_RESULTS = 128;

/** nfsstat4, as far as something is made of it. */
export const NFS4 = {
  OK: 0,
  PERM: 1,
  NOENT: 2,
  ACCESS: 13,
  NOTDIR: 20,
  NAMETOOLONG: 63,
  DELAY: 10008,
  GRACE: 10013,
  WRONGSEC: 10016,
  MINOR_VERS_MISMATCH: 10021,
  SYMLINK: 10029,
  BADCHAR: 10040,
  BADNAME: 10041,
} as const;

/** Does nothing; a server that has this version answers. */
export const nfsNull = (version: number): RpcCall<void> => ({
  program: NFS_PROGRAM,
  version,
  procedure: 0,
  read: () => undefined,
});

/** One operation: its number, its arguments, and what its results are when it succeeds. */
export interface Operation<T> {
  readonly number: number;
  readonly write?: (args: XdrWriter) => void;
  readonly read?: (results: XdrReader) => T;
}

export interface CompoundResult {
  readonly status: number;
  /** Of the operations that succeeded, in order. */
  readonly results: readonly unknown[];
}

/** A call of these operations, as root, in minor version `minor`. */
export const compound = (minor: number, operations: readonly Operation<unknown>[]): RpcCall<CompoundResult> => ({
  program: NFS_PROGRAM,
  version: 4,
  procedure: COMPOUND,
  credentials: 'root',
  write: (args) => {
    args.text('').u32(minor).u32(operations.length);
    for (const { number, write } of operations) {
      args.u32(number);
      write?.(args);
    }
  },
  read: (results) => readCompound(results, operations),
});

const readCompound = (reader: XdrReader, operations: readonly Operation<unknown>[]): CompoundResult => {
  const status = reader.u32();
  reader.opaque(LONGEST_TAG);
  const count = Math.min(reader.u32(), MOST_RESULTS);
  const results: unknown[] = [];
  for (const operation of operations.slice(0, count)) {
    if (reader.u32() !== operation.number) throw new MalformedXdr('an operation that was not asked for');
    if (reader.u32() !== NFS4.OK) break;
    results.push(operation.read?.(reader));
  }
  if (status === NFS4.OK && results.length < operations.length) throw new MalformedXdr('results are missing');
  return { status, results };
};

const LONGEST_HANDLE = 128;
const TYPE_ATTRIBUTE = 1;
const DIRECTORY = 2;
const LINK = 5;

export type FileKind = 'folder' | 'link' | 'other';

export const putRoot: Operation<undefined> = { number: 24 };

export const putHandle = (handle: Buffer): Operation<undefined> => ({
  number: 22,
  write: (args) => args.opaque(handle),
});

export const getHandle: Operation<Buffer> = { number: 10, read: (results) => results.opaque(LONGEST_HANDLE) };

export const lookUp = (name: string): Operation<undefined> => ({ number: 15, write: (args) => args.text(name) });

/** What is there: the attribute `type` alone. */
export const getKind: Operation<FileKind> = {
  number: 9,
  write: (args) => args.u32(1).u32(1 << TYPE_ATTRIBUTE),
  read: (results) => {
    const words = Math.min(results.u32(), 8);
    for (let word = 0; word < words; word += 1) results.u32();
    if (results.u32() < 4) throw new MalformedXdr('no type');
    const kind = results.u32();
    if (kind === DIRECTORY) return 'folder';
    return kind === LINK ? 'link' : 'other';
  },
};
