import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

const main = join(import.meta.dirname, '../../../volume-plugin/main.ts');

/** Starts the plugin as the engine would, and answers a way to call it and to stop it. */
export async function startPlugin(t: Test, env: Readonly<Record<string, string>> = {}) {
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
  return { child, ended, call, folder, log: () => log };
}
