/** The plugin with the kill points of `plugin-main.ts` in it, as `docker plugin create` takes it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPlugin } from '../../../plugin-configs/build.ts';

/** Resolves with the folder; it is removed when the process ends. */
export async function mortalPlugin(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-mortal-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await buildPlugin('network', folder, join(import.meta.dirname, 'plugin-main.ts'));
  return folder;
}
