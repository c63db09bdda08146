import { constants } from 'node:fs';
import { Socket } from 'node:net';
import { control, duplicateOnto, readInto, socket } from '../../shared/kernel/syscalls.ts';
import type { Logger } from '../../shared/log.ts';
import { Request, RequestMemory } from './request.ts';
import { REQUEST_SIZE } from './wire.ts';

const F_GETFL = 3;
const F_SETFL = 4;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const ENOENT = 2;
const EAGAIN = 11;
const ENODEV = 19;
const ECONNABORTED = 103;

/** After so many requests, or so long, others get their turn. */
const BURST = 64;
const BURST_MS = 2;
/** Memory of requests whose data is still being used: then the kernel's queue waits. */
const MOST_HELD = 40;
/** Idle memory that is kept. */
const KEPT = 2;

export interface ChannelEvents {
  /** Answers at once, or keeps the request's memory by `hold` until it gives it back. */
  request(request: Request): void;
  /** Unmounted, and every request was answered by the kernel itself. Comes once. */
  ended(): void;
}

/**
 * /dev/fuse, read on the program's one thread. libuv waits for it like for a socket (the descriptor of one is made one of
 * /dev/fuse: Node has no other way to wait for a device), so that nobody waits in a thread, and a request that comes while nothing
 * is to be done costs one wake-up. Then it is read until it is empty.
 */
export class Channel {
  #fd: number;
  readonly #events: ChannelEvents;
  readonly #log: Logger;
  readonly #free: RequestMemory[] = [];
  /** Into which libuv reads the request that wakes this up. */
  #waiting = new RequestMemory(REQUEST_SIZE);
  #held = 0;
  #socket: Socket | undefined;
  #scheduled = false;
  #ended = false;

  /** `fd`: an open /dev/fuse with a mount behind it; stays the caller's. */
  constructor(fd: number, events: ChannelEvents, log: Logger) {
    this.#fd = fd;
    this.#events = events;
    this.#log = log;
  }

  start(): void {
    this.use(this.#fd);
  }

  /** Reads from another descriptor from now on, after the request that is just being served. */
  use(fd: number): void {
    const before = this.#socket;
    this.#fd = fd;
    control(fd, F_SETFL, control(fd, F_GETFL, 0) | constants.O_NONBLOCK);
    this.#wait();
    before?.destroy();
  }

  /** Reads nothing more. */
  stop(): void {
    this.#ended = true;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  /** The request's memory is used until `release`. */
  hold(request: Request): RequestMemory {
    this.#held += 1;
    const { memory } = request;
    if (memory === this.#waiting) this.#waiting = this.#free.pop() ?? new RequestMemory(REQUEST_SIZE);
    else this.#free.pop();
    return memory;
  }

  release(memory: RequestMemory): void {
    const wasFull = this.#held === MOST_HELD;
    this.#held -= 1;
    if (this.#free.length < KEPT) this.#free.push(memory);
    if (!wasFull) return;
    this.#socket?.resume();
    this.#later();
  }

  #wait(): void {
    const fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const waiter = new Socket({
      fd,
      readable: true,
      writable: false,
      onread: {
        // Asked for after each call of `callback`, too.
        buffer: () => this.#waiting.bytes,
        callback: () => {
          this.#woken();
          return this.#held < MOST_HELD;
        },
      },
    });
    this.#socket = waiter;
    // libuv asks the kernel to watch the descriptor in the next turn only: by then it is another one.
    duplicateOnto(this.#fd, fd);
    waiter.on('error', () => this.#rewait(waiter));
    waiter.on('close', () => this.#rewait(waiter));
  }

  /** A read of libuv has failed: was that the end? */
  #rewait(waiter: Socket): void {
    if (this.#ended || this.#socket !== waiter) return;
    this.#socket = undefined;
    waiter.destroy();
    this.#drain();
    if (!this.#ended) this.#wait();
  }

  #woken(): void {
    if (this.#ended) return;
    this.#events.request(new Request(this.#waiting));
    this.#drain();
  }

  #drain(): void {
    const until = performance.now() + BURST_MS;
    for (let count = 0; !this.#ended; count += 1) {
      if (this.#held >= MOST_HELD) {
        this.#socket?.pause();
        return;
      }
      if (count >= BURST || ((count & 7) === 7 && performance.now() > until)) {
        this.#later();
        return;
      }
      const memory = this.#next();
      const got = readInto(this.#fd, memory.bytes, REQUEST_SIZE);
      if (got > 0) this.#events.request(new Request(memory));
      else if (got === -EAGAIN) return;
      else if (got === -ENODEV || got === -ECONNABORTED) this.#end();
      // The kernel took a request back while it was read: the next one.
      else if (got !== -ENOENT) throw new Error(`/dev/fuse could not be read: errno ${-got}`);
    }
  }

  /** What is read into next; it stays the last of the free ones unless it is held. */
  #next(): RequestMemory {
    const last = this.#free.at(-1);
    if (last !== undefined) return last;
    const made = new RequestMemory(REQUEST_SIZE);
    this.#free.push(made);
    return made;
  }

  #later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#ended) this.#drain();
    });
  }

  #end(): void {
    this.stop();
    this.#log.info('unmounted');
    this.#events.ended();
  }
}
