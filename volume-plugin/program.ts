import { asPluginError, PluginError } from '../shared/errors.ts';
import { createLogger, LOG_LEVELS } from '../shared/log.ts';
import { boot } from '../shared/plugin/boot.ts';
import { type Handler, PluginServer } from '../shared/plugin/server.ts';
import { type PluginOptions, type StartedPlugin, startPlugin } from './plugin.ts';
import { CONSTANT_METHODS, DISTINCT, GET, nameIn, unconfirmedAnswer } from './protocol.ts';

/** Where the engine looks for a managed plugin's socket: see `interface` in plugin-configs/volume.json. */
const SOCKET = '/run/docker/plugins/cloudvol.sock';
const FOLDER = '/var/lib/drayage/volume';
/** See `propagatedmount` in plugin-configs/volume.json. */
const MOUNTS = '/var/lib/drayage-mounts';
const BENEATH = '/run/drayage-beneath';
/** So long an engine that has just started waits with its Gets for the plugin. */
const READY_MS = 10_000;

export interface Program {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For fault tests: what to put between the plugin and its state in this folder. */
  readonly hooks?: (folder: string) => Pick<PluginOptions, 'watchStore' | 'windows' | 'backends' | 'boot'>;
}

/**
 * Get before the plugin is ready, or when it cannot start. An error would make Docker create a volume of its own under
 * the name, so a name that cannot be looked up is answered as a volume that is not confirmed.
 */
class EarlyGet {
  readonly #told = new Set<string>();
  #plugin: StartedPlugin | undefined;
  #failure: PluginError | undefined;
  #news = Promise.withResolvers<void>();

  readonly handle: Handler = async (body, c) => {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, READY_MS);
    if (this.#plugin === undefined && this.#failure === undefined)
      await Promise.race([this.#news.promise, late.promise]);
    clearTimeout(timer);
    const get = this.#plugin?.methods[GET];
    if (get !== undefined) return await get(body, c);
    const error = this.#failure ?? new PluginError('NOT_READY', {});
    const answer = unconfirmedAnswer(body, error);
    this.#told.add(nameIn(body));
    c.log.warn('the plugin does not work; the name is answered as a volume that is not confirmed', { error });
    return answer;
  };

  failed(error: unknown): void {
    this.#failure = asPluginError(error);
    this.#news.resolve();
  }

  async started(plugin: StartedPlugin): Promise<void> {
    await plugin.remember([...this.#told], this.#failure?.message ?? 'the plugin was starting');
    this.#plugin = plugin;
    this.#news.resolve();
  }
}

/** The plugin as a process: listens at once, starts, and handles every error itself. Never rejects. */
export async function runProgram({ env, hooks }: Program): Promise<void> {
  const log = createLogger({ level: LOG_LEVELS.find((level) => level === env['LOG_LEVEL']) ?? 'info' });
  const folder = env['DRAYAGE_FOLDER'] ?? FOLDER;
  const mounts = { base: env['DRAYAGE_MOUNTS'] ?? MOUNTS, beneath: env['DRAYAGE_BENEATH'] ?? BENEATH };
  const get = new EarlyGet();
  let plugin: StartedPlugin | undefined;
  const server = new PluginServer({
    log,
    implements: ['VolumeDriver'],
    early: { ...CONSTANT_METHODS, [GET]: get.handle },
    distinct: DISTINCT,
    // Docker asks for each new volume of any driver.
    ordinary: (method, code) => method === GET && code === 'VOLUME_UNKNOWN',
    onUndelivered: async (method, body, _result, c) => plugin?.takeBack(method, body, c),
  });
  await boot({
    log,
    server,
    socket: env['DRAYAGE_SOCKET'] ?? SOCKET,
    start: async (c) => {
      try {
        plugin = await startPlugin({ env, folder, mounts, log, ...hooks?.(folder) }, c);
        await get.started(plugin);
        return plugin;
      } catch (error) {
        get.failed(error);
        throw error;
      }
    },
  });
}
