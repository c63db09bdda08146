/** The engine of volumes in buckets as it ships: one file, compiled, which starts in a tenth of the time of its sources. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from '../../plugin-configs/bundle.ts';
import { ENGINE_FLAGS } from '../../volume-plugin/engine/flags.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Where libraries of node_modules are found from. */
const BUILDS = join(ROOT, 'node_modules/.cache/drayage-engine');
const SOURCES = [
  'volume-plugin/engine',
  'volume-plugin/fuse',
  'volume-plugin/object',
  'volume-plugin/objectfs',
  'shared',
];

let built: Promise<string> | undefined;

/** Resolves with the path of the program; built anew after each change of the sources. */
export const builtEngine = (): Promise<string> => {
  built ??= build();
  return built;
};

const build = async (): Promise<string> => {
  const folder = join(BUILDS, await fingerprint());
  const program = join(folder, 'main.cjs');
  if (existsSync(program)) return program;
  await mkdir(BUILDS, { recursive: true });
  const making = await mkdtemp(join(BUILDS, '.'));
  await bundle(join(ROOT, 'volume-plugin/engine/main.ts'), making);
  const scripts = join(ROOT, 'volume-plugin/fuse');
  for (const name of await readdir(scripts))
    if (name.endsWith('.sh')) await copyFile(join(scripts, name), join(making, name));
  const cache = { NODE_COMPILE_CACHE: join(making, 'cache'), NODE_COMPILE_CACHE_PORTABLE: '1' };
  // Without what it is to do it ends when it is loaded.
  const loading = spawn(process.execPath, [...ENGINE_FLAGS, join(making, 'main.cjs'), making], {
    stdio: 'ignore',
    env: cache,
  });
  await once(loading, 'exit');
  for (const old of await readdir(BUILDS))
    if (!old.startsWith('.')) await rm(join(BUILDS, old), { recursive: true, force: true });
  // Another process may have been faster: its build is the same.
  await rename(making, folder).catch(() => rm(making, { recursive: true }));
  return program;
};

const fingerprint = async (): Promise<string> => {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    const found = await readdir(join(ROOT, source), { recursive: true, withFileTypes: true });
    const files = found.filter((one) => one.isFile()).map(({ parentPath, name }) => join(parentPath, name));
    for (const file of files.sort()) hash.update(`${file}\n`).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
};
