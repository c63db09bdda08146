import { existsSync } from 'node:fs';
import { createLogger, LOG_LEVELS } from '../shared/log.ts';
import { boot } from '../shared/plugin/boot.ts';
import { PluginServer } from '../shared/plugin/server.ts';
import { Measures } from './measures.ts';
import { type PluginOptions, type StartedPlugin, startPlugin } from './plugin.ts';
import { CONSTANT_METHODS } from './protocol.ts';

/** Where the engine looks for a managed plugin's socket: see `interface` in plugin-configs/network.json. */
const SOCKET = '/run/docker/plugins/vpc.sock';
/** The host's folder of plugins with short names (mount `plugins`): it makes `-d vpc` find this one. */
const SHORT_NAMES = '/host/plugins';
const FOLDER = '/var/lib/drayage/network';

export interface Program {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For fault tests: what to put between the plugin and its state in this folder. */
  readonly hooks?: (folder: string) => Pick<PluginOptions, 'watchStore' | 'windows'>;
}

/** The plugin as a process: listens at once, starts, and handles every error itself. Never rejects. */
export async function runProgram({ env, hooks }: Program): Promise<void> {
  const log = createLogger({ level: LOG_LEVELS.find((level) => level === env['LOG_LEVEL']) ?? 'info' });
  const folder = env['DRAYAGE_FOLDER'] ?? FOLDER;
  const measures = new Measures();
  let plugin: StartedPlugin | undefined;
  const server = new PluginServer({
    log,
    implements: ['NetworkDriver', 'IpamDriver'],
    early: CONSTANT_METHODS,
    onUndelivered: async (...request) => plugin?.takeBack(...request),
    observe: (observation) => measures.observe(observation),
  });
  await boot({
    log,
    server,
    socket: env['DRAYAGE_SOCKET'] ?? SOCKET,
    ...(existsSync(SHORT_NAMES) ? { alias: `${SHORT_NAMES}/vpc.sock` } : {}),
    start: async (c) => {
      plugin = await startPlugin({ env, folder, log, measures, ...hooks?.(folder) }, c);
      return plugin;
    },
  });
}
