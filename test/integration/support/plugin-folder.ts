/** Plugins as `docker plugin create` takes them, as they ship. */
import type { PluginName } from '../../../plugin-configs/config.ts';
import { builtPlugin } from '../../rig/built.ts';

const built = new Map<PluginName, Promise<string>>();

/** Resolves with the folder, which others use too. */
export function pluginFolder(plugin: PluginName = 'network'): Promise<string> {
  const folder = built.get(plugin) ?? builtPlugin(plugin);
  built.set(plugin, folder);
  return folder;
}
