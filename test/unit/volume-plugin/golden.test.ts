import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { PluginError } from '../../../shared/errors.ts';
import { CONSTANT_METHODS, protocol } from '../../../volume-plugin/protocol.ts';
import { holdsOn } from '../../../volume-plugin/references.ts';
import { bench, context, unreachable } from './fakes.ts';

const folder = join(import.meta.dirname, '../../fixtures/docker-calls');

interface Line {
  readonly mark?: string;
  readonly cmd?: string;
  readonly call?: string;
  /** The recording plugin was started or ended; `mounts`: how many of its mounts it found. */
  readonly ev?: string;
  readonly mounts?: number;
  readonly req?: Record<string, unknown>;
  readonly res?: Record<string, unknown>;
}

const lines = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

for (const engine of ['20.10', '26.1', '28.5']) {
  const names = readdirSync(join(folder, engine)).filter((name) => name.startsWith('v'));
  for (const name of names.sort()) {
    t.test(`${engine}/${name} is understood, and each command leaves the right count`, async (t) => {
      let host = await bench();
      const { kernel, cluster, store, clock } = host;
      /** Mount id → container's life, as Docker sees it. */
      const running = new Set<string>();
      const recorded = lines(join(folder, engine, name));
      let command = '';
      for (const line of recorded) {
        clock.now += 1_000;
        if (line.mark !== undefined) {
          const holds = [...store.all('volumes').keys()].reduce((sum, volume) => sum + holdsOn(store, volume), 0);
          const lost = command.startsWith('plugin disable');
          if (!lost) t.equal(holds, running.size, `after "${command}"`);
          command = line.cmd === '' ? line.mark : (line.cmd ?? '');
          // Containers end with the daemon that was killed, and with `rm` whether or not the plugin is told.
          const ends = /kill -9$/.test(line.mark) && !line.mark.includes('plugin');
          if (ends || command.startsWith('rm -f')) {
            for (const id of running) if (ends || store.all('references').size === 0 || lost) kernel.end(id);
          }
        }
        if (line.ev === 'start') {
          // What the engine unmounted with the plugin's end is gone; those who have a copy keep it.
          await host.stop();
          if (line.mounts === 0) kernel.mounts.clear();
          if (line.mounts === 0 && !command.includes('live')) {
            for (const id of running) kernel.end(id);
            running.clear();
          }
          host = await bench({ kernel, cluster, store, clock });
        }
        if (line.call === undefined) continue;
        const handler = { ...CONSTANT_METHODS, ...protocol(host.driver) }[line.call];
        if (handler === undefined) {
          t.fail(`no handler for ${line.call}`);
          continue;
        }
        const recordedError = String(line.res?.['Err'] ?? '');
        const injected = recordedError.startsWith('rig injected');
        const id = String(line.req?.['ID'] ?? '');
        if (line.call.endsWith('.Unmount')) kernel.end(id);
        host.backend.failing.clear();
        if (injected)
          for (const call of ['mount', 'create', 'find'] as const) host.backend.failing.set(call, unreachable());
        const answer = await handler(line.req, context()).catch((error: unknown) => error);
        const what = `${line.call} ${String(line.req?.['Name'] ?? '')}`;
        if (answer instanceof PluginError) {
          t.not(recordedError, '', `${what}: ${answer.message}`);
          continue;
        }
        // An error from Get is the one that must not be when it is no confirmed absence.
        if (!injected && recordedError !== '') t.fail(`${what} should have been refused: ${recordedError}`);
        if (line.call.endsWith('.Mount')) {
          t.equal((answer as { Mountpoint: string }).Mountpoint, `/mnt/${String(line.req?.['Name'])}/data`, what);
          kernel.use(String(line.req?.['Name']), id);
          running.add(id);
        }
        if (line.call.endsWith('.Unmount')) running.delete(id);
      }
      await host.quiet();
      // What is held by nobody is let go, at the latest after two passes.
      for (const id of running) kernel.end(id);
      for (let pass = 0; pass < 3; pass += 1) {
        clock.now += 130_000;
        await host.reconciler.pass(context());
        await host.quiet();
      }
      t.same([store.all('references').size, store.all('mounts').size], [0, 0], 'in the end nothing is held or mounted');
      t.same([kernel.mounts.size, kernel.folders.size, cluster.holders.size], [0, 0, 0]);
      t.same([...cluster.volumes.keys()].sort(), [...store.all('volumes').keys()].sort());
    });
  }
}
