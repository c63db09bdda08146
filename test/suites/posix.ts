/**
 * Cases of what POSIX says of files, grouped as pjdfstest groups its own (which is not in Debian; with its folder in
 * PJDFSTEST the long suites run it, too).
 *
 *     node test/suites/posix.ts FOLDER [PART OF A NAME]
 *
 * As root. Says on standard output what came of each case, as a line of JSON: {name, problem?}.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CASES } from './posix-cases.ts';

function main(): void {
  const [folder, wanted = ''] = process.argv.slice(2);
  if (folder === undefined) throw new Error('Name the folder to work in.');
  process.umask(0o022);
  for (const [number, { name, run }] of CASES.entries()) {
    if (!name.includes(wanted)) continue;
    const own = join(folder, `posix-${number}`);
    mkdirSync(own);
    chmodSync(own, 0o755);
    let problem: string | undefined;
    try {
      run(own);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    try {
      rmSync(own, { recursive: true });
    } catch (error) {
      problem ??= `what it made cannot be removed: ${error instanceof Error ? error.message : error}`;
    }
    process.stdout.write(`${JSON.stringify({ name, problem })}\n`);
  }
}

main();
