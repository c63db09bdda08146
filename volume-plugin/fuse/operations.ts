import type { Answers, Reply } from './answers.ts';
import { changesOf } from './changes.ts';
import {
  type Entry,
  ERRNO,
  Errno,
  type FileSystem,
  type FolderEntry,
  type Opened,
  type TimedAttributes,
} from './file-system.ts';
import type { Replies } from './replies.ts';
import type { Request } from './request.ts';
import { FOPEN, FSYNC_FDATASYNC, GETATTR_FH, OPCODE, RESENT_BIT } from './wire.ts';

const ENOTTY = 25;
/** struct fuse_copy_file_range_in asks for 64 bits, the older answer has 32. */
const MOST_COPIED = 0x7ffff000;
const HIGH = 2 ** 32;

/**
 * Attributes that programs ask for at every file (ls -l for both) and that no file here has: ACLs, which would have to agree with the
 * mode, and SELinux' labels, which are the mount's. Answered without asking the file system.
 */
const NEVER_THERE: Readonly<Record<string, 'ENODATA' | 'ENOTSUP'>> = {
  'security.selinux': 'ENODATA',
  'system.posix_acl_access': 'ENOTSUP',
  'system.posix_acl_default': 'ENOTSUP',
};

export type Operation = (request: Request) => void;

/** What the kernel is to do with an open file. */
export const openFlags = ({ keepCache, direct }: Opened): number =>
  (keepCache ? FOPEN.KEEP_CACHE : 0) | (direct === true ? FOPEN.DIRECT_IO : 0);

/** struct fuse_getattr_in: the open file through which it is asked. */
const handleOf = (r: Request): number | undefined => ((r.u32(0) & GETATTR_FH) === 0 ? undefined : r.u64(8));

/**
 * Operations that ask the file system one thing and answer it, by opcode; the offsets are those of the structures in
 * linux/fuse.h, behind the header. What is not among them the kernel is refused with ENOSYS: it does without, and asks no more. So are extended attributes unless
 * `xattrs`: the kernel keeps nothing of them, and `ls -l` costs two requests for each file.
 */
export const operationsOf = (fs: FileSystem, answers: Answers, replies: Replies, xattrs: boolean): Operation[] => {
  const done: Reply<void> = (to) => replies.failure(to, 0);
  const entry: Reply<Entry> = (to, value) => replies.entry(to, value);
  const attributes: Reply<TimedAttributes> = (to, value) => replies.attributes(to, value);
  const size: Reply<number> = (to, value) => replies.size(to, value);
  const wide: Reply<number> = (to, value) => replies.wide(to, value);
  const data: Reply<readonly Buffer[]> = (to, value) => replies.data(to, value);
  const openedFolder: Reply<Opened> = (to, { handle, keepCache }) =>
    replies.opened(to, handle, keepCache ? FOPEN.KEEP_CACHE | FOPEN.CACHE_DIR : 0, 0);
  const created: Reply<Entry & Opened> = (to, made) => replies.created(to, made, made.handle, openFlags(made));

  const rename = (r: Request, names: number, flags: number): void => {
    const answer = fs.rename(r.node, r.name(names), r.u64(0), r.name(r.behindText(names)), flags, r);
    answers.give(r, answer, done);
  };

  const copy = (r: Request, most: number, reply: Reply<number>): void => {
    const from = { node: r.node, handle: r.u64(0), offset: r.u64(8) };
    const to = { node: r.u64(16), handle: r.u64(24), offset: r.u64(32) };
    answers.give(r, fs.copyRange(from, to, Math.min(r.u64(40), most), r), reply);
  };

  const readFolder = (r: Request, plus: boolean): void => {
    const room = r.u32(16);
    answers.give(r, fs.readdir(r.node, r.u64(0), r.u64(8), plus, r), (to, entries: readonly FolderEntry[]) => {
      const taken = replies.folder(to, entries, room, plus);
      if (!plus) return;
      // What had no room is not known to the kernel, and the two that it knows already are not counted.
      for (const [at, { name, entry }] of entries.entries())
        if (entry !== undefined && (at >= taken || name === '.' || name === '..')) fs.forget(entry.attributes.node, 1);
    });
  };

  /** Size 0 asks for the length of the value. */
  const value =
    (room: number): Reply<Buffer> =>
    (to, bytes) => {
      if (room === 0) replies.size(to, bytes.length);
      else if (bytes.length > room) replies.failure(to, ERRNO.ERANGE);
      else replies.data(to, [bytes]);
    };
  const listed = async (names: readonly string[] | Promise<readonly string[]>): Promise<Buffer> =>
    Buffer.from((await names).map((name) => `${name}\0`).join(''));

  const table: Record<number, Operation> = {
    [OPCODE.LOOKUP]: (r) => answers.give(r, fs.lookup(r.node, r.name(0), r), entry),
    [OPCODE.FORGET]: (r) => fs.forget(r.node, r.u64(0)),
    [OPCODE.BATCH_FORGET]: (r) => {
      const end = 8 + r.u32(0) * 16;
      for (let at = 8; at < end; at += 16) fs.forget(r.u64(at), r.u64(at + 8));
    },
    [OPCODE.GETATTR]: (r) => answers.give(r, fs.getattr(r.node, handleOf(r), r), attributes),
    [OPCODE.SETATTR]: (r) => answers.give(r, fs.setattr(r.node, changesOf(r), r), attributes),
    [OPCODE.READLINK]: (r) =>
      answers.give(r, fs.readlink(r.node, r), (to, text) => replies.data(to, [Buffer.from(text)])),
    [OPCODE.SYMLINK]: (r) => answers.give(r, fs.symlink(r.node, r.name(0), r.text(r.behindText(0)), r), entry),
    [OPCODE.MKNOD]: (r) => answers.give(r, fs.mknod(r.node, r.name(16), r.u32(0), r.u32(4), r), entry),
    [OPCODE.MKDIR]: (r) => answers.give(r, fs.mkdir(r.node, r.name(8), r.u32(0), r), entry),
    [OPCODE.UNLINK]: (r) => answers.give(r, fs.unlink(r.node, r.name(0), r), done),
    [OPCODE.RMDIR]: (r) => answers.give(r, fs.rmdir(r.node, r.name(0), r), done),
    [OPCODE.RENAME]: (r) => rename(r, 8, 0),
    [OPCODE.RENAME2]: (r) => rename(r, 16, r.u32(8)),
    [OPCODE.LINK]: (r) => answers.give(r, fs.link(r.u64(0), r.node, r.name(8), r), entry),
    [OPCODE.CREATE]: (r) => answers.give(r, fs.create(r.node, r.name(16), r.u32(4), r.u32(0), r), created),
    [OPCODE.READ]: (r) => answers.give(r, fs.read(r.node, r.u64(0), r.u64(8), r.u32(16), r), data),
    [OPCODE.FLUSH]: (r) => answers.give(r, fs.flush(r.node, r.u64(0), r), done),
    [OPCODE.FSYNC]: (r) => answers.give(r, fs.fsync(r.node, r.u64(0), (r.u32(8) & FSYNC_FDATASYNC) !== 0, r), done),
    [OPCODE.FALLOCATE]: (r) => answers.give(r, fs.fallocate(r.node, r.u64(0), r.u32(24), r.u64(8), r.u64(16), r), done),
    [OPCODE.LSEEK]: (r) => answers.give(r, fs.lseek(r.node, r.u64(0), r.u64(8), r.u32(16), r), wide),
    [OPCODE.COPY_FILE_RANGE]: (r) => copy(r, MOST_COPIED, size),
    [OPCODE.COPY_FILE_RANGE_64]: (r) => copy(r, Number.MAX_SAFE_INTEGER, wide),
    [OPCODE.OPENDIR]: (r) => answers.give(r, fs.opendir(r.node, r), openedFolder),
    [OPCODE.READDIR]: (r) => readFolder(r, false),
    [OPCODE.READDIRPLUS]: (r) => readFolder(r, true),
    [OPCODE.RELEASEDIR]: (r) => answers.give(r, fs.releasedir(r.node, r.u64(0), r), done),
    [OPCODE.FSYNCDIR]: (r) => answers.give(r, fs.fsyncdir(r.node, r.u64(0), r), done),
    [OPCODE.STATFS]: (r) => answers.give(r, fs.statfs(r), (to, stat) => replies.statfs(to, stat)),
    [OPCODE.SYNCFS]: (r) => answers.give(r, fs.syncfs(r), done),
    [OPCODE.GETXATTR]: (r) => {
      const name = r.text(8);
      const never = NEVER_THERE[name];
      if (never !== undefined) replies.failure(r, ERRNO[never]);
      else answers.give(r, fs.getxattr(r.node, name, r), value(r.u32(0)));
    },
    [OPCODE.LISTXATTR]: (r) => answers.give(r, listed(fs.listxattr(r.node, r)), value(r.u32(0))),
    [OPCODE.SETXATTR]: (r) => {
      const name = r.text(8);
      if (NEVER_THERE[name] !== undefined) throw new Errno('ENOTSUP');
      // Copied: it may be needed for longer than the request's memory.
      const bytes = Buffer.from(r.rest(r.behindText(8), r.u32(0)));
      answers.give(r, fs.setxattr(r.node, name, bytes, r.u32(4), r), done);
    },
    [OPCODE.REMOVEXATTR]: (r) => answers.give(r, fs.removexattr(r.node, r.text(0), r), done),
    [OPCODE.INTERRUPT]: (r) => answers.interrupt(r.u32(0) + (r.u32(4) & ~RESENT_BIT) * HIGH),
    [OPCODE.IOCTL]: (r) => replies.failure(r, ENOTTY),
    [OPCODE.DESTROY]: (r) => replies.failure(r, 0),
  };

  if (!xattrs)
    for (const opcode of [OPCODE.GETXATTR, OPCODE.LISTXATTR, OPCODE.SETXATTR, OPCODE.REMOVEXATTR]) delete table[opcode];
  // ACCESS (the kernel has checked), POLL, BMAP, TMPFILE, STATX (no file has a time of birth), and what is newer.
  const unknown: Operation = (r) => replies.failure(r, ERRNO.ENOSYS);
  const last = Math.max(...Object.values(OPCODE));
  return Array.from({ length: last + 1 }, (_, opcode) => table[opcode] ?? unknown);
};
