import { closeSync } from 'node:fs';
import { eachMessage, type Message, MessageWriter } from './attribute.ts';
import { asKernelError, KernelError } from './kernel-error.ts';
import { failureOf, lost } from './netlink-outcome.ts';
import type { Request } from './netlink-request.ts';
import { type NetlinkOptions, openSocket } from './netlink-socket.ts';
import { receive, send, sendLater, waitReadable } from './syscalls.ts';

/**
 * A netlink socket with synchronous transactions. The kernel handles a request inside send(2), so that the answer is
 * there when send returns: no wait, no promise, 7 µs for a route.
 * Kernel source: net/netlink/af_netlink.c, include/uapi/linux/netlink.h.
 */

const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_DUMP_INTR = 0x10;
const NLM_F_DUMP = 0x300;

const ENOBUFS = 105;
const EAGAIN = 11;
const EINTR = 4;
const ETIMEDOUT = 110;

/** Acknowledgements of so many messages always fit the receive buffer. */
const BATCH = 64;
const DUMP_ATTEMPTS = 10;
/** The kernel answers in-line; this is only a net below that. */
const ANSWER_TIMEOUT_MS = 2000;

export class Netlink implements Disposable {
  #fd: number;
  readonly #writer = new MessageWriter(16384);
  #buffer = Buffer.alloc(65536);
  #sequence = 1;

  /** `protocol`: NETLINK_ROUTE (0), NETLINK_NETFILTER (12) …. Throws KernelError. */
  constructor(protocol: number, options: NetlinkOptions = {}) {
    this.#fd = openSocket(protocol, options);
  }

  /** The socket's descriptor; -1 after close, which every call then refuses with EBADF. */
  get fd(): number {
    return this.#fd;
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd >= 0) closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Runs requests in order, many in one send. All are attempted, also after one that failed; the first failure is
   * thrown when all are done. A request that cannot be expressed (RangeError) stops everything before anything is sent.
   */
  run(...requests: readonly Request[]): void {
    for (const failure of this.attempt(requests)) if (failure !== undefined) throw failure;
  }

  /** Like `run`, but answers one slot a request: undefined when it succeeded. `visit` sees what requests answer. */
  attempt(requests: readonly Request[], visit: (message: Message) => void = ignore): (KernelError | undefined)[] {
    const failures: (KernelError | undefined)[] = [];
    for (let at = 0; at < requests.length; at += BATCH) {
      failures.push(...this.#transact(requests.slice(at, at + BATCH), visit));
    }
    return failures;
  }

  /**
   * Runs requests of netfilter's part `subsystem` as one transaction: all of them or, when one is refused, none. Throws
   * the first refusal. At least one request.
   */
  transaction(subsystem: number, requests: readonly Request[]): void {
    const frame = (type: number, what: string): Request => ({
      type,
      flags: 0,
      what,
      silent: true,
      write: (writer) => writer.body(4, (buffer, at) => buffer.writeUInt16BE(subsystem, at + 2)),
    });
    const what = requests[0]?.what ?? 'do nothing';
    const all = [frame(NFNL_MSG_BATCH_BEGIN, what), ...requests, frame(NFNL_MSG_BATCH_END, what)];
    for (const failure of this.#transact(all, ignore)) if (failure !== undefined) throw failure;
  }

  /** A request whose answer is one message; undefined when it is `absent`. Throws KernelError. */
  ask<T>(request: Request, parse: (message: Message) => T): T | undefined {
    const sequence = this.#sequence;
    this.#send([request], false);
    let answer: { readonly found: T } | { readonly failure: KernelError | undefined } | undefined;
    while (answer === undefined) {
      const datagram = this.#receive(request.what);
      if (datagram === undefined) throw lost(request);
      eachMessage(datagram, (message) => {
        if (message.sequence !== sequence || answer !== undefined) return;
        answer = message.type === NLMSG_ERROR ? { failure: failureOf(message, request) } : { found: parse(message) };
      });
    }
    if ('found' in answer) return answer.found;
    if (answer.failure !== undefined) throw answer.failure;
    return undefined;
  }

  /**
   * A whole table. `parse` answers undefined for messages to leave out. When the table changed under the dump, or the
   * receive buffer overflowed, the dump starts again, up to ten times; then it throws KernelError EINTR.
   */
  dump<T>(request: Request, parse: (message: Message) => T | undefined): T[] {
    for (let round = 0; round < DUMP_ATTEMPTS; round++) {
      try {
        const found = this.#dumpOnce(request, parse);
        if (found !== undefined) return found;
      } catch (error) {
        // A dump that was left half-way would make the kernel refuse the next one (EBUSY).
        this.#drain();
        throw error;
      }
    }
    throw new KernelError(request.what, EINTR, `the table changed during each of ${DUMP_ATTEMPTS} readings`);
  }

  /**
   * Visits what has arrived of the groups that the socket listens to, at most about `limit` messages, without waiting.
   * `overflow`: the kernel dropped events; only a fresh dump tells what is.
   */
  takeEvents(visit: (message: Message) => void, limit: number): 'empty' | 'more' | 'overflow' {
    let seen = 0;
    while (seen < limit) {
      const length = receive(this.#fd, this.#buffer, MSG_DONTWAIT | MSG_TRUNC);
      if (length === -EAGAIN) return 'empty';
      if (length === -ENOBUFS || length > this.#buffer.length) return 'overflow';
      if (length < 0) throw new KernelError('receive events', -length);
      eachMessage(this.#buffer.subarray(0, length), (message) => {
        seen++;
        visit(message);
      });
    }
    return 'more';
  }

  /** Undefined: interrupted, to be tried again. */
  #dumpOnce<T>(request: Request, parse: (message: Message) => T | undefined): T[] | undefined {
    const sequence = this.#sequence;
    this.#send([{ ...request, flags: request.flags | NLM_F_DUMP }], false);
    const found: T[] = [];
    let ended = false;
    let broken = false;
    let failure: KernelError | undefined;
    while (!ended) {
      const datagram = this.#receive(request.what);
      if (datagram === undefined) return undefined;
      eachMessage(datagram, (message) => {
        if (message.sequence !== sequence || ended) return;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) broken = true;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          ended = true;
          failure = failureOf(message, request);
          return;
        }
        const parsed = parse(message);
        if (parsed !== undefined) found.push(parsed);
      });
    }
    if (failure !== undefined) throw failure;
    return broken ? undefined : found;
  }

  /**
   * Like `attempt`, but waits on a thread of libuv's pool while the kernel works: for requests that take it long. At
   * most 64 requests; the socket must not be used for anything else until the promise is settled.
   */
  async attemptLater(requests: readonly Request[]): Promise<(KernelError | undefined)[]> {
    if (requests.length > BATCH) throw new RangeError(`${requests.length} requests in one call`);
    const first = this.#sequence;
    const bytes = this.#compose(requests, true);
    try {
      await sendLater(this.#fd, bytes, bytes.length);
    } catch (error) {
      throw asKernelError(error, requests[0]?.what ?? 'talk to the kernel');
    }
    return this.#collect(requests, first, ignore);
  }

  #transact(requests: readonly Request[], visit: (message: Message) => void): (KernelError | undefined)[] {
    const first = this.#sequence;
    this.#send(requests, true);
    return this.#collect(requests, first, visit);
  }

  /**
   * The outcomes of requests that were sent with sequence numbers from `first` on. The kernel tells each failure in its
   * turn, and acknowledges the last request: then all are done.
   */
  #collect(
    requests: readonly Request[],
    first: number,
    visit: (message: Message) => void,
  ): (KernelError | undefined)[] {
    const failures: (KernelError | undefined)[] = requests.map(() => undefined);
    const last = lastSpoken(requests);
    let done = last < 0;
    while (!done) {
      const datagram = this.#receive(requests[0]?.what ?? 'talk to the kernel');
      // The receive buffer overflowed: every request was carried out, but for some nobody knows with which result.
      if (datagram === undefined) return failures.map((failure, slot) => failure ?? lost(requests[slot]));
      eachMessage(datagram, (message) => {
        const slot = message.sequence - first;
        const request = requests[slot];
        if (request === undefined) return;
        if (message.type !== NLMSG_ERROR) {
          visit(message);
          return;
        }
        failures[slot] = failureOf(message, request);
        done ||= slot === last || request.silent === true;
      });
    }
    return failures;
  }

  #send(requests: readonly Request[], acknowledge: boolean): void {
    const bytes = this.#compose(requests, acknowledge);
    try {
      send(this.#fd, bytes, bytes.length);
    } catch (error) {
      throw asKernelError(error, requests[0]?.what ?? 'talk to the kernel');
    }
  }

  #compose(requests: readonly Request[], acknowledge: boolean): Buffer {
    const writer = this.#writer;
    const last = acknowledge ? lastSpoken(requests) : -1;
    writer.reset();
    requests.forEach((request, slot) => {
      const flags = request.flags | NLM_F_REQUEST | (slot === last ? NLM_F_ACK : 0);
      writer.begin(request.type, flags, this.#sequence);
      this.#sequence = (this.#sequence % 0x7fffffff) + 1;
      request.write(writer);
      writer.finish();
    });
    return writer.bytes;
  }

  /** One datagram, valid until the next call; undefined when something was lost (then everything stale is drained). */
  #receive(what: string): Buffer | undefined {
    for (;;) {
      const length = receive(this.#fd, this.#buffer, MSG_DONTWAIT | MSG_TRUNC);
      if (length >= 0 && length <= this.#buffer.length) return this.#buffer.subarray(0, length);
      if (length > this.#buffer.length) {
        this.#buffer = Buffer.alloc(length * 2);
        this.#drain();
        return undefined;
      }
      if (length === -ENOBUFS) {
        this.#drain();
        return undefined;
      }
      if (length !== -EAGAIN) throw new KernelError(what, -length);
      if (!waitReadable(this.#fd, ANSWER_TIMEOUT_MS))
        throw new KernelError(what, ETIMEDOUT, 'the kernel did not answer');
    }
  }

  /** Empties the socket: a dump under way goes on until its end, which is where the next one may begin. */
  #drain(): void {
    for (;;) {
      const length = receive(this.#fd, this.#buffer, MSG_DONTWAIT | MSG_TRUNC);
      if (length < 0 && length !== -ENOBUFS) return;
    }
  }
}

const ignore = (): undefined => undefined;

/** The place of the last request that the kernel acknowledges. */
const lastSpoken = (requests: readonly Request[]): number => requests.findLastIndex(({ silent }) => silent !== true);
