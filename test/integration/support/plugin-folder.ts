/** Plugins as `docker plugin create` takes them, built once for all tests of a file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPlugin } from '../../../plugin-configs/build.ts';
import type { PluginName } from '../../../plugin-configs/config.ts';

const built = new Map<PluginName, Promise<string>>();

/** Resolves with the folder; it is removed when the process ends. */
export function pluginFolder(plugin: PluginName = 'network'): Promise<string> {
  const folder = built.get(plugin) ?? build(plugin);
  built.set(plugin, folder);
  return folder;
}

async function build(plugin: PluginName): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-plugin-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await buildPlugin(plugin, folder);
  return folder;
}
