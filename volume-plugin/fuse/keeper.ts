import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, sleep } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { PluginError } from '../../shared/errors.ts';
import { startDetached } from '../../shared/kernel/companion.ts';
import { abortMount } from './abort.ts';
import { type Process, parseProcess, readKeeperFile, readProcess } from './keeper-file.ts';
import { MAX_WRITE } from './wire.ts';

const SHELL = '/bin/sh';
/** Beside this file in the sources, and beside the driver's own in the image. */
const SCRIPT = join(import.meta.dirname, 'keeper.sh');
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const LOOK_MS = 20;
const STDERR = 2;

export interface KeeperStart {
  /** The engine's, on the host's disk. It is there. */
  readonly folder: string;
  /** Absent: nothing is mounted, and the engine brings to the store what waits in the folder. */
  readonly mount?: { readonly target: string; readonly source: string };
  /** The engine: a program and its arguments, behind which the folder is put. */
  readonly engine: readonly string[];
  /** The engine's environment beside PATH. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Where keeper and engine complain: a descriptor; this process's error output when absent. */
  readonly errors?: number;
}

/** For the kernel, beside the descriptor; it checks modes and owners itself. */
const MOUNT_OPTIONS = [
  // Nobody gets a device by what others can write into a bucket.
  'nodev',
  'rootmode=40000',
  'user_id=0',
  'group_id=0',
  'default_permissions',
  'allow_other',
  `max_read=${MAX_WRITE}`,
].join(',');

/**
 * Starts the keeper of an engine: a process of its own that lives on when this one ends. Resolves with its process id when the kernel has
 * mounted the file system, which answers as soon as the engine does. Errors: EXEC_FAILED, with what mount(8) says; the context's.
 */
export const startKeeper = async (start: KeeperStart, c: Context): Promise<number> => {
  const { folder, mount, engine, environment, errors = STDERR } = start;
  const args = [SCRIPT, folder, mount?.target ?? '', mount?.source ?? '', MOUNT_OPTIONS, ...engine];
  const env = { PATH, LC_ALL: 'C', ...environment };
  const { pid, said, ready } = await startDetached(SHELL, args, env, errors, 'mounted', c);
  if (ready) return pid;
  const reason = said.trim() === '' ? 'it has ended' : said.trim();
  throw new PluginError('EXEC_FAILED', { command: 'The keeper of an engine', reason });
};

/**
 * The process id of the keeper that runs for a folder, started by whichever life of the driver; undefined: there is none. Asks
 * /proc only, so it never hangs.
 */
export const findKeeper = (folder: string): number | undefined => {
  const file = readKeeperFile(folder);
  if (file === undefined || file.boot !== bootId()) return undefined;
  const { pid, started } = parseProcess(file.stat);
  const found = readProcess(pid);
  // The number may have been given again.
  return found !== undefined && !found.dead && found.started === started ? pid : undefined;
};

/** What a keeper has started: usually the engine alone, just between two something else for a moment. */
export const enginesOf = (keeper: number): readonly number[] =>
  processes(({ parent, session }) => parent === keeper && session === keeper);

/**
 * Ends keeper and engine at once: what is mounted answers ENOTCONN from then on. Resolves when they are gone. Errors: the
 * context's.
 */
export const killKeeper = async (folder: string, c: Context): Promise<void> => {
  const keeper = findKeeper(folder);
  if (keeper === undefined) return;
  // First the keeper: it would start another engine. The session is still named after it.
  kill(keeper);
  for (const file = readKeeperFile(folder); ; ) {
    const left = processes(({ session }) => session === keeper);
    if (left.length === 0) return;
    for (const pid of left) kill(pid);
    // What tells the kernel of changes may wait there for somebody who waits for the engine: it holds the mount, and cannot be killed.
    if (file !== undefined && file.target !== '') abortMount(file.target, file.source);
    await sleep(LOOK_MS, c);
  }
};

const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') throw error;
  }
};

/** Living ones. */
const processes = (fits: (found: Process) => boolean): readonly number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      const found = pid > 0 ? readProcess(pid) : undefined;
      return found !== undefined && !found.dead && fits(found);
    });

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
