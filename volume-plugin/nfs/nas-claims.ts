import { createHash, randomBytes } from 'node:crypto';
import { AliyunRefusal, isOpen, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { AliyunNas } from '../../shared/cloud/aliyun/nas-client.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { soon, until } from '../../shared/looking.ts';

/** For how long a claim of another host's is respected: longer than what is done under it takes. */
const STALE_MS = 60_000;
/** How long what may have been made is looked for. */
const APPEAR_MS = 6_000;
const RELEASE_MS = 10_000;

export interface ClaimOptions {
  readonly client: AliyunNas;
  /** Id of this host's instance. */
  readonly instance: string;
  readonly staleMs?: number;
  readonly appearMs?: number;
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
  /** Claims that may be this host's, of work that came to no known end: it may have made something. */
  readonly #doubtful = new Set<string>();
  readonly #turns = new KeyedMutex();

  constructor(options: ClaimOptions) {
    this.#options = options;
    this.#mark = `drayage:${options.instance}:${randomBytes(6).toString('hex')}`;
  }

  /**
   * What there is, made when there is none. Errors: those of `find` and `make`, PROVIDER_*, AliyunRefusal, STILL_WORKING
   * when another host is at it for longer than this one can wait.
   */
  async once<T>(thing: Once<T>, c: Context): Promise<T> {
    const name = `drayage-${createHash('sha256').update(thing.key).digest('hex').slice(0, 32)}`;
    // A claim is the host's: it does not keep its own calls apart.
    return await this.#turns.run(name, () => this.#once(name, thing, c), c);
  }

  async #once<T>(name: string, { what, find, make }: Once<T>, c: Context): Promise<T> {
    return await until(what, c, async (says) => {
      const before = await find();
      if (before !== undefined) return { done: before };
      const claim = await this.#take(name, says, c);
      if (claim === undefined) return 'wait';
      // It may have been made, and its claim given up, since it was looked for.
      const forMs = claim === 'doubtful' ? this.#appearMs : 0;
      return { done: await this.#whileHeld(name, async () => (await soon(forMs, c, find)) ?? (await make()), c) };
    });
  }

  /** Gives up what is left of claims, once what they were for is there. */
  async tidy(c: Context): Promise<void> {
    for (const name of this.#doubtful) if (!this.#turns.isHeld(name)) await this.#releaseOurs(name, c);
  }

  async #take(name: string, says: (reason: string) => void, c: Context): Promise<'sure' | 'doubtful' | undefined> {
    const { client } = this.#options;
    const claim = this.#doubtful.has(name) ? 'doubtful' : 'sure';
    // Those who wait only look: many hosts may.
    let mark = this.#seen.has(name) ? await this.#markOf(name, c) : undefined;
    if (mark === undefined) {
      this.#doubtful.add(name);
      try {
        await client.createAccessGroup(name, this.#mark, c);
        return claim;
      } catch (error) {
        const kind = kindOfError(error);
        if (kind === 'quota') {
          // As many groups as an account may have are no reason to have no volumes: two hosts at once are rare.
          c.log.warn('NAS takes no permission group more: nothing keeps other hosts from making the same', { error });
          return claim;
        }
        // After an open outcome it may be ours.
        if (kind !== 'exists' && !isOpen(error)) throw error;
      }
      mark = await this.#markOf(name, c);
    }
    if (mark === this.#mark) return claim;
    if (mark !== undefined) await this.#wait(name, mark, says, c);
    return undefined;
  }

  /** Somebody else has it: who is told, and it is taken away when that one makes nothing any more. */
  async #wait(name: string, mark: string, says: (reason: string) => void, c: Context): Promise<void> {
    const { client, instance, staleMs = STALE_MS } = this.#options;
    const holder = mark.split(':')[1] ?? 'unknown';
    says(`host ${holder} is at it`);
    const seen = this.#seen.get(name);
    if (seen?.mark !== mark) this.#seen.set(name, { mark, since: now() });
    const isStale = seen?.mark === mark && now() - seen.since > staleMs;
    // What this host's process before may have made is looked for like what this one may have.
    if (holder !== instance) this.#doubtful.delete(name);
    if (holder !== instance && !isStale) return;
    c.log.warn('removes what a host has left that wanted to make something on NAS', { group: name, holder });
    await client.deleteAccessGroup(name, c);
  }

  async #whileHeld<T>(name: string, work: () => Promise<T>, c: Context): Promise<T> {
    this.#doubtful.add(name);
    try {
      const made = await work();
      await this.#release(name, c);
      return made;
    } catch (error) {
      // What may have been made and does not show yet would be made again by the next one.
      if (isFinal(error)) await this.#release(name, c);
      throw error;
    }
  }

  /** What cannot be released is stale before long. */
  async #release(name: string, c: Context): Promise<void> {
    const end = newContext(c.log, RELEASE_MS);
    try {
      await this.#options.client.deleteAccessGroup(name, end);
      this.#doubtful.delete(name);
    } catch (error) {
      // It may be gone, and another host's by now.
      if (!isOpen(error)) this.#doubtful.delete(name);
      c.log.warn('a permission group of NAS that is not needed any more may still be there', { group: name, error });
    }
  }

  async #releaseOurs(name: string, c: Context): Promise<void> {
    try {
      if ((await this.#markOf(name, c)) === this.#mark) await this.#release(name, c);
      else this.#doubtful.delete(name);
    } catch (error) {
      c.log.warn('it is not known whether a permission group of NAS is still there', { group: name, error });
    }
  }

  async #markOf(name: string, c: Context): Promise<string | undefined> {
    return (await this.#options.client.accessGroup(name, c))?.description;
  }

  get #appearMs(): number {
    return this.#options.appearMs ?? APPEAR_MS;
  }
}
