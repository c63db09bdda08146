import type { Context } from '../context.ts';
import { type EtcdOptions, EtcdTransport } from './transport.ts';
import {
  EtcdError,
  encode,
  errorOf,
  type KeyValue,
  keyValue,
  prefixEnd,
  type WireError,
  type WireHeader,
  type WireRange,
  type WireTxn,
  type WireWatch,
} from './wire.ts';

/** Keys as they were at one revision. */
export interface Range {
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
}

/** What must hold for a transaction to succeed. */
export type Compare =
  /** No key that begins with `prefix` has changed after the revision; deletions do not count. */
  | { readonly prefix: string; readonly unchangedSince: number }
  /** 0: the key does not exist. */
  | { readonly key: string; readonly createRevision: number }
  | { readonly key: string; readonly modRevision: number };

export type Operation =
  | { readonly put: string; readonly value: string; readonly lease?: string }
  | { readonly delete: string }
  | { readonly rangePrefix: string };

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: number;
  /** Answers of the `rangePrefix` operations that were run, in order. */
  readonly ranges: readonly Range[];
}

export interface WatchEvent {
  readonly kind: 'put' | 'delete';
  readonly kv: KeyValue;
}

export interface WatchHandlers {
  /** The events of one revision or more, in order. */
  onEvents(events: readonly WatchEvent[]): void;
  /** Exactly once, unless closed before. `compacted`: read everything again. */
  onEnd(error: EtcdError): void;
}

/**
 * A client of etcd's v3 JSON gateway (3.4 and later): the few calls that leases, optimistic transactions and watches
 * need. Every call's errors are EtcdError; no call outlives its context.
 */
export class EtcdClient {
  readonly #transport: EtcdTransport;

  constructor(options: EtcdOptions) {
    this.#transport = new EtcdTransport(options);
  }

  get endpoint(): string {
    return this.#transport.endpoint;
  }

  /** All keys that begin with `prefix`, linearizable. */
  async rangePrefix(prefix: string, c: Context): Promise<Range> {
    return rangeOf(await this.#transport.call<WireRange>('/v3/kv/range', rangeRequest(prefix), c));
  }

  async get(key: string, c: Context): Promise<KeyValue | undefined> {
    const answer = await this.#transport.call<WireRange>('/v3/kv/range', { key: encode(key) }, c);
    const first = answer.kvs?.[0];
    return first === undefined ? undefined : keyValue(first);
  }

  async put(key: string, value: string, c: Context, lease?: string): Promise<void> {
    await this.#transport.call('/v3/kv/put', putRequest({ put: key, value, ...(lease && { lease }) }), c);
  }

  /** All or nothing: `then` when every compare holds, else `otherwise`. */
  async txn(
    compare: readonly Compare[],
    then: readonly Operation[],
    otherwise: readonly Operation[],
    c: Context,
  ): Promise<TxnResult> {
    const body = {
      compare: compare.map(wireCompare),
      success: then.map(wireOperation),
      failure: otherwise.map(wireOperation),
    };
    const answer = await this.#transport.call<WireTxn>('/v3/kv/txn', body, c);
    const revision = revisionOf(answer.header);
    const ranges = (answer.responses ?? []).flatMap((response) =>
      response.response_range === undefined ? [] : [{ ...rangeOf(response.response_range), revision }],
    );
    return { succeeded: answer.succeeded === true, revision, ranges };
  }

  /** A new lease of at least `seconds`. */
  async grant(seconds: number, c: Context): Promise<{ readonly lease: string; readonly seconds: number }> {
    const body = { TTL: String(Math.max(1, Math.ceil(seconds))) };
    const answer = await this.#transport.call<{ ID?: string; TTL?: string }>('/v3/lease/grant', body, c);
    if (answer.ID === undefined) throw new EtcdError('refused', 'the answer to a lease request has no ID');
    return { lease: answer.ID, seconds: Number(answer.TTL ?? seconds) };
  }

  /** Seconds that the lease now has; 0 when there is no such lease any more. */
  async keepAlive(lease: string, c: Context): Promise<number> {
    const answer = await this.#transport.call<{ result?: { TTL?: string }; error?: WireError }>(
      '/v3/lease/keepalive',
      { ID: lease },
      c,
    );
    if (answer.error !== undefined) throw errorOf(answer.error);
    return Number(answer.result?.TTL ?? 0);
  }

  /** Ends a lease and deletes its keys; succeeds when there is none. */
  async revoke(lease: string, c: Context): Promise<void> {
    try {
      await this.#transport.call('/v3/lease/revoke', { ID: lease }, c);
    } catch (error) {
      if (!(error instanceof EtcdError) || error.kind !== 'lease-gone') throw error;
    }
  }

  /**
   * Changes of all keys that begin with `prefix`, from `revision` on, until the answered function is called. The
   * stream has no deadline: whoever watches also needs a call that fails when the server is gone, such as keepAlive.
   */
  async watchPrefix(prefix: string, revision: number, handlers: WatchHandlers, c: Context): Promise<() => void> {
    const body = {
      create_request: { key: encode(prefix), range_end: prefixEnd(prefix), start_revision: String(revision) },
    };
    let stop: (() => void) | undefined;
    let over = false;
    const end = (error: EtcdError): void => {
      if (over) return;
      over = true;
      stop?.();
      handlers.onEnd(error);
    };
    const onMessage = (message: unknown): void => {
      const answer = message as WireWatch;
      if (over) return;
      if (answer.canceled === true) {
        const compacted = Number(answer.compact_revision ?? 0) > 0;
        const why = compacted
          ? 'the revision is no longer kept'
          : (answer.cancel_reason ?? 'the server ended the watch');
        end(new EtcdError(compacted ? 'compacted' : 'unreachable', why));
        return;
      }
      const events = (answer.events ?? []).map(
        (event): WatchEvent => ({ kind: event.type === 'DELETE' ? 'delete' : 'put', kv: keyValue(event.kv ?? {}) }),
      );
      if (events.length > 0) handlers.onEvents(events);
    };
    stop = await this.#transport.stream('/v3/watch', body, { onMessage, onEnd: end }, c);
    if (over) stop();
    return () => {
      over = true;
      stop?.();
    };
  }

  /** The next call goes to another endpoint than this one, where there is one. */
  giveUp(endpoint: string): void {
    this.#transport.giveUp(endpoint);
  }

  close(): void {
    this.#transport.close();
  }
}

const revisionOf = (header: WireHeader | undefined): number => Number(header?.revision ?? 0);

const rangeOf = (wire: WireRange): Range => ({
  revision: revisionOf(wire.header),
  kvs: (wire.kvs ?? []).map(keyValue),
});

const rangeRequest = (prefix: string): object => ({ key: encode(prefix), range_end: prefixEnd(prefix) });

const putRequest = (operation: Extract<Operation, { put: string }>): object => ({
  key: encode(operation.put),
  value: encode(operation.value),
  ...(operation.lease && { lease: operation.lease }),
});

const wireOperation = (operation: Operation): object => {
  if ('put' in operation) return { request_put: putRequest(operation) };
  if ('delete' in operation) return { request_delete_range: { key: encode(operation.delete) } };
  return { request_range: rangeRequest(operation.rangePrefix) };
};

const wireCompare = (compare: Compare): object => {
  if ('prefix' in compare) {
    return {
      key: encode(compare.prefix),
      range_end: prefixEnd(compare.prefix),
      target: 'MOD',
      result: 'LESS',
      mod_revision: String(compare.unchangedSince + 1),
    };
  }
  const key = encode(compare.key);
  return 'createRevision' in compare
    ? { key, target: 'CREATE', result: 'EQUAL', create_revision: String(compare.createRevision) }
    : { key, target: 'MOD', result: 'EQUAL', mod_revision: String(compare.modRevision) };
};
