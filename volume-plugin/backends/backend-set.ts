import { type Context, newContext, sleep } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import type { Backend, ListedVolume } from './backend.ts';

const START_MS = 30_000;

/** A volume in the cluster's list, and whose it is. */
export interface FoundVolume extends ListedVolume {
  readonly type: string;
}

/**
 * The back-ends of this host. Each is started for as long as it takes, by itself: one that cannot be reached keeps none
 * of the others from work, and volumes that are in use need no start to be told about.
 */
export class BackendSet {
  readonly all: ReadonlyMap<string, Backend>;
  readonly #log: Logger;
  /** Why a back-end does not work yet. */
  readonly #waiting = new Map<string, PluginError>();
  #first: readonly Promise<void>[] = [];

  constructor(backends: readonly Backend[], log: Logger) {
    this.all = new Map(backends.map((backend) => [backend.type, backend]));
    this.#log = log;
    for (const type of this.all.keys()) {
      this.#waiting.set(type, new PluginError('NOT_READY', { reason: `volumes of type ${type} are not ready yet` }));
    }
  }

  /** Begins to start all of them; resolves when each has succeeded or failed once. The work ends with `life`. */
  async start(life: Context): Promise<void> {
    this.#first = [...this.all.values()].map((backend) => {
      const once = Promise.withResolvers<void>();
      void this.#startUntilItWorks(backend, life, once.resolve);
      return once.promise;
    });
    await Promise.all(this.#first);
  }

  async #startUntilItWorks(backend: Backend, life: Context, triedOnce: () => void): Promise<void> {
    for (let attempt = 1; !life.signal.aborted; attempt += 1) {
      try {
        await backend.start(newContext(this.#log, START_MS, life));
        this.#waiting.delete(backend.type);
        triedOnce();
        return;
      } catch (thrown) {
        const error = asPluginError(thrown);
        this.#waiting.set(backend.type, error);
        if (!life.signal.aborted) this.#log.warn('a back-end cannot start yet', { type: backend.type, error });
      }
      triedOnce();
      await sleep(500 + pauseMs(attempt, { firstMs: 1_000, longestMs: 30_000 }), life).catch(() => undefined);
    }
  }

  /** A back-end that works. Errors: VOLUME_TYPE, and why it does not work yet. */
  working(type: string, volume: string): Backend {
    const backend = this.all.get(type);
    if (backend === undefined) {
      const known = [...this.all.keys()].join(', ') || 'none';
      throw new PluginError('VOLUME_TYPE', { volume, reason: `this host has no volumes of type ${type}`, known });
    }
    const waiting = this.#waiting.get(type);
    if (waiting !== undefined) throw waiting;
    return backend;
  }

  /** Why a back-end does not work; undefined when it does. */
  trouble(type: string): PluginError | undefined {
    return this.#waiting.get(type);
  }

  /** Looks a name up in every back-end but `except`. Undefined: each of them has confirmed that there is none. */
  async find(name: string, c: Context, except?: string): Promise<FoundVolume | undefined> {
    const types = [...this.all.keys()].filter((type) => type !== except);
    const answers = await Promise.allSettled(
      types.map(async (type) => {
        const found = await this.working(type, name).find(name, c);
        return found === undefined ? undefined : { ...found, type };
      }),
    );
    for (const answer of answers) if (answer.status === 'fulfilled' && answer.value !== undefined) return answer.value;
    for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    return undefined;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.all.values()].map((backend) => backend.close()));
  }
}
