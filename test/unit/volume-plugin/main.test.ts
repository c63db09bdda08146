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
  // In a mount namespace of its own, which goes with it whatever becomes of it.
  const child = spawn('unshare', ['--mount', process.execPath, main], {
    env: {
      PATH: process.env['PATH'],
      DRAYAGE_SOCKET: socket,
      DRAYAGE_FOLDER: join(folder, 'state'),
      DRAYAGE_MOUNTS: join(folder, 'mounts'),
      DRAYAGE_BENEATH: join(folder, 'beneath'),
      ...env,
    },
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
      if (log.includes('"ready"') || log.includes('cannot start')) resolve();
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

t.test('it refuses what it does not know in a clear sentence', async (t) => {
  const { call } = await startPlugin(t);
  t.match(await call('/VolumeDriver.Create', { Name: 'data', Opts: { type: 'tape' } }), {
    status: 500,
    answer: { Err: /^VOLUME_TYPE: Volume data cannot be created: this host has no volumes of type tape\./ },
  });
  t.match(await call('/VolumeDriver.Create', { Name: '../data', Opts: null }), {
    answer: { Err: /^VOLUME_NAME: .* cannot be the name of a volume: it has a slash\./ },
  });
  for (const method of ['Get', 'Path', 'Mount']) {
    t.match(await call(`/VolumeDriver.${method}`, { Name: 'data', ID: 'x' }), {
      status: 500,
      answer: { Err: /^VOLUME_UNKNOWN: Volume data is not known/ },
    });
  }
  t.match(await call('/VolumeDriver.Create', {}), { status: 400 }, 'a request that names no volume');
  t.match(await call('/VolumeDriver.Mount', { Name: 'data', ID: 'a|b' }), { status: 400 }, 'an id that is none');
  t.match(await call('/VolumeDriver.Nonsense', {}), { status: 404 });
});

t.test('while it cannot start, Get is no error: Docker would make a local volume of that name', async (t) => {
  const { call, child, ended, log } = await startPlugin(t, { LOG_LEVEL: 'loud' });
  t.match(log(), /SETTING_INVALID: LOG_LEVEL=loud is not a valid setting/);
  t.match(await call('/VolumeDriver.Get', { Name: 'data' }), {
    status: 200,
    answer: { Volume: { Name: 'data', Mountpoint: '', Status: { state: 'not confirmed', reason: /SETTING_INVALID/ } } },
  });
  t.match(await call('/VolumeDriver.Mount', { Name: 'data', ID: 'x' }), {
    status: 500,
    answer: { Err: /^SETTING_INVALID/ },
  });
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
});

t.test('SIGTERM ends it in order', async (t) => {
  const { child, ended } = await startPlugin(t);
  child.kill('SIGTERM');
  t.same(await ended, [0, null]);
});
