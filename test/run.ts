// Runs the tests: `npm test`, or `npm test -- test/unit/shared ports` for some of them. Why not `tap run`: see
// docs/decisions/0007-tap-as-a-library.md.
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findTestFiles, type TestFile } from './runner/files.ts';
import { Report } from './runner/report.ts';
import { runFile, stopAll } from './runner/run-file.ts';

const usage = `npm test -- [options] [path or part of a path …]
  --jobs N         unit and conformance files at a time (3)
  --rigs N         integration and chaos files at a time (3), but for those that ask for the machine
  --deadline MIN   stop everything after this many minutes (60)
  --json FILE      write every test case with its time
  --list           print the files that would run`;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', default: '3' },
    rigs: { type: 'string', default: '3' },
    deadline: { type: 'string', default: '60' },
    json: { type: 'string' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const end = performance.now() + Number(values.deadline) * 60_000;
const files = findTestFiles(root, positionals);
let interrupted = false;
const report = new Report((line) => process.stdout.write(`${line}\n`), process.env.CI === 'true');

/** Files with virtual machines at a time. */
const MACHINES = 2;
let withMachines = 0;

/** The next file that may run now. Undefined: those who run the others take what is left. */
function take(queue: TestFile[]): TestFile | undefined {
  const at = queue.findIndex(({ machines }) => !machines || withMachines < MACHINES);
  return at < 0 ? undefined : queue.splice(at, 1)[0];
}

/** Takes files from `queue` until it is empty or the deadline has come. */
async function work(queue: TestFile[]): Promise<void> {
  for (let file = take(queue); file !== undefined && !interrupted; file = take(queue)) {
    const left = end - performance.now();
    if (file.machines) withMachines += 1;
    if (left <= 0) report.notRun(file.path, `the deadline of ${values.deadline} min had come`);
    else report.add(await runFile(root, file, Math.min(file.timeout, left)));
    if (file.machines) withMachines -= 1;
  }
}

/** Prints the summary and ends the process, with 0 only if something ran and nothing failed. */
function finish(): void {
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report.data(), null, 2)}\n`);
  process.exitCode = report.close() ? 0 : 1;
}

if (values.help) {
  console.log(usage);
} else if (values.list) {
  for (const { path, kind } of files) console.log(kind === 'quick' ? path : `${path} (${kind})`);
} else {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      interrupted = true;
      report.interrupted(signal);
      // The tests' own clean-up gets a moment; then nothing that they started may stay.
      stopAll('SIGTERM');
      setTimeout(() => stopAll('SIGKILL'), 5000).unref();
    });
  }
  for (const [kind, jobs] of [
    ['quick', Number(values.jobs)],
    ['rig', Number(values.rigs)],
    ['alone', 1],
  ] as const) {
    // Those that may take longest come first: none of them is left over when the others have ended.
    const queue = files.filter((file) => file.kind === kind).sort((a, b) => b.timeout - a.timeout);
    await Promise.all(Array.from({ length: Math.max(1, jobs) }, () => work(queue)));
  }
  finish();
}
