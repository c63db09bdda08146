import { openSync } from 'node:fs';
import { deviceControl } from '../../shared/kernel/syscalls.ts';
import type { Logger } from '../../shared/log.ts';
import { Answers } from './answers.ts';
import { Channel } from './channel.ts';
import { type Answer, ERRNO, type FileSystem, type Opened } from './file-system.ts';
import { hasFlag, keepNegotiated, keptNegotiated, type Negotiated, negotiate } from './negotiation.ts';
import { Notifier } from './notifier.ts';
import { type Operation, openFlags, operationsOf } from './operations.ts';
import { Passthrough } from './passthrough.ts';
import { setReadAhead } from './read-ahead.ts';
import { Replies } from './replies.ts';
import type { Request } from './request.ts';
import { CLONE, FOPEN, INIT_FLAG, OPCODE, OPEN_KILL_SUIDGID, WRITE_CACHE, WRITE_KILL_SUIDGID } from './wire.ts';

/** Data of writes that is copied out of the request before; more is kept in its place when the answer takes longer. */
const COPIED = 32 * 1024;

export interface SessionOptions {
  /** The engine's: `init.json` and `backing.log` are kept there. */
  readonly folder: string;
  /** KiB that the kernel reads ahead of a reader. */
  readonly readAheadKb: number;
  /** May the kernel read local files by itself? */
  readonly passthrough: boolean;
  /** May the kernel be asked to send again what was not answered? True when absent; kernels before 6.9 cannot. */
  readonly resend?: boolean;
  /** Are there extended attributes? The same in all lives of an engine: the kernel remembers a no. True when absent. */
  readonly xattrs?: boolean;
  readonly log: Logger;
}

/** A mounted file system: takes the kernel's requests from /dev/fuse to a FileSystem, and its answers back. */
export class Session {
  /** Resolves when it was unmounted. */
  readonly ended: Promise<void>;
  readonly #fd: number;
  readonly #fs: FileSystem;
  readonly #options: SessionOptions;
  readonly #log: Logger;
  readonly #channel: Channel;
  readonly #replies: Replies;
  readonly #passthrough: Passthrough;
  readonly #notifier: Notifier;
  readonly #answers: Answers;
  readonly #operations: readonly Operation[];
  #agreed: Negotiated | undefined;

  /** `fd`: /dev/fuse with a mount behind it. */
  constructor(fd: number, fs: FileSystem, options: SessionOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#fd = fd;
    this.#fs = fs;
    this.#options = options;
    this.#log = options.log;
    this.#replies = new Replies(fd, options.log);
    this.#answers = new Answers(this.#replies, options.log);
    const operations = operationsOf(fs, this.#answers, this.#replies, options.xattrs ?? true);
    operations[OPCODE.INIT] = (request) => this.#init(request);
    operations[OPCODE.OPEN] = (request) => this.#open(request);
    operations[OPCODE.WRITE] = (request) => this.#write(request);
    operations[OPCODE.RELEASE] = (request) => this.#release(request);
    this.#operations = operations;
    this.#passthrough = new Passthrough(fd, options.folder, options.log);
    this.#notifier = new Notifier(fd, (node) => this.#answers.isBusy(node), options.log);
    this.#answers.idle = (node) => this.#notifier.idle(node);
    this.#channel = new Channel(fd, { request: (request) => this.#serve(request), ended: resolve }, options.log);
  }

  /** Requests whose answers are waited for. */
  get waiting(): number {
    return this.#answers.waiting;
  }

  /** Serves from now on, first what an engine that died has left unanswered. */
  async start(): Promise<void> {
    this.#agreed = keptNegotiated(this.#options.folder);
    this.#passthrough.start();
    await this.#fs.start(this.#notifier);
    this.#channel.start();
    if (this.#agreed === undefined || hasFlag(this.#agreed, INIT_FLAG.HAS_RESEND)) this.#notifier.resend();
    if (this.#agreed !== undefined) this.#begin(this.#agreed);
  }

  /** From the agreement on, in each life. */
  #begin(agreed: Negotiated): void {
    const { folder, readAheadKb } = this.#options;
    this.#agreed = agreed;
    setReadAhead(folder, readAheadKb, this.#log);
    if (hasFlag(agreed, INIT_FLAG.HAS_RESEND)) return;
    // A kernel that sends nothing again waits for ever, and with it who has asked, for answers of an engine that died; unless
    // the requests came by a descriptor of its own, which dies with it: then they fail.
    const own = openSync('/dev/fuse', 'r+');
    const from = Buffer.alloc(4);
    from.writeInt32LE(this.#fd, 0);
    deviceControl(own, CLONE, from);
    this.#replies.use(own);
    this.#channel.use(own);
  }

  /** Stops reading requests; the mount stays. */
  stop(): void {
    this.#channel.stop();
    this.#notifier.stop();
    this.#passthrough.stop();
  }

  #serve(request: Request): void {
    try {
      const operation = this.#operations[request.opcode];
      if (operation === undefined) this.#replies.failure(request, ERRNO.ENOSYS);
      else operation(request);
    } catch (error) {
      this.#answers.refuse(request, error);
    }
  }

  #open(r: Request): void {
    const flags = r.u32(0);
    const open = (): Answer<Opened> => this.#fs.open(r.node, flags, r);
    const answer = (r.u32(4) & OPEN_KILL_SUIDGID) === 0 ? open() : this.#withoutSetId(r, undefined, open);
    this.#answers.give(r, answer, this.#opened);
  }

  readonly #opened = (to: Request, opened: Opened): void => {
    const { handle, passthrough } = opened;
    const mayPass = this.#agreed !== undefined && hasFlag(this.#agreed, INIT_FLAG.PASSTHROUGH);
    const backing = mayPass && passthrough !== undefined ? this.#passthrough.open(to.node, handle, passthrough) : 0;
    this.#replies.opened(to, handle, backing > 0 ? FOPEN.PASSTHROUGH : openFlags(opened), backing);
  };

  #release(r: Request): void {
    const handle = r.u64(0);
    this.#passthrough.close(handle);
    this.#answers.give(r, this.#fs.release(r.node, handle, r), (to) => this.#replies.failure(to, 0));
  }

  #write(r: Request): void {
    const [handle, offset, size, flags] = [r.u64(0), r.u64(8), r.u32(16), r.u32(20)];
    const bytes = r.rest(40, size);
    const data = size <= COPIED ? Buffer.from(bytes) : bytes;
    const write = (): Answer<number> => this.#fs.write(r.node, handle, offset, data, (flags & WRITE_CACHE) !== 0, r);
    const answer = (flags & WRITE_KILL_SUIDGID) === 0 ? write() : this.#withoutSetId(r, handle, write);
    if (data === bytes && answer instanceof Promise) {
      const memory = this.#channel.hold(r);
      const released = answer.finally(() => this.#channel.release(memory));
      this.#answers.give(r, released, this.#written);
    } else {
      this.#answers.give(r, answer, this.#written);
    }
  }

  readonly #written = (to: Request, size: number): void => this.#replies.size(to, size);

  /** The kernel leaves it to the file system to take setuid and setgid from what others write to. */
  #withoutSetId<T>(r: Request, handle: number | undefined, then: () => Answer<T>): Answer<T> {
    const changes = handle === undefined ? { dropSetId: true } : { dropSetId: true, handle };
    const dropped = this.#fs.setattr(r.node, changes, r);
    return dropped instanceof Promise ? dropped.then(then) : then();
  }

  #init(r: Request): void {
    const { folder, readAheadKb, passthrough, resend = true } = this.#options;
    const unwanted = (passthrough ? 0n : INIT_FLAG.PASSTHROUGH) | (resend ? 0n : INIT_FLAG.HAS_RESEND);
    const outcome = negotiate(r, readAheadKb * 1024, unwanted);
    if (outcome === undefined) {
      this.#log.error('the kernel is too old for this file system: it takes Linux 5.4', { minor: r.u32(4) });
      this.#replies.failure(r, ERRNO.EIO);
      return;
    }
    keepNegotiated(folder, outcome.agreed);
    this.#replies.data(r, [outcome.answer]);
    this.#begin(outcome.agreed);
    this.#log.info('mounted', { ...outcome.agreed });
  }
}
