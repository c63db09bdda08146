/** What cases of POSIX behaviour are written with. Everything is synchronous: the identity of the process changes on the way. */
import { closeSync, constants, type Mode, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';

/** One statement about file systems. `run` is given an empty folder, and throws when the statement does not hold. */
export interface Case {
  readonly name: string;
  run(folder: string): void;
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : `${error instanceof Error ? error.message : error}`;

/** The work is refused with one of these. */
export function refuses(codes: string | readonly string[], work: () => unknown): void {
  const wanted = typeof codes === 'string' ? [codes] : codes;
  let code = 'done';
  try {
    work();
  } catch (error) {
    code = codeOf(error);
  }
  if (!wanted.includes(code)) throw new Error(`${code} instead of ${wanted.join(' or ')}`);
}

export function same(found: unknown, wanted: unknown, what = ''): void {
  if (isDeepStrictEqual(found, wanted)) return;
  throw new Error(`${what === '' ? '' : `${what}: `}${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
}

export function holds(fact: boolean, what: string): void {
  if (!fact) throw new Error(what);
}

/** Does something as somebody else; `groups` are those beside the first. */
export function as(uid: number, gid: number, work: () => void, groups: readonly number[] = []): void {
  const { setgroups, setegid, seteuid } = process;
  if (!setgroups || !setegid || !seteuid) throw new Error('this is no Unix');
  setgroups([...groups]);
  setegid(gid);
  seteuid(uid);
  try {
    work();
  } finally {
    seteuid(0);
    setegid(0);
    setgroups([0]);
  }
}

export const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW } = constants;

/** Opens, works, closes. */
export function opened<T>(path: string, flags: number, work: (fd: number) => T, mode: Mode = 0o644): T {
  const fd = openSync(path, flags, mode);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}

/** A new file with a text in it. */
export function make(path: string, text = '', mode: Mode = 0o644): void {
  opened(path, O_CREAT | O_EXCL | O_WRONLY, (fd) => text !== '' && writeSync(fd, text), mode);
}

export const textOf = (path: string): string => readFileSync(path, 'utf8');
export const modeOf = (path: string): number => statSync(path).mode & 0o7777;

/** Waits; usually for longer than clocks of files are coarse. */
export function moment(ms = 30): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Does what a folder or file tells of its changes become later? */
export function changes(path: string, which: readonly ('mtimeMs' | 'ctimeMs')[], work: () => void): void {
  const before = statSync(path);
  moment();
  work();
  const after = statSync(path);
  for (const one of which) holds(after[one] > before[one], `${one} of ${path} stays ${before[one]}`);
}
