/** Running programs for the rig: argument arrays, captured output, and a deadline for everything. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What came of one program run. `code` is null when a signal ended it. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Wall-clock time in milliseconds. */
  readonly ms: number;
}

export interface RunOptions {
  /** Deadline in milliseconds; afterwards the program and its children are killed and `run` rejects. Default 60,000. */
  readonly timeoutMs?: number;
  /** Text for standard input; without it the program reads /dev/null. */
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Kills the program and its children; what came of it until then is the outcome. */
  readonly killed?: AbortSignal;
}

/** A program that could not be started, ran past its deadline, or (from `must`) answered with a failure. */
export class CommandError extends Error {
  readonly outcome: Outcome | undefined;
  constructor(message: string, outcome?: Outcome) {
    super(message);
    this.name = 'CommandError';
    this.outcome = outcome;
  }
}

/** Pids of the direct children of `pid`; empty when it is gone. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** True for the errors that a process or file that has just gone away causes. */
export function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ESRCH' || code === 'EINVAL' || code === 'ENOTDIR';
}

/** Sends a signal; a process that is already gone is fine. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Kills a process that this program started and everything below it, children first (nsenter leaves its child behind otherwise). */
export function killTree(pid: number): void {
  for (const child of childrenOf(pid)) killTree(child);
  signal(pid, 'SIGKILL');
}

/** When a process started, in clock ticks since boot: with the pid this names one process for ever. Undefined when it is gone or a zombie. */
export function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Runs a program to its end. A non-zero exit is an outcome, not an error. @throws CommandError when it cannot start or misses the deadline. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [file = '', ...args] = argv;
  const started = performance.now();
  const child = spawn(file, args, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...(options.env ? { env: options.env } : {}),
    ...(options.cwd ? { cwd: options.cwd } : {}),
  });
  const timeoutMs = options.timeoutMs ?? 60_000;
  return await new Promise<Outcome>((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    let late = false;
    const kill = (): void => {
      if (child.pid !== undefined) killTree(child.pid);
    };
    const timer = setTimeout(() => {
      late = true;
      kill();
    }, timeoutMs);
    const { killed } = options;
    killed?.addEventListener('abort', kill, { once: true });
    const ends = (): void => {
      clearTimeout(timer);
      killed?.removeEventListener('abort', kill);
    };
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // A program may end without reading its input: its exit code says what happened.
    child.stdin?.on('error', (error) => {
      stderr += `standard input: ${error.message}\n`;
    });
    child.stdin?.end(options.input);
    child.on('error', (error) => {
      ends();
      reject(new CommandError(`${file} could not be started: ${error.message}`));
    });
    child.on('close', (code) => {
      ends();
      const outcome = { code, stdout, stderr, ms: performance.now() - started };
      if (late) reject(new CommandError(`${argv.join(' ')} did not end within ${timeoutMs} ms`, outcome));
      else resolve(outcome);
    });
  });
}

/** Like `run`, but a non-zero exit rejects with the program's own words. Returns standard output without the final newline. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const outcome = await run(argv, options);
  if (outcome.code !== 0) throw failure(argv, outcome);
  return outcome.stdout.replace(/\n$/, '');
}

/** The error for a program that answered with a failure. */
export function failure(argv: readonly string[], outcome: Outcome): CommandError {
  const words = (outcome.stderr.trim() || outcome.stdout.trim() || 'no output').slice(-2000);
  return new CommandError(`${argv.join(' ')} failed (exit ${outcome.code}): ${words}`, outcome);
}

/** What takes longer does not come any more. On a busy machine (load 17) a volume has taken more than 15 s to leave its host. */
const HANG_MS = 30_000;

/**
 * Polls until `probe` returns something other than undefined or false. The deadline is there for what hangs: a test of how soon
 * something is there looks at the clock itself. @throws Error naming `what` at the deadline.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<Exclude<T, undefined | false>> {
  const timeoutMs = options.timeoutMs ?? HANG_MS;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(options.everyMs ?? 20);
  }
}

/** Resolves when the process has ended and was reaped. */
export async function ended(pid: number, timeoutMs: number): Promise<void> {
  const born = startTime(pid);
  await until(`the end of process ${pid}`, () => startTime(pid) === undefined || startTime(pid) !== born, {
    timeoutMs,
  });
}

/** Pid of a child that was started, or an error naming the program. */
export async function pidOf(child: ChildProcess, name: string): Promise<number> {
  if (child.pid !== undefined) return child.pid;
  const reason = await new Promise<Error>((resolve) => child.once('error', resolve));
  throw new CommandError(`${name} could not be started: ${reason.message}`);
}
