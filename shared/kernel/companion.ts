import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { type Context, throwIfDone } from '../context.ts';
import type { Logger } from '../log.ts';

/** What of its error output is kept for the log. */
const KEPT = 2_000;

export interface CompanionEvents {
  /** Something that it has sent. */
  message(message: unknown): void;
  /** It has ended, or never began. Comes once; of one that is killed and does not die, as long as it lives, not at all. */
  end(reason: string): void;
}

/**
 * A process of this program's own code that does what may hang, talks with this one in messages, and can be killed. It
 * does not keep this one alive, and should end by itself when the channel to this one closes ('disconnect').
 */
export class Companion {
  readonly #child: ChildProcess;
  #ended = false;

  /**
   * Starts `entry`, a file for Node, with arguments. `flags` are Node's own. Its environment is `env` and
   * nothing of this process's.
   */
  constructor(
    entry: string,
    args: readonly string[],
    flags: readonly string[],
    env: Record<string, string>,
    events: CompanionEvents,
    log: Logger,
  ) {
    const child = spawn(process.execPath, [...flags, entry, ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env,
    });
    this.#child = child;
    let said = '';
    const end = (reason: string): void => {
      if (this.#ended) return;
      this.#ended = true;
      if (said !== '') log.warn('a helper process complained', { entry, said });
      events.end(reason);
    };
    child.on('message', (message) => events.message(message));
    child.on('error', (error) => end(error.message));
    child.on('exit', (status, signal) => end(signal === null ? `ended with ${status}` : `ended by ${signal}`));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, KEPT);
    });
    child.unref();
    child.channel?.unref();
    // A pipe is a socket to Node, which its types do not say.
    if (child.stderr instanceof Socket) child.stderr.unref();
  }

  /** Undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Has the kernel told of its end? */
  get ended(): boolean {
    return this.#ended;
  }

  /** What is sent to one that has ended is lost: `end` tells of that. */
  send(message: object): void {
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** Lets it end by itself: it is told nothing more. */
  dismiss(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  /** Ends it at once. One that waits in the kernel for what never comes may not die; it is not waited for. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/**
 * A small program that is fed lines, with descriptors of this process as its own from 3 on. It should end by itself when its
 * input does; nobody waits for it, and it does not keep this process alive.
 */
export class FedProgram {
  readonly #child: ChildProcess;
  #ended = false;

  /** `environment`: the program's, and nothing of this process's. */
  constructor(
    program: string,
    args: readonly string[],
    descriptors: readonly number[],
    environment: Record<string, string>,
    log: Logger,
  ) {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore', ...descriptors], env: environment });
    this.#child = child;
    const end = (reason: string): void => {
      if (this.#ended) return;
      this.#ended = true;
      log.warn('a helper program has ended', { program, args, reason });
    };
    child.on('error', (error) => end(error.message));
    child.on('exit', (status, signal) => end(signal === null ? `ended with ${status}` : `ended by ${signal}`));
    // One that has ended reads nothing more, which `ended` tells.
    child.stdin?.on('error', (error) =>
      log.debug('a helper program does not listen', { program, reason: error.message }),
    );
    child.unref();
    if (child.stdin instanceof Socket) child.stdin.unref();
  }

  get ended(): boolean {
    return this.#ended;
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Lets it end by itself. */
  dismiss(): void {
    this.#ended = true;
    this.#child.stdin?.end();
  }
}

/** A program that goes on when this process ends. */
export interface Detached {
  readonly pid: number;
  /** Everything that it has said until `word`, or until it ended; `ready` tells which. It is not listened to any more. */
  readonly said: string;
  readonly ready: boolean;
}

/**
 * Starts a program in a session of its own and waits until it says the line `word` on its standard output. One that has said
 * nothing when the context ends is killed. Its error output goes to `errors`, a descriptor. Errors: the context's; the system's, when it
 * cannot be started.
 */
export const startDetached = (
  program: string,
  args: readonly string[],
  environment: Record<string, string>,
  errors: number,
  word: string,
  c: Context,
): Promise<Detached> =>
  new Promise((resolve, reject) => {
    throwIfDone(c);
    const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', errors], env: environment });
    let said = '';
    const finish = (then: () => void): void => {
      c.signal.removeEventListener('abort', late);
      child.stdout?.destroy();
      child.unref();
      then();
    };
    const late = (): void => {
      child.kill('SIGKILL');
      finish(() => reject(c.signal.reason));
    };
    c.signal.addEventListener('abort', late, { once: true });
    child.on('error', (error) => finish(() => reject(error)));
    child.on('close', () => finish(() => resolve({ pid: child.pid ?? 0, said, ready: false })));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-KEPT);
      if (!said.endsWith(`${word}\n`)) return;
      finish(() => resolve({ pid: child.pid ?? 0, said: said.slice(0, -word.length - 1), ready: true }));
    });
  });
