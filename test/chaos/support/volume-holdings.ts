/** What the volume plugin holds on a host, and its life as the engine sees it. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../../../bin/cli/client.ts';
import type { VolumeHost } from '../../integration/support/volume-host.ts';
import { until } from '../../rig/command.ts';
import { WINDOWS_FILE } from './kill-point.ts';

const READY = /"message":"ready"/;

/** Where plugin and test share files. */
export const stateFolder = ({ host }: VolumeHost): string => join(host.stateFolder, 'volume');

/** How often the driver has been started and has come up. */
export const starts = ({ plugin }: VolumeHost): number => plugin.log().filter((line) => READY.test(line)).length;

/** Resolves when the plugin has read its state: it listens before that. */
export async function untilReady(one: VolumeHost): Promise<void> {
  const socket = join(stateFolder(one), 'admin.sock');
  const answers = () =>
    ask(socket, '/Drayage.Volumes', {}, 5_000).then(
      () => true,
      () => false,
    );
  await until('an answer of the plugin', answers, { timeoutMs: 20_000, everyMs: 50 });
}

/** Resolves when the driver has come up once more than `before`: its plugin's first process starts it again. */
export async function untilRestarted(one: VolumeHost, before: number): Promise<void> {
  try {
    await until('the restart of the plugin', () => starts(one) > before, { timeoutMs: 20_000, everyMs: 50 });
    await untilReady(one);
  } catch (error) {
    const engine = one.host.engine.log().split('\n').slice(-40).join('\n');
    throw new Error(`${(error as Error).message}\n${await one.must('plugin', 'ls')}\n${engine}`);
  }
}

/** Passes of the repair loop as if minutes had gone by, until nobody holds or has any volume. */
export async function collect(one: VolumeHost): Promise<void> {
  const file = join(stateFolder(one), WINDOWS_FILE);
  const socket = join(stateFolder(one), 'admin.sock');
  writeFileSync(file, JSON.stringify({ idleMs: -1, staleMs: -1 }));
  try {
    await until(
      'everything to be given up',
      async () => {
        await ask(socket, '/Drayage.Reconcile', {}, 10_000);
        const { Volumes } = (await ask(socket, '/Drayage.Volumes', {}, 10_000)) as unknown as {
          Volumes: readonly { readonly State: string; readonly Holds: number }[];
        };
        return Volumes.every(({ State, Holds }) => State === 'available' && Holds === 0);
      },
      { timeoutMs: 15_000, everyMs: 50 },
    );
  } finally {
    rmSync(file, { force: true });
  }
}
