import { codeOf } from '../../shared/error-code.ts';
import { ERRNO, Errno, type ErrnoName } from '../fuse/file-system.ts';
import { StoreError } from '../object/store.ts';
import { isFailure, asErrno as ofOthers } from './store-errno.ts';

const isErrno = (code: string): code is ErrnoName => code in ERRNO;

/** Anything that was thrown while bytes were brought from or to somewhere, as what the program is told. */
export const asErrno = (thrown: unknown): Errno => {
  if (thrown instanceof Errno) return thrown;
  // Of an open file, not of a name.
  if (isFailure(thrown, 'NOT_FOUND')) return new Errno('ESTALE', 'the object is gone', thrown);
  if (thrown instanceof Error && thrown.name === 'AbortError') return new Errno('EINTR', undefined, thrown);
  const code = codeOf(thrown);
  // A quota of the local disk is not the bucket's.
  if (code === 'EDQUOT' || code === 'EFBIG') return new Errno('ENOSPC', 'of the local disk', thrown);
  if (code !== undefined && isErrno(code)) return new Errno(code, 'of the local disk', thrown);
  return ofOthers(thrown);
};

/** Did a call to a store fail because what is there is not what had to be there? */
export const isLost = (error: unknown): boolean => isFailure(error, 'CONFLICT', 'NOT_FOUND');

export const isPassing = (error: unknown): boolean => error instanceof StoreError && error.passing;
