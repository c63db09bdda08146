import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Folders that name the process that they are of, so that what a killed one has left is found by the next. */

const fileOf = (pid: number | 'self', name: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // It has ended.
    return '';
  }
};

/** When it was started, in the kernel's ticks: another process may have its pid by now. */
const startOf = (pid: number | 'self'): string | undefined => fileOf(pid, 'stat').split(') ').at(-1)?.split(' ')[19];

/** The name that the kernel has for a process; '' when it has ended. */
export const commandOf = (pid: number): string => fileOf(pid, 'comm').trim();

/** A new one of this process. */
export const ownedFolder = (prefix: string, base = tmpdir()): string =>
  mkdtempSync(join(base, `${prefix}${process.pid}-${startOf('self')}-`));

/** Those of processes that are gone. */
export const orphanedFolders = (prefix: string, base = tmpdir()): readonly string[] =>
  readdirSync(base).flatMap((name) => {
    const [, pid, born] = name.startsWith(prefix) ? (/^(\d+)-(\d+)-/.exec(name.slice(prefix.length)) ?? []) : [];
    return pid === undefined || startOf(Number(pid)) === born ? [] : [join(base, name)];
  });
