/** What the kernel asks of a file system, in the form of docs/semantics.md; the wire is session.ts's concern. */

/** An answer that is there at once, or comes later. Failures are thrown as `Errno`. */
export type Answer<T> = T | Promise<T>;

/** Refuses a request: `EIO`, `ENOENT`, … with the number that Linux has for it. */
export class Errno extends Error {
  override readonly name = 'Errno';
  readonly code: ErrnoName;

  constructor(code: ErrnoName, text?: string, cause?: unknown) {
    super(text === undefined ? code : `${code}: ${text}`, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Linux' numbers, the same on x86-64 and arm64. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  ETIMEDOUT: 110,
  EILSEQ: 84,
  ENOTSUP: 95,
  ESTALE: 116,
  EDQUOT: 122,
} as const;
export type ErrnoName = keyof typeof ERRNO;

/** Who asks. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The request's number: the same when the kernel sends it again to the engine's next life. */
  readonly unique: bigint;
  /** It was sent before, to an engine that died: it may have been carried out. */
  readonly resent: boolean;
  /** Whoever asked has been interrupted by a signal: what waits may give up with EINTR. Made only when it is read. */
  readonly signal: AbortSignal;
}

/** Numbers of nodes are whole and below 2^53; the root is 1. Times are in nanoseconds since the epoch. */
export interface Attributes {
  readonly node: number;
  /** Bytes. */
  readonly size: number;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly atime: bigint;
  /** With the file's type: 0o100644. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** Of special files. */
  readonly rdev: number;
}

/** A name that is there, and for how long the kernel may rely on that; milliseconds. Each one counts as a reference until `forget`. */
export interface Entry {
  readonly attributes: Attributes;
  readonly entryMs: number;
  readonly attributesMs: number;
}

export interface TimedAttributes {
  readonly attributes: Attributes;
  readonly attributesMs: number;
}

/** What is to be changed; undefined stays. */
export interface Changes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  /** `now`: by the engine's clock. */
  readonly atime?: bigint | 'now';
  readonly mtime?: bigint | 'now';
  readonly ctime?: bigint;
  /** Of the open file through which it is changed. */
  readonly handle?: number;
  /**
   * The kernel asks for setuid and setgid to be dropped from a file. It comes with a new owner, and alone before each write of
   * whoever is not root: where neither bit is set there is nothing to do, and nothing to keep.
   */
  readonly dropSetId?: boolean;
}

/** An open file or folder. */
export interface Opened {
  readonly handle: number;
  /** The kernel may keep the pages that it has of the file. */
  readonly keepCache: boolean;
  /** Past the page cache. */
  readonly direct?: boolean;
  /**
   * Reads and writes go straight to this local file, by a descriptor of this process: the whole content is there. Where the kernel
   * cannot do that, it asks as usual. As long as it does, all that open the node must be given the file (others are refused with EIO
   * by the kernel, so writers by this process), and none may be when the node is open without it.
   */
  readonly passthrough?: number;
}

/** `node` 0 and no entry: the kernel gets the name only (READDIR), and looks it up if it wants more. */
export interface FolderEntry {
  readonly name: string;
  /** The file's type as in `mode`: 0o040000 for folders. */
  readonly type: number;
  readonly entry?: Entry;
  /** Of this entry; the listing goes on behind it when the kernel gives it back. */
  readonly cookie: number;
}

export interface FileSystemStat {
  readonly blocks: number;
  readonly free: number;
  readonly files: number;
  readonly filesFree: number;
  readonly blockSize: number;
  readonly nameMax: number;
}

/** What the engine can tell the kernel on its own. None of these waits; failures are ignored: the kernel may not know the node. */
export interface Kernel {
  /** Pages and attributes of a node are not what they were; length 0: from `offset` to the end, -1: attributes only. */
  invalidate(node: number, offset: number, length: number): void;
  /** A name in a folder is not what it was. */
  invalidateName(parent: number, name: string): void;
}

/**
 * A file system. What is refused with ENOSYS the kernel never asks for again in the mount's life. While a name is looked up, or a
 * folder read, the kernel lets nobody make, remove or rename anything in that folder. Requests come one after another on one thread; those that wait do not hold up others. Permissions by mode,
 * owner and group were checked by the kernel (`default_permissions`). Names are one component, of up to 255 bytes, valid UTF-8.
 */
export interface FileSystem {
  /** Before the first request of each life of the engine; `kernel` is for its whole life. */
  start(kernel: Kernel): Promise<void>;
  lookup(parent: number, name: string, caller: Caller): Answer<Entry>;
  /** The kernel has given back `count` references. No answer. */
  forget(node: number, count: number): void;
  getattr(node: number, handle: number | undefined, caller: Caller): Answer<TimedAttributes>;
  setattr(node: number, changes: Changes, caller: Caller): Answer<TimedAttributes>;
  readlink(node: number, caller: Caller): Answer<string>;
  symlink(parent: number, name: string, target: string, caller: Caller): Answer<Entry>;
  /** Files, FIFOs, sockets, devices: by the type in `mode`. */
  mknod(parent: number, name: string, mode: number, rdev: number, caller: Caller): Answer<Entry>;
  mkdir(parent: number, name: string, mode: number, caller: Caller): Answer<Entry>;
  unlink(parent: number, name: string, caller: Caller): Answer<void>;
  rmdir(parent: number, name: string, caller: Caller): Answer<void>;
  /** flags: 1 RENAME_NOREPLACE, 2 RENAME_EXCHANGE. */
  rename(from: number, name: string, to: number, newName: string, flags: number, caller: Caller): Answer<void>;
  link(node: number, parent: number, name: string, caller: Caller): Answer<Entry>;
  /** flags: those of open(2). */
  open(node: number, flags: number, caller: Caller): Answer<Opened>;
  create(parent: number, name: string, mode: number, flags: number, caller: Caller): Answer<Entry & Opened>;
  /** Fewer bytes than asked for only at the end. The buffers are not changed after the answer. */
  read(node: number, handle: number, offset: number, length: number, caller: Caller): Answer<readonly Buffer[]>;
  /** `data` is the callee's for as long as the answer is not there; it copies what it needs longer. `cached`: from the page cache, by whoever. */
  write(node: number, handle: number, offset: number, data: Buffer, cached: boolean, caller: Caller): Answer<number>;
  /** A descriptor was closed; comes at each close(2), whose answer this is. */
  flush(node: number, handle: number, caller: Caller): Answer<void>;
  fsync(node: number, handle: number, dataOnly: boolean, caller: Caller): Answer<void>;
  /** The last descriptor was closed. */
  release(node: number, handle: number, caller: Caller): Answer<void>;
  fallocate(node: number, handle: number, mode: number, offset: number, length: number, caller: Caller): Answer<void>;
  /** whence: 3 SEEK_DATA, 4 SEEK_HOLE; others are the kernel's. */
  lseek(node: number, handle: number, offset: number, whence: number, caller: Caller): Answer<number>;
  copyRange(
    from: { readonly node: number; readonly handle: number; readonly offset: number },
    to: { readonly node: number; readonly handle: number; readonly offset: number },
    length: number,
    caller: Caller,
  ): Answer<number>;
  opendir(node: number, caller: Caller): Answer<Opened>;
  /**
   * Entries behind the cookie, `.` and `..` too, as many as there are at hand, a few hundred at most; the session takes what fits.
   * `plus`: with their attributes; those of what did not fit are given back by `forget`.
   */
  readdir(node: number, handle: number, cookie: number, plus: boolean, caller: Caller): Answer<readonly FolderEntry[]>;
  releasedir(node: number, handle: number, caller: Caller): Answer<void>;
  fsyncdir(node: number, handle: number, caller: Caller): Answer<void>;
  statfs(caller: Caller): Answer<FileSystemStat>;
  /** syncfs(2). Linux sends it to virtiofs only (fs/fuse/inode.c, `sync_fs`): here it never comes. */
  syncfs(caller: Caller): Answer<void>;
  getxattr(node: number, name: string, caller: Caller): Answer<Buffer>;
  listxattr(node: number, caller: Caller): Answer<readonly string[]>;
  /** flags: 1 XATTR_CREATE, 2 XATTR_REPLACE. */
  setxattr(node: number, name: string, value: Buffer, flags: number, caller: Caller): Answer<void>;
  removexattr(node: number, name: string, caller: Caller): Answer<void>;
  /** Everything that was acknowledged and is not in the store yet is brought there; `left` is told now and then. */
  drain(left: (bytes: number, files: number) => void): Promise<void>;
  /** For Status: plain numbers and texts. */
  status(): Readonly<Record<string, string | number | boolean>>;
  close(): Promise<void>;
}
