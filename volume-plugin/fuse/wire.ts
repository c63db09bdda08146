/** The kernel's FUSE protocol, version 7.31 to 7.45, in numbers: linux/fuse.h. All of it little-endian. */

export const OPCODE = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** What the kernel and the file system agree on in INIT; from bit 32 on they are sent in `flags2`. */
export const INIT_FLAG = {
  ASYNC_READ: 1n << 0n,
  ATOMIC_O_TRUNC: 1n << 3n,
  BIG_WRITES: 1n << 5n,
  DO_READDIRPLUS: 1n << 13n,
  READDIRPLUS_AUTO: 1n << 14n,
  ASYNC_DIO: 1n << 15n,
  PARALLEL_DIROPS: 1n << 18n,
  MAX_PAGES: 1n << 22n,
  CACHE_SYMLINKS: 1n << 23n,
  HANDLE_KILLPRIV_V2: 1n << 28n,
  INIT_EXT: 1n << 30n,
  PASSTHROUGH: 1n << 37n,
  HAS_RESEND: 1n << 39n,
} as const;

/** What an open file is to the kernel. */
export const FOPEN = { DIRECT_IO: 1, KEEP_CACHE: 2, CACHE_DIR: 8, PASSTHROUGH: 128 } as const;

/** Which fields of SETATTR count. */
export const FATTR = {
  MODE: 1,
  UID: 2,
  GID: 4,
  SIZE: 8,
  ATIME: 16,
  MTIME: 32,
  FH: 64,
  ATIME_NOW: 128,
  MTIME_NOW: 256,
  CTIME: 1024,
  KILL_SUIDGID: 2048,
} as const;

export const GETATTR_FH = 1;
export const WRITE_CACHE = 1;
export const WRITE_KILL_SUIDGID = 4;
export const OPEN_KILL_SUIDGID = 1;
export const FSYNC_FDATASYNC = 1;

/** What is told to the kernel unasked: the number stands in the place of an error, in a message without `unique`. */
export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3, DELETE: 6, RESEND: 7 } as const;

/** ioctls of /dev/fuse. */
export const CLONE = 0x8004e500;
export const BACKING_OPEN = 0x4010e501;
export const BACKING_CLOSE = 0x4004e502;

/** Bytes of the structures' heads. */
export const IN_HEADER = 40;
export const OUT_HEADER = 16;
/** Of struct fuse_write_in: the data is behind it. */
export const WRITE_HEADER = IN_HEADER + 40;

/** The kernel sets this bit, of the 64 of `unique`, in what it sends again: here in the upper half. */
export const RESENT_BIT = 0x80000000;

/** Largest piece that is read or written with one request. */
export const MAX_WRITE = 1 << 20;
/** Pages of 4 KiB. */
export const MAX_PAGES = MAX_WRITE / 4096;
/** The kernel refuses reads of /dev/fuse into less than its largest request. */
export const REQUEST_SIZE = MAX_WRITE + 4096;

/** Bytes that programs should read and write at once: stdio does. */
export const BLOCK_SIZE = 65_536;

export const NAME_MAX = 255;
export const ROOT = 1;
