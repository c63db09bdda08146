import { chmodSync, closeSync, cpSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { bundle } from '../../plugin-configs/bundle.ts';
import { newContext, sleep } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import { enginesOf, findKeeper, killKeeper, startKeeper } from '../../volume-plugin/fuse/keeper.ts';
import { run } from './command.ts';
import type { MemoryOptions } from './memory-file-system.ts';
import { commandOf, orphanedFolders, ownedFolder } from './owned-folders.ts';

/** Real mounts of the file system in memory: of this process, gone when the test ends, or with the next one when it was killed. */

const PREFIX = 'drayage-fuse-';
const ROOT = join(import.meta.dirname, '../..');
const ENGINE = join(import.meta.dirname, 'memory-engine.ts');

const context = (ms = 20_000) => newContext(silentLogger, ms);

/** Ends what tests that were killed have left. */
export const sweepMounts = async (): Promise<void> => {
  for (const base of orphanedFolders(PREFIX)) {
    await killKeeper(join(base, 'folder'), context());
    rmSync(base, { recursive: true, force: true });
  }
};

export class MemoryMount {
  readonly base: string;
  /** The engine's. */
  readonly folder: string;
  readonly target: string;
  readonly #options: MemoryOptions;

  private constructor(base: string, options: MemoryOptions) {
    this.base = base;
    this.folder = join(base, 'folder');
    this.target = join(base, 'mount');
    this.#options = options;
  }

  /** Folders only: nothing is mounted yet. */
  static async folders(t: Test, options: MemoryOptions = {}): Promise<MemoryMount> {
    await sweepMounts();
    const one = new MemoryMount(ownedFolder(PREFIX), options);
    // For tests that are somebody else.
    chmodSync(one.base, 0o755);
    mkdirSync(one.folder);
    mkdirSync(one.target);
    t.teardown(() => one.#remove());
    return one;
  }

  static async make(t: Test, options: MemoryOptions = {}): Promise<MemoryMount> {
    const one = await MemoryMount.folders(t, options);
    await one.start();
    return one;
  }

  /** With the engine as one file, which starts as quickly as the real one. */
  static async built(t: Test, options: MemoryOptions = {}): Promise<MemoryMount> {
    const one = await MemoryMount.folders(t, options);
    await bundle(ENGINE, one.base);
    cpSync(join(ROOT, 'volume-plugin/fuse/notify.sh'), join(one.base, 'notify.sh'));
    await one.start([process.execPath, join(one.base, 'main.cjs'), JSON.stringify(options)], {
      NODE_PATH: join(ROOT, 'node_modules'),
      NODE_COMPILE_CACHE: join(one.base, 'cache'),
    });
    return one;
  }

  async start(
    engine: readonly string[] = [process.execPath, ENGINE, JSON.stringify(this.#options)],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const mount = { target: this.target, source: `${PREFIX}test` };
    // Not the test's: whoever runs the test would wait for keepers of one that was killed.
    const errors = openSync(this.log, 'a');
    try {
      return await startKeeper({ folder: this.folder, mount, engine, environment, errors }, context());
    } finally {
      closeSync(errors);
    }
  }

  /** What keeper and engine complain of. */
  get log(): string {
    return join(this.base, 'log');
  }

  path(...names: readonly string[]): string {
    return join(this.target, ...names);
  }

  get keeper(): number | undefined {
    return findKeeper(this.folder);
  }

  /** The engine that runs now; waits for it. */
  async engine(): Promise<number> {
    const c = context();
    for (;;) {
      const { keeper } = this;
      // Beside it there may be what tells the kernel of changes, of this engine or the last one.
      const engine = (keeper === undefined ? [] : enginesOf(keeper)).find((pid) => commandOf(pid) === 'MainThread');
      if (engine !== undefined) return engine;
      await sleep(5, c);
    }
  }

  /** Takes the mount away and waits until the engine and its keeper have ended by themselves. */
  async unmount(): Promise<void> {
    await run(['umount', '-l', this.target]);
    const c = context();
    while (this.keeper !== undefined) await sleep(10, c);
  }

  async #remove(): Promise<void> {
    // A reader that hangs would keep it mounted.
    await killKeeper(this.folder, context());
    await run(['umount', '-l', this.target]);
    rmSync(this.base, { recursive: true, force: true });
  }
}
