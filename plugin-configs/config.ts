/** The managed plugins' `config.json`: written by hand but for `env`, which comes from the plugin's own settings. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PLUGIN_NAME as NETWORK_NAME, SETTINGS as NETWORK_SETTINGS } from '../network-plugin/options.ts';
import { describe, type Schema } from '../shared/options.ts';
import { PLUGIN_NAME as VOLUME_NAME, SETTINGS as VOLUME_SETTINGS } from '../volume-plugin/options.ts';
import { CACHE_ENVIRONMENT } from './compile-cache.ts';

/** One variable of a plugin's environment, as Docker wants it; nobody may set those without `settable`. */
interface EnvEntry {
  readonly name: string;
  readonly description: string;
  readonly settable: readonly string[] | null;
  readonly value: string;
}

/** A plugin: its name, and what of its environment users set and what they do not. */
interface Buildable {
  /** What the plugin must be called on a host. */
  readonly name: string;
  readonly settings: Schema;
  readonly fixed: readonly EnvEntry[];
}

const XTABLES_LOCK: EnvEntry = {
  name: 'XTABLES_LOCKFILE',
  description: 'Lock of iptables-legacy, in the mount "lock".',
  settable: null,
  value: '/host/lock/xtables.lock',
};

const COMPILE_CACHE: readonly EnvEntry[] = Object.entries(CACHE_ENVIRONMENT).map(([name, value]) => ({
  name,
  description: 'For Node: the code that was compiled when the image was built.',
  settable: null,
  value,
}));

/** Calls that a dead server or disk keeps may have twelve of these threads: see shared/kernel/blocking.ts. */
const THREADS: EnvEntry = {
  name: 'UV_THREADPOOL_SIZE',
  description: 'For Node: threads that wait for disks and servers.',
  settable: null,
  value: '16',
};

/**
 * Node's helper threads allocate little and seldom; with heaps of their own they keep 1 to 3 MB, as chance has it, that
 * one heap does without.
 */
const ONE_HEAP: EnvEntry = {
  name: 'MALLOC_ARENA_MAX',
  description: 'For the C library: one heap for all threads.',
  settable: null,
  value: '1',
};

/** The plugins that can be built. */
export const PLUGINS = {
  network: { name: NETWORK_NAME, settings: NETWORK_SETTINGS, fixed: [XTABLES_LOCK, ONE_HEAP, ...COMPILE_CACHE] },
  volume: { name: VOLUME_NAME, settings: VOLUME_SETTINGS, fixed: [THREADS, ...COMPILE_CACHE] },
} as const satisfies Record<string, Buildable>;

export type PluginName = keyof typeof PLUGINS;

/** True when it is the name of a plugin that can be built. */
export function isPluginName(name: string): name is PluginName {
  return Object.hasOwn(PLUGINS, name);
}

/** Answers the text of a plugin's `config.json`, with the environment that its settings ask for now. */
export async function configText(plugin: PluginName): Promise<string> {
  const config: unknown = JSON.parse(await readFile(configFile(plugin), 'utf8'));
  const { settings, fixed }: Buildable = PLUGINS[plugin];
  const env = [...describe(settings, 'setting').env, ...fixed];
  return `${JSON.stringify(Object.assign({}, config, { env }), null, 2)}\n`;
}

/** In the image. */
const NODE = '/usr/bin/node';

/** The flags that Node is started with in the image. */
export async function nodeFlags(plugin: PluginName): Promise<string[]> {
  const { entrypoint } = JSON.parse(await readFile(configFile(plugin), 'utf8')) as { entrypoint: string[] };
  return entrypoint.slice(entrypoint.indexOf(NODE) + 1, -1);
}

/** True when the committed file says what the settings say. */
export async function isUpToDate(plugin: PluginName): Promise<boolean> {
  const committed: unknown = JSON.parse(await readFile(configFile(plugin), 'utf8'));
  return JSON.stringify(committed) === JSON.stringify(JSON.parse(await configText(plugin)));
}

/** Brings the committed file's generated part up to date. */
export async function rewriteConfig(plugin: PluginName): Promise<void> {
  await writeFile(configFile(plugin), await configText(plugin));
}

function configFile(plugin: PluginName): string {
  return join(import.meta.dirname, `${plugin}.json`);
}
