import t from 'tap';
import { digest } from '../../runner/digest.ts';
import type { Case } from '../../runner/outcome.ts';
import { Report } from '../../runner/report.ts';

const failed = (name: string, detail: string): Case => ({ path: ['outer', name], status: 'failed', detail });
const file = (name: string, cases: readonly Case[], output = '') => ({ file: name, cases, output });

const DIFFERENT = `should be equal
compare:
  ===
at test/a.test.ts:12
diff:
  --- expected
  +++ actual
  @@ -1,1 +1,1 @@
  -301
  +302`;

t.test('of what failed the end of the output names the test, the place and the difference', async (t) => {
  const passed: Case = { path: ['fine'], status: 'passed' };
  t.same(digest([file('test/a.test.ts', [passed, failed('sums', DIFFERENT)]), file('test/b.test.ts', [passed])]), [
    'test/a.test.ts',
    '  ✗ outer › sums',
    '      should be equal',
    '      at test/a.test.ts:12',
    '      -301',
    '      +302',
  ]);
});

t.test('an error is told by what it says first, without its stack', async (t) => {
  const detail = `git status failed (exit 128): fatal: bad object
stack:
  ChildProcess.<anonymous> (test/rig/command.ts:120:14)
at test/rig/command.ts:120
type:
  CommandError`;
  t.same(digest([file('test/a.test.ts', [failed('git', detail)])]).slice(2, 4), [
    '      git status failed (exit 128): fatal: bad object',
    '      at test/rig/command.ts:120',
  ]);
});

t.test('a file that died is told by its last words', async (t) => {
  const died: Case = { path: ['(the file)'], status: 'failed', detail: 'ran no test (exit code 1)' };
  t.same(digest([file('test/a.test.ts', [died], 'rig: booting\n\nError: no such file\n}\n')]), [
    'test/a.test.ts',
    '  ✗ (the file)',
    '      ran no test (exit code 1)',
    '      rig: booting',
    '      Error: no such file',
  ]);
});

t.test('however much fails, it is no more than forty lines, and files are named while there is room', async (t) => {
  for (const [files, each] of [
    [7, 1],
    [7, 3],
    [12, 6],
    [39, 2],
    [100, 3],
  ] as const) {
    const all = Array.from({ length: files }, (_, n) =>
      file(
        `test/${n}.test.ts`,
        Array.from({ length: each }, (_, m) => failed(`case ${m}`, DIFFERENT)),
      ),
    );
    const lines = digest(all);
    t.ok(lines.length <= 40, `${lines.length} lines for ${files} × ${each}`);
    const named = all.filter((one) => lines.some((line) => line.startsWith(one.file)));
    t.equal(named.length, Math.min(files, files > 40 ? 39 : 40));
    if (files > 40) t.equal(lines.at(-1), `… and ${files - 39} more files`);
  }
});

t.test('long lines are cut, and nothing is said where nothing failed', async (t) => {
  const [, , long = ''] = digest([file('test/a.test.ts', [failed('long', 'x'.repeat(5000))])]);
  t.ok(long.length <= 180, `${long.length} characters`);
  t.same(digest([file('test/a.test.ts', [{ path: ['fine'], status: 'passed' }])]), []);
});

t.test('it stands right before the closing line, behind skips and slow files', async (t) => {
  const lines: string[] = [];
  const report = new Report((line) => lines.push(line), false);
  const rest = { milliseconds: 5, output: '', leftProcesses: false };
  report.add({ ...rest, file: 'test/a.test.ts', cases: [failed('sums', DIFFERENT)] });
  report.add({ ...rest, file: 'test/b.test.ts', cases: [{ path: ['x'], status: 'skipped', detail: 'no SCTP' }] });
  t.equal(report.close(), false);
  const last = lines.join('\n').split('\n').slice(-9);
  t.same(last.slice(0, 3), ['Failed:', '  test/a.test.ts', '    ✗ outer › sums']);
  t.equal(last.at(-1), '0 passed, 1 failed, 1 skipped');
});
