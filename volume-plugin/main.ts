// Start of the volume plugin. For now it can only be enabled and asked; see README.md beside this file.
import { asPluginError } from '../shared/errors.ts';
import { createLogger } from '../shared/log.ts';
import { fromEnv } from '../shared/options.ts';
import { boot, startFailure } from '../shared/plugin/boot.ts';
import { PluginServer } from '../shared/plugin/server.ts';
import { SETTINGS, type Settings } from './options.ts';
import { volumeMethods } from './protocol.ts';

/** Where the engine looks for a managed plugin's socket, inside of the plugin. */
const SOCKET = '/run/docker/plugins/volume.sock';

/** Listens and answers until SIGTERM or SIGINT. */
export async function startVolumePlugin(settings: Settings, socket: string): Promise<void> {
  const log = createLogger({ level: settings.logLevel });
  const server = new PluginServer({ log, implements: ['VolumeDriver'] });
  await boot({ log, server, socket, start: async () => ({ methods: volumeMethods }) });
}

/** With the settings of the environment. A wrong one ends it with a sentence on standard error. */
async function main(): Promise<void> {
  try {
    await startVolumePlugin(fromEnv(SETTINGS, process.env), process.env.DRAYAGE_SOCKET ?? SOCKET);
  } catch (thrown) {
    process.stderr.write(`${startFailure('the volume plugin', asPluginError(thrown))}\n`);
    process.exitCode = 1;
  }
}

// Not awaited: the shipped bundle is CommonJS, which has no await at the top.
if (import.meta.main) void main();
