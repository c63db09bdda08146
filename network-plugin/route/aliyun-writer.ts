import type { Entry } from '../../shared/cloud/aliyun/answers.ts';
import { isOpen, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import { type Context, now, sleep } from '../../shared/context.ts';
import { AliyunClaims } from './aliyun-claims.ts';
import { conflict, holderOf, isMoving, type Viewpoint, type Wanted } from './aliyun-routes.ts';
import { AliyunTurns, type Step, type WriterDeps } from './aliyun-turns.ts';
import type { NextHop } from './provider.ts';

/** Writes to the route tables of one VPC, one of this host's writes at a time. */
export class AliyunWriter {
  readonly #turns: AliyunTurns;
  readonly #claims: AliyunClaims;

  constructor(deps: WriterDeps) {
    this.#turns = new AliyunTurns(deps);
    this.#claims = new AliyunClaims(this.#turns);
  }

  /** Makes a route; succeeds when there is one that leads there. Errors: those of `RouteProvider.create`. */
  create(wanted: Wanted, c: Context): Promise<void> {
    return this.#claims.create(wanted, c);
  }

  /** Deletes a route if it leads to `hop`; succeeds when there is none that does. */
  remove(wanted: Pick<Wanted, 'table' | 'prefix' | 'hop'>, c: Context): Promise<void> {
    return this.#turns.alone(() => this.#turns.steps(this.#turns.removal(wanted, c), c), c);
  }

  /** Leads a route elsewhere, if it leads where `expected` says. Errors: ROUTE_CONFLICT. */
  async replace(wanted: Wanted, expected: NextHop, c: Context): Promise<void> {
    const { client, view, pace } = this.#turns.deps;
    const { table, prefix, hop } = wanted;
    /** When it was last sent, and whether Aliyun took it. */
    let sent: { readonly at: number; readonly taken: boolean } | undefined;
    const step = async (): Promise<Step> => {
      const entries = await this.#turns.deps.entries(table, c);
      const latest = now() + pace.staleMs;
      const entry = entries.find((one) => one.prefix === prefix);
      if (entry === undefined) throw conflict(prefix, table, 'nothing');
      const ours = entry.hop.id === hop.id;
      if (sent !== undefined) {
        if (entries.some(isMoving)) return 'wait';
        if (ours) return this.#lasts(wanted, c);
        // It may not show yet.
        if (now() - sent.at < pace.settleMs) return 'wait';
      }
      if (!isExpected(entry, expected, view)) throw conflict(prefix, table, holderOf(entry, view).host);
      if (entries.some(isMoving)) return 'wait';
      if (ours) return 'done';
      if (sent?.taken === true && now() - sent.at < pace.lostMs) return 'wait';
      // Aliyun does not ask where it leads now: the moment between looking and writing is as short as can be.
      this.#turns.writing(wanted);
      try {
        await client.modifyEntry(entry.id, wanted, latest, c);
        sent = { at: now(), taken: true };
      } catch (error) {
        const kind = kindOfError(error);
        // Whether it was done is seen in the table.
        if (isOpen(error)) sent = { at: now(), taken: false };
        if (kind === 'duplicate') sent = { at: now(), taken: true };
        else if (kind !== 'absent') throw error;
      }
      return 'wait';
    };
    await this.#turns.alone(() => this.#turns.steps(step, c), c);
  }

  /** It leads to us; others may have taken it over at the same moment, and the last of them has it. */
  async #lasts({ table, prefix, hop }: Wanted, c: Context): Promise<Step> {
    const { entries, view, pace } = this.#turns.deps;
    await sleep(pace.settleMs, c);
    const entry = (await entries(table, c)).find((one) => one.prefix === prefix);
    if (entry?.hop.id !== hop.id) {
      throw conflict(prefix, table, entry === undefined ? 'nothing' : holderOf(entry, view).host);
    }
    if (isMoving(entry)) return 'wait';
    this.#turns.shows({ table, prefix });
    return 'done';
  }

  /** Ends what is in work. */
  close(): Promise<void> {
    return this.#claims.close();
  }
}

const isExpected = (entry: Entry, expected: NextHop, view: Viewpoint): boolean =>
  expected.target === undefined ? holderOf(entry, view).host === expected.host : entry.hop.id === expected.target;
