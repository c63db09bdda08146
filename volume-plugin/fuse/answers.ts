import type { Logger } from '../../shared/log.ts';
import { type Answer, ERRNO, Errno } from './file-system.ts';
import type { Replies } from './replies.ts';
import type { Request } from './request.ts';

/** Sends what was answered in the form in which the kernel wants it. */
export type Reply<T> = (to: Request, value: T) => void;

/** Answers that are there, promised, or refused: whatever a file system does, each request gets one. */
export class Answers {
  readonly #replies: Replies;
  readonly #log: Logger;
  /** What was promised an answer, by number. */
  readonly #waiting = new Map<number, Request>();

  constructor(replies: Replies, log: Logger) {
    this.#replies = replies;
    this.#log = log;
  }

  /** Requests whose answers are waited for. */
  get waiting(): number {
    return this.#waiting.size;
  }

  give<T>(request: Request, answer: Answer<T>, reply: Reply<T>): void {
    if (answer instanceof Promise) this.#later(request, answer, reply);
    else reply(request, answer);
  }

  /** Whoever waits for the answer got a signal. What was answered already does not wait. */
  interrupt(number: number): void {
    this.#waiting.get(number)?.interrupt();
  }

  /** An Errno is an answer; anything else is a mistake of the program, and an input/output error to whoever asked. */
  refuse(request: Request, error: unknown): void {
    const { opcode: operation, node } = request;
    if (error instanceof Errno) {
      if (error.cause !== undefined) this.#log.info('an operation was refused', { operation, node, error });
      this.#replies.failure(request, ERRNO[error.code]);
      return;
    }
    this.#log.error('an operation has failed', { operation, node, error });
    this.#replies.failure(request, ERRNO.EIO);
  }

  #later<T>(request: Request, answer: Promise<T>, reply: Reply<T>): void {
    this.#waiting.set(request.key, request);
    answer
      .then((value) => reply(request, value))
      .catch((error: unknown) => this.refuse(request, error))
      .finally(() => this.#waiting.delete(request.key));
  }
}
