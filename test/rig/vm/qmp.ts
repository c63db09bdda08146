/** QEMU's monitor protocol: https://www.qemu.org/docs/master/interop/qmp-spec.html. A socket serves one client at a time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { JsonLines, type Message } from './json-lines.ts';

const ANSWER_MS = 20_000;

/** QEMU refused a command. `description` is in its own words. */
export class QmpError extends Error {
  readonly description: string;
  constructor(command: string, description: string) {
    super(`QEMU refused ${command}: ${description}`);
    this.name = 'QmpError';
    this.description = description;
  }
}

interface Waiting {
  readonly take: (message: Message) => void;
  readonly fail: (reason: Error) => void;
}

export class Qmp {
  readonly #answers = new Map<string, Waiting>();
  readonly #watchers = new Set<{ readonly wanted: (event: Message) => boolean } & Waiting>();
  #lines: JsonLines | undefined;
  #ended: Error | undefined;
  #greeted: () => void = () => undefined;
  #next = 0;

  private constructor() {
    // Made by `open`.
  }

  /** Connects and takes part. Waits for a socket that is not there yet, or in use, until the deadline. */
  static async open(file: string, timeoutMs = ANSWER_MS): Promise<Qmp> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const qmp = new Qmp();
      const greeted = new Promise<void>((resolve) => {
        qmp.#greeted = resolve;
      });
      try {
        qmp.#lines = await JsonLines.open(
          file,
          (message) => qmp.#take(message),
          (reason) => qmp.#end(reason),
        );
        await within(deadline - performance.now(), `the greeting of ${file}`, greeted);
        await qmp.ask('qmp_capabilities');
        return qmp;
      } catch (error) {
        qmp.close();
        const { code } = error as NodeJS.ErrnoException;
        if ((code !== 'ENOENT' && code !== 'ECONNREFUSED') || performance.now() > deadline) throw error;
        await sleep(20);
      }
    }
  }

  /** False once QEMU has closed the connection: it has ended. */
  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** Runs a command. @throws QmpError when QEMU refuses it, Error when it has ended or does not answer. */
  async ask<T = unknown>(execute: string, args: object = {}, timeoutMs = ANSWER_MS): Promise<T> {
    if (this.#ended) throw this.#ended;
    this.#next += 1;
    const id = String(this.#next);
    const answer = new Promise<Message>((take, fail) => {
      this.#answers.set(id, { take, fail });
    });
    this.#lines?.send({ execute, arguments: args, id });
    try {
      const message = await within(timeoutMs, `QEMU's answer to ${execute}`, answer);
      const error = message['error'] as { desc: string } | undefined;
      if (error) throw new QmpError(execute, error.desc);
      return message['return'] as T;
    } finally {
      this.#answers.delete(id);
    }
  }

  /** Resolves at the next event of that name for which `match` holds. Call it before the command that causes the event. */
  async event(name: string, match: (data: Message) => boolean, timeoutMs: number): Promise<void> {
    if (this.#ended) throw this.#ended;
    let stop: () => void = () => undefined;
    const seen = new Promise<Message>((take, fail) => {
      const watcher = {
        wanted: (event: Message) => event['event'] === name && match((event['data'] ?? {}) as Message),
        ...{ take, fail },
      };
      this.#watchers.add(watcher);
      stop = () => this.#watchers.delete(watcher);
    });
    try {
      await within(timeoutMs, `QEMU's event ${name}`, seen);
    } finally {
      stop();
    }
  }

  close(): void {
    this.#lines?.close();
  }

  #take(message: Message): void {
    if ('QMP' in message) this.#greeted();
    if (typeof message['id'] === 'string') this.#answers.get(message['id'])?.take(message);
    if ('event' in message) for (const watcher of this.#watchers) if (watcher.wanted(message)) watcher.take(message);
  }

  #end(reason: Error): void {
    this.#ended ??= new Error(`QEMU has ended: ${reason.message}`);
    for (const waiting of [...this.#answers.values(), ...this.#watchers]) waiting.fail(this.#ended);
  }
}

/** The promise, or an error that names `what` when it takes longer. */
export async function within<T>(timeoutMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${Math.round(timeoutMs)} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
