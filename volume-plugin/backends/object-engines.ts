import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, sleep, throwIfDone } from '../../shared/context.ts';
import { codeOf } from '../../shared/error-code.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import { mountAt, readMountTable } from '../../shared/kernel/mount-table.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { makeFolder, replaceFile } from '../../shared/state/files.ts';
import { drainEngine, EngineAway, endEngine, engineStatus } from '../engine/control-client.ts';
import {
  CLEAN_FILE,
  type EngineOptions,
  type EngineStatus,
  type Left,
  OPTIONS_FILE,
  readEngineOptions,
} from '../engine/wire.ts';
import { unmountShare } from '../nfs/mount-command.ts';
import type { Mounted } from './backend.ts';

/** How engines are run on this host. */
export interface EngineRunner {
  /**
   * Starts the keeper of an engine: `mount` absent: one that only brings to the store what waits in the folder. Resolves when
   * the kernel has mounted it. Errors: OBJECT_ENGINE.
   */
  start(engine: EngineStart, c: Context): Promise<void>;
  /** Does the folder's keeper live, of whichever life of the plugin? No I/O that could hang. */
  isAlive(folder: string): boolean;
  /** Ends keeper and engine at once; what is mounted is dead then. Resolves when they are gone. */
  kill(folder: string, c: Context): Promise<void>;
  /** Waits until what is mounted at `target` answers. Errors: the context's; OBJECT_ENGINE. */
  probe(target: string, c: Context): Promise<void>;
}

export interface EngineStart {
  readonly folder: string;
  readonly volume: string;
  readonly memoryBytes: number;
  readonly mount?: { readonly target: string; readonly source: string };
}

/** For one attempt to write everything out; a Mount that waits meanwhile comes after it. */
const DRAIN_MS = 30_000;
/** An engine that is asked to end, or whose mount is gone and that has nothing to do any more. */
const END_MS = 5_000;
/** From the start of an engine to its first answer. */
const ANSWER_MS = 20_000;
const LOOK_MS = 50;
/** What is shown of an engine may be so old. */
const STATUS_MS = 1_000;
const STATUS_WAIT_MS = 2_000;

const PREFIX = 'drayage-object:';

/** The source that the kernel's mount table shows of a volume. */
export const sourceOf = (volume: string): string => `${PREFIX}${volume}`;

/** The engines of this host's volumes: one folder and one keeper each. */
export class ObjectEngines {
  readonly #base: string;
  readonly #runner: EngineRunner;
  readonly #log: Logger;
  readonly #onDead: (volume: string, device: string) => void;
  readonly #statuses = new Map<string, { readonly at: number; readonly status: EngineStatus }>();
  readonly #asking = new Coalescer<void>();
  /** By the folder: of two keepers at once nobody would know which one has the mount. */
  readonly #starting = new KeyedMutex();
  /** What waits for the store, of volumes that are being written out, by name. */
  readonly #left = new Map<string, Left>();

  /** `base`: a folder of the host's disk; engines' folders are made in it. `onDead`: a mount was found whose engine is gone. */
  constructor(
    base: string,
    runner: EngineRunner,
    { log, onDead }: { readonly log: Logger; readonly onDead: (volume: string, device: string) => void },
  ) {
    this.#base = base;
    this.#runner = runner;
    this.#log = log;
    this.#onDead = onDead;
  }

  folderOf(uuid: string): string {
    return join(this.#base, uuid);
  }

  /**
   * Mounts a volume at `target`; when it is mounted there already, and its engine lives, verifies that. Errors:
   * OBJECT_ENGINE, VOLUME_IN_USE.
   */
  async mount(options: EngineOptions, target: string, c: Context): Promise<Mounted> {
    const { volume, uuid, memoryBytes } = options;
    const folder = this.folderOf(uuid);
    const source = sourceOf(volume);
    await this.dropDead(uuid, volume, target, c);
    const start = async (): Promise<void> => {
      await this.#end(folder, volume, c);
      await makeFolder(this.#base);
      await makeFolder(folder);
      await replaceFile(join(folder, OPTIONS_FILE), Buffer.from(JSON.stringify(options)), () => undefined);
      await this.#runner.start({ folder, volume, memoryBytes, mount: { target, source } }, c);
    };
    if (mountAt(readMountTable(), target)?.source !== source) await this.#starting.run(uuid, start, c);
    await this.#untilAnswers(folder, volume, target, c);
    const found = mountAt(readMountTable(), target);
    if (found?.source !== source) throw new PluginError('OBJECT_ENGINE', { volume, reason: 'it was unmounted again' });
    this.#refresh(uuid);
    return { source, device: found.device, inside: '' };
  }

  /** Takes away what is mounted at `target` when its engine is gone for good. Answers whether it was so. */
  async dropDead(uuid: string, volume: string, target: string, c: Context): Promise<boolean> {
    const found = mountAt(readMountTable(), target);
    if (found?.source !== sourceOf(volume)) return false;
    if (this.#runner.isAlive(this.folderOf(uuid))) return false;
    this.#log.warn('a mount whose engine is gone is taken away', { volume, target });
    this.#onDead(volume, found.device);
    while (mountAt(readMountTable(), target)?.source === sourceOf(volume)) {
      throwIfDone(c);
      await unmountShare(target, ['-l'], c);
    }
    return true;
  }

  /**
   * Brings everything to the store, and unmounts. Errors: OBJECT_WAITING when that takes longer than one attempt may;
   * VOLUME_IN_USE.
   */
  async unmount(uuid: string, volume: string, target: string, c: Context): Promise<void> {
    if (mountAt(readMountTable(), target)?.source !== sourceOf(volume)) return;
    if (await this.dropDead(uuid, volume, target, c)) return;
    await this.#drain(uuid, volume, c);
    const outcome = await unmountShare(target, [], c);
    if (outcome === 'busy') throw new PluginError('VOLUME_IN_USE', { volume });
    if (outcome === 'hanging') throw new PluginError('OBJECT_ENGINE', { volume, reason: 'it is not unmounted yet' });
  }

  /** After it was unmounted: waits until its engine has nothing to do any more. Errors: OBJECT_WAITING. */
  async leave(uuid: string, volume: string, c: Context): Promise<void> {
    const folder = this.folderOf(uuid);
    if (!this.#runner.isAlive(folder)) return;
    await this.#drain(uuid, volume, c);
    await this.#end(folder, volume, c);
    this.#statuses.delete(uuid);
  }

  /** Keeps whoever uses the volume from writing to it, at once. */
  async cutOff(uuid: string, c: Context): Promise<void> {
    await this.#runner.kill(this.folderOf(uuid), c);
  }

  /** The volume is removed: nothing of it is kept on this host. */
  async forget(uuid: string, c: Context): Promise<void> {
    const folder = this.folderOf(uuid);
    if (this.#runner.isAlive(folder)) await this.#runner.kill(folder, c);
    await rm(folder, { recursive: true, force: true });
    this.#statuses.delete(uuid);
  }

  /** Folders in which something may wait for the store, and no engine brings it there. Those of removed volumes, too. */
  async leftovers(): Promise<readonly EngineOptions[]> {
    const names = await readdir(this.#base).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    });
    const found: EngineOptions[] = [];
    for (const name of names) {
      const folder = join(this.#base, name);
      if (this.#runner.isAlive(folder) || (await isThere(join(folder, CLEAN_FILE)))) continue;
      try {
        found.push(readEngineOptions(await readFile(join(folder, OPTIONS_FILE), 'utf8')));
      } catch (error) {
        // One that was never begun.
        if (codeOf(error) !== 'ENOENT') this.#log.warn('it is not known what waits in a folder', { folder, error });
      }
    }
    return found;
  }

  /** Brings to the store what an engine that is gone has left; resolves when it is there. */
  async drainLeftover(options: EngineOptions, c: Context): Promise<void> {
    const { uuid, volume, memoryBytes } = options;
    const folder = this.folderOf(uuid);
    const start = async (): Promise<void> => {
      if (this.#runner.isAlive(folder)) return;
      await writeFile(join(folder, OPTIONS_FILE), JSON.stringify(options), { mode: 0o600 });
      await this.#runner.start({ folder, volume, memoryBytes }, c);
    };
    await this.#starting.run(uuid, start, c);
    while (this.#runner.isAlive(folder)) await sleep(20 * LOOK_MS, c);
  }

  /** What an engine last told, from memory; it is asked again for the next time. */
  status(uuid: string, volume: string): EngineStatus {
    const known = this.#statuses.get(uuid);
    if (known === undefined || Date.now() - known.at > STATUS_MS) this.#refresh(uuid);
    const left = this.#left.get(volume);
    return { ...known?.status, ...(left !== undefined && { waitingFiles: left.files, waitingBytes: left.bytes }) };
  }

  isAlive(uuid: string): boolean {
    return this.#runner.isAlive(this.folderOf(uuid));
  }

  /** What the volume is being written out for, in words. */
  progress(volume: string): string | undefined {
    const left = this.#left.get(volume);
    if (left === undefined) return undefined;
    return `writing ${volume} out to its bucket (${left.files} files, ${Math.ceil(left.bytes / 2 ** 20)} MiB left)`;
  }

  #refresh(uuid: string): void {
    const ask = async (): Promise<void> => {
      const c = newContext(this.#log, STATUS_WAIT_MS);
      try {
        this.#statuses.set(uuid, { at: Date.now(), status: await engineStatus(this.folderOf(uuid), c) });
      } catch (error) {
        if (!(error instanceof EngineAway)) this.#log.debug('an engine does not say how it is', { uuid, error });
      }
    };
    void this.#asking.run(uuid, ask);
  }

  async #drain(uuid: string, volume: string, c: Context): Promise<void> {
    const inner = newContext(c.log, DRAIN_MS, c);
    try {
      for (;;) {
        try {
          await drainEngine(this.folderOf(uuid), (left) => this.#left.set(volume, left), inner);
          break;
        } catch (error) {
          // It died, and its keeper starts the next one; or it has ended, for it has nothing to do any more.
          if (!(error instanceof EngineAway) || inner.signal.aborted) throw error;
          if (!this.#runner.isAlive(this.folderOf(uuid))) break;
          await sleep(LOOK_MS, inner);
        }
      }
      this.#left.delete(volume);
    } catch (thrown) {
      if (!inner.signal.aborted) throw thrown;
      const { files, bytes } = this.#left.get(volume) ?? { files: 'some', bytes: 'some' };
      const failure = this.#statuses.get(uuid)?.status['lastFailure'];
      const reason = failure === undefined ? undefined : String(failure);
      this.#refresh(uuid);
      throw new PluginError('OBJECT_WAITING', { volume, files, bytes, reason }, { cause: thrown });
    }
  }

  /** Ends a keeper whose mount is gone, or that never had one. */
  async #end(folder: string, volume: string, c: Context): Promise<void> {
    if (!this.#runner.isAlive(folder)) return;
    const inner = newContext(c.log, END_MS, c);
    try {
      await endEngine(folder, inner).catch((error: unknown) => {
        if (!(error instanceof EngineAway)) throw error;
      });
      while (this.#runner.isAlive(folder)) await sleep(LOOK_MS, inner);
    } catch (error) {
      throwIfDone(c);
      c.log.warn('an engine that does not end is killed', { volume, error: asPluginError(error) });
      await this.#runner.kill(folder, c);
    }
    this.#left.delete(volume);
  }

  async #untilAnswers(folder: string, volume: string, target: string, c: Context): Promise<void> {
    const inner = newContext(c.log, ANSWER_MS, c);
    try {
      await this.#runner.probe(target, inner);
    } catch (error) {
      throwIfDone(c);
      const reason = (await lastWords(folder)) ?? 'it does not answer';
      throw new PluginError('OBJECT_ENGINE', { volume, reason }, { cause: error });
    }
  }
}

const isThere = async (path: string): Promise<boolean> => {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
    throw error;
  }
};

/** The last complaint in an engine's own log. */
const lastWords = async (folder: string): Promise<string | undefined> => {
  try {
    const lines = (await readFile(join(folder, 'engine.log'), 'utf8')).trim().split('\n').slice(-50).reverse();
    for (const line of lines) {
      const found: unknown = line.startsWith('{') ? JSON.parse(line) : undefined;
      const { level, message, reason } = (found ?? {}) as Readonly<Record<string, unknown>>;
      if (level === 'error') return [message, reason].filter((part) => typeof part === 'string').join(': ');
    }
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && !(error instanceof SyntaxError)) throw error;
  }
  return undefined;
};
