import { existsSync } from 'node:fs';
import { createLogger, LOG_LEVELS } from '../shared/log.ts';
import { boot } from '../shared/plugin/boot.ts';
import { PluginServer } from '../shared/plugin/server.ts';
import { Measures } from './measures.ts';
import { type StartedPlugin, startPlugin } from './plugin.ts';
import { CONSTANT_METHODS } from './protocol.ts';

/** Where the engine looks for a managed plugin's socket: see `interface` in plugin-configs/network.json. */
const SOCKET = '/run/docker/plugins/vpc.sock';
/** The host's folder of plugins with short names (mount `plugins`): it makes `-d vpc` find this one. */
const SHORT_NAMES = '/host/plugins';
const FOLDER = '/var/lib/drayage/network';

const { env } = process;
const log = createLogger({ level: LOG_LEVELS.find((level) => level === env['LOG_LEVEL']) ?? 'info' });
const measures = new Measures();
let plugin: StartedPlugin | undefined;
const server = new PluginServer({
  log,
  implements: ['NetworkDriver', 'IpamDriver'],
  early: CONSTANT_METHODS,
  onUndelivered: async (...request) => plugin?.takeBack(...request),
  observe: (observation) => measures.observe(observation),
});

// One CommonJS file is what ships, and it cannot wait at its top level; boot handles every error itself.
void boot({
  log,
  server,
  socket: env['DRAYAGE_SOCKET'] ?? SOCKET,
  ...(existsSync(SHORT_NAMES) ? { alias: `${SHORT_NAMES}/vpc.sock` } : {}),
  start: async (c) => {
    plugin = await startPlugin({ env, folder: env['DRAYAGE_FOLDER'] ?? FOLDER, log, measures }, c);
    return plugin;
  },
});
