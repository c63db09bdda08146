/**
 * Plugins as `docker plugin create` takes them, built once for all test files that want them: a build copies 114 MB and
 * starts the plugin. Named after everything that goes into a build, so that each change of the sources makes a new one.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { buildPlugin } from '../../plugin-configs/build.ts';
import type { PluginName } from '../../plugin-configs/config.ts';
import { baseRootfs } from '../../plugin-configs/rootfs.ts';
import { CACHE, withLock } from './packages.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const FOLDER = path.join(CACHE, 'plugins');
/** Where sources of plugins are; what is imported of node_modules is told by the lock file. */
const SOURCES = ['network-plugin', 'volume-plugin', 'shared', 'plugin-configs'];
/** Older builds of a kind are dropped. */
const KEPT = 4;
/** What a build that was killed has left. */
const ABANDONED_MS = 3_600_000;

/**
 * Resolves with the folder, which is not to be changed. `entry`: what is built in the place of the plugin's own main.ts,
 * with the files beside it; `kind` then tells such builds from the others.
 */
export async function builtPlugin(plugin: PluginName, kind: string = plugin, entry?: string): Promise<string> {
  const name = `${kind}-${await fingerprint(plugin, entry)}`;
  const folder = path.join(FOLDER, name);
  await mkdir(FOLDER, { recursive: true });
  await withLock(`plugin-${name}`, async () => {
    if (!existsSync(folder)) {
      await buildPlugin(plugin, folder, entry);
      await dropOld(kind, name);
    }
    const now = new Date();
    await utimes(folder, now, now);
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

async function dropOld(kind: string, made: string): Promise<void> {
  const names = (await readdir(FOLDER)).filter((name) => name !== made);
  const found = await Promise.all(
    names.map(async (name) => ({ name, used: (await stat(path.join(FOLDER, name))).mtimeMs })),
  );
  const abandoned = found.filter(({ name, used }) => name.startsWith('.') && Date.now() - used > ABANDONED_MS);
  const same = found.filter(({ name }) => name.replace(/-[0-9a-f]{16}$/, '') === kind).sort((a, b) => b.used - a.used);
  for (const { name } of [...abandoned, ...same.slice(KEPT - 1)]) {
    await rm(path.join(FOLDER, name), { recursive: true, force: true });
  }
}
