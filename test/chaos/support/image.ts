/** Plugins with kill points in them (`plugin-main.ts`, `volume-main.ts`), as `docker plugin create` takes them. */
import { join } from 'node:path';
import type { PluginName } from '../../../plugin-configs/config.ts';
import { builtPlugin } from '../../rig/built.ts';

const MAIN = { network: 'plugin-main.ts', volume: 'volume-main.ts' } as const satisfies Record<PluginName, string>;

/** Resolves with the folder, which others use too. */
export function mortalPlugin(plugin: PluginName = 'network'): Promise<string> {
  return builtPlugin(plugin, `${plugin}-mortal`, join(import.meta.dirname, MAIN[plugin]));
}
