import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import { Errno, type ErrnoName } from '../fuse/file-system.ts';
import { StoreError, type StoreFailure } from '../object/store.ts';

/** What a program is told of a store's refusal; Status and the log have the words. */
const ERRNO_OF: Readonly<Record<StoreFailure, ErrnoName>> = {
  NOT_FOUND: 'ENOENT',
  CONFLICT: 'ESTALE',
  NO_BUCKET: 'EIO',
  DENIED: 'EACCES',
  CREDENTIALS: 'EACCES',
  WRONG_REGION: 'EIO',
  SKEWED: 'EIO',
  THROTTLED: 'EIO',
  FULL: 'EDQUOT',
  READ_ONLY: 'EROFS',
  ARCHIVED: 'EIO',
  UNSUPPORTED: 'ENOTSUP',
  INVALID: 'EIO',
  DAMAGED: 'EIO',
  UNREACHABLE: 'EIO',
  DEADLINE: 'EIO',
};

/** Anything that was thrown, as what a program is told. */
export const asErrno = (thrown: unknown): Errno => {
  if (thrown instanceof Errno) return thrown;
  if (thrown instanceof StoreError) {
    const named = thrown.named === undefined ? '' : ` (${thrown.named})`;
    return new Errno(ERRNO_OF[thrown.failure], `${thrown.failure}${named}: ${thrown.message}`, thrown);
  }
  // The time of a request was over before the store had answered.
  if (thrown instanceof PluginError) return new Errno('EIO', thrown.message, thrown);
  if (codeOf(thrown) === 'ENOSPC') return new Errno('ENOSPC', 'the local disk is full', thrown);
  return new Errno('EIO', thrown instanceof Error ? thrown.message : String(thrown), thrown);
};

export const isFailure = (thrown: unknown, ...failures: readonly StoreFailure[]): boolean =>
  thrown instanceof StoreError && failures.includes(thrown.failure);
