/** System calls that programs use on files and Node has none for. Errors are as Node's own: with `code` and `errno`. */
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
type Value = number | bigint | string | Buffer | readonly number[] | null;
type Call = (...values: Value[]) => number | bigint;
const load = (prototype: string): Call => {
  const call: Call = libc.func(prototype);
  return call;
};

const calls = {
  mmap: load('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)'),
  munmap: load('int munmap(void *address, size_t length)'),
  msync: load('int msync(void *address, size_t length, int flags)'),
  fallocate: load('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  copy_file_range: load(
    'int64_t copy_file_range(int a, _Inout_ int64_t *from, int b, _Inout_ int64_t *to, size_t length, uint32_t flags)',
  ),
  posix_fadvise: load('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
  renameat2: load('int renameat2(int a, const char *from, int b, const char *to, uint32_t flags)'),
  mknod: load('int mknod(const char *path, uint32_t mode, uint64_t device)'),
  lseek: load('int64_t lseek(int fd, int64_t offset, int whence)'),
  lsetxattr: load('int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)'),
  lgetxattr: load('int64_t lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)'),
  llistxattr: load('int64_t llistxattr(const char *path, _Out_ uint8_t *names, size_t size)'),
  lremovexattr: load('int lremovexattr(const char *path, const char *name)'),
  flock: load('int flock(int fd, int operation)'),
} as const;

const AT_FDCWD = -100;
const EINTR = 4;
const LONGEST = 65_536;

const call = (name: keyof typeof calls, ...values: Value[]): number => {
  for (;;) {
    const answer = Number(calls[name](...values));
    if (answer >= 0) return answer;
    const errno = koffi.errno();
    if (errno !== EINTR) throw failure(name, errno);
  }
};

const failure = (name: string, errno: number): Error => {
  const known = getSystemErrorName(-errno);
  const code = known.startsWith('Unknown') ? `errno ${errno}` : known;
  return Object.assign(new Error(`${name}: ${code}`), { code, errno: -errno });
};

/** Works with a part of a file as memory (shared, for reading and writing when `writable`). `offset`: of a page. */
export function mapped<T>(
  fd: number,
  offset: number,
  length: number,
  writable: boolean,
  work: (memory: Buffer) => T,
): T {
  const address = calls.mmap(null, length, writable ? 3 : 1, 1, fd, offset);
  if (address === 0xffff_ffff_ffff_ffffn) throw failure('mmap', koffi.errno());
  try {
    const result = work(Buffer.from(koffi.view(address, length)));
    if (writable) call('msync', address, length, 4);
    return result;
  } finally {
    call('munmap', address, length);
  }
}

/** `mode`: linux/falloc.h; 1 keeps the size, 2 punches a hole, 16 zeroes. */
export const fallocate = (fd: number, mode: number, offset: number, length: number): void => {
  call('fallocate', fd, mode, offset, length);
};

/** Answers the bytes that were copied. */
export const copyRange = (from: number, fromAt: number, to: number, toAt: number, length: number): number =>
  call('copy_file_range', from, [fromAt], to, [toAt], length, 0);

/** The kernel forgets what it has of the file and need not write. */
export const dropPages = (fd: number): void => {
  call('posix_fadvise', fd, 0, 0, 4);
};

/** `flags`: 1 RENAME_NOREPLACE, 2 RENAME_EXCHANGE. */
export const renameWith = (from: string, to: string, flags: number): void => {
  call('renameat2', AT_FDCWD, from, AT_FDCWD, to, flags);
};

/** `mode` with the type: FIFOs, sockets and, with a device, devices. */
export const makeNode = (path: string, mode: number, device = 0): void => {
  call('mknod', path, mode, device);
};

/** whence: 3 SEEK_DATA, 4 SEEK_HOLE. */
export const seek = (fd: number, offset: number, whence: number): number => call('lseek', fd, offset, whence);

/** `flags`: 1 XATTR_CREATE, 2 XATTR_REPLACE. */
export const setAttribute = (path: string, name: string, value: Buffer, flags = 0): void => {
  call('lsetxattr', path, name, value, value.length, flags);
};

export const getAttribute = (path: string, name: string): Buffer => {
  const value = Buffer.alloc(LONGEST);
  return value.subarray(0, call('lgetxattr', path, name, value, value.length));
};

export const listAttributes = (path: string): readonly string[] => {
  const names = Buffer.alloc(LONGEST);
  const text = names.toString('latin1', 0, call('llistxattr', path, names, names.length));
  return text.split('\0').filter((name) => name !== '');
};

export const removeAttribute = (path: string, name: string): void => {
  call('lremovexattr', path, name);
};

/** Takes (`exclusive` or shared) or gives back a lock without waiting. False: somebody else has it. */
export const lock = (fd: number, how: 'shared' | 'exclusive' | 'none'): boolean => {
  try {
    call('flock', fd, { shared: 1, exclusive: 2, none: 8 }[how] | 4);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
    throw error;
  }
};
