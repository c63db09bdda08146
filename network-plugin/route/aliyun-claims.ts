import { randomUUID } from 'node:crypto';
import type { Entry } from '../../shared/cloud/aliyun/answers.ts';
import { LARGEST_BATCH } from '../../shared/cloud/aliyun/client.ts';
import { AliyunRefusal, isOpen, isTransient, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { type Context, newContext, noLongerThan, now, remaining, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isMoving, judge, type Wanted } from './aliyun-routes.ts';
import type { AliyunTurns } from './aliyun-turns.ts';

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
  /** The table had room for it; so long that is good enough to write by. */
  freeUntil: number;
  failure?: unknown;
  settled: boolean;
}

/**
 * Makes routes, those that are asked for at the same time as one batch. Each is looked for in its table before (is it
 * free?) and after (is it there, and nothing that overlaps it?): whatever an answer said, or did not come to say, the
 * table decides.
 */
export class AliyunClaims {
  readonly #turns: AliyunTurns;
  readonly #end = new AbortController();
  #jobs: Job[] = [];
  #work: Promise<void> | undefined;

  constructor(turns: AliyunTurns) {
    this.#turns = turns;
  }

  /** Makes a route. What is asked for at the same time goes as one batch. */
  create(wanted: Wanted, c: Context): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const job: Job = {
      ...{ wanted, c, resolve, reject, token: randomUUID() },
      ...{ sent: false, shownBy: 0, freeUntil: 0, settled: false },
    };
    this.#jobs.push(job);
    this.#work ??= this.#run();
    return noLongerThan(c, promise).catch((error: unknown) => {
      job.settled = true;
      throw this.#whyLate(job, error);
    });
  }

  /** Ends what is in work. */
  async close(): Promise<void> {
    this.#end.abort(new PluginError('NOT_READY', { reason: 'the plugin is stopping' }));
    await this.#work;
  }

  #fail(job: Job, error: unknown): void {
    settle(job, this.#whyLate(job, error));
  }

  /** What was in the way says more than that time ran out. */
  #whyLate({ failure }: Job, error: unknown): unknown {
    const late = error instanceof PluginError && error.code === 'DEADLINE';
    return late && failure !== undefined ? this.#turns.deps.client.caller.translate(failure) : error;
  }

  /** Until no claim is left. */
  async #run(): Promise<void> {
    const end: Context = {
      ...{ requestId: 'routes', signal: this.#end.signal, deadline: Number.POSITIVE_INFINITY },
      log: this.#turns.deps.log,
    };
    try {
      await sleep(this.#turns.deps.pace.gatherMs, end);
      await this.#turns.alone(() => this.#rounds(end), end);
    } catch (error) {
      for (const job of this.#jobs) this.#fail(job, error);
    }
    this.#jobs = this.#jobs.filter((job) => !job.settled);
    this.#work = this.#jobs.length === 0 || this.#end.signal.aborted ? undefined : this.#run();
  }

  async #rounds(end: Context): Promise<void> {
    for (let polls = 0, failures = 0; ; ) {
      let throttled = false;
      this.#jobs = this.#jobs.filter((job) => !job.settled);
      if (this.#jobs.length === 0) return;
      const longest = Math.max(...this.#jobs.map((job) => remaining(job.c)));
      const c = newContext(this.#turns.deps.log, longest, end);
      try {
        if (await this.#round(this.#jobs.slice(), c)) polls = 0;
      } catch (error) {
        if (!isTransient(error)) throw error;
        for (const job of this.#jobs) job.failure = error;
        // Its next turn itself comes late enough.
        throttled = kindOfError(error) === 'throttled';
      }
      const open = this.#jobs.filter((job) => !job.settled);
      if (open.length === 0) continue;
      // Nothing of ours is on its way: others are at it, and hosts that wait alike must not come back at once.
      const others = !open.some((job) => job.shownBy > now());
      if (!throttled) await sleep(others ? this.#turns.backoff(++failures) : this.#turns.pollPause(polls++), end);
    }
  }

  /** Looks at the tables, settles what they decide, and writes what is free. True when something was written. */
  async #round(jobs: readonly Job[], c: Context): Promise<boolean> {
    const free: Job[] = [];
    for (const table of new Set(jobs.map((job) => job.wanted.table))) {
      const here = jobs.filter((job) => job.wanted.table === table);
      try {
        free.push(...(await this.#due(table, here, c)));
      } catch (error) {
        // The table's own trouble is none of the others'.
        for (const job of here) this.#fail(job, error);
      }
    }
    if (free.length === 0) return false;
    await this.#write(free.slice(0, LARGEST_BATCH), c);
    return true;
  }

  /**
   * Those of a table that are to be written now. What was free a while ago and has waited for its turn since is written
   * without another look: a destination that somebody has by now Aliyun refuses itself, and what overlaps it is looked
   * for afterwards.
   */
  async #due(table: string, here: readonly Job[], c: Context): Promise<readonly Job[]> {
    const { entries: read, isLong } = this.#turns.deps;
    if (here.every((job) => !job.sent && job.freeUntil > now())) return here;
    const [first] = here;
    // A long table is read in many calls: not before the one route that we wait for is there.
    const waits = here.length === 1 && first !== undefined && first.shownBy > now() && isLong(table);
    if (waits && (await this.#isUnderWay(first.wanted, c))) return [];
    const isFirst = here.every((job) => !job.sent && job.shownBy === 0);
    let entries = await read(table, c, isFirst);
    // Nobody is sent away by a reading that is not of now.
    const isClear = here.every((job) => judge(entries, job.wanted, this.#turns.deps.view).is === 'free');
    if (isFirst && !isClear) entries = await read(table, c, false);
    return this.#judgeAll(here, entries, c);
  }

  /** Settles what the entries decide; answers what they leave to be written, unless something is on its way there. */
  async #judgeAll(here: readonly Job[], entries: readonly Entry[], c: Context): Promise<readonly Job[]> {
    // What we have written may not show yet.
    const planned = new Set(here.filter((job) => job.sent && visible(job, entries) === undefined));
    const free: Job[] = [];
    for (const job of here) {
      const others = [...planned].filter((one) => one !== job).map((one) => entryOf(one.wanted));
      job.freeUntil = 0;
      if (!(await this.#judge(job, entries, others, c))) continue;
      job.freeUntil = now() + this.#turns.deps.pace.judgedMs;
      if (entries.some(isMoving)) continue;
      planned.add(job);
      free.push(job);
    }
    return free;
  }

  /** Is the route that was written not there for good yet? */
  async #isUnderWay({ table, prefix }: Wanted, c: Context): Promise<boolean> {
    const entry = await this.#turns.deps.entry(table, prefix, c);
    return entry === undefined || isMoving(entry);
  }

  /** True when the route is still to be written. */
  async #judge(job: Job, entries: readonly Entry[], planned: readonly Entry[], c: Context): Promise<boolean> {
    const verdict = judge([...entries, ...planned], job.wanted, this.#turns.deps.view);
    if (verdict.is === 'there') {
      this.#turns.shows(job.wanted);
      settle(job);
    }
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
    // Somebody else's came up at the same moment. Who was first cannot be told, so ours goes.
    this.#turns.deps.log.info('a claim is taken back: another one is in its way', { prefix, table });
    try {
      await this.#turns.steps(this.#turns.removal(job.wanted, c), c);
      settle(job, why);
    } catch (error) {
      this.#fail(job, error);
    }
  }

  async #write(jobs: readonly Job[], c: Context): Promise<void> {
    const { client } = this.#turns.deps;
    const [first] = jobs;
    if (first === undefined) return;
    for (const { wanted } of jobs) this.#turns.writing(wanted);
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
    job.shownBy = now() + this.#turns.deps.pace.lostMs;
    job.freeUntil = 0;
  }

  /** Errors of single entries go to their jobs. */
  async #batch(jobs: readonly Job[], c: Context): Promise<void> {
    const failed = await this.#turns.deps.client.createEntries(
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
    const { client, quota, tableLost } = this.#turns.deps;
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
