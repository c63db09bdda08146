import { type ChildProcess, spawn } from 'node:child_process';
import type { TestFile } from './files.ts';
import { type Case, readOutcome } from './outcome.ts';

/** What came of one file. */
export interface FileResult {
  readonly file: string;
  readonly milliseconds: number;
  readonly cases: readonly Case[];
  /** The last lines that the file wrote to stderr, and to stdout besides TAP. */
  readonly output: string;
  /** Whether processes that it started outlived it (those of its group have been stopped). */
  readonly leftProcesses: boolean;
}

const outputLines = 40;
const graceMilliseconds = 10_000;
const running = new Set<ChildProcess>();

/**
 * Runs a test file in a process group of its own and reads its TAP. When time is up the file gets SIGALRM, at
 * which tap says which test it was in, and its clean-up gets ten seconds before the whole group is killed.
 * @param timeout milliseconds; at most the file's own.
 */
export function runFile(root: string, file: TestFile, timeout: number): Promise<FileResult> {
  const started = performance.now();
  const cases: Case[] = [];
  const { parser, extra } = readOutcome((found) => cases.push(found));
  const child = spawn(process.execPath, [file.path], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
  });
  running.add(child);
  let timedOut = false;
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => parser.write(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-64 * 1024);
  });
  let killer: NodeJS.Timeout | undefined;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGALRM');
    killer = setTimeout(() => signalGroup(child, 'SIGKILL'), graceMilliseconds);
  }, timeout);
  return new Promise((resolve) => {
    let failure: string | undefined;
    let leftProcesses = false;
    let drain: NodeJS.Timeout | undefined;
    child.on('error', (error) => {
      failure = `cannot be started: ${error.message}`;
    });
    // On `exit` rather than `close`: a process left behind may hold the pipes open.
    child.on('exit', () => {
      clearTimeout(timer);
      clearTimeout(killer);
      leftProcesses = signalGroup(child, 'SIGKILL');
      // A daemon that left the group may hold the pipes open for ever.
      drain = setTimeout(() => {
        leftProcesses = true;
        child.stdout.destroy();
        child.stderr.destroy();
      }, 2000);
    });
    child.on('close', (code, signal) => {
      clearTimeout(drain);
      clearTimeout(timer);
      clearTimeout(killer);
      running.delete(child);
      parser.end();
      const failed = cases.some(({ status }) => status === 'failed');
      if (timedOut) failure = `stopped after ${Math.round(timeout / 1000)} s`;
      else if (cases.length === 0) failure ??= `ran no test (exit code ${code ?? signal})`;
      else if (code !== 0 && !failed) failure ??= `ended with ${code === null ? signal : `exit code ${code}`}`;
      if (failure !== undefined) cases.push({ path: ['(the file)'], status: 'failed', detail: failure });
      const output = [...extra.slice(-outputLines), ...errors.trimEnd().split('\n').slice(-outputLines)];
      resolve({
        file: file.path,
        milliseconds: performance.now() - started,
        cases,
        output: output.join('\n').trim(),
        leftProcesses,
      });
    });
  });
}

/** Stops every file that is running, with all that it started. */
export function stopAll(signal: NodeJS.Signals): void {
  for (const child of running) signalGroup(child, signal);
}

/** Signals a child's process group; false when nobody is in it any more. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): boolean {
  if (child.pid === undefined) return false;
  try {
    return process.kill(-child.pid, signal);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}
