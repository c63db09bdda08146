/** Plugins with kill points in them (`plugin-main.ts`, `volume-main.ts`), as `docker plugin create` takes them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPlugin } from '../../../plugin-configs/build.ts';
import type { PluginName } from '../../../plugin-configs/config.ts';

const MAIN = { network: 'plugin-main.ts', volume: 'volume-main.ts' } as const satisfies Record<PluginName, string>;

/** Resolves with the folder; it is removed when the process ends. */
export async function mortalPlugin(plugin: PluginName = 'network'): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-mortal-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await buildPlugin(plugin, folder, join(import.meta.dirname, MAIN[plugin]));
  return folder;
}
