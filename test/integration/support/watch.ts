/** A program on a host that tells of changes until it is stopped, such as `ip monitor`. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import type { Machine } from '../../rig/machine.ts';

/** nsenter hands no signals on; whoever forgets to stop it must not leave it behind. */
const SCRIPT = 'timeout 60 "$@" & read _; kill $!; wait $!; [ $? = 143 ] || echo "$1 ended before it was stopped"';

export class Watch {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #told: Promise<string>;

  private constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child;
    this.#told = text(child.stdout);
    child.stdin.on('error', () => undefined);
    child.stderr.resume();
  }

  /** Give it a moment before something happens that it is to tell of. */
  static start(machine: Machine, ...argv: string[]): Watch {
    const [file = '', ...args] = machine.inside(['sh', '-c', SCRIPT, 'sh', ...argv]);
    return new Watch(spawn(file, args, { env: machine.env, stdio: 'pipe' }));
  }

  /** Ends it. Resolves with the lines that it has written, empty ones left out. */
  async stop(): Promise<string[]> {
    this.#child.stdin.end();
    return (await this.#told).split('\n').filter((line) => line.trim() !== '');
  }
}
