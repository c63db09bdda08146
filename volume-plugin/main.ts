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

if (import.meta.main) {
  try {
    await startVolumePlugin(fromEnv(SETTINGS, process.env), process.env.DRAYAGE_SOCKET ?? SOCKET);
  } catch (thrown) {
    process.stderr.write(`${startFailure('the volume plugin', asPluginError(thrown))}\n`);
    process.exitCode = 1;
  }
}
