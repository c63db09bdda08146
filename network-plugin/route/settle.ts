import { parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { ClaimRecord } from '../state.ts';
import type { Claims } from './claims.ts';
import type { Ledger } from './ledger.ts';
import type { RouteProvider } from './provider.ts';
import { isTaken } from './refusals.ts';
import { isAddress } from './route-kind.ts';
import type { RouteView } from './route-view.ts';

export interface SettleDeps {
  readonly provider: RouteProvider;
  readonly view: RouteView;
  readonly claims: Claims;
  readonly ledger: Ledger;
  readonly log: Logger;
}

/**
 * One round over this host's claims: finishes what was cut off, claims again what has vanished from a table, and gives
 * back what no record knows. Judges by the view, and writes nothing when all is well.
 */
export const settleClaims = async (deps: SettleDeps, repair: boolean, c: Context): Promise<Drift[]> => {
  const { claims, provider } = deps;
  const drift: Drift[] = [];
  const each = async (prefix: string, work: () => Promise<Drift[]>): Promise<void> => {
    try {
      drift.push(...((await claims.unlessBusy(prefix, work, c)) ?? []));
    } catch (error) {
      drift.push({ what: `${prefix} at ${provider.name}: ${asPluginError(error).message}`, repaired: false });
    }
  };
  for (const prefix of claims.own) await each(prefix, () => settleOne(deps, prefix, repair, c));
  for (const prefix of orphans(deps)) {
    await each(prefix, async () => {
      if (!orphans(deps).has(prefix)) return [];
      if (repair) await claims.withdraw(prefix, c);
      return [{ what: `${prefix} at ${provider.name} belongs to this host, but no record knows it`, repaired: repair }];
    });
  }
  return drift;
};

/** Ours in some table, without a record. */
const orphans = ({ view, claims }: SettleDeps): ReadonlySet<string> =>
  new Set(
    view.tables
      .flatMap((table) => view.of(table))
      .filter((route) => route.ours && claims.record(route.prefix) === undefined)
      .map((route) => route.prefix),
  );

const settleOne = async (deps: SettleDeps, prefix: string, repair: boolean, c: Context): Promise<Drift[]> => {
  const { view, claims } = deps;
  const record = claims.record(prefix);
  if (record === undefined) return [];
  const granted = view.get(prefix)?.ours === true;
  if (record.phase === 'held' || (record.phase === 'claiming' && granted)) {
    return granted ? await fill(deps, record, repair, c) : await regain(deps, record, repair, c);
  }
  if (repair) await claims.withdraw(prefix, c);
  return [{ what: `${prefix} was left ${record.phase}`, repaired: repair }];
};

/** The arbiter has it: it belongs into the other tables too, and a claim that was cut off is held from now on. */
const fill = async (
  { view, claims, ledger, provider }: SettleDeps,
  record: ClaimRecord,
  repair: boolean,
  c: Context,
): Promise<Drift[]> => {
  const { prefix, pool, phase } = record;
  claims.regain(prefix);
  const without = (await provider.tables(c)).filter(
    (table) => view.get(prefix, table)?.ours !== true && !ledger.missing.includes(table),
  );
  if (phase === 'held' && without.length === 0) return [];
  if (!repair) return without.map((table) => ({ what: `${prefix} is missing in ${table}`, repaired: false }));
  const { made, refused } = await ledger.restore({ prefix, pool }, c);
  if (phase === 'claiming' && refused.length > 0) {
    await claims.withdraw(prefix, c);
    return [{ what: `${prefix} was left claiming: ${refused[0]?.message}`, repaired: true }];
  }
  if (phase === 'claiming') await claims.save({ ...record, phase: 'held' });
  return [
    ...(phase === 'claiming' ? [{ what: `${prefix} was left claiming`, repaired: true }] : []),
    ...made.map((table) => ({ what: `${prefix} was missing in ${table}`, repaired: true })),
    ...refused.map((error) => ({ what: error.message, repaired: false })),
  ];
};

/** The arbiter has it no more: it is claimed again where nobody else has it. */
const regain = async (deps: SettleDeps, record: ClaimRecord, repair: boolean, c: Context): Promise<Drift[]> => {
  const { claims, ledger, provider, log, view } = deps;
  const { prefix, pool } = record;
  const what = `this host's claim of ${prefix} is not at ${provider.name} any more`;
  if (!repair) return [{ what, repaired: false }];
  const other = view.get(prefix);
  try {
    // What is another's is not even asked for.
    if (other !== undefined) throw new PluginError('PREFIX_OWNED', { prefix, owner: other.nextHop.host });
    const { refused } = await ledger.restore({ prefix, pool }, c);
    claims.regain(prefix);
    log.info('a claim that had vanished was made again', { prefix });
    return [{ what, repaired: true }, ...refused.map((error) => ({ what: error.message, repaired: false }))];
  } catch (error) {
    if (!isTaken(error)) throw error;
    if (isAddress(parseCidr(prefix))) return await giveUp(deps, prefix, ownerIn(error), c);
    return [lose(deps, prefix, error)];
  }
};

const lose = ({ claims, log }: SettleDeps, prefix: string, error: PluginError): Drift => {
  const { other, address } = error.context;
  const lost = { prefix, owner: ownerIn(error), other: String(other ?? address ?? prefix) };
  if (claims.lose(lost)) {
    log.error('PREFIX LOST: somebody else holds it now. Running containers go on, new ones are refused', { ...lost });
  }
  return { what: `${prefix} is lost: ${error.message}`, repaired: false };
};

/** An address follows its container: whoever has it at the arbiter has it, and what is left of ours goes. */
const giveUp = async ({ claims, log }: SettleDeps, prefix: string, owner: string, c: Context): Promise<Drift[]> => {
  await claims.withdraw(prefix, c);
  claims.lose({ prefix, owner, other: prefix });
  log.warn('a roaming address leads to another host now: this one has given it up', { prefix, owner });
  return [{ what: `${prefix} leads to ${owner} now: this host has given it up`, repaired: true }];
};

const ownerIn = ({ context: { owner, target, what } }: PluginError): string =>
  String(owner ?? target ?? what ?? 'somebody else');
