import { existsSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newContext } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import { Session } from '../fuse/session.ts';
import type { ObjectStore } from '../object/store.ts';
import { openContents } from '../objectfs/content-set.ts';
import { FileStateLog } from '../objectfs/file-state-log.ts';
import { Naming } from '../objectfs/naming.ts';
import { ObjectFileSystem } from '../objectfs/object-file-system.ts';
import { type ControlServer, FolderTaken, serveControl } from './control-server.ts';
import {
  CLEAN_FILE,
  type EngineOptions,
  type EngineStatus,
  type Left,
  OPTIONS_FILE,
  readEngineOptions,
} from './wire.ts';

/** /dev/fuse with the mount behind it, which the keeper holds. */
const FUSE_FD = 3;
const MIB = 2 ** 20;
/** What Node and its code take of a volume's memory, and the tables of names besides. */
const OWN_MEMORY = 84 * MIB;
const LEAST_MEMORY = 16 * MIB;
/** KiB that the kernel reads ahead: as much as is fetched at once. */
const READ_AHEAD_KB = 8 * 1024;

const STATE_LOG = 'state.log';
/** What the kernel and the engine have agreed on: there when an earlier engine has served this mount. */
const AGREED = 'init.json';

const NAMES: Readonly<Record<string, string>> = {
  'files that wait for upload': 'waitingFiles',
  'bytes that wait for upload': 'waitingBytes',
};

const NOBODY = { invalidate: () => undefined, invalidateName: () => undefined };

/** How it ends: 0: for good, 1: to be started again. */
export type ExitCode = 0 | 1;

/** Is it the engine of a mount? Otherwise it only brings to the store what waits in its folder. */
const hasMount = (): boolean => {
  try {
    return readlinkSync(`/proc/self/fd/${FUSE_FD}`) === '/dev/fuse';
  } catch {
    // There is no such descriptor.
    return false;
  }
};

/** For `docker volume inspect`: `last failure` is `lastFailure` there. */
const named = (status: EngineStatus): EngineStatus =>
  Object.fromEntries(
    Object.entries(status).map(([name, value]) => [
      NAMES[name] ?? name.replace(/ (\w)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );

/** One volume's file system, from the start to the end of this process. */
export class Engine {
  readonly #folder: string;
  readonly #options: EngineOptions;
  readonly #store: ObjectStore;
  readonly #log: Logger;
  readonly #begun = new Date().toISOString();
  readonly #isMount = hasMount();
  readonly #ended = Promise.withResolvers<ExitCode>();
  #mode: 'starting' | 'mounted' | 'writing out' = 'starting';
  #fs: ObjectFileSystem | undefined;
  #session: Session | undefined;
  #control: ControlServer | undefined;

  constructor(folder: string, options: EngineOptions, store: ObjectStore, log: Logger) {
    this.#folder = folder;
    this.#options = options;
    this.#store = store;
    this.#log = log;
  }

  static readOptions(folder: string): EngineOptions {
    return readEngineOptions(readFileSync(join(folder, OPTIONS_FILE), 'utf8'));
  }

  /** Resolves when it is to end. Errors: what keeps it from working. */
  async run(): Promise<ExitCode> {
    try {
      this.#control = await serveControl(this.#folder, {
        status: () => this.#status(),
        drain: (left) => this.#drain(left),
        end: () => this.end(),
      });
    } catch (error) {
      if (!(error instanceof FolderTaken)) throw error;
      this.#log.error('another engine has the folder', { reason: error.message });
      return 1;
    }
    rmSync(join(this.#folder, CLEAN_FILE), { force: true });
    const fs = await this.#open();
    this.#fs = fs;
    if (this.#isMount) void this.#serve(fs).catch((error: unknown) => this.#ended.reject(error));
    else {
      await fs.start(NOBODY);
      void this.#finish().catch((error: unknown) => this.#ended.reject(error));
    }
    return await this.#ended.promise;
  }

  /** Ends as soon as it can; what is not in the store yet stays on this host's disk. */
  end(): void {
    this.#session?.stop();
    this.#close(false).catch((error: unknown) => this.#ended.reject(error));
  }

  async #open(): Promise<ObjectFileSystem> {
    const { prefix, host, memoryBytes, cacheBytes, retryMs } = this.#options;
    const { readonly, consistency, durability, attributes, uid, gid, fileMode, dirMode } = this.#options;
    const log = new FileStateLog(join(this.#folder, STATE_LOG));
    const contents = await openContents({
      ...{ store: this.#store, folder: this.#folder, log, logger: this.#log },
      context: newContext(this.#log, Number.POSITIVE_INFINITY),
      options: { cache: cacheBytes, memory: Math.max(LEAST_MEMORY, memoryBytes - OWN_MEMORY), retryMs },
    });
    return new ObjectFileSystem({
      ...{ store: this.#store, contents, log, logger: this.#log, host },
      naming: new Naming(prefix),
      semantics: {
        ...{ readonly, consistency, durability, attributes, retryMs },
        defaults: { uid, gid, fileMode, dirMode },
      },
      survived: this.#isMount && existsSync(join(this.#folder, AGREED)),
    });
  }

  /** Until it is unmounted; what was written through the page cache until then is brought to the store after that. */
  async #serve(fs: ObjectFileSystem): Promise<void> {
    const session = new Session(FUSE_FD, fs, {
      ...{ folder: this.#folder, readAheadKb: READ_AHEAD_KB, passthrough: true, log: this.#log },
    });
    this.#session = session;
    await session.start();
    this.#mode = 'mounted';
    await session.ended;
    await this.#finish();
  }

  async #finish(): Promise<void> {
    this.#mode = 'writing out';
    await this.#drain(({ bytes, files }) => this.#log.debug('writing out', { bytes, files }));
    await this.#close(true);
  }

  async #drain(left: (left: Left) => void): Promise<void> {
    await this.#fs?.drain((bytes, files) => left({ bytes, files }));
  }

  async #close(isClean: boolean): Promise<void> {
    await this.#fs?.close();
    if (isClean) writeFileSync(join(this.#folder, CLEAN_FILE), '');
    await this.#control?.close();
    this.#ended.resolve(0);
  }

  #status(): EngineStatus {
    const { rss } = process.memoryUsage();
    return { ...named(this.#fs?.status() ?? {}), engine: this.#mode, engineSince: this.#begun, memoryBytes: rss };
  }
}
