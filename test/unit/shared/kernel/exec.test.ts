import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { newContext } from '../../../../shared/context.ts';
import { exec } from '../../../../shared/kernel/exec.ts';
import type { Logger } from '../../../../shared/log.ts';

const ignore = (): undefined => undefined;
const quiet: Logger = { level: 'error', debug: ignore, info: ignore, warn: ignore, error: ignore, child: () => quiet };
const within = (ms: number) => newContext(quiet, ms);

t.test('arguments arrive as they are, no shell reads them', async (t) => {
  const args = ['a b', '$(id)', '`id`', ';', "'", '"', '*', '', 'é\n'];
  const { stdout, status } = await exec('printf', ['%s|', ...args], within(5000));
  t.equal(stdout, `${args.join('|')}|`);
  t.equal(status, 0);
});

t.test('input goes in, output comes out, the environment does not leak', async (t) => {
  t.equal((await exec('cat', [], within(5000), { stdin: 'x'.repeat(1 << 20) })).stdout.length, 1 << 20);
  process.env['DRT_SECRET'] = 'secret';
  t.notMatch((await exec('env', [], within(5000))).stdout, /secret/);
  t.match((await exec('env', [], within(5000), { env: { A: 'b' } })).stdout, /^A=b$/m);
  t.equal((await exec('true', [], within(5000), { stdin: 'x'.repeat(1 << 20) })).status, 0, 'input that nobody reads');
});

t.test('a failure names program, exit code and the first line of the error output', async (t) => {
  const failing = exec('sh', ['-c', 'echo; echo "first line" >&2; echo second >&2; exit 3'], within(5000));
  await t.rejects(failing, { code: 'EXEC_FAILED', message: /sh failed with exit code 3: first line\.?$/ });
  t.equal((await exec('sh', ['-c', 'exit 3'], within(5000), { allow: [0, 3] })).status, 3);
  await t.rejects(exec('sh', ['-c', 'kill -9 $$'], within(5000)), { code: 'EXEC_FAILED', message: /SIGKILL/ });
  await t.rejects(exec('drt-not-there', [], within(5000)), { code: 'EXEC_FAILED', message: /not installed/ });
});

t.test('too much output stops the program', async (t) => {
  await t.rejects(exec('yes', [], within(10_000), { limit: 10_000 }), {
    code: 'EXEC_FAILED',
    message: /more than 10000/,
  });
});

t.test('the deadline ends the program, also one that ignores SIGTERM and left children with its pipes', async (t) => {
  const started = performance.now();
  await t.rejects(exec('sleep', ['20'], within(100)), { code: 'DEADLINE' });
  t.ok(performance.now() - started < 2000);
  const folder = mkdtempSync(join(tmpdir(), 'drt-exec-'));
  const left = join(folder, 'pid');
  // What outlives the program is the test's to end.
  t.teardown(() => {
    process.kill(Number(readFileSync(left, 'utf8')), 'SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const stubborn = 'trap "" TERM; sleep 3 & echo $! >"$0"; wait; sleep 3';
  await t.rejects(exec('sh', ['-c', stubborn, left], within(100)), { code: 'DEADLINE' });
  t.ok(performance.now() - started < 4000);
  await t.rejects(exec('true', [], within(0)), { code: 'DEADLINE' }, 'no time left: not started');
});
