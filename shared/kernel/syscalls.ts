import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import koffi from 'koffi';

/**
 * The system calls that Node has no API for. This is the only file that knows koffi.
 * Every function is synchronous, costs 0.3 to 1 µs, and throws `SystemCallError`; EINTR is repeated here.
 */

/** A system call that failed: `errno` is positive, `name` of the errno such as `ENOENT` is in `errnoName`. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly call: string;
  readonly errno: number;
  readonly errnoName: string;

  constructor(call: string, errno: number) {
    super(`${call}: ${errnoName(errno)} ${errnoText(errno)}`);
    this.call = call;
    this.errno = errno;
    this.errnoName = errnoName(errno);
  }
}

/** `EEXIST` for 17. Numbers that libuv does not know come back as `errno 524`. */
export const errnoName = (errno: number): string => {
  const name = getSystemErrorName(-errno);
  return name.startsWith('Unknown') ? `errno ${errno}` : name;
};

/** `file already exists` for 17. */
export const errnoText = (errno: number): string => {
  const text = getSystemErrorMessage(-errno);
  return text === undefined || text.startsWith('Unknown') ? 'no description' : text;
};

type Value = number | bigint | string | Buffer | null;
interface Native {
  (...values: Value[]): number;
  async(...valuesAndCallback: [...Value[], (error: unknown, result: number) => void]): void;
}

const prototypes = {
  socket: 'int socket(int domain, int type, int protocol)',
  bind: 'int bind(int fd, void *address, uint32_t length)',
  connect: 'int connect(int fd, void *address, uint32_t length)',
  setsockopt: 'int setsockopt(int fd, int level, int option, void *value, uint32_t length)',
  getsockopt: 'int getsockopt(int fd, int level, int option, void *value, void *length)',
  send: 'int64_t send(int fd, void *data, size_t length, int flags)',
  recv: 'int64_t recv(int fd, void *data, size_t length, int flags)',
  poll: 'int poll(void *fds, unsigned long count, int timeout)',
  setns: 'int setns(int fd, int kind)',
  fcntl: 'int fcntl(int fd, int command, int value)',
  ioctl: 'int ioctl(int fd, unsigned long request, void *argument)',
  mount: 'int mount(const char *source, const char *target, const char *type, unsigned long flags, void *data)',
  umount2: 'int umount2(const char *target, int flags)',
  flock: 'int flock(int fd, int operation)',
  read: 'int64_t read(int fd, void *into, size_t length)',
  write: 'int64_t write(int fd, void *from, size_t length)',
  dup3: 'int dup3(int fd, int onto, int flags)',
} as const;

type Call = keyof typeof prototypes;

const loaded = new Map<Call, Native>();
let libc: ReturnType<typeof koffi.load> | undefined;

const native = (name: Call): Native => {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  libc ??= koffi.load('libc.so.6');
  const found: Native = libc.func(prototypes[name]);
  loaded.set(name, found);
  return found;
};

const EINTR = 4;
const EIO = 5;
const EWOULDBLOCK = 11;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Calls `name`, again when a signal came between, and throws when it answers -1. */
const call = (name: Call, ...values: Value[]): number => {
  const found = native(name);
  for (;;) {
    const result = found(...values);
    if (result !== -1) return result;
    const errno = koffi.errno();
    if (errno !== EINTR) throw new SystemCallError(name, errno);
  }
};

/** Like `call`, but answers the negative errno where a failure is an ordinary outcome. */
const attempt = (name: Call, ...values: Value[]): number => {
  const found = native(name);
  for (;;) {
    const result = found(...values);
    if (result !== -1) return result;
    const errno = koffi.errno();
    if (errno !== EINTR) return -errno;
  }
};

/** A close-on-exec socket's descriptor. `type` without SOCK_CLOEXEC. */
export const socket = (domain: number, type: number, protocol: number): number =>
  call('socket', domain, type | 0o2000000, protocol);

export const bind = (fd: number, address: Buffer): void => {
  call('bind', fd, address, address.length);
};

export const connect = (fd: number, address: Buffer): void => {
  call('connect', fd, address, address.length);
};

export const setSocketOption = (fd: number, level: number, option: number, value: Buffer | number): void => {
  const bytes = typeof value === 'number' ? int32(value) : value;
  call('setsockopt', fd, level, option, bytes, bytes.length);
};

/** Fills `value` and answers how many bytes of it are valid. */
export const getSocketOption = (fd: number, level: number, option: number, value: Buffer): number => {
  const length = int32(value.length);
  call('getsockopt', fd, level, option, value, length);
  return length.readInt32LE(0);
};

/** Bytes sent. */
export const send = (fd: number, data: Buffer, length: number, flags = 0): number =>
  call('send', fd, data, length, flags);

/** Like `send`, on a thread of libuv's pool: for requests over which the kernel takes its time. Rejects SystemCallError. */
export const sendLater = (fd: number, data: Buffer, length: number): Promise<void> =>
  new Promise((resolve, reject) => {
    native('send').async(fd, data, length, 0, (error, sent) => {
      if (error !== null && error !== undefined) reject(error);
      // The errno stays on the other thread.
      else if (sent < 0) reject(new SystemCallError('send', EIO));
      else resolve();
    });
  });

/** Bytes received, or the negative errno: EAGAIN and ENOBUFS are ordinary outcomes of a netlink socket. */
export const receive = (fd: number, into: Buffer, flags: number): number =>
  Number(attempt('recv', fd, into, into.length, flags));

/** Waits, blocking the thread, until `fd` can be read or `milliseconds` are over; false when they are. */
export const waitReadable = (fd: number, milliseconds: number): boolean => {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(1, 4);
  return call('poll', entry, 1, milliseconds) > 0;
};

/** Moves the calling thread into a namespace: never await before going back. `kind`: one of CLONE_NEW*. */
export const setNamespace = (fd: number, kind: number): void => {
  call('setns', fd, kind);
};

/** fcntl with an integer argument. */
export const control = (fd: number, command: number, value: number): number => call('fcntl', fd, command, value);

/** ioctl whose argument is memory, which the kernel reads or fills. */
export const deviceControl = (fd: number, request: number, argument: Buffer): number =>
  call('ioctl', fd, request, argument);

/**
 * The same on a thread of libuv's pool, for requests that wait for a disk or a server: only through `blocking`. Rejects
 * SystemCallError, without the true reason.
 */
export const deviceControlLater = (fd: number, request: number, argument: Buffer | null): Promise<number> =>
  new Promise((resolve, reject) => {
    native('ioctl').async(fd, request, argument, (error, result) => {
      if (error !== null && error !== undefined) reject(error);
      // The errno stays on the other thread.
      else if (result < 0) reject(new SystemCallError('ioctl', EIO));
      else resolve(result);
    });
  });

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value, 0);
  return bytes;
};

/** Mounts what is at `source` at `target` as well, or changes a mount's flags: mount(2). May wait for a server. */
export const bindMount = (source: string, target: string, flags: number): void => {
  call('mount', source, target, null, flags, null);
};

/** Takes the lock of an open file for it alone, if nobody has it: false otherwise. It ends with the descriptor, whatever ends that. */
export const tryFileLock = (fd: number): boolean => {
  const outcome = attempt('flock', fd, LOCK_EX | LOCK_NB);
  if (outcome < 0 && outcome !== -EWOULDBLOCK) throw new SystemCallError('flock', -outcome);
  return outcome === 0;
};

/** umount2(2). May wait for a server. */
export const unmount = (target: string, flags: number): void => {
  call('umount2', target, flags);
};

/**
 * read(2) of up to `length` bytes: their count, or the negative errno. Where EAGAIN is an ordinary outcome this costs a tenth
 * of what `fs.readSync` takes to throw.
 */
export const readInto = (fd: number, into: Buffer, length: number): number => Number(attempt('read', fd, into, length));

/** write(2) of the first `length` bytes of `from`: how many were written, or the negative errno. */
export const writeFrom = (fd: number, from: Buffer, length: number): number =>
  Number(attempt('write', fd, from, length));

/** Where bytes are in this process's memory. */
export const addressOf = (bytes: Buffer): bigint => koffi.address(bytes);

/** Makes the descriptor `onto` another one of what `fd` is open on; what it was before is closed. Close-on-exec. */
export const duplicateOnto = (fd: number, onto: number): void => {
  call('dup3', fd, onto, 0o2000000);
};

/** A function of another shared library. Numbers come back as numbers, `const char *` as text, `void *` as a bigint. */
export type Foreign = (...values: (number | bigint | string | null)[]) => unknown;

/**
 * Loads a shared library by its soname, such as `libnftables.so.1`, and answers a function that looks up its symbols by
 * their C prototype. Throws when the library is not installed.
 */
export const loadLibrary = (soname: string): ((prototype: string) => Foreign) => {
  const library = koffi.load(soname);
  return (prototype) => library.func(prototype);
};
