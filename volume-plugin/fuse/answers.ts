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
  /** How many of them are about a node. */
  readonly #busy = new Map<number, number>();

  constructor(replies: Replies, log: Logger) {
    this.#replies = replies;
    this.#log = log;
  }

  /** Told of a node that nobody waits for any more. */
  idle: (node: number) => void = () => undefined;

  /** Does anybody wait for an answer about the node? */
  isBusy(node: number): boolean {
    return this.#busy.has(node);
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
    const { key, node } = request;
    this.#waiting.set(key, request);
    this.#busy.set(node, (this.#busy.get(node) ?? 0) + 1);
    answer
      .then((value) => reply(request, value))
      .catch((error: unknown) => this.refuse(request, error))
      .finally(() => this.#answered(key, node));
  }

  #answered(key: number, node: number): void {
    this.#waiting.delete(key);
    const left = (this.#busy.get(node) ?? 1) - 1;
    if (left > 0) {
      this.#busy.set(node, left);
      return;
    }
    this.#busy.delete(node);
    this.idle(node);
  }
}
