import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { exec } from '../../shared/kernel/exec.ts';
import { ENGINE_FLAGS } from '../engine/flags.ts';
import { findKeeper, killKeeper, startKeeper } from '../fuse/keeper.ts';
import type { EngineRunner, EngineStart } from './object-engines.ts';

/** Beside this file in the sources, and beside the plugin's own in its image. */
const findFile = (...names: readonly string[]): string => {
  const path = names.map((name) => join(import.meta.dirname, name)).find((one) => existsSync(one));
  if (path === undefined) throw new Error(`${names[0]} is not installed`);
  return path;
};

/** Threads that wait for the kernel's requests and for the host's disk. */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '8', MALLOC_ARENA_MAX: '2' };

/** In the image only. */
const compileCache = (folder: string): Readonly<Record<string, string>> => {
  const cache = join(folder, 'cache');
  return existsSync(cache) ? { NODE_COMPILE_CACHE: cache, NODE_COMPILE_CACHE_PORTABLE: '1' } : {};
};

/** Engines as processes of their own, each with a keeper. */
export class LinuxEngineRunner implements EngineRunner {
  readonly #program: string | undefined;

  /** `program`: the engine's, in the place of what is installed; for tests. */
  constructor(program?: string) {
    this.#program = program;
  }

  async start({ folder, volume, mount }: EngineStart, c: Context): Promise<void> {
    const program = this.#program ?? findFile('engine.cjs', '../engine/main.ts');
    const engine = [process.execPath, ...ENGINE_FLAGS, program];
    try {
      await startKeeper(
        {
          folder,
          ...(mount !== undefined && { mount }),
          engine,
          environment: { ...ENVIRONMENT, ...compileCache(dirname(program)) },
        },
        c,
      );
    } catch (thrown) {
      if (c.signal.aborted) throw thrown;
      const { context, message } = asPluginError(thrown);
      throw new PluginError('OBJECT_ENGINE', { volume, reason: context['reason'] ?? message }, { cause: thrown });
    }
  }

  isAlive(folder: string): boolean {
    return findKeeper(folder) !== undefined;
  }

  async kill(folder: string, c: Context): Promise<void> {
    await killKeeper(folder, c);
  }

  async probe(target: string, c: Context): Promise<void> {
    await exec('/bin/sh', [findFile('probe.sh', '../engine/probe.sh'), target], c);
  }
}
