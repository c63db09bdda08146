import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const FIXTURE = fileURLToPath(new URL('boot-fixture.ts', import.meta.url));

const call = (socketPath: string, path: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path, method: 'POST', agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', reject);
    request.end('{}');
  });

/** Runs the fixture until it says `until`. */
const run = async (t: Test, mode: string, until: string) => {
  const folder = await mkdtemp(join(tmpdir(), 'drt-boot-'));
  const socket = join(folder, 'sub', 'vpc.sock');
  const child = spawn(process.execPath, [FIXTURE, socket, mode], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exit;
    await rm(folder, { recursive: true, force: true });
  });
  const text = { out: '', log: '' };
  const exit = new Promise<number | string | null>((resolve) => {
    child.on('exit', (code, signal) => resolve(code ?? signal));
  });
  const seen = Promise.withResolvers<void>();
  child.stdout.on('data', (chunk) => {
    text.out += chunk;
    if (text.out.includes(until)) seen.resolve();
  });
  child.stderr.on('data', (chunk) => {
    text.log += chunk;
  });
  await Promise.race([seen.promise, exit]);
  return { child, socket, text, exit };
};

t.test('it listens, starts, reconciles and is ready; SIGTERM ends it in order', async (t) => {
  const { child, socket, text, exit } = await run(t, '', 'up');
  t.equal(text.out, 'start 1\nreconcile\nup\n');
  const answer = call(socket, '/slow');
  await new Promise((resolve) => setTimeout(resolve, 100));
  child.kill('SIGTERM');
  t.same(await answer, { status: 200, text: '{"slow":true}' }, 'a call under way is finished');
  t.equal(await exit, 0);
  t.match(text.out, /stop\n$/);
  await t.rejects(stat(socket), { code: 'ENOENT' });
});

t.test('a start that can never work is answered with its reason', async (t) => {
  const { child, socket, text, exit } = await run(t, 'corrupt', 'up');
  t.match((await call(socket, '/slow')).text, 'STATE_CORRUPT');
  t.match(text.log, '"message":"the plugin cannot start: STATE_CORRUPT: The state file /x is damaged. Restore');
  child.kill('SIGTERM');
  t.equal(await exit, 0);
});

t.test('a start that may work later is tried again', async (t) => {
  const { child, socket, text, exit } = await run(t, 'unreachable', 'start 1');
  t.match((await call(socket, '/slow')).text, 'PROVIDER_UNREACHABLE');
  while (!text.out.includes('up')) await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal((await call(socket, '/slow')).status, 200);
  child.kill('SIGINT');
  t.equal(await exit, 0);
});

t.test('a reconcile that fails does not keep the plugin from working', async (t) => {
  const { socket, text } = await run(t, 'drift', 'up');
  t.equal((await call(socket, '/slow')).status, 200);
  t.match(text.log, 'the kernel says no');
});

t.test('an error that nothing handles ends it with exit code 1 and a line in the log', async (t) => {
  const { socket, text, exit } = await run(t, '', 'up');
  await t.rejects(call(socket, '/reject'));
  t.equal(await exit, 1);
  t.match(text.log, 'nobody looks at this');
});

t.test('it ends in time although a call hangs, a stop hangs, or it is asked twice', async (t) => {
  const hanging = await run(t, '', 'up');
  const answer = call(hanging.socket, '/hang').catch(() => 'cut off');
  await new Promise((resolve) => setTimeout(resolve, 100));
  hanging.child.kill('SIGTERM');
  t.equal(await hanging.exit, 0);
  t.equal(await answer, 'cut off');

  const stuck = await run(t, 'stuck', 'up');
  stuck.child.kill('SIGTERM');
  t.equal(await stuck.exit, 1);
  t.match(stuck.text.log, 'could not stop in time');

  const twice = await run(t, 'stuck', 'up');
  twice.child.kill('SIGTERM');
  while (!twice.text.log.includes('stopping')) await new Promise((resolve) => setTimeout(resolve, 5));
  twice.child.kill('SIGINT');
  t.equal(await twice.exit, 1);
});

t.test('a socket that somebody else listens on ends it with a clear line', async (t) => {
  const first = await run(t, '', 'up');
  const child = spawn(process.execPath, [FIXTURE, first.socket, ''], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => {
    log += chunk;
  });
  t.equal(await new Promise((resolve) => child.on('exit', resolve)), 1);
  t.match(log, 'the plugin cannot start: SOCKET_TAKEN');
  t.equal((await call(first.socket, '/slow')).status, 200);
});
