import type { Changes } from './file-system.ts';
import type { Request } from './request.ts';
import { FATTR } from './wire.ts';

const NANO = 1_000_000_000n;

/** A time of SETATTR: seconds and the nanoseconds of it are at different places. */
const timeAt = (request: Request, seconds: number, rest: number): bigint =>
  BigInt(request.s64(seconds)) * NANO + BigInt(request.u32(rest));

/** struct fuse_setattr_in. */
export const changesOf = (request: Request): Changes => {
  const valid = request.u32(0);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const changesOwner = has(FATTR.UID | FATTR.GID);
  return {
    ...(has(FATTR.MODE) && { mode: request.u32(68) }),
    ...(has(FATTR.UID) && { uid: request.u32(76) }),
    ...(has(FATTR.GID) && { gid: request.u32(80) }),
    ...(has(FATTR.SIZE) && { size: request.u64(16) }),
    ...(has(FATTR.ATIME) && { atime: has(FATTR.ATIME_NOW) ? 'now' : timeAt(request, 32, 56) }),
    ...(has(FATTR.MTIME) && { mtime: has(FATTR.MTIME_NOW) ? 'now' : timeAt(request, 40, 60) }),
    ...(has(FATTR.CTIME) && { ctime: timeAt(request, 48, 64) }),
    ...(has(FATTR.FH) && { handle: request.u64(8) }),
    // With HANDLE_KILLPRIV_V2 a new owner takes the bits away without being asked.
    ...((changesOwner || has(FATTR.KILL_SUIDGID)) && { dropSetId: true }),
  };
};
