/**
 * `docker plugin create` of a 120 MB plugin takes 4 s and more on every host, most of it compression. So it is done once
 * per engine and build of the plugin, on a machine of its own, and hosts get a copy of what the engine made of it.
 */

import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PLUGIN_NAME } from '../../network-plugin/options.ts';
import { must } from './command.ts';
import { Engine } from './engine.ts';
import { Machine } from './machine.ts';
import { CACHE, type EngineFiles, type Tools, withLock } from './packages.ts';
import { dropAbandoned, keepNewest } from './sweep.ts';

/** Older seeds are dropped: each is 160 MB. */
const KEPT = 4;

/** How a seed is made: with which engine, from which built plugin. */
export interface SeedSource {
  readonly folder: string;
  readonly files: EngineFiles;
  readonly iptables: string;
  readonly tools: Tools;
  readonly say: (line: string) => void;
  /** Name of the plugin. Default drayage/network. */
  readonly name?: string;
}

/** Names what a built plugin consists of: the content of its own files, the sizes of the base's. */
export async function fingerprint(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  // What Node compiled beforehand differs from build to build, and follows from the rest.
  const files = names
    .filter((entry) => entry.isFile() && !entry.parentPath.includes('/drayage/cache'))
    .map((entry) => path.join(entry.parentPath, entry.name));
  for (const file of files.sort()) {
    const { size } = await stat(file);
    hash.update(`${path.relative(folder, file)} ${size}\n`);
    if (file.endsWith('config.json') || file.includes('/usr/lib/drayage/')) hash.update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Folder `plugins` of an engine that has the plugin, disabled; made when it is missing. */
export async function ensureSeed(source: SeedSource): Promise<string> {
  const plugin = source.name ?? PLUGIN_NAME;
  const suffix = plugin === PLUGIN_NAME ? '' : `-${plugin}`;
  const name = `seed-${source.files.version}-${await fingerprint(source.folder)}${suffix}`;
  const seed = path.join(CACHE, 'seeds', name);
  if (existsSync(seed)) {
    const now = new Date();
    await utimes(seed, now, now);
    return seed;
  }
  return await withLock(name, async () => {
    if (existsSync(seed)) return seed;
    source.say(`docker plugin create with engine ${source.files.version}, once for this build of the plugin`);
    const making = path.join(CACHE, 'making', name);
    await rm(making, { recursive: true, force: true });
    await dropAbandoned(path.dirname(making));
    const { tools, files, iptables } = source;
    const programs = [files.bin, iptables];
    const options = { name: 'seeder', folder: making, tools, rig: name, detached: false, disks: true, programs };
    const machine = await Machine.start(options);
    try {
      const engine = new Engine(machine, files, `/drayage-rig-${name}`, {});
      await engine.start();
      const env = { PATH: process.env.PATH, HOME: making, DOCKER_HOST: `unix://${engine.socket}` };
      await must([tools.docker, 'plugin', 'create', plugin, source.folder], { env, timeoutMs: 180_000 });
      await engine.stop();
    } finally {
      await machine.powerOff();
    }
    await mkdir(path.dirname(seed), { recursive: true });
    await rename(path.join(making, 'docker/plugins'), seed);
    await rm(making, { recursive: true, force: true });
    const version = engineOf(path.basename(seed));
    await keepNewest(path.dirname(seed), KEPT, (name) => engineOf(name) === version);
    return seed;
  });
}

/** Of a seed's name: the version of its engine. */
const engineOf = (name: string): string | undefined => name.split('-')[1];

/** Puts a copy of the seed into an engine's data root, under an id of its own: the plugin's cgroup has the id's name. */
export async function plantSeed(seed: string, dataRoot: string): Promise<void> {
  const target = path.join(dataRoot, 'plugins');
  await mkdir(dataRoot, { recursive: true });
  await must(['cp', '-a', '--reflink=auto', seed, target]);
  const old = (await readdir(target)).find((name) => /^[0-9a-f]{64}$/.test(name));
  if (!old) throw new Error(`${seed} holds no plugin; remove it`);
  const id = randomBytes(32).toString('hex');
  await rename(path.join(target, old), path.join(target, id));
  const config = path.join(target, id, 'config.json');
  await writeFile(config, (await readFile(config, 'utf8')).replaceAll(old, id));
}
