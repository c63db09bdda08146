/**
 * Node's compile cache, made at build: a plugin then starts without compiling its code (about 40 ms and 2.5 MB less).
 *
 * Node: module.enableCompileCache(), NODE_COMPILE_CACHE, NODE_COMPILE_CACHE_PORTABLE (paths relative to the cache).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 20_000;

/** Where the cache lies in the image, and the environment by which Node finds it there. */
export const CACHE_FOLDER = 'usr/lib/drayage/cache';
export const CACHE_ENVIRONMENT = {
  NODE_COMPILE_CACHE: `/${CACHE_FOLDER}`,
  NODE_COMPILE_CACHE_PORTABLE: '1',
} as const;

/**
 * Fills the cache by starting the plugin with a setting that no plugin accepts: it loads all of its code, refuses the
 * setting before it touches anything, and is stopped. `flags` are those that Node has in the image. `helpers` are programs beside it, with
 * the flags of each: without what they are to do they end when they are loaded.
 */
export async function fillCompileCache(
  rootfs: string,
  flags: readonly string[],
  helpers: Readonly<Record<string, readonly string[]>> = {},
): Promise<void> {
  const cache = join(rootfs, CACHE_FOLDER);
  const scratch = await mkdtemp(join(tmpdir(), 'drayage-cache-'));
  await mkdir(cache);
  try {
    const socket = join(scratch, 'plugin.sock');
    const child = spawn(process.execPath, [...flags, join(rootfs, 'usr/lib/drayage/main.cjs')], {
      stdio: 'ignore',
      timeout: DEADLINE_MS,
      env: {
        ...CACHE_ENVIRONMENT,
        NODE_COMPILE_CACHE: cache,
        LOG_LEVEL: 'none',
        DRAYAGE_SOCKET: socket,
        DRAYAGE_FOLDER: join(scratch, 'state'),
      },
    });
    await stopWhenListening(child, socket);
    for (const [name, own] of Object.entries(helpers)) {
      const helper = spawn(process.execPath, [...own, join(rootfs, 'usr/lib/drayage', name), scratch], {
        ...{ stdio: 'ignore', timeout: DEADLINE_MS },
        env: { ...CACHE_ENVIRONMENT, NODE_COMPILE_CACHE: cache },
      });
      await new Promise((resolve, reject) => helper.once('error', reject).once('exit', resolve));
    }
    await forRoot(cache);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Node writes the cache when it exits. A plugin that ends by itself at a wrong setting has written it, too. */
async function stopWhenListening(child: ChildProcess, socket: string): Promise<void> {
  const exited = new Promise<void>((resolve, reject) => child.once('error', reject).once('exit', () => resolve()));
  const deadline = performance.now() + DEADLINE_MS;
  const running = (): boolean => child.exitCode === null && child.signalCode === null;
  while (running() && !existsSync(socket) && performance.now() < deadline) await Promise.race([sleep(10), exited]);
  // What runs after listening belongs to the start as well.
  await Promise.race([sleep(200), exited]);
  child.kill('SIGTERM');
  await exited;
}

/** Node keeps a cache for each user, by number at the end of the folder's name; in the image it runs as root. */
async function forRoot(cache: string): Promise<void> {
  const [name, ...others] = await readdir(cache);
  if (name === undefined || others.length > 0)
    throw new Error(`${cache} should hold one cache: ${name ?? 'it has none'}`);
  const renamed = name.replace(/-\d+$/, '-0');
  if (renamed !== name) await rename(join(cache, name), join(cache, renamed));
}
