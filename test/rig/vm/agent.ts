/**
 * Runs programs in a guest through QEMU's guest agent, over a virtual serial port: no network takes part, so it works in
 * partitions, too. https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError, failure, type Outcome } from '../command.ts';
import { JsonLines, type Message } from './json-lines.ts';
import { within } from './qmp.ts';

export interface GuestRunOptions {
  /** Deadline in milliseconds; the program goes on in the guest. Default 60,000. */
  readonly timeoutMs?: number;
  readonly input?: string;
}

interface Status {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
}

const decode = (text = ''): string => Buffer.from(text, 'base64').toString('utf8');

export class GuestAgent {
  readonly #file: string;
  /** The port has one reader: requests wait for each other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  /** Runs a program in the guest to its end. A non-zero exit is an outcome. @throws CommandError at the deadline. */
  async exec(argv: readonly string[], options: GuestRunOptions = {}): Promise<Outcome> {
    const [path, ...arg] = argv;
    const timeoutMs = options.timeoutMs ?? 60_000;
    const started = performance.now();
    const left = (): number => timeoutMs - (performance.now() - started);
    const { input } = options;
    const { pid } = await this.#ask<{ pid: number }>(
      'guest-exec',
      {
        ...{ path, arg, 'capture-output': true },
        ...(input === undefined ? {} : { 'input-data': Buffer.from(input).toString('base64') }),
      },
      left(),
    );
    for (let pause = 20; ; pause = Math.min(300, pause * 1.5)) {
      const status = await this.#ask<Status>('guest-exec-status', { pid }, Math.max(1_000, left()));
      if (status.exited) {
        const [stdout, stderr] = [decode(status['out-data']), decode(status['err-data'])];
        return { code: status.exitcode ?? null, stdout, stderr, ms: performance.now() - started };
      }
      if (left() < 0) throw new CommandError(`${argv.join(' ')} did not end within ${timeoutMs} ms in the guest`);
      await sleep(pause);
    }
  }

  /** Like `exec`, but a failure throws; returns standard output without the final newline. */
  async must(argv: readonly string[], options: GuestRunOptions = {}): Promise<string> {
    const outcome = await this.exec(argv, options);
    if (outcome.code !== 0) throw failure(argv, outcome);
    return outcome.stdout.replace(/\n$/, '');
  }

  /** True when the guest answers in this time: it is neither frozen nor off. */
  async answers(timeoutMs: number): Promise<boolean> {
    try {
      await this.#ask('guest-ping', {}, timeoutMs);
      return true;
    } catch (error) {
      if (error instanceof Error) return false;
      throw error;
    }
  }

  async #ask<T>(execute: string, args: object, timeoutMs: number): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    const turn = this.#last.then(async () => await this.#exchange(execute, args, deadline - performance.now()));
    this.#last = turn.catch(() => undefined);
    return (await turn) as T;
  }

  /** One connection for each request: what an earlier one left unread ends with it, and `guest-sync` skips the rest. */
  async #exchange(execute: string, args: object, timeoutMs: number): Promise<unknown> {
    const id = randomInt(2 ** 31);
    let settle: { resolve: (value: unknown) => void; reject: (reason: Error) => void } | undefined;
    const answer = new Promise<unknown>((resolve, reject) => {
      settle = { resolve, reject };
    });
    // Nobody may be waiting yet when the connection ends.
    answer.catch(() => undefined);
    let synced = false;
    const lines = await JsonLines.open(
      this.#file,
      (message: Message) => {
        if (!synced) {
          if (message['return'] !== id) return;
          synced = true;
          lines.send({ execute, arguments: args });
          return;
        }
        const error = message['error'] as { desc: string } | undefined;
        if (error) settle?.reject(new CommandError(`the guest refused ${execute}: ${error.desc}`));
        else settle?.resolve(message['return']);
      },
      (reason) => settle?.reject(reason),
    );
    lines.send({ execute: 'guest-sync', arguments: { id } });
    try {
      return await within(timeoutMs, `the guest's answer to ${execute}`, answer);
    } finally {
      lines.close();
    }
  }
}
