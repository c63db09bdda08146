/**
 * Builds managed plugins as `docker plugin create` takes them: a folder with `config.json` and `rootfs/`.
 *
 *     node plugin-configs/build.ts [network] [--out DIR]    build (default: all, to dist/<name>)
 *     node plugin-configs/build.ts [network] --check        fail if the generated part of <name>.json is old
 *     node plugin-configs/build.ts [network] --write        bring it up to date
 */
import { constants, cp, lstat, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ENGINE_FLAGS } from '../volume-plugin/engine/flags.ts';
import { bundle } from './bundle.ts';
import { fillCompileCache } from './compile-cache.ts';
import { configText, isPluginName, isUpToDate, nodeFlags, PLUGINS, type PluginName, rewriteConfig } from './config.ts';
import { APP_FOLDER, baseRootfs } from './rootfs.ts';

const root = join(import.meta.dirname, '..');

/** What a plugin starts as processes of their own, by the names of their files. */
const HELPERS: Readonly<Record<PluginName, Readonly<Record<string, string>>>> = {
  network: {},
  volume: { 'share-worker': 'volume-plugin/nfs/share-worker.ts', engine: 'volume-plugin/engine/main.ts' },
};

/** Folders whose shell scripts go into the image beside the code. */
const SCRIPTS: Readonly<Record<PluginName, readonly string[]>> = {
  network: [],
  volume: ['volume-plugin/fuse', 'volume-plugin/engine'],
};

/**
 * Builds the plugin into the folder `out`, which is replaced. Answers the size of its files, unpacked, in bytes.
 * `entry` is what a fault test puts into the image in the place of the plugin's own.
 */
export async function buildPlugin(
  plugin: PluginName,
  out: string,
  entry = join(root, `${plugin}-plugin`, 'main.ts'),
): Promise<number> {
  const target = resolve(out);
  await mkdir(dirname(target), { recursive: true });
  const making = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  try {
    const rootfs = join(making, 'rootfs');
    // Where the file system can share blocks (btrfs, xfs), the copy takes no space.
    await cp(await baseRootfs(plugin), rootfs, {
      recursive: true,
      verbatimSymlinks: true,
      mode: constants.COPYFILE_FICLONE,
    });
    const helpers = Object.fromEntries(Object.entries(HELPERS[plugin]).map(([name, file]) => [name, join(root, file)]));
    for (const folder of SCRIPTS[plugin]) await copyScripts(join(root, folder), join(rootfs, APP_FOLDER));
    for (const { name } of await bundle(entry, making, helpers)) {
      await rename(join(making, name), join(rootfs, APP_FOLDER, name));
    }
    await fillCompileCache(rootfs, await nodeFlags(plugin), plugin === 'volume' ? { 'engine.cjs': ENGINE_FLAGS } : {});
    await writeFile(join(making, 'config.json'), await configText(plugin));
    const bytes = await sizeOf(rootfs);
    await replace(making, target);
    return bytes;
  } finally {
    await rm(making, { recursive: true, force: true });
  }
}

async function copyScripts(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) if (name.endsWith('.sh')) await cp(join(from, name), join(to, name));
}

/** Puts the folder `made` in the place of `target`. Of two builds at once the one that ends last stays. */
async function replace(made: string, target: string): Promise<void> {
  const old = `${made}-old`;
  for (let attempt = 1; ; attempt += 1) {
    await mkdir(target, { recursive: true });
    try {
      await rename(target, old);
      await rename(made, target);
      return;
    } catch (error) {
      // Between these two lines another build has put its own folder there, or taken it away.
      if (attempt === 10) throw error;
    } finally {
      await rm(old, { recursive: true, force: true });
    }
  }
}

/** The sum of the files' lengths, links not followed. */
export async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isDirectory()) bytes += (await lstat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { out: { type: 'string' }, check: { type: 'boolean' }, write: { type: 'boolean' } },
  });
  const names = positionals.length > 0 ? positionals : Object.keys(PLUGINS);
  if (values.out !== undefined && names.length > 1) throw new Error('--out is for one plugin: name it before.');
  for (const name of names) {
    if (!isPluginName(name)) {
      throw new Error(`There is no plugin ${name}; there are: ${Object.keys(PLUGINS).join(', ')}.`);
    }
    if (values.check) await check(name);
    else if (values.write) await rewriteConfig(name);
    else await report(name, values.out ?? join(root, 'dist', name));
  }
}

async function check(plugin: PluginName): Promise<void> {
  if (await isUpToDate(plugin)) return;
  throw new Error(`plugin-configs/${plugin}.json is older than the settings: run build.ts ${plugin} --write.`);
}

async function report(plugin: PluginName, out: string): Promise<void> {
  const started = performance.now();
  const bytes = await buildPlugin(plugin, out);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${out}: ${(bytes / 1e6).toFixed(1)} MB unpacked, built in ${seconds} s.`);
  console.log(`Next: docker plugin create ${PLUGINS[plugin].name} ${out}`);
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error(`drayage: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  });
}
