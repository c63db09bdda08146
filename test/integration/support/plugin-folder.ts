/** The network plugin as `docker plugin create` takes it, built once for all tests of a file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildPlugin } from '../../../plugin-configs/build.ts';

let built: Promise<string> | undefined;

/** Resolves with the folder; it is removed when the process ends. */
export function pluginFolder(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'drayage-plugin-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  await buildPlugin('network', folder);
  return folder;
}
