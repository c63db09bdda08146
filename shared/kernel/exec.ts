import { spawn } from 'node:child_process';
import { type Context, throwIfDone } from '../context.ts';
import { codeOf } from '../error-code.ts';
import { PluginError } from '../errors.ts';

/** Programs, started with an argument array and never through a shell, that end by the context's deadline. */

export interface ExecOptions {
  readonly stdin?: string | Buffer;
  /** Bytes of output and of error output that are kept each; a program that writes more is stopped. 4 MiB if absent. */
  readonly limit?: number;
  /** Exit codes that are no failure; only 0 when absent. */
  readonly allow?: readonly number[];
  /** In place of the own environment, of which only PATH and XTABLES_LOCKFILE are passed otherwise. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface ExecResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const LIMIT = 4 << 20;
const SBIN = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Time for a stopped program to end by itself before it is killed. */
const GRACE_MS = 500;

/**
 * Runs `program` and answers its output. Throws EXEC_FAILED (program, exit code, first line of its error output) when
 * it cannot start, fails or writes too much, and the context's reason (DEADLINE) when time is up: the program then gets
 * SIGTERM, and SIGKILL half a second later. One that does not end even then is not waited for.
 */
export const exec = async (
  program: string,
  args: readonly string[],
  c: Context,
  options: ExecOptions = {},
): Promise<ExecResult> => {
  throwIfDone(c);
  const limit = options.limit ?? LIMIT;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: options.env ?? inherited(),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let failure: unknown;
    let killer: NodeJS.Timeout | undefined;
    let abandoned: NodeJS.Timeout | undefined;
    const stop = (reason: unknown): void => {
      failure ??= reason;
      child.kill('SIGTERM');
      killer ??= setTimeout(() => {
        child.kill('SIGKILL');
        // Its own children may still hold the pipes: not waited for.
        child.stdout.destroy();
        child.stderr.destroy();
        // One that waits for a device or a server that is gone does not even die: it is left behind.
        abandoned = setTimeout(() => {
          finish();
          child.unref();
          reject(failure);
        }, GRACE_MS);
      }, GRACE_MS);
    };
    const ended = (): void => stop(c.signal.reason);
    c.signal.addEventListener('abort', ended, { once: true });
    const tooMuch = (): void =>
      stop(new PluginError('EXEC_FAILED', { command: program, reason: `more than ${limit} bytes of output` }));
    const stdout = collect(limit, tooMuch);
    const stderr = collect(limit, tooMuch);
    child.stdout.on('data', stdout.add);
    child.stderr.on('data', stderr.add);
    const finish = (): void => {
      clearTimeout(killer);
      clearTimeout(abandoned);
      c.signal.removeEventListener('abort', ended);
    };
    child.on('error', (error) => {
      finish();
      const reason = codeOf(error) === 'ENOENT' ? 'the program is not installed' : error.message;
      reject(new PluginError('EXEC_FAILED', { command: program, reason }, { cause: error }));
    });
    child.on('close', (status, signal) => {
      finish();
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      const result = { status: status ?? -1, stdout: stdout.text(), stderr: stderr.text() };
      if (status !== null && (options.allow ?? [0]).includes(status)) {
        resolve(result);
        return;
      }
      reject(
        new PluginError(
          'EXEC_FAILED',
          {
            command: program,
            status: status ?? undefined,
            reason: firstLine(result.stderr) ?? (signal === null ? undefined : `ended by ${signal}`),
          },
          { cause: { args, ...result } },
        ),
      );
    });
    // A program that ends without reading its input is judged by its exit code, not by the broken pipe.
    child.stdin.on('error', (error) => c.log.debug('input not read', { program, reason: error.message }));
    child.stdin.end(options.stdin);
  });
};

const firstLine = (text: string): string | undefined =>
  text
    .split('\n')
    .find((line) => line.trim() !== '')
    ?.trim();

const collect = (limit: number, tooMuch: () => void): { add(chunk: Buffer): void; text(): string } => {
  const chunks: Buffer[] = [];
  let size = 0;
  return {
    add: (chunk) => {
      size += chunk.length;
      if (size > limit) tooMuch();
      else chunks.push(chunk);
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
};

/** XTABLES_LOCKFILE: in a managed plugin the lock that iptables-legacy shares with the host lies elsewhere. */
const inherited = (): Record<string, string> => {
  const { PATH = SBIN, XTABLES_LOCKFILE } = process.env;
  return { PATH, LC_ALL: 'C', ...(XTABLES_LOCKFILE === undefined ? {} : { XTABLES_LOCKFILE }) };
};
