import { type Context, newContext, noLongerThan } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { EtcdClient, Range } from '../../shared/etcd/client.ts';
import { EtcdError } from '../../shared/etcd/wire.ts';
import type { Logger } from '../../shared/log.ts';
import { type EtcdKeys, readClaim, readHost, writeClaim, writeHost } from './etcd-keys.ts';
import { EtcdView } from './etcd-view.ts';
import type { NextHop, RouteEvent } from './provider.ts';

/** This host's place in the cluster, which every claim stands on. */
export interface Grip {
  readonly lease: string;
  /** The revision at which the host's key was made: it changes with a new place. */
  readonly hostRevision: number;
}

export interface SessionOptions {
  readonly client: EtcdClient;
  readonly keys: EtcdKeys;
  readonly self: NextHop;
  readonly id: string;
  readonly leaseSeconds: number;
  /** Look on only: no lease, no key of the host. */
  readonly observer: boolean;
  readonly log: Logger;
  readonly tell: (event: RouteEvent) => void;
}

/** Longest time that one round of the background work may take, in milliseconds. */
const ROUND_MS = 10_000;
const SLOWEST_RETRY_MS = 5_000;
/** A host key changed between our reading and writing it so many times: somebody fights for it. */
const HOLD_ATTEMPTS = 5;

/** EtcdError in the words of the user. */
export const translate = (error: unknown): unknown => {
  if (!(error instanceof EtcdError)) return error;
  const code = error.kind === 'auth' ? 'PROVIDER_AUTH' : 'PROVIDER_UNREACHABLE';
  return new PluginError(code, { provider: 'etcd', reason: error.message }, { cause: error });
};

/**
 * Keeps this host's place in etcd: its lease, its key, the view of the cluster and the watch that feeds it. Once
 * begun, it goes on by itself: after a lost connection, a lost lease, a compaction or a cut stream it starts again
 * from a whole reading. What is known meanwhile stays as it was.
 */
export class EtcdSession {
  readonly view: EtcdView;
  readonly #options: SessionOptions;
  readonly #end = new AbortController();
  #grip: Grip | undefined;
  #leaseMs: number;
  #connecting: Promise<Grip> | undefined;
  #stopWatch: (() => void) | undefined;
  /** Set while `#grip` cannot be trusted any more. */
  #broken = false;
  #wake: (() => void) | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseSeconds * 1000;
    this.view = new EtcdView(options.keys, options.id, options.tell);
  }

  get lease(): string | undefined {
    return this.#broken ? undefined : this.#grip?.lease;
  }

  /** Takes the place, and from then on keeps it in the background. Errors: NODE_NAME_TAKEN, PROVIDER_*. */
  async start(c: Context): Promise<void> {
    await this.grip(c);
    this.#loop ??= this.#keep();
  }

  /** The place, taken anew when it was lost. */
  async grip(c: Context): Promise<Grip> {
    if (this.#grip !== undefined && !this.#broken) return this.#grip;
    this.#connecting ??= this.#connect(c)
      .catch((error: unknown) => {
        throw translate(error);
      })
      .finally(() => {
        this.#connecting = undefined;
      });
    return noLongerThan(c, this.#connecting);
  }

  /** Something showed that the place is lost: the next `grip`, or the background work, takes it anew. */
  lost(): void {
    this.#broken = true;
    this.#wake?.();
  }

  /** Stops. The place itself stays until its lease ends, unless nothing stands on it. */
  async close(): Promise<void> {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
    this.#stopWatch?.();
    await this.#loop;
    const { client, id, log, observer } = this.#options;
    const lease = this.lease;
    const ours = [...this.view.claims.values()].some((claim) => claim.id === id);
    if (lease !== undefined && !ours && !observer) {
      await client.revoke(lease, newContext(log, 1000)).catch((cause: unknown) => {
        log.warn('the lease at etcd could not be ended; it ends by itself', { cause });
      });
    }
    client.close();
  }

  async #connect(c: Context): Promise<Grip> {
    const { client, keys, observer, tell, log } = this.#options;
    this.#stopWatch?.();
    this.#stopWatch = undefined;
    const range = await client.rangePrefix(keys.base, c);
    const grip = observer ? { lease: '', hostRevision: 0 } : await this.#hold(range, c);
    if (!observer) await this.#renew(range, grip, c);
    this.view.reset(range);
    const { endpoint } = client;
    // Whatever was written since the reading, by us too, comes by the watch.
    this.#stopWatch = await client.watchPrefix(
      keys.base,
      range.revision + 1,
      {
        onEvents: (events) => {
          this.view.follow(events);
          const own = events.some(
            (event) => event.kv.key === keys.host(this.#options.self.host) && event.kind === 'delete',
          );
          if (own) this.lost();
        },
        onEnd: (error) => {
          log.info('the watch at etcd ended and is begun again', { reason: error.message });
          if (error.kind === 'unreachable') client.giveUp(endpoint);
          this.lost();
        },
      },
      c,
    );
    if (this.#end.signal.aborted) this.#stopWatch();
    this.#grip = grip;
    this.#broken = false;
    tell({ kind: 'reachable' });
    return grip;
  }

  /** The host's own key and lease: the former ones when they are still good. */
  async #hold(reading: Range, c: Context): Promise<Grip> {
    const { client, keys, self, id } = this.#options;
    const key = keys.host(self.host);
    let range = reading;
    for (let attempt = 0; attempt < HOLD_ATTEMPTS; attempt += 1) {
      const existing = range.kvs.find((kv) => kv.key === key);
      const former = existing === undefined ? undefined : readHost(existing);
      if (former !== undefined && former.id !== id) {
        throw new PluginError('NODE_NAME_TAKEN', { name: self.host, address: former.address ?? former.address6 });
      }
      const seconds = existing?.lease ? await client.keepAlive(existing.lease, c) : 0;
      if (seconds > 0) this.#leaseMs = seconds * 1000;
      if (existing !== undefined && seconds > 0 && isSame(former, self)) {
        return { lease: existing.lease, hostRevision: existing.createRevision };
      }
      const lease = existing !== undefined && seconds > 0 ? existing.lease : await this.#grant(c);
      const compare = existing === undefined ? { key, createRevision: 0 } : { key, modRevision: existing.modRevision };
      const { succeeded, revision } = await client.txn(
        [compare],
        [{ put: key, value: writeHost(self, id), lease }],
        [],
        c,
      );
      if (succeeded) return { lease, hostRevision: existing?.createRevision ?? revision };
      if (lease !== existing?.lease) await client.revoke(lease, c);
      range = await client.rangePrefix(keys.base, c);
    }
    throw new PluginError('NODE_NAME_TAKEN', { name: self.host });
  }

  async #grant(c: Context): Promise<string> {
    const { lease, seconds } = await this.#options.client.grant(this.#options.leaseSeconds, c);
    this.#leaseMs = seconds * 1000;
    return lease;
  }

  /** Own claims that stand under a former lease, or lead to a former address, are written again as they are. */
  async #renew(range: Range, grip: Grip, c: Context): Promise<void> {
    const { client, keys, self, id } = this.#options;
    for (const kv of range.kvs) {
      const prefix = keys.prefixOf(kv.key);
      if (prefix === undefined) continue;
      const claim = readClaim(prefix, kv);
      const hop = { address: claim.nextHop, address6: claim.nextHop6 };
      if (claim.id !== id || (claim.lease === grip.lease && claim.host === self.host && isSame(hop, self))) continue;
      const value = writeClaim(prefix, claim.pool, self, id);
      await client.txn(
        [{ key: kv.key, modRevision: kv.modRevision }],
        [{ put: kv.key, value, lease: grip.lease }],
        [],
        c,
      );
    }
  }

  /** Until closed: keeps the lease alive, and takes the place anew when it was lost. */
  async #keep(): Promise<void> {
    // Rounds in a row that did not find all well: what breaks again at once is not hammered at.
    let troubles = 0;
    while (!this.#end.signal.aborted) {
      const calm = (this.#leaseMs / 3) * (0.9 + Math.random() * 0.2);
      if (!this.#broken) await this.#pause(calm, true);
      const retry = Math.min(SLOWEST_RETRY_MS, calm, 50 * 2 ** troubles) * (0.5 + Math.random() / 2);
      if (this.#broken) await this.#pause(retry, false);
      if (this.#end.signal.aborted) return;
      const c = this.#round();
      try {
        if (!this.#broken && (await this.#isAlive(c))) {
          troubles = 0;
          continue;
        }
        this.#broken = true;
        troubles += 1;
        await this.grip(c);
      } catch (error) {
        if (this.#end.signal.aborted) return;
        this.#broken = true;
        const why = asPluginError(translate(error));
        this.#options.tell({ kind: 'unreachable', why: why.message });
      }
    }
  }

  async #isAlive(c: Context): Promise<boolean> {
    const { client, keys, self, observer } = this.#options;
    if (observer) {
      await client.get(keys.host(self.host), c);
      return true;
    }
    const seconds = await client.keepAlive(this.#grip?.lease ?? '0', c);
    if (seconds > 0) this.#leaseMs = seconds * 1000;
    return seconds > 0;
  }

  #round(): Context {
    const { log } = this.#options;
    const parent: Context = { requestId: 'etcd', signal: this.#end.signal, deadline: Number.POSITIVE_INFINITY, log };
    return newContext(log, ROUND_MS, parent);
  }

  /** Waits until it is time, or closed, or (when `early`) something shows that the place is lost. */
  #pause(ms: number, early: boolean): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        this.#end.signal.removeEventListener('abort', done);
        resolve();
      };
      // The process may end while it waits here.
      const timer = setTimeout(done, ms).unref();
      this.#end.signal.addEventListener('abort', done);
      if (early) this.#wake = done;
      if (this.#end.signal.aborted) done();
    });
  }
}

const isSame = (
  a: { readonly address?: string | undefined; readonly address6?: string | undefined } | undefined,
  b: NextHop,
): boolean => a?.address === b.address && a?.address6 === b.address6;
