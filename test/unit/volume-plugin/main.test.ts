import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';

const main = join(import.meta.dirname, '../../../volume-plugin/main.ts');

/** Starts the plugin as the engine would, and answers a way to call it and to stop it. */
async function startPlugin(t: Test, env: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-test-'));
  const socket = join(folder, 'volume.sock');
  const child = spawn(process.execPath, [main], {
    env: { ...env, DRAYAGE_SOCKET: socket },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true });
  });
  let log = '';
  const ready = new Promise<void>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (log.includes('"ready"')) resolve();
    });
  });
  await Promise.race([ready, ended]);
  const call = (method: string, body?: object): Promise<{ readonly status: number; readonly answer: unknown }> =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        { socketPath: socket, path: method, method: 'POST', timeout: 5000 },
        async (response) => {
          const text = (await response.setEncoding('utf8').toArray()).join('');
          resolve({ status: response.statusCode ?? 0, answer: JSON.parse(text) });
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body === undefined ? '' : JSON.stringify(body));
    });
  return { child, ended, call, log: () => log };
}

t.test('it says what it is, and lists nothing', async (t) => {
  const { call } = await startPlugin(t);
  t.same(await call('/Plugin.Activate'), { status: 200, answer: { Implements: ['VolumeDriver'] } });
  t.same((await call('/VolumeDriver.Capabilities')).answer, { Capabilities: { Scope: 'global' } });
  t.same((await call('/VolumeDriver.List')).answer, { Volumes: [] });
});

t.test('it refuses to create a volume in a clear sentence, and knows none', async (t) => {
  const { call } = await startPlugin(t);
  t.match(await call('/VolumeDriver.Create', { Name: 'data' }), {
    status: 500,
    answer: { Err: /^VOLUME_UNSUPPORTED: Volume data cannot be created: creating volumes is not supported yet\./ },
  });
  for (const method of ['Get', 'Path', 'Remove', 'Mount', 'Unmount']) {
    t.match(await call(`/VolumeDriver.${method}`, { Name: 'data', ID: 'x' }), {
      status: 500,
      answer: { Err: /^VOLUME_UNKNOWN: Volume data is not known/ },
    });
  }
  t.match(await call('/VolumeDriver.Create', {}), { status: 400 }, 'a request that names no volume');
  t.match(await call('/VolumeDriver.Nonsense', {}), { status: 404 });
});

t.test('SIGTERM ends it in order, a wrong setting with a sentence', async (t) => {
  const { child, ended } = await startPlugin(t);
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
  const wrong = await startPlugin(t, { LOG_LEVEL: 'loud' });
  t.same(await wrong.ended, [1, null]);
  t.match(wrong.log(), /^the volume plugin cannot start: SETTING_INVALID: LOG_LEVEL=loud is not a valid setting/);
  t.notMatch(wrong.log(), /\n {4}at /, 'no stack');
});
