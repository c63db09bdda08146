import { randomUUID } from 'node:crypto';
import { type AliyunClient, type Entry, LARGEST_BATCH } from '../../shared/cloud/aliyun/client.ts';
import { AliyunRefusal, isOpen, isTransient, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { type Context, newContext, now, remaining, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import type { Logger } from '../../shared/log.ts';
import { pauseMs } from '../../shared/retry.ts';
import { conflict, holderOf, judge, type Viewpoint, type Wanted } from './aliyun-routes.ts';
import type { NextHop } from './provider.ts';
import { noLongerThan } from './wait.ts';

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
  /** What was read is too old after so long to lead a route elsewhere by. */
  readonly staleMs: number;
}

export const PACE: Pace = {
  ...{ gatherMs: 5, pollMs: 400, longestPollMs: 2_000, backoffMs: 1_000, longestBackoffMs: 5_000 },
  ...{ settleMs: 1_000, lostMs: 15_000, staleMs: 1_000 },
};

export interface WriterDeps {
  readonly client: AliyunClient;
  /** All entries of a table. Errors: ROUTE_TABLE_MISSING, PROVIDER_*. */
  readonly entries: (table: string, c: Context) => Promise<readonly Entry[]>;
  readonly view: Viewpoint;
  readonly quota: () => number;
  /** An error of Aliyun's that names a table as missing. */
  readonly tableLost: (table: string) => PluginError;
  readonly log: Logger;
  readonly pace: Pace;
}

/** A claim in work. */
interface Job {
  readonly wanted: Wanted;
  readonly c: Context;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** ClientToken: the same for each attempt at the same write. */
  token: string;
  /** It was written, or may have been. */
  sent: boolean;
  /** What was written, by whomever, shows until then; it need not be written again before. */
  shownBy: number;
  failure?: unknown;
  settled: boolean;
}

const ALONE = 'vpc';
const isMoving = ({ status }: Entry): boolean => status !== 'Available';

/**
 * Writes to the route tables of one VPC. Aliyun takes one write a VPC at a time and does it some seconds later, so each
 * is looked for in the table, before (is it free?) and after (is it there, and nothing that overlaps it?), until the
 * table says that it is so. Whatever an answer said, or did not come to say, the table decides.
 */
export class AliyunWriter {
  readonly #deps: WriterDeps;
  readonly #turns = new KeyedMutex();
  readonly #end = new AbortController();
  #jobs: Job[] = [];
  #work: Promise<void> | undefined;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
  }

  /** Makes a route. What is asked for at the same time goes as one batch. */
  create(wanted: Wanted, c: Context): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const job: Job = { wanted, c, resolve, reject, token: randomUUID(), sent: false, shownBy: 0, settled: false };
    this.#jobs.push(job);
    this.#work ??= this.#run();
    return noLongerThan(c, promise).catch((error: unknown) => {
      job.settled = true;
      // What was in the way says more than that time ran out.
      throw c.signal.aborted && job.failure !== undefined ? this.#deps.client.caller.translate(job.failure) : error;
    });
  }

  /** Leads a route elsewhere, if it leads where `expected` says. Errors: ROUTE_CONFLICT. */
  async replace(wanted: Wanted, expected: NextHop, c: Context): Promise<void> {
    const { client, view, pace } = this.#deps;
    const { table, prefix, hop } = wanted;
    let written: number | undefined;
    await this.#alone(c, async () => {
      const latest = now() + pace.staleMs;
      const entries = await this.#deps.entries(table, c);
      const entry = entries.find((one) => one.prefix === prefix);
      if (entry === undefined) throw conflict(prefix, table, 'nothing');
      const ours = entry.hop.id === hop.id;
      if (written === undefined || !ours) {
        const fits = isExpected(entry, expected, view);
        if (!fits) throw conflict(prefix, table, holderOf(entry, view).host);
        if (ours && entry.status === 'Available') return 'done';
      }
      if (entries.some(isMoving)) return 'wait';
      if (ours) {
        await sleep(pace.settleMs, c);
        const later = (await this.#deps.entries(table, c)).find((one) => one.prefix === prefix);
        if (later?.hop.id === hop.id) return 'done';
        throw conflict(prefix, table, later === undefined ? 'nothing' : holderOf(later, view).host);
      }
      if (written !== undefined && now() - written < pace.lostMs) return 'wait';
      // Aliyun does not ask where it leads now: the moment between looking and writing is as short as can be.
      try {
        await client.modifyEntry(entry.id, wanted, latest, c);
        written = now();
      } catch (error) {
        const kind = kindOfError(error);
        // Whether it was done is seen in the table; until then it is as if it was not.
        if (isOpen(error)) written = now() - pace.lostMs;
        if (kind !== 'duplicate' && kind !== 'absent') throw error;
        if (kind === 'duplicate') written = now();
      }
      return 'wait';
    });
  }

  /** Deletes a route if it leads to `hop`; succeeds when there is none that does. */
  remove(wanted: Pick<Wanted, 'table' | 'prefix' | 'hop'>, c: Context): Promise<void> {
    return this.#alone(c, this.#removal(wanted, c));
  }

  /** Ends what is in work. */
  async close(): Promise<void> {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
    await this.#work;
  }

  #removal({ table, prefix, hop }: Pick<Wanted, 'table' | 'prefix' | 'hop'>, c: Context): () => Promise<Step> {
    const { client, pace } = this.#deps;
    let deleted: number | undefined;
    return async () => {
      const entries = await this.#deps.entries(table, c);
      const entry = entries.find((one) => one.prefix === prefix && one.type === 'Custom' && one.hop.id === hop.id);
      if (entry === undefined) return 'done';
      if (entries.some(isMoving)) return 'wait';
      if (deleted !== undefined && now() - deleted < pace.lostMs) return 'wait';
      try {
        await client.deleteEntry({ table, prefix, hop }, c);
      } catch (error) {
        // Somebody else has deleted it, or led it elsewhere.
        if (kindOfError(error) !== 'absent') throw error;
      }
      deleted = now();
      return 'wait';
    };
  }

  /** Takes steps, one host's writes at a time, until they are done. Errors: what the steps throw, in the user's words. */
  #alone(c: Context, step: () => Promise<Step>): Promise<void> {
    return this.#turns.run(ALONE, () => this.#steps(c, step), c);
  }

  async #steps(c: Context, step: () => Promise<Step>): Promise<void> {
    const { client, pace } = this.#deps;
    let failure: unknown;
    for (let polls = 0, failures = 0; ; ) {
      let pause: number;
      try {
        if ((await step()) === 'done') return;
        pause = pollPause(polls++, pace);
        failure = undefined;
      } catch (error) {
        if (!isTransient(error)) throw client.caller.translate(error);
        failure = error;
        pause = this.#backoff(++failures);
      }
      await sleep(pause, c).catch((reason: unknown) => {
        throw failure === undefined ? reason : client.caller.translate(failure);
      });
    }
  }

  #backoff(failures: number): number {
    const { backoffMs, longestBackoffMs } = this.#deps.pace;
    return pauseMs(failures, { firstMs: backoffMs, longestMs: longestBackoffMs });
  }

  /** Until no claim is left. */
  async #run(): Promise<void> {
    const end: Context = {
      ...{ requestId: 'routes', signal: this.#end.signal, deadline: Number.POSITIVE_INFINITY },
      log: this.#deps.log,
    };
    try {
      await sleep(this.#deps.pace.gatherMs, end);
      await this.#turns.run(ALONE, () => this.#rounds(end), end);
    } catch (error) {
      for (const job of this.#jobs) settle(job, error);
    }
    this.#jobs = this.#jobs.filter((job) => !job.settled);
    this.#work = this.#jobs.length === 0 || this.#end.signal.aborted ? undefined : this.#run();
  }

  async #rounds(end: Context): Promise<void> {
    const { pace } = this.#deps;
    for (let polls = 0, failures = 0; ; ) {
      this.#jobs = this.#jobs.filter((job) => !job.settled);
      if (this.#jobs.length === 0) return;
      const longest = Math.max(...this.#jobs.map((job) => remaining(job.c)));
      const c = newContext(this.#deps.log, longest, end);
      try {
        if (await this.#round(this.#jobs.slice(), c)) polls = 0;
      } catch (error) {
        if (!isTransient(error)) throw error;
        for (const job of this.#jobs) job.failure = error;
      }
      const open = this.#jobs.filter((job) => !job.settled);
      if (open.length === 0) continue;
      // Nothing of ours is on its way: others are at it, and hosts that wait alike must not come back at once.
      const others = !open.some((job) => job.shownBy > now());
      await sleep(others ? this.#backoff(++failures) : pollPause(polls++, pace), end);
    }
  }

  /** Looks at the tables, settles what they decide, and writes what is free. True when something was written. */
  async #round(jobs: readonly Job[], c: Context): Promise<boolean> {
    const free: Job[] = [];
    for (const table of new Set(jobs.map((job) => job.wanted.table))) {
      const here = jobs.filter((job) => job.wanted.table === table);
      try {
        const entries = await this.#deps.entries(table, c);
        // What we have written may not show yet.
        const planned = new Set(here.filter((job) => job.sent && visible(job, entries) === undefined));
        for (const job of here) {
          const others = [...planned].filter((one) => one !== job).map((one) => entryOf(one.wanted));
          const goes = await this.#judge(job, entries, others, c);
          if (!goes || entries.some(isMoving)) continue;
          planned.add(job);
          free.push(job);
        }
      } catch (error) {
        // The table's own trouble is none of the others'.
        for (const job of here) settle(job, error);
      }
    }
    if (free.length === 0) return false;
    await this.#write(free.slice(0, LARGEST_BATCH), c);
    return true;
  }

  /** True when the route is still to be written. */
  async #judge(job: Job, entries: readonly Entry[], planned: readonly Entry[], c: Context): Promise<boolean> {
    const verdict = judge([...entries, ...planned], job.wanted, this.#deps.view);
    if (verdict.is === 'there') settle(job);
    if (verdict.is === 'refused') await this.#refuse(job, verdict.why, visible(job, entries) !== undefined, c);
    if (verdict.is !== 'free' || job.shownBy > now()) return false;
    // It was written and is gone again: the old token would only tell of the old one.
    if (job.shownBy > 0) Object.assign(job, { token: randomUUID(), shownBy: 0 });
    return true;
  }

  async #refuse(job: Job, why: PluginError, shows: boolean, c: Context): Promise<void> {
    const { prefix, table } = job.wanted;
    if (!job.sent) {
      // Held for long: whoever came later has to go.
      settle(job, shows ? undefined : why);
      return;
    }
    if (!shows && job.shownBy > now()) return;
    // Somebody else's came up at the same moment. Who was first cannot be told, so ours goes.
    this.#deps.log.info('a claim is taken back: another one is in its way', { prefix, table });
    try {
      await this.#steps(c, this.#removal(job.wanted, c));
      settle(job, why);
    } catch (error) {
      settle(job, error);
    }
  }

  async #write(jobs: readonly Job[], c: Context): Promise<void> {
    const { client } = this.#deps;
    const [first] = jobs;
    if (first === undefined) return;
    try {
      if (jobs.length > 1) {
        await this.#batch(jobs, c);
        return;
      }
      await client.createEntry(first.wanted, first.token, c);
      this.#expect(first, true);
    } catch (error) {
      // Open: the table will say, and the same token makes no second one.
      if (isOpen(error)) for (const job of jobs) job.sent = true;
      if (isTransient(error)) throw error;
      if (jobs.length > 1) {
        // One of them is refused, and with it all: each by itself then.
        for (const job of jobs) await this.#write([job], c);
      } else if (kindOfError(error) === 'duplicate') this.#expect(first, false);
      else settle(first, this.#explain(error, first.wanted));
    }
  }

  /** The table has such an entry, ours or another's: it will show. */
  #expect(job: Job, ours: boolean): void {
    job.sent ||= ours;
    job.shownBy = now() + this.#deps.pace.lostMs;
  }

  /** Errors of single entries go to their jobs. */
  async #batch(jobs: readonly Job[], c: Context): Promise<void> {
    const failed = await this.#deps.client.createEntries(
      jobs.map((job) => job.wanted),
      c,
    );
    let busy: AliyunRefusal | undefined;
    for (const job of jobs) {
      const { prefix, hop } = job.wanted;
      const failures = failed.filter((one) => one.prefix === prefix && one.hop === hop.id);
      const [failure] = failures;
      if (failure === undefined) {
        this.#expect(job, true);
        continue;
      }
      const { code, text } = failure;
      const refusal = new AliyunRefusal({ action: 'vpc:CreateRouteEntries', code, text, status: 200 });
      job.failure = refusal;
      // The table is not told: where one prefix goes into several, any of them may be meant, and the tables will say.
      const twins = jobs.filter((one) => one.wanted.prefix === prefix && one.wanted.hop.id === hop.id);
      if (failures.length < twins.length) job.sent = true;
      else if (refusal.kind === 'duplicate') this.#expect(job, false);
      else if (!isTransient(refusal)) settle(job, this.#explain(refusal, job.wanted));
      if (isTransient(refusal)) busy = refusal;
    }
    if (busy !== undefined) throw busy;
  }

  #explain(error: unknown, { prefix, table }: Wanted): unknown {
    const { client, quota, tableLost } = this.#deps;
    switch (kindOfError(error)) {
      case 'quota': {
        const limit = quota();
        const where = 'at the Quota Center, product VPC, quota vpc_quota_route_entrys_num';
        return new PluginError('QUOTA_EXCEEDED', { table, used: limit, limit, quota: where }, { cause: error });
      }
      case 'reserved': {
        const what = "refused by Aliyun as part of a vSwitch or of the vendor's own range";
        return new PluginError('PREFIX_IS_LOCAL', { prefix, address: prefix, what }, { cause: error });
      }
      case 'no-table':
        return tableLost(table);
      default:
        return client.caller.translate(error);
    }
  }
}

type Step = 'done' | 'wait';

/** For judging several claims of one round: what is about to be written is there already. */
const entryOf = (wanted: Wanted): Entry => ({ ...wanted, id: '', status: 'Pending', type: 'Custom' });

const visible = ({ wanted }: Job, entries: readonly Entry[]): Entry | undefined =>
  entries.find((one) => one.prefix === wanted.prefix && one.hop.id === wanted.hop.id);

const settle = (job: Job, error?: unknown): void => {
  if (job.settled) return;
  job.settled = true;
  if (error === undefined) job.resolve();
  else job.reject(error);
};

/** With a little jitter, so that hosts that began together part. */
const pollPause = (polls: number, { pollMs, longestPollMs }: Pace): number =>
  Math.min(longestPollMs, pollMs * 1.5 ** Math.min(polls, 20)) * (0.75 + Math.random() / 2);

const isExpected = (entry: Entry, expected: NextHop, view: Viewpoint): boolean =>
  expected.target === undefined ? holderOf(entry, view).host === expected.host : entry.hop.id === expected.target;
