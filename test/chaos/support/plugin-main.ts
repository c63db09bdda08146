// What the chaos tests put into the image in the place of network-plugin/main.ts: the same plugin, with a store that
// can end it at any update, and with waiting times that the test can shorten.
import { existsSync } from 'node:fs';
import { Measures } from '../../../network-plugin/measures.ts';
import { type StartedPlugin, startPlugin } from '../../../network-plugin/plugin.ts';
import { CONSTANT_METHODS } from '../../../network-plugin/protocol.ts';
import { createLogger } from '../../../shared/log.ts';
import { boot } from '../../../shared/plugin/boot.ts';
import { PluginServer } from '../../../shared/plugin/server.ts';
import { watchedStore, windowsOf } from './kill-point.ts';

const { env } = process;
const folder = env['DRAYAGE_FOLDER'] ?? '/var/lib/drayage/network';
const SHORT_NAMES = '/host/plugins';
const USUAL = { retryMs: 60_000, orphanMs: 5 * 60_000 };

const log = createLogger({ level: 'debug' });
const measures = new Measures();
let plugin: StartedPlugin | undefined;
const server = new PluginServer({
  log,
  implements: ['NetworkDriver', 'IpamDriver'],
  early: CONSTANT_METHODS,
  onUndelivered: async (...request) => plugin?.takeBack(...request),
});

void boot({
  log,
  server,
  socket: env['DRAYAGE_SOCKET'] ?? '/run/docker/plugins/vpc.sock',
  ...(existsSync(SHORT_NAMES) ? { alias: `${SHORT_NAMES}/vpc.sock` } : {}),
  start: async (c) => {
    plugin = await startPlugin(
      {
        env,
        folder,
        log,
        measures,
        watchStore: (store) => watchedStore(folder, store),
        windows: windowsOf(folder, USUAL),
      },
      c,
    );
    return plugin;
  },
});
