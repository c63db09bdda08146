import { type Context, noLongerThan, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { fileError } from './file-errors.ts';
import type { FolderTraits, ShareFiles, TextFile } from './share-files.ts';
import type { ReadonlyBind } from './worker-binds.ts';
import { type Asked, WorkerEnded, WorkerProcess, WorkerRefusal } from './worker-process.ts';
import type { Args, Operation, Result } from './worker-wire.ts';

/** How long things may take, in milliseconds. */
export interface FilesTimes {
  /** A request of which nothing is heard: then its server is asked whether it is there. */
  readonly silentMs: number;
  /** The same when the server says that it is there: one that was just started lets nobody open files for a while. */
  readonly graceMs: number;
  /** A worker that nothing is asked of. Longer than the cluster's list is usually left alone: whoever mounts then finds one. */
  readonly idleMs: number;
}

export const FILES_TIMES: FilesTimes = { silentMs: 4_000, graceMs: 30_000, idleMs: 90_000 };

/** A process starts in a tenth of a second, on a host that is not worn out. */
const START_MS = 30_000;
/** Workers that were killed and live on, waiting in the kernel: with so many nothing more is begun. */
const MOST_LEFT = 4;

export interface FilesParts {
  readonly shareId: string;
  /** Where the share is mounted. */
  readonly root: string;
  readonly server: {
    /** From what is known. */
    isSilent(): boolean;
    /** Errors: SHARE_SILENT, when the server does not answer. No file is touched. */
    check(): Promise<void>;
  };
  /** The mount is of no use any more: its server knows the folder no more by which it was mounted. */
  readonly onStale: () => void;
  readonly times: FilesTimes;
  readonly log: Logger;
}

/** The files of one share, through processes that are killed when they are silent for too long. */
export class WorkerShareFiles implements ShareFiles {
  readonly #parts: FilesParts;
  /** It is given what is asked; undefined: none was needed for a while. */
  #worker: WorkerProcess | undefined;
  /** Those that were given up, with the number of requests that they are stuck in, until the kernel tells that they are gone. */
  readonly #left = new Map<WorkerProcess, number>();
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(parts: FilesParts) {
    this.#parts = parts;
  }

  /** Workers that were given up and have not ended. */
  get leftBehind(): number {
    return this.#left.size;
  }

  makeFolder(path: string, traits: FolderTraits, c: Context): Promise<boolean> {
    return this.#do('makeFolder', { path, traits }, `make the folder ${path}`, c);
  }

  hasFolder(path: string, c: Context): Promise<boolean> {
    return this.#do('hasFolder', { path }, `open the folder ${path}`, c);
  }

  async readFile(path: string, c: Context): Promise<string | undefined> {
    return (await this.#do('readFile', { path }, `read ${path}`, c)) ?? undefined;
  }

  readFiles(folder: string, ending: string, c: Context): Promise<readonly TextFile[]> {
    return this.#do('readFiles', { folder, ending }, `read the files of ${folder}`, c);
  }

  createFile(path: string, content: string, c: Context): Promise<boolean> {
    return this.#do('createFile', { path, content }, `write ${path}`, c);
  }

  async replaceFile(path: string, content: string, c: Context): Promise<void> {
    await this.#do('replaceFile', { path, content }, `write ${path}`, c);
  }

  async noteFile(path: string, content: string, c: Context): Promise<void> {
    await this.#do('noteFile', { path, content }, `write ${path}`, c);
  }

  async removeFile(path: string, c: Context): Promise<void> {
    await this.#do('removeFile', { path }, `remove ${path}`, c);
  }

  move(from: string, to: string, c: Context): Promise<boolean> {
    return this.#do('move', { from, to }, `move ${from} to ${to}`, c);
  }

  async removeTree(path: string, c: Context): Promise<void> {
    await this.#do('removeTree', { path }, `remove the folder ${path}`, c);
  }

  names(folder: string, c: Context): Promise<readonly string[]> {
    return this.#do('names', { folder }, `list the folder ${folder}`, c);
  }

  room(path: string, c: Context): Promise<{ readonly size: number; readonly free: number }> {
    return this.#do('room', { path }, `ask for the room of ${path}`, c);
  }

  /** Mounts a folder at `target`. Errors: as of all calls, and SHARE_MISSING when there is no such folder. */
  async bind(path: string, target: string, asReadonly: ReadonlyBind | null, c: Context): Promise<void> {
    await this.#do('bind', { path, target, asReadonly }, `mount the folder ${path}`, c);
  }

  /** Unmounts what is at `target`; false: something is open there. */
  unbind(target: string, c: Context): Promise<boolean> {
    return this.#do('unbind', { target }, `unmount ${target}`, c);
  }

  /** Is there a process to ask, or would one have to be started? */
  get isAwake(): boolean {
    return this.#worker !== undefined;
  }

  /** Nothing of the share is open any more afterwards, unless its server is silent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    this.#worker?.kill();
    this.#worker = undefined;
  }

  async #do<O extends Operation>(op: O, args: Args<O>, what: string, c: Context): Promise<Result<O>> {
    return await this.#ask(await this.#ready(c), op, args, what, c);
  }

  async #ready(c: Context): Promise<WorkerProcess> {
    throwIfDone(c);
    const { shareId, root, log, server } = this.#parts;
    if (server.isSilent()) await noLongerThan(c, server.check());
    if (this.#closed) throw new PluginError('SHARE_SILENT', { share: shareId, reason: 'it is being unmounted' });
    clearTimeout(this.#idle);
    if (this.#worker !== undefined) return this.#worker;
    if (this.#left.size >= MOST_LEFT) {
      const reason = `${this.#left.size} processes that wait for it cannot be ended`;
      throw new PluginError('SHARE_SILENT', { share: shareId, reason });
    }
    const worker: WorkerProcess = new WorkerProcess(
      root,
      () => {
        this.#left.delete(worker);
        if (this.#worker === worker) this.#worker = undefined;
      },
      log,
    );
    this.#worker = worker;
    return worker;
  }

  async #ask<O extends Operation>(
    worker: WorkerProcess,
    op: O,
    args: Args<O>,
    what: string,
    c: Context,
  ): Promise<Result<O>> {
    const { shareId, onStale } = this.#parts;
    const watch = new Watch();
    const asked = worker.ask(op, args, watch.heard);
    const given = this.#watched(worker, asked, watch);
    // Whoever asked may be gone before the worker is given up.
    given.catch(() => undefined);
    try {
      return await noLongerThan(c, given);
    } catch (error) {
      if (c.signal.aborted) asked.cancel();
      if (error instanceof WorkerRefusal) {
        if (error.code === 'ESTALE') onStale();
        throw fileError(error, shareId, what, pathOf(args));
      }
      if (error instanceof WorkerEnded)
        throw new PluginError('SHARE_SILENT', { share: shareId, reason: error.message });
      throw error;
    }
  }

  /** The answer, or SHARE_SILENT when nothing is heard for too long: the worker is given up then. */
  async #watched<O extends Operation>(
    worker: WorkerProcess,
    { answer, cancel }: Asked<O>,
    watch: Watch,
  ): Promise<Result<O>> {
    const { times, server, shareId } = this.#parts;
    try {
      if (await watch.until(worker.running, START_MS)) {
        throw new PluginError('SHARE_SILENT', { share: shareId, reason: 'this host has no time to start a process' });
      }
      for (let patience = times.silentMs; ; patience = times.graceMs) {
        const late = await watch.until(answer, patience);
        if (!late) return await answer;
        if (patience === times.graceMs) {
          const reason = 'it is there, but lets nobody at its files';
          throw new PluginError('SHARE_SILENT', { share: shareId, reason });
        }
        await server.check();
      }
    } catch (error) {
      if (error instanceof PluginError) {
        // It may live on for what else it does.
        cancel();
        this.#giveUp(worker);
      }
      throw error;
    } finally {
      watch.end();
      this.#rest(worker);
    }
  }

  /** It is asked nothing more, and killed when it is stuck in all that it still does. */
  #giveUp(worker: WorkerProcess): void {
    if (worker === this.#worker) this.#worker = undefined;
    if (worker.ended) return;
    this.#left.set(worker, (this.#left.get(worker) ?? 0) + 1);
    this.#parts.log.warn('a process that works on a share is stuck', {
      ...{ share: this.#parts.shareId, process: worker.pid, leftBehind: this.#left.size },
    });
  }

  /** Something that it was asked has ended, or was given up. */
  #rest(worker: WorkerProcess): void {
    const stuck = this.#left.get(worker);
    if (stuck !== undefined && worker.busy <= stuck) worker.kill();
    if (worker !== this.#worker || worker.busy > 0) return;
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#worker === worker) this.#worker = undefined;
      worker.dismiss();
    }, this.#parts.times.idleMs).unref();
  }
}

const pathOf = (args: Args<Operation>): string => {
  if ('path' in args) return args.path;
  if ('folder' in args) return args.folder;
  return 'from' in args ? args.to : '';
};

/** When a request was last heard of. */
class Watch {
  #timer: NodeJS.Timeout | undefined;
  #restart: () => void = () => undefined;

  readonly heard = (): void => this.#restart();

  /** True when nothing was heard for so long; false when there is an answer, of whatever kind. */
  until(answer: Promise<unknown>, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.#restart = () => {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => resolve(true), ms);
      };
      this.#restart();
      const done = (): void => resolve(false);
      answer.then(done, done);
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#restart = () => undefined;
  }
}
