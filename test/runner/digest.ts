import type { Case } from './outcome.ts';
import type { FileResult } from './run-file.ts';

/** Lines of the whole digest, and of one failure in it. */
const LINES = 40;
const LINES_EACH = 5;
const WIDTH = 180;

/**
 * What failed, in so few lines that a reader sees all of it who is shown no more than the end of the output: files, tests,
 * and of each test what it says first, where, and what differed. The more have failed, the less is said of each.
 * @returns lines, at most 40; empty when nothing failed.
 */
export function digest(files: readonly Pick<FileResult, 'file' | 'cases' | 'output'>[]): string[] {
  const failing = files
    .map(({ file, cases, output }) => ({ file, output, failed: cases.filter(({ status }) => status === 'failed') }))
    .filter(({ failed }) => failed.length > 0);
  const failures = failing.reduce((sum, { failed }) => sum + failed.length, 0);
  const each = Math.min(LINES_EACH, Math.floor((LINES - failing.length) / Math.max(1, failures)));
  const lines = failing.flatMap(({ file, output, failed }) => [
    file,
    ...failed.flatMap((one) => said(one, output, Math.max(1, each))),
  ]);
  if (lines.length <= LINES) return lines;
  // So many have failed that their names are all that there is room for.
  const names = failing.map(({ file, failed }) => `${file}: ${failed.map(({ path }) => path.join(' › ')).join('; ')}`);
  const kept = names.slice(0, names.length > LINES ? LINES - 1 : LINES).map(cut);
  return names.length > kept.length ? [...kept, `… and ${names.length - kept.length} more files`] : kept;
}

/** A failed test in no more than so many lines. */
function said({ path, detail = '' }: Case, output: string, most: number): string[] {
  // Of a file that died its last words say more than its exit code.
  const words = path[0] === '(the file)' ? [...facts(detail), ...tail(output)] : facts(detail);
  return [cut(`  ✗ ${path.join(' › ')}`), ...words.slice(0, most - 1).map((line) => cut(`      ${line}`))];
}

/** The lines of a failure's detail that tell most: its first one, where it was, and what is other than expected. */
function facts(detail: string): string[] {
  const lines = detail
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const [first = '', ...rest] = lines;
  const place = rest.find((line) => /^at \S+:\d+$/.test(line));
  const differing = rest.filter((line) => /^[-+](?![-+])/.test(line));
  const more = rest.filter((line) => line !== place && !/^[\w ]+:( .*)?$|^(===|at |@@|[-+])/.test(line));
  return [first, ...(place === undefined ? [] : [place]), ...(differing.length > 0 ? differing : more)];
}

function tail(output: string): string[] {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '}');
  return lines.slice(-3);
}

function cut(line: string): string {
  return line.length > WIDTH ? `${line.slice(0, WIDTH - 1)}…` : line;
}
