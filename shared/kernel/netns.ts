import { closeSync, constants, openSync } from 'node:fs';
import { asKernelError, KernelError } from './kernel-error.ts';
import { setNamespace } from './syscalls.ts';

const CLONE_NEWNET = 0x40000000;
const OWN = '/proc/thread-self/ns/net';

/** An open network namespace: keeps the namespace alive until closed. */
export interface NetworkNamespace extends Disposable {
  /** -1 after close. */
  readonly fd: number;
  readonly path: string;
  close(): void;
}

/**
 * Opens a network namespace by its path, such as `/run/netns/web` or `/proc/42/ns/net`. The caller closes it.
 * Throws KernelError (ENOENT, EACCES).
 */
export const openNetns = (path: string): NetworkNamespace => {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY);
  } catch (error) {
    const errno = error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : 5;
    throw new KernelError(`open the network namespace ${path}`, errno);
  }
  const close = (): void => {
    if (fd >= 0) closeSync(fd);
    fd = -1;
  };
  return {
    get fd() {
      return fd;
    },
    path,
    close,
    [Symbol.dispose]: close,
  };
};

/**
 * Runs `work` with the calling thread inside the namespace `fd` and comes back, whatever `work` throws. `work` must be
 * synchronous (a promise would go on outside): sockets that it opens belong to that namespace for ever, which is the use of this. Needs CAP_SYS_ADMIN.
 * Kernel source: kernel/nsproxy.c (setns acts on one thread), net/socket.c.
 */
export const insideNetns = <R>(fd: number, work: () => R): R => {
  const home = openSync(OWN, constants.O_RDONLY);
  try {
    enter(fd, `enter the network namespace of descriptor ${fd}`);
    try {
      return work();
    } finally {
      enter(home, 'return to the own network namespace');
    }
  } finally {
    closeSync(home);
  }
};

const enter = (fd: number, what: string): void => {
  try {
    setNamespace(fd, CLONE_NEWNET);
  } catch (error) {
    throw asKernelError(error, what);
  }
};
