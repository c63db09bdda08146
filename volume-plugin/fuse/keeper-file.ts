import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '../../shared/error-code.ts';

/**
 * What a keeper writes into its folder before it mounts: when the host was started, what /proc/<pid>/stat says of the keeper,
 * where it mounts (nothing: nowhere), and under which name, a line each.
 */
const FILE = 'keeper';

export interface KeeperFile {
  readonly boot: string;
  readonly stat: string;
  readonly target: string;
  readonly source: string;
}

/** A process as /proc/<pid>/stat shows it. */
export interface Process {
  readonly pid: number;
  /** In ticks since the host's start: with the number nobody else's. */
  readonly started: string;
  readonly parent: number;
  readonly session: number;
  readonly dead: boolean;
}

/** Undefined: there never was a keeper. What was cut short has empty lines. */
export const readKeeperFile = (folder: string): KeeperFile | undefined => {
  const text = readIfThere(join(folder, FILE));
  if (text === undefined) return undefined;
  const [boot = '', stat = '', target = '', source = ''] = text.split('\n');
  return { boot, stat, target, source };
};

/** Where a folder's keeper has mounted the volume. */
export const targetOf = (folder: string): string | undefined => {
  const target = readKeeperFile(folder)?.target;
  return target === '' ? undefined : target;
};

/** The name, in parentheses, may have anything in it; the fields behind it are numbered from 3 on (proc_pid_stat(5)). */
export const parseProcess = (line: string): Process => {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return {
    pid: Number.parseInt(line, 10),
    started: fields[19] ?? '',
    parent: Number(fields[1]),
    session: Number(fields[3]),
    dead: 'ZX'.includes(fields[0] ?? ''),
  };
};

/** Undefined: there is no such process. */
export const readProcess = (pid: number): Process | undefined => {
  const text = readIfThere(`/proc/${pid}/stat`);
  return text === undefined ? undefined : parseProcess(text);
};

const readIfThere = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ESRCH') return undefined;
    throw error;
  }
};
