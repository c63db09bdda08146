import { control } from './syscalls.ts';

/**
 * Tells when a descriptor that libuv does not know (a netlink socket) can be read, without a thread that waits: the
 * kernel sends SIGIO, Node turns signals into events, and 20 ms later all of them are one. A slow timer stands by,
 * should a signal be lost.
 * Neither keeps the process alive. Kernel source: fs/fcntl.c, net/socket.c (sock_wake_async).
 */

const F_GETFL = 3;
const F_SETFL = 4;
const F_SETOWN = 8;
const O_ASYNC = 0o20000;
const STAND_BY_MS = 2000;
const GATHER_MS = 20;

const watchers = new Set<() => void>();
let listening = false;
let scheduled = false;

/** Signals come in crowds, most of them of what this process does itself: it reads when it is done with that. */
const wake = (): void => {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    for (const watcher of [...watchers]) watcher();
  }, GATHER_MS).unref();
};

/** Calls `readable` whenever there may be something to read on `fd`, until `close`. Spurious calls happen. */
export const watchReadable = (fd: number, readable: () => void): { close(): void } => {
  if (!listening) {
    // Never taken off again: the default action of SIGIO is to end the process.
    process.on('SIGIO', wake);
    listening = true;
  }
  watchers.add(readable);
  control(fd, F_SETOWN, process.pid);
  control(fd, F_SETFL, control(fd, F_GETFL, 0) | O_ASYNC);
  const timer = setInterval(readable, STAND_BY_MS).unref();
  let open = true;
  return {
    close: () => {
      if (!open) return;
      open = false;
      clearInterval(timer);
      watchers.delete(readable);
      control(fd, F_SETFL, control(fd, F_GETFL, 0) & ~O_ASYNC);
    },
  };
};
