import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from '../../rig/command.ts';
import { findTestFiles, readHeader } from '../../runner/files.ts';
import { type Case, readOutcome } from '../../runner/outcome.ts';
import { Report } from '../../runner/report.ts';
import { type FileResult, runFile } from '../../runner/run-file.ts';
import { skipIsExcused } from '../../runner/skips.ts';

const tap = import.meta.resolve('tap');

/** Runs `source` as a test file and answers what the runner makes of it. */
async function outcomeOf(t: Test, source: string, timeout = 20_000): Promise<FileResult> {
  const root = t.testdir({});
  mkdirSync(join(root, 'test'));
  writeFileSync(join(root, 'test', 'a.test.ts'), `import t from '${tap}';\n${source}\n`);
  const [file] = findTestFiles(root, []);
  if (file === undefined) throw new Error('the file was not found');
  return runFile(root, file, timeout);
}

function brief(cases: readonly Case[]): string[] {
  return cases.map(({ path, status }) => `${status} ${path.join(' > ')}`);
}

/** A zombie that nobody has reaped yet does not count. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/status`)) return false;
  return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

t.test('the innermost tests are counted, not assertions and not their parents', async (t) => {
  const result = await outcomeOf(
    t,
    `t.test('a', async (t) => {
       t.test('one', async (t) => { t.ok(1); t.ok(2); });
       t.test('two', async (t) => { t.equal(1, 2, 'sums'); });
     });
     t.test('b', async (t) => { t.pass(); });`,
  );
  t.same(brief(result.cases), ['passed a > one', 'failed a > two', 'passed b']);
  t.match(result.cases[1]?.detail, /sums[\s\S]*-2[\s\S]*\+1/, 'the difference is shown');
  t.match(result.cases[1]?.detail, /a\.test\.ts:4/, 'and the place');
});

t.test('skips keep their reasons, in every form that tap has', async (t) => {
  const result = await outcomeOf(
    t,
    `t.test('option', { skip: 'no SCTP' }, async () => {});
     t.test('inside', async (t) => { t.skip('no ipvlan'); });
     t.test('plan', async (t) => { t.plan(0, 'no vrf'); });`,
  );
  t.same(brief(result.cases), ['skipped option', 'skipped inside', 'skipped plan']);
  t.same(
    result.cases.map(({ detail }) => detail),
    ['no SCTP', 'no ipvlan', 'no vrf'],
  );
});

t.test('a test that asserts nothing, a throw, and a file without tests are failures', async (t) => {
  const idle = await outcomeOf(t, `t.test('idle', async () => {});`);
  t.same(brief(idle.cases), ['failed idle']);
  const thrown = await outcomeOf(t, `t.test('throws', async () => { throw new Error('boo'); });`);
  t.same(brief(thrown.cases), ['failed throws']);
  t.match(thrown.cases[0]?.detail, 'boo');
  const empty = await outcomeOf(t, `console.error('last words');`);
  t.same(brief(empty.cases), ['failed (the file)']);
  t.match(empty.output, 'last words');
});

t.test('a file that dies after its tests have passed is a failure', async (t) => {
  const result = await outcomeOf(
    t,
    `t.test('fine', async (t) => { t.pass(); });\nprocess.on('exit', () => { process.exitCode = 3; });`,
  );
  t.same(brief(result.cases), ['passed fine', 'failed (the file)']);
});

t.test('a file that hangs is stopped together with what it started', async (t) => {
  const result = await outcomeOf(
    t,
    `import { spawn } from 'node:child_process';
     t.test('hangs', { timeout: 60_000 }, async (t) => {
       const child = spawn('sleep', ['300'], { stdio: 'inherit' });
       console.error('pid', child.pid);
       await new Promise((done) => child.on('exit', done));
     });`,
    4000,
  );
  t.match(brief(result.cases), ['failed hangs']);
  t.match(result.cases.at(-1)?.detail, 'stopped after 4 s');
  const pid = Number(/pid (\d+)/.exec(result.output)?.[1]);
  t.ok(pid > 0);
  // A killed process closes its files, which is what the runner waits for, a moment before it is a zombie.
  await until('the child of the file is gone', () => !isRunning(pid), { timeoutMs: 5_000, everyMs: 20 });
});

t.test('TAP that is cut off leaves the open test failed', async (t) => {
  const cases: Case[] = [];
  const { parser } = readOutcome((found) => cases.push(found));
  parser.end('TAP version 14\n# Subtest: cut\n    ok 1 - begun\n');
  t.match(brief(cases), ['failed cut']);
});

t.test('a header sets the time-out and asks for the machine', async (t) => {
  t.same(readHeader('// About this\n// @timeout 15m\n// @exclusive\n'), {
    ...{ timeout: 900_000, exclusive: true, machines: false },
  });
  t.same(readHeader('// @machines\nimport x'), { timeout: 300_000, exclusive: false, machines: true });
  t.throws(() => readHeader('// @timeout long\n'), /write the header as/);
});

t.test('the closing line counts, and decides the exit code', async (t) => {
  const lines: string[] = [];
  const report = new Report((line) => lines.push(line), true);
  t.equal(new Report(() => undefined, false).close(), false, 'nothing ran');
  const file = { milliseconds: 1, output: '', leftProcesses: false };
  report.add({ ...file, file: 'a', cases: [{ path: ['x'], status: 'passed' }] });
  report.add({ ...file, file: 'b', cases: [{ path: ['y'], status: 'skipped', detail: 'the kernel has no SCTP' }] });
  t.equal(report.close(), true);
  t.equal(lines.at(-1), '\n1 passed, 0 failed, 1 skipped');
  report.add({ ...file, file: 'c', cases: [{ path: ['z'], status: 'skipped', detail: 'too lazy' }] });
  t.equal(report.close(), false, 'in CI a skip needs an excuse');
  t.equal(skipIsExcused('docker is not installed'), false);
});
