/**
 * Mounts buckets as the plugin does, by a keeper and an engine, without Docker. In a test:
 *
 *     const mount = await ObjectMount.make(t, { store: { kind: 'folder', folder, bucket: 'assets' } });
 *     writeFileSync(mount.path('a'), 'x');
 *     await mount.killEngine();
 *
 * By hand, until Ctrl-C:
 *
 *     node test/rig/object-mount.ts TARGET '{"store": {"kind": "s3", "bucket": "b", "endpoint": "http://127.0.0.1:9000", …}, "prefix": ""}'
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Test } from 'tap';
import { newContext, sleep } from '../../shared/context.ts';
import { silentLogger } from '../../shared/log.ts';
import { LinuxEngineRunner } from '../../volume-plugin/backends/object-runner.ts';
import { drainEngine, EngineAway, engineStatus } from '../../volume-plugin/engine/control-client.ts';
import {
  CLEAN_FILE,
  type EngineOptions,
  type EngineStatus,
  type Left,
  OPTIONS_FILE,
} from '../../volume-plugin/engine/wire.ts';
import { enginesOf, findKeeper } from '../../volume-plugin/fuse/keeper.ts';
import { builtEngine } from './built-engine.ts';
import { run, signal } from './command.ts';
import { commandOf, orphanedFolders, ownedFolder } from './owned-folders.ts';

const PREFIX = 'drayage-object-';
const MIB = 2 ** 20;

/** What is left out is as usual for a volume; the whole bucket is mounted. */
export type ObjectMountOptions = Pick<EngineOptions, 'store'> & Partial<EngineOptions>;

const engineOptions = (options: ObjectMountOptions): EngineOptions => ({
  ...{ format: 1, volume: 'test', uuid: '0'.repeat(32), host: { id: 'host-1', name: 'host-1' }, bucket: 'test' },
  ...{ prefix: '', readonly: false, access: 'many', consistency: 'close-to-open', durability: 'server' },
  ...{ attributes: 'listed', uid: 0, gid: 0, fileMode: 0o644, dirMode: 0o755, retryMs: 60_000, logLevel: 'info' },
  ...{ cacheBytes: 2048 * MIB, memoryBytes: 150 * MIB },
  ...options,
});

const context = (ms = 30_000) => newContext(silentLogger, ms);

/** Ends what tests that were killed have left. */
const sweep = async (): Promise<void> => {
  for (const base of orphanedFolders(PREFIX)) {
    await new LinuxEngineRunner().kill(join(base, 'folder'), context());
    await run(['umount', '-l', join(base, 'mount')]);
    rmSync(base, { recursive: true, force: true });
  }
};

/** A bucket that is mounted: of this process, gone when the test ends, or with the next one when it was killed. */
export class ObjectMount {
  readonly base: string;
  /** The engine's. */
  readonly folder: string;
  readonly target: string;
  readonly options: EngineOptions;
  readonly #runner: LinuxEngineRunner;

  private constructor(base: string, target: string, program: string, options: ObjectMountOptions) {
    this.base = base;
    this.#runner = new LinuxEngineRunner(program);
    this.folder = join(base, 'folder');
    this.target = target;
    this.options = engineOptions(options);
  }

  /** `t`: takes it away at the test's end; without one `remove` does. `target`: a folder of its own when left out. */
  static async make(t: Test | undefined, options: ObjectMountOptions, target?: string): Promise<ObjectMount> {
    await sweep();
    const base = ownedFolder(PREFIX);
    const one = new ObjectMount(base, target ?? join(base, 'mount'), await builtEngine(), options);
    mkdirSync(one.folder);
    mkdirSync(one.target, { recursive: true });
    t?.teardown(() => one.remove());
    await one.start();
    return one;
  }

  /** Mounts it, after `unmount` once more. `changed`: from now on. Resolves when it answers. */
  async start(changed: Partial<EngineOptions> = {}): Promise<void> {
    const options = { ...this.options, ...changed };
    writeFileSync(join(this.folder, OPTIONS_FILE), JSON.stringify(options), { mode: 0o600 });
    const { folder, target } = this;
    const { volume, memoryBytes } = options;
    const mount = { target, source: `drayage-object:${volume}` };
    await this.#runner.start({ folder, volume, memoryBytes, mount }, context());
    await this.#runner.probe(target, context());
  }

  /** Brings to the bucket what an engine that is gone has left; resolves when it is there. */
  async finish(): Promise<void> {
    const { folder } = this;
    const { volume, memoryBytes } = this.options;
    await this.#runner.start({ folder, volume, memoryBytes }, context());
    await this.#untilEnded();
  }

  path(...names: readonly string[]): string {
    return join(this.target, ...names);
  }

  /** Does a keeper hold it? */
  get isHeld(): boolean {
    return this.#runner.isAlive(this.folder);
  }

  /** Has the last engine left nothing that is not in the bucket? */
  get isClean(): boolean {
    return readdirSync(this.folder).includes(CLEAN_FILE);
  }

  /** The pid of the engine that runs now; waits for it. */
  async engine(): Promise<number> {
    const c = context();
    for (;;) {
      const keeper = findKeeper(this.folder);
      const [engine] = keeper === undefined ? [] : enginesOf(keeper);
      if (engine !== undefined && /node|MainThread/.test(commandOf(engine))) return engine;
      await sleep(5, c);
    }
  }

  /** SIGKILL to the engine; its keeper starts the next one. */
  async killEngine(): Promise<void> {
    signal(await this.engine(), 'SIGKILL');
  }

  /** SIGKILL to keeper and engine, as when the plugin ends: the mount is dead, and is taken away. */
  async killAll(): Promise<void> {
    await this.#runner.kill(this.folder, context());
    await run(['umount', '-l', this.target]);
  }

  /** Waits for an engine that is just being started. */
  async status(): Promise<EngineStatus> {
    return await this.#asked((c) => engineStatus(this.folder, c));
  }

  async drain(left: (left: Left) => void = () => undefined, ms = 60_000): Promise<void> {
    await this.#asked((c) => drainEngine(this.folder, left, c), ms);
  }

  /** Resolves when engine and keeper have ended by themselves: everything is in the bucket then. */
  async unmount(): Promise<void> {
    const { code, stderr } = await run(['umount', this.target]);
    if (code !== 0) throw new Error(stderr);
    await this.#untilEnded();
  }

  /** The engine's own log: warnings and errors. */
  log(): string {
    return readdirSync(this.folder).includes('engine.log') ? readFileSync(join(this.folder, 'engine.log'), 'utf8') : '';
  }

  async remove(): Promise<void> {
    // A reader that hangs would keep it mounted.
    await this.killAll();
    rmSync(this.base, { recursive: true, force: true });
  }

  async #untilEnded(): Promise<void> {
    const c = context(60_000);
    while (this.isHeld) await sleep(5, c);
  }

  async #asked<T>(ask: (c: ReturnType<typeof context>) => Promise<T>, ms?: number): Promise<T> {
    const c = context(ms);
    for (;;) {
      try {
        return await ask(c);
      } catch (error) {
        if (!(error instanceof EngineAway)) throw error;
        await sleep(10, c);
      }
    }
  }
}

if (import.meta.main) {
  const [target = '', options = ''] = process.argv.slice(2);
  const mount = await ObjectMount.make(undefined, JSON.parse(options) as ObjectMountOptions, resolve(target));
  console.log(`${mount.target} is mounted; engine ${await mount.engine()}, folder ${mount.folder}. Ctrl-C ends it.`);
  process.on('SIGINT', () => undefined);
  await new Promise((done) => process.once('SIGINT', done).once('SIGTERM', done));
  await mount.unmount().catch((error: Error) => console.error(error.message));
  await mount.remove();
}
