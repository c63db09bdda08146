import type { Test } from 'tap';
import { type Context, newContext } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { LEASE_TIMES, type LeaseClock } from '../../../../volume-plugin/nfs/lease-times.ts';
import { Leases } from '../../../../volume-plugin/nfs/leases.ts';
import type { ShareFiles } from '../../../../volume-plugin/nfs/share-files.ts';
import { scratch } from '../block/scratch.ts';
import { LocalServers, localFiles } from './local-shares.ts';

/** Hosts that share a real folder, each with a clock of its own. */

export const context = (ms = 3_600_000): Context => newContext(silentLogger, ms);
export const VOLUME = 'data';
const SHARE = 'server:/export';

/** Time of all hosts: it passes when nobody is at work with files. */
export class SceneTime {
  now = 0;
  #working = 0;
  #wake: () => void = () => undefined;
  #count = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly run: () => void }>();

  /** A clock that shows another time than others do; those of the dead stand still. */
  clock(offset: number, isAlive: () => boolean): LeaseClock {
    return {
      now: () => this.now + offset,
      after: (ms, run) => {
        const number = ++this.#count;
        this.#timers.set(number, { at: this.now + ms, run: () => isAlive() && run() });
        return () => void this.#timers.delete(number);
      },
    };
  }

  /** Time stands still while this goes on. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#working += 1;
    try {
      return await work();
    } finally {
      this.#working -= 1;
      this.#wake();
    }
  }

  /** Lets time pass until the work has ended; answers its error's sentence if it fails. */
  async wait<T>(promise: Promise<T>): Promise<T | string> {
    let ended: { readonly result: T | string } | undefined;
    promise.then(
      (result) => {
        ended = { result };
      },
      (error: unknown) => {
        ended = { result: error instanceof PluginError ? error.message : String(error) };
      },
    );
    for (;;) {
      await this.#rest();
      if (ended !== undefined) return ended.result;
      if (!this.#next(Number.POSITIVE_INFINITY)) throw new Error('nothing is left to happen, and it has not ended');
    }
  }

  /** Lets so much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    do await this.#rest();
    while (this.#next(end));
    this.now = end;
  }

  /** Until all that was begun has come to rest. */
  async #rest(): Promise<void> {
    for (let calm = 0; calm < 2; calm += 1) {
      while (this.#working > 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        calm = 0;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #next(end: number): boolean {
    let first: number | undefined;
    for (const [number, { at }] of this.#timers) {
      if (at <= end && (first === undefined || at < (this.#timers.get(first)?.at ?? 0))) first = number;
    }
    const timer = first === undefined ? undefined : this.#timers.get(first);
    if (first === undefined || timer === undefined) return false;
    this.#timers.delete(first);
    this.now = Math.max(this.now, timer.at);
    timer.run();
    return true;
  }
}

/** Real files, and what goes wrong with them on one host. */
export class SceneFiles {
  /** Nothing is answered any more, and nothing done. */
  silent = false;
  /** The next call of this kind is done, and not answered. */
  unanswered: keyof ShareFiles | undefined;
  readonly calls: string[] = [];
  readonly files: ShareFiles;

  constructor(real: ShareFiles, time: SceneTime) {
    const call = async <T>(name: keyof ShareFiles, path: string, run: () => Promise<T>): Promise<T> => {
      this.calls.push(`${name} ${path.split('/').at(-1)}`);
      const error = new PluginError('SHARE_SILENT', { share: 'scene' });
      if (this.silent) throw error;
      const result = await time.during(run);
      if (this.unanswered !== name) return result;
      this.unanswered = undefined;
      throw error;
    };
    this.files = {
      ...real,
      makeFolder: (path, traits, c) => call('makeFolder', path, () => real.makeFolder(path, traits, c)),
      readFile: (path, c) => call('readFile', path, () => real.readFile(path, c)),
      names: (folder, c) => call('names', folder, () => real.names(folder, c)),
      createFile: (path, text, c) => call('createFile', path, () => real.createFile(path, text, c)),
      replaceFile: (path, text, c) => call('replaceFile', path, () => real.replaceFile(path, text, c)),
      removeFile: (path, c) => call('removeFile', path, () => real.removeFile(path, c)),
    };
  }
}

/** A plugin on a host. */
export interface SceneHost {
  readonly name: string;
  readonly leases: Leases;
  readonly share: SceneFiles;
  /** What it was told that it has lost, at which time of the scene. */
  readonly lost: { readonly volume: string; readonly reason: string; readonly at: number }[];
  take(volume?: string): Promise<{ readonly epoch: number } | string>;
  release(volume?: string): Promise<string | undefined>;
  fence(host: string): Promise<string | undefined>;
  /** The plugin is killed. */
  kill(): void;
  /** Begins a plugin anew on the host. */
  again(): SceneHost;
}

export const scene = (t: Test) => {
  // In memory: what is written often is written durably each time.
  const servers = new LocalServers(scratch(t, '/dev/shm'));
  const root = servers.root(SHARE);
  const time = new SceneTime();
  const host = (n: number): SceneHost => {
    let alive = true;
    const lost: { volume: string; reason: string; at: number }[] = [];
    const share = new SceneFiles(localFiles(servers, SHARE), time);
    const name = `host-${n}`;
    const leases = new Leases({
      ...{ self: { id: `id-${n}`, name }, log: silentLogger, times: LEASE_TIMES },
      // Hours apart, and each other's future.
      clock: time.clock(n * -7_200_000, () => alive),
      onLost: (volume, reason) => lost.push({ volume, reason, at: time.now }),
    });
    const on = { share: { id: SHARE }, files: share.files };
    const silently = (promise: Promise<void>): Promise<string | undefined> => time.wait(promise.then(() => undefined));
    t.teardown(() => {
      alive = false;
    });
    return {
      ...{ name, leases, share, lost },
      take: (volume = VOLUME) => time.wait(leases.take(volume, on, context())),
      release: (volume = VOLUME) => silently(leases.release(volume, on, context())),
      fence: (other) => silently(leases.fence(VOLUME, other, on, context())),
      kill: () => {
        alive = false;
        share.silent = true;
      },
      again: () => host(n),
    };
  };
  return { root, time, host, on: ({ share }: SceneHost) => ({ share: { id: SHARE }, files: share.files }) };
};
