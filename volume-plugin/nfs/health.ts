import { Coalescer } from '../../shared/coalesce.ts';
import { type Context, newContext, now } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { ShareHealth } from './mounted-share.ts';

/** How often servers are asked, and how long an answer counts, in milliseconds. */
export interface HealthTimes {
  readonly everyMs: number;
  readonly freshMs: number;
  /** One try; there are two before a server counts as silent, the second one so long after the first. */
  readonly tryMs: number;
  readonly secondMs: number;
}

/** An answer takes 2 s at most, which asking sees to by itself. */
export const HEALTH_TIMES: HealthTimes = { everyMs: 10_000, freshMs: 1_000, tryMs: 2_500, secondMs: 1_000 };

/** Asks a server whether it is there; it throws when it does not answer. */
export type Ping = (c: Context) => Promise<void>;

interface Watched {
  readonly ping: Ping;
  health: ShareHealth;
  /** When it last answered, on the clock of contexts. */
  heard: number;
}

/**
 * Are the servers of shares there? They are asked by RPC, never over a file system, so nothing here can hang; from what
 * is known is answered at once.
 */
export class Health {
  readonly #watched = new Map<string, Watched>();
  readonly #asking = new Coalescer<void>();
  readonly #times: HealthTimes;
  readonly #log: Logger;
  readonly #life: Context;
  #timer: NodeJS.Timeout | undefined;

  /** `life` ends with the plugin. */
  constructor(times: HealthTimes, log: Logger, life: Context) {
    this.#times = times;
    this.#log = log;
    this.#life = life;
  }

  /** From now on the server of a share is asked every now and then. It has just answered, or `trouble` says why it did not. */
  watch(shareId: string, ping: Ping, trouble?: PluginError): void {
    const before = this.#watched.get(shareId);
    const health = before?.health ?? { answering: true, since: Date.now() };
    const watched: Watched = { ping, health, heard: before?.heard ?? 0 };
    this.#watched.set(shareId, watched);
    if (trouble === undefined) this.#answered(shareId, watched);
    else this.#silent(shareId, watched, trouble, Date.now());
    this.#timer ??= setInterval(() => this.#round(), this.#times.everyMs).unref();
  }

  forget(shareId: string): void {
    this.#watched.delete(shareId);
    if (this.#watched.size === 0) this.close();
  }

  of(shareId: string): ShareHealth | undefined {
    return this.#watched.get(shareId)?.health;
  }

  /**
   * The server has answered within the last second, or does so now. Of a share that is not watched nothing is known, and
   * nothing thrown. Errors: SHARE_SILENT.
   */
  async check(shareId: string): Promise<void> {
    const watched = this.#watched.get(shareId);
    if (watched === undefined || (watched.health.answering && now() - watched.heard < this.#times.freshMs)) return;
    await this.#ask(shareId, watched);
    const { health } = watched;
    if (!health.answering) throw silentShare(shareId, health);
  }

  /** Nobody is asked any more. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #round(): void {
    for (const [shareId, watched] of this.#watched) void this.#ask(shareId, watched);
  }

  /** Finds out how it is; never rejects. */
  #ask(shareId: string, watched: Watched): Promise<void> {
    return this.#asking.run(shareId, async () => {
      const begun = Date.now();
      const tries = watched.health.answering ? this.#twice(watched) : this.#try(watched);
      const isAnswering = await tries.catch(asPluginError);
      if (this.#life.signal.aborted) return;
      if (isAnswering instanceof PluginError) this.#silent(shareId, watched, isAnswering, begun);
      else this.#answered(shareId, watched);
    });
  }

  /** What was lost once is nothing. Rejects as the first try did. */
  async #twice(watched: Watched): Promise<void> {
    const again = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#try(watched).then(again.resolve, again.reject), this.#times.secondMs);
    const first = this.#try(watched);
    try {
      await Promise.any([first, again.promise]);
    } catch {
      await first;
    } finally {
      clearTimeout(timer);
    }
  }

  async #try({ ping }: Watched): Promise<void> {
    await ping(newContext(this.#log, this.#times.tryMs, this.#life));
  }

  #answered(share: string, watched: Watched): void {
    watched.heard = now();
    if (watched.health.answering) return;
    const seconds = Math.round((Date.now() - watched.health.since) / 1_000);
    this.#log.info('the server of a share answers again', { share, seconds });
    watched.health = { answering: true, since: Date.now() };
  }

  #silent(share: string, watched: Watched, { message, context }: PluginError, since: number): void {
    const reason = String(context['reason'] ?? message);
    if (!watched.health.answering) {
      watched.health = { ...watched.health, reason };
      return;
    }
    this.#log.warn('the server of a share does not answer', { share, reason });
    watched.health = { answering: false, since, reason };
  }
}

/** What is said of a share whose server does not answer. */
export const silentShare = (share: string, { since }: ShareHealth): PluginError =>
  new PluginError('SHARE_SILENT', { share, since: new Date(since).toISOString() });
