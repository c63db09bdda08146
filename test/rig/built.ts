/**
 * Plugins as `docker plugin create` takes them, built once for all test files that want them: a build copies 114 MB and
 * starts the plugin. Named after everything that goes into a build, so that each change of the sources makes a new one.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, utimes } from 'node:fs/promises';
import path from 'node:path';
import { buildPlugin } from '../../plugin-configs/build.ts';
import type { PluginName } from '../../plugin-configs/config.ts';
import { baseRootfs } from '../../plugin-configs/rootfs.ts';
import { CACHE, withLock } from './packages.ts';
import { dropAbandoned, keepNewest } from './sweep.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const FOLDER = path.join(CACHE, 'plugins');
/** Where sources of plugins are; what is imported of node_modules is told by the lock file. */
const SOURCES = ['network-plugin', 'volume-plugin', 'shared', 'plugin-configs'];
/** Older builds of a kind are dropped. */
const KEPT = 4;

/**
 * Resolves with the folder, which is not to be changed. `entry`: what is built in the place of the plugin's own main.ts,
 * with the files beside it; `kind` then tells such builds from the others.
 */
export async function builtPlugin(plugin: PluginName, kind: string = plugin, entry?: string): Promise<string> {
  const name = `${kind}-${await fingerprint(plugin, entry)}`;
  const folder = path.join(FOLDER, name);
  await mkdir(FOLDER, { recursive: true });
  await withLock(`plugin-${name}`, async () => {
    const isNew = !existsSync(folder);
    if (isNew) await buildPlugin(plugin, folder, entry);
    const now = new Date();
    await utimes(folder, now, now);
    if (!isNew) return;
    await keepNewest(FOLDER, KEPT, (found) => found.replace(/-[0-9a-f]{16}$/, '') === kind);
    // What a build that was killed has left.
    await dropAbandoned(FOLDER, (found) => found.startsWith('.'));
  });
  return folder;
}

async function fingerprint(plugin: PluginName, entry: string | undefined): Promise<string> {
  const hash = createHash('sha256');
  hash.update(`${plugin} ${entry ?? ''} ${process.version} ${await baseRootfs(plugin)}\n`);
  const folders = [...SOURCES.map((name) => path.join(ROOT, name)), ...(entry ? [path.dirname(entry)] : [])];
  const listed = await Promise.all(folders.map((folder) => readdir(folder, { recursive: true, withFileTypes: true })));
  const files = listed.flat().filter((found) => found.isFile());
  for (const file of [
    path.join(ROOT, 'package-lock.json'),
    ...files.map(({ parentPath, name }) => path.join(parentPath, name)).sort(),
  ]) {
    hash.update(`${file}\n`).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}
