import type { Entry } from '../../shared/cloud/aliyun/answers.ts';
import type { AliyunClient } from '../../shared/cloud/aliyun/client.ts';
import { isTransient, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { type Context, now, sleep } from '../../shared/context.ts';
import type { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import { isMoving, type Viewpoint, type Wanted } from './aliyun-routes.ts';

/** Times in milliseconds. */
export interface Pace {
  /** How long claims are gathered for one batch. */
  readonly gatherMs: number;
  /** First pause before an entry that is on its way is looked at again; it grows by half each time. */
  readonly pollMs: number;
  readonly longestPollMs: number;
  /** Ceiling of the first pause after another host's write was in the way; it doubles. */
  readonly backoffMs: number;
  readonly longestBackoffMs: number;
  /** How long after taking a route over it is looked at once more: somebody may have taken it at the same moment. */
  readonly settleMs: number;
  /** A write that does not show after so long was undone by somebody. */
  readonly lostMs: number;
  /** What was free so long ago may be written without another look, when others' writes were in the way meanwhile. */
  readonly judgedMs: number;
  /** What was read is too old after so long to lead a route elsewhere by; well below `settleMs`. */
  readonly staleMs: number;
}

export const PACE: Pace = {
  ...{ gatherMs: 5, pollMs: 400, longestPollMs: 2_000, backoffMs: 1_000, longestBackoffMs: 10_000 },
  ...{ settleMs: 1_000, lostMs: 15_000, judgedMs: 120_000, staleMs: 300 },
};

export interface WriterDeps {
  readonly client: AliyunClient;
  /** All entries of a table; of a reading of a moment ago when `recent` will do. Errors: ROUTE_TABLE_MISSING, PROVIDER_*. */
  readonly entries: (table: string, c: Context, recent?: boolean) => Promise<readonly Entry[]>;
  /** That of exactly this prefix, if there is one. Errors: the same. */
  readonly entry: (table: string, prefix: string, c: Context) => Promise<Entry | undefined>;
  /** Takes more than one call to read, by the last reading. No I/O. */
  readonly isLong: (table: string) => boolean;
  readonly view: Viewpoint;
  readonly quota: () => number;
  /** An error of Aliyun's that names a table as missing. */
  readonly tableLost: (table: string) => PluginError;
  readonly log: Logger;
  readonly pace: Pace;
}

const ALONE = 'vpc';
/** Whatever reads do not show after so long is not there. */
const UNSEEN_MS = 60_000;
const keyOf = (table: string, prefix: string): string => `${table} ${prefix}`;

export type Step = 'done' | 'wait';

/**
 * The turns of one VPC: Aliyun takes one write a VPC at a time and does it some seconds later. Whoever has the turn
 * takes steps, each of which looks into the tables and writes if need be, until the tables say that it is done.
 */
export class AliyunTurns {
  readonly deps: WriterDeps;
  readonly #turns = new KeyedMutex();
  /** Routes that we have written a short time ago, with that time: they may be there, and did not show yet. */
  readonly #fresh = new Map<string, number>();

  constructor(deps: WriterDeps) {
    this.deps = deps;
  }

  /** To be called before a route of ours is written. */
  writing({ table, prefix }: Pick<Wanted, 'table' | 'prefix'>): void {
    for (const [key, at] of this.#fresh) if (now() - at > UNSEEN_MS) this.#fresh.delete(key);
    this.#fresh.set(keyOf(table, prefix), now());
  }

  /** A route of ours shows. */
  shows({ table, prefix }: Pick<Wanted, 'table' | 'prefix'>): void {
    this.#fresh.delete(keyOf(table, prefix));
  }

  /** Runs `work` while no other write of this host is in work. */
  alone(work: () => Promise<void>, c: Context): Promise<void> {
    return this.#turns.run(ALONE, work, c);
  }

  /** Repeats the step until it is done. Errors: what it throws, in the user's words; the last one when time is over. */
  async steps(step: () => Promise<Step>, c: Context): Promise<void> {
    const { client } = this.deps;
    let failure: unknown;
    for (let polls = 0, failures = 0; ; ) {
      let pause: number;
      try {
        if ((await step()) === 'done') return;
        pause = this.pollPause(polls++);
        failure = undefined;
      } catch (error) {
        if (c.signal.aborted && failure !== undefined) throw client.caller.translate(failure);
        if (!isTransient(error)) throw client.caller.translate(error);
        failure = error;
        pause = this.backoff(++failures);
      }
      await sleep(pause, c).catch((reason: unknown) => {
        throw failure === undefined ? reason : client.caller.translate(failure);
      });
    }
  }

  /** The pause after something of somebody else's was in the way, with jitter so that hosts part. */
  backoff(failures: number): number {
    const { backoffMs, longestBackoffMs } = this.deps.pace;
    return pauseMs(failures, { firstMs: backoffMs, longestMs: longestBackoffMs });
  }

  /** The pause before what is on its way is looked at again. */
  pollPause(polls: number): number {
    const { pollMs, longestPollMs } = this.deps.pace;
    return Math.min(longestPollMs, pollMs * 1.5 ** Math.min(polls, 20)) * (0.75 + Math.random() / 2);
  }

  /** Deletes a route if it leads to `hop`: done when there is none that does, nor one that does not show yet. */
  removal({ table, prefix, hop }: Pick<Wanted, 'table' | 'prefix' | 'hop'>, c: Context): () => Promise<Step> {
    const { client, pace, entries: entriesOf } = this.deps;
    const key = keyOf(table, prefix);
    let deleted: number | undefined;
    return async () => {
      const entries = await entriesOf(table, c);
      const entry = entries.find((one) => one.prefix === prefix && one.type === 'Custom' && one.hop.id === hop.id);
      if (entry === undefined && !this.#fresh.has(key)) return 'done';
      if (entries.some(isMoving)) return 'wait';
      if (deleted !== undefined && now() - deleted < pace.lostMs) return 'wait';
      try {
        await client.deleteEntry({ table, prefix, hop }, c);
      } catch (error) {
        // Somebody else has deleted it, or led it elsewhere.
        if (kindOfError(error) !== 'absent') throw error;
      }
      this.#fresh.delete(key);
      deleted = now();
      return 'wait';
    };
  }
}
