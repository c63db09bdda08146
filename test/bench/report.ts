/** What both benchmarks print and write. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';

/** The machine that figures are from. `load` is its load average of the last minute, at the time of the call. */
export function machine(): { cpus: number; model: string; kernel: string; node: string; load: number } {
  const load = Number(readFileSync('/proc/loadavg', 'utf8').split(' ')[0]);
  const model = cpus()[0]?.model ?? 'unknown';
  return { cpus: cpus().length, model, kernel: release(), node: process.version, load };
}

/** Columns lined up, the first one to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Writes the figures to `file`, if there is one to write. */
export function writeJson(file: string | undefined, figures: unknown): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
}

/** Progress, to standard error, so that standard output is the result alone. */
export function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

/** A whole number of at least 1 from the command line. */
export function count(text: string, name: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} ${text} is not a whole number of at least 1.`);
  return value;
}
