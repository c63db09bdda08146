import type { InstanceInfo } from '../../shared/cloud/aliyun/answers.ts';
import type { AliyunClient } from '../../shared/cloud/aliyun/client.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Fate } from './provider.ts';

interface Known {
  /** Undefined: there is no such instance. */
  readonly info: InstanceInfo | undefined;
  readonly at: number;
}

/** An instance is looked at again after so many milliseconds; one that is gone stays gone, for ids are not given twice. */
const FRESH_MS = 5 * 60_000;

const isInstance = (id: string): boolean => id.startsWith('i-');

/** The instances that routes lead to: their names, and what became of them. */
export class AliyunHosts {
  readonly #client: AliyunClient;
  /** This host's own instance: always there. */
  readonly #self: string;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  #blind = false;

  constructor(client: AliyunClient, self: string, now: () => number = Date.now) {
    this.#client = client;
    this.#self = self;
    this.#now = now;
  }

  info(id: string): InstanceInfo | undefined {
    return this.#known.get(id)?.info;
  }

  isGone(id: string): boolean {
    const known = this.#known.get(id);
    return known !== undefined && known.info === undefined;
  }

  /**
   * Looks up those that are unknown, and with them those that were last looked at some time ago. What cannot be looked
   * up stays as it was: routes are worth reading without their hosts' names.
   */
  async meet(ids: readonly string[], c: Context, freshMs = FRESH_MS): Promise<void> {
    const now = this.#now();
    const due = [...new Set(ids)].filter((id) => isInstance(id) && !this.isGone(id));
    const stale = due.filter((id) => now - (this.#known.get(id)?.at ?? Number.NEGATIVE_INFINITY) >= freshMs);
    if (stale.length === 0) return;
    try {
      await this.#look(stale, c);
      this.#blind = false;
    } catch (error) {
      if (c.signal.aborted) throw error;
      if (!this.#blind) c.log.warn('hosts of routes could not be looked up', { error: asPluginError(error).message });
      this.#blind = true;
    }
  }

  /** Asked anew each time. Errors: PROVIDER_*, DEADLINE. */
  async fate(id: string, c: Context): Promise<Fate> {
    if (!isInstance(id)) return 'unknown';
    if (!this.isGone(id)) await this.#look([id], c);
    const known = this.#known.get(id);
    if (known === undefined) return 'unknown';
    if (known.info === undefined) return 'gone';
    return known.info.status === 'Stopped' ? 'stopped' : 'alive';
  }

  async #look(ids: readonly string[], c: Context): Promise<void> {
    // A policy that is limited to some instances hides the others without a word: then not even we are there.
    const found = await this.#client.instances([...new Set([this.#self, ...ids])], c);
    const at = this.#now();
    for (const info of found) this.#known.set(info.id, { info, at });
    const sees = found.some(({ id }) => id === this.#self);
    if (!sees) return;
    for (const id of ids) {
      if (!found.some((info) => info.id === id)) this.#known.set(id, { info: undefined, at });
    }
  }
}
