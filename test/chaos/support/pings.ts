/** Steady traffic, to see whether something interrupts it. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { childrenOf, pidOf, signal } from '../../rig/command.ts';
import type { Machine } from '../../rig/machine.ts';

export interface PingResult {
  readonly sent: number;
  readonly lost: number;
  /** Milliseconds of the longest time without an answer. */
  readonly gapMs: number;
}

const EVERY_MS = 10;

/** Pings an address from a machine a hundred times a second, until it is stopped. */
export class Pings {
  readonly #pid: number;
  readonly #ended: Promise<string>;

  private constructor(pid: number, ended: Promise<string>) {
    this.#pid = pid;
    this.#ended = ended;
  }

  static async start(machine: Machine, busybox: string, address: string): Promise<Pings> {
    const [file = '', ...args] = machine.inside([busybox, 'ping', '-i', String(EVERY_MS / 1000), address]);
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    return new Pings(await pidOf(child, 'ping'), text(child.stdout));
  }

  /** Ends it and counts. A late answer is an answer. */
  async stop(): Promise<PingResult> {
    // nsenter hands the signal on to nobody: the program is its child.
    for (const child of childrenOf(this.#pid)) signal(child, 'SIGINT');
    return count(await this.#ended);
  }
}

/** Reads `64 bytes from 10.64.0.2: seq=7 ttl=63 time=0.061 ms`. */
function count(output: string): PingResult {
  const seen = [...output.matchAll(/ seq=(\d+) /g)].map(([, seq]) => Number(seq)).sort((a, b) => a - b);
  const sent = (seen.at(-1) ?? 0) + 1;
  let gap = 0;
  for (const [index, seq] of seen.entries()) gap = Math.max(gap, seq - (seen[index - 1] ?? -1) - 1);
  const answered = new Set(seen).size;
  return { sent, lost: sent - answered, gapMs: gap * EVERY_MS };
}
