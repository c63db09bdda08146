import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Companion } from '../../shared/kernel/companion.ts';
import type { Logger } from '../../shared/log.ts';
import type { Args, Operation, Result, WorkerAnswer } from './worker-wire.ts';

/** Beside this file in the sources, and beside the plugin's own in its image. */
const ENTRIES = ['share-worker.cjs', 'share-worker.ts'];
/** It holds a list of names at most. */
const FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=128'];
/** Threads that may wait for the server at once. */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '8' };

/** How a worker that does not exist any more, or never did, ends what was asked of it. */
export class WorkerEnded extends Error {
  override readonly name = 'WorkerEnded';
}

/** What a system call in a worker has answered. */
export class WorkerRefusal extends Error {
  override readonly name = 'WorkerRefusal';
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

interface Pending {
  /** It was heard of. */
  alive(): void;
  resolve(result: Result<Operation>): void;
  reject(error: Error): void;
}

/** What was asked of a worker. */
export interface Asked<O extends Operation> {
  readonly answer: Promise<Result<O>>;
  /** Nobody waits for it any more: the worker stops what takes long, and its answer goes nowhere. */
  cancel(): void;
}

/** One worker process of a share, and what it was asked. */
export class WorkerProcess {
  readonly #companion: Companion;
  readonly #pending = new Map<number, Pending>();
  readonly #onEnd: () => void;
  readonly #running = Promise.withResolvers<void>();
  #last = 0;
  #killed = false;

  /** `root`: where the share is mounted. */
  constructor(root: string, onEnd: () => void, log: Logger) {
    const entry = ENTRIES.map((name) => join(import.meta.dirname, name)).find((path) => existsSync(path));
    if (entry === undefined) throw new Error('the program of share workers is not installed');
    this.#onEnd = onEnd;
    const events = {
      message: (message: unknown) => this.#hear(message as WorkerAnswer),
      end: (reason: string) => this.#end(reason),
    };
    this.#companion = new Companion(entry, [root], FLAGS, ENVIRONMENT, events, log);
  }

  /** Resolves when it runs, or has failed to. How long that takes says nothing about the server. */
  get running(): Promise<void> {
    return this.#running.promise;
  }

  get pid(): number {
    return this.#companion.pid ?? 0;
  }

  /** Requests that it has not answered, whether or not anybody waits for them. */
  get busy(): number {
    return this.#pending.size;
  }

  get ended(): boolean {
    return this.#companion.ended;
  }

  /** `alive` is called whenever it is heard that the request goes on. Errors: WorkerRefusal, WorkerEnded. */
  ask<O extends Operation>(op: O, args: Args<O>, alive: () => void): Asked<O> {
    this.#last += 1;
    const id = this.#last;
    const { promise, resolve, reject } = Promise.withResolvers<Result<O>>();
    // Whoever asked may give the worker up before it has so much as started, and not look at the answer any more.
    promise.catch(() => undefined);
    // The worker answers each request with what is the answer to its kind.
    this.#pending.set(id, { alive, resolve: (result) => resolve(result as Result<O>), reject });
    if (this.#companion.ended || this.#killed) this.#end('it has ended before');
    else this.#companion.send({ id, op, args });
    return { answer: promise, cancel: () => this.#companion.send({ cancel: id }) };
  }

  /** Ends when what it does is done: nothing more is asked of it. */
  dismiss(): void {
    if (this.#pending.size === 0) this.#companion.dismiss();
  }

  /** What was asked of it has failed from now on, whether or not it dies. */
  kill(): void {
    this.#killed = true;
    this.#companion.kill();
    this.#fail('it was killed, for it did not answer');
  }

  #hear({ id, alive, result, error }: WorkerAnswer): void {
    this.#running.resolve();
    const pending = this.#pending.get(id);
    if (alive === true) {
      pending?.alive();
      return;
    }
    this.#pending.delete(id);
    if (error !== undefined) pending?.reject(new WorkerRefusal(error.code, error.text));
    else if (result !== undefined) pending?.resolve(result);
  }

  #end(reason: string): void {
    this.#fail(reason);
    this.#onEnd();
  }

  #fail(reason: string): void {
    this.#running.resolve();
    const left = [...this.#pending.values()];
    this.#pending.clear();
    for (const one of left) one.reject(new WorkerEnded(reason));
  }
}
