import { createHash, randomBytes } from 'node:crypto';
import { AliyunRefusal, isOpen, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { AliyunNas } from '../../shared/cloud/aliyun/nas-client.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { until } from '../../shared/looking.ts';

/** For how long a claim of another host's is respected: longer than what is done under it takes. */
const STALE_MS = 60_000;
const RELEASE_MS = 10_000;

export interface ClaimOptions {
  readonly client: AliyunNas;
  /** Id of this host's instance. */
  readonly instance: string;
  readonly staleMs?: number;
}

/** Nothing was made, and nothing of it will show. */
const isFinal = (error: unknown): boolean =>
  error instanceof PluginError ? error.code === 'BACKEND_REFUSED' : error instanceof AliyunRefusal && !isOpen(error);

/** What is made once in the account, whoever is at it. */
export interface Once<T> {
  /** What it is, in the region; its claim has a name of this. */
  readonly key: string;
  /** In words: `making the file system of cluster default`. */
  readonly what: string;
  /** What there is already. */
  readonly find: () => Promise<T | undefined>;
  /** Makes it, and waits until `find` finds it. */
  readonly make: () => Promise<T>;
}

/**
 * One host at a time makes something: NAS takes no token for file systems of General-purpose and for mount targets, and
 * makes as many as it is asked for. But of permission groups it makes no two of one name. So who makes something first
 * makes an empty group, which nothing uses, and removes it when what it made can be seen. Whose it is says its
 * description.
 */
export class NasClaims {
  readonly #options: ClaimOptions;
  /** After a restart it is another one: what the process before has left is nobody's. */
  readonly #mark: string;
  /** Claims of others: whose they were when they were first seen, and when that was. */
  readonly #seen = new Map<string, { readonly mark: string; readonly since: number }>();

  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#mark = `drayage:${options.instance}:${randomBytes(6).toString('hex')}`;
  }

  /**
   * What there is, made when there is none. Errors: those of `find` and `make`, PROVIDER_*, AliyunRefusal,
   * STILL_WORKING when another host is at it for longer than this one can wait.
   */
  async once<T>({ key, what, find, make }: Once<T>, c: Context): Promise<T> {
    const name = `drayage-${createHash('sha256').update(key).digest('hex').slice(0, 32)}`;
    return await until(what, c, async (says) => {
      const before = await find();
      if (before !== undefined) return { done: before };
      if (!(await this.#take(name, says, c))) return 'wait';
      // It may have been made, and its claim given up, since it was looked for.
      const done = await this.#whileHeld(name, async () => (await find()) ?? (await make()), c);
      return { done };
    });
  }

  async #take(name: string, says: (reason: string) => void, c: Context): Promise<boolean> {
    const { client, instance, staleMs = STALE_MS } = this.#options;
    const look = async (): Promise<string | undefined> => (await client.accessGroup(name, c))?.description;
    // Those who wait only look: many hosts may.
    let mark = this.#seen.has(name) ? await look() : undefined;
    if (mark === undefined) {
      try {
        await client.createAccessGroup(name, this.#mark, c);
        return true;
      } catch (error) {
        const kind = kindOfError(error);
        if (kind === 'quota') {
          // As many groups as an account may have are no reason to have no volumes: two hosts at once are rare.
          c.log.warn('NAS takes no permission group more: nothing keeps other hosts from making the same', { error });
          return true;
        }
        // After an open outcome it may be ours.
        if (kind !== 'exists' && !isOpen(error)) throw error;
      }
      mark = await look();
    }
    if (mark === this.#mark) return true;
    if (mark === undefined) return false;
    const holder = mark.split(':')[1] ?? 'unknown';
    says(`host ${holder} is at it`);
    const seen = this.#seen.get(name);
    if (seen?.mark !== mark) this.#seen.set(name, { mark, since: now() });
    const isStale = seen?.mark === mark && now() - seen.since > staleMs;
    if (holder === instance || isStale) {
      c.log.warn('removes what a host has left that wanted to make something on NAS', { group: name, holder });
      await client.deleteAccessGroup(name, c);
    }
    return false;
  }

  async #whileHeld<T>(name: string, work: () => Promise<T>, c: Context): Promise<T> {
    let settled = true;
    try {
      return await work();
    } catch (error) {
      // What may have been made and does not show yet would be made again by the next one.
      settled = isFinal(error);
      throw error;
    } finally {
      if (settled) await this.#release(name, c);
    }
  }

  /** What cannot be released is stale before long. */
  async #release(name: string, c: Context): Promise<void> {
    try {
      await this.#options.client.deleteAccessGroup(name, newContext(c.log, RELEASE_MS));
    } catch (error) {
      c.log.warn('a permission group of NAS that is not needed any more could not be removed', { group: name, error });
    }
  }
}
