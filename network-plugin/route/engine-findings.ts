import type { Blackholes } from './blackholes.ts';
import type { Lost } from './claims.ts';
import type { Fates } from './fates.ts';
import type { Finding } from './provider.ts';
import type { TableFill } from './quotas.ts';

/** What the engine knows of itself. */
export interface EngineState {
  readonly provider: string;
  readonly reachable: boolean;
  readonly why: string | undefined;
  readonly lost: readonly Lost[];
  readonly tables: readonly TableFill[];
  /** Tables that the provider names and that are not there. */
  readonly missing: readonly string[];
  readonly blackholes: Blackholes['all'];
  readonly fates: Pick<Fates, 'known'>;
}

/** What an operator should know of it, for `drayage doctor`. No I/O. */
export const engineFindings = (state: EngineState): readonly Finding[] => [
  reachability(state),
  ...state.lost.map(lostPrefix),
  ...state.missing.map(missingTable),
  ...state.tables.map(quota),
  ...blackholes(state),
];

const reachability = ({ provider, reachable, why }: EngineState): Finding => {
  const check = 'route provider';
  if (reachable) return { check, state: 'good', found: `The route provider ${provider} answers.` };
  const found = `The route provider ${provider} is not at work${why === undefined ? '' : `: ${why}`}`;
  const remedy = 'Check that it runs and that this host can reach it; running containers are not touched meanwhile.';
  return { check, state: 'bad', found: found.endsWith('.') ? found : `${found}.`, remedy };
};

const lostPrefix = ({ prefix, owner, other }: Lost): Finding => ({
  check: 'lost prefix',
  state: 'bad',
  found: `${prefix} of this host is held by ${owner}${other === prefix ? '' : `, which has ${other}`}.`,
  remedy: `Remove the network on ${owner}, or remove the one on this host and create it again with another prefix.`,
});

const missingTable = (table: string): Finding => ({
  check: 'route table',
  state: 'bad',
  found: `The route table ${table} is not there any more.`,
  remedy: 'Correct ROUTE_TABLES with docker plugin set, or leave it empty to have the tables found.',
});

/** What providers that look at the quota themselves call that look, too. */
export const QUOTA_CHECK = 'route quota';

const quota = ({ table, used, limit }: TableFill): Finding => {
  const found = `The route table ${table} has ${used} of at most ${limit} routes.`;
  if (used < limit * 0.8) return { check: QUOTA_CHECK, state: 'good', found };
  const remedy = 'Have the quota raised, use larger prefixes (POOL, PREFIX), or remove routes that nothing needs.';
  return { check: QUOTA_CHECK, state: used >= limit ? 'bad' : 'warning', found, remedy };
};

const blackholes = ({ blackholes: all, fates }: EngineState): readonly Finding[] => {
  if (all.length === 0) return [];
  const gone = all.filter(({ route }) => fates.known(route.nextHop) === 'gone');
  const names = [...new Set(all.map(({ route }) => `${route.prefix} of ${route.nextHop.host}`))];
  const shown = names.slice(0, 5).join(', ');
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  return [
    {
      check: 'blackholes',
      state: 'warning',
      found: `Routes lead to hosts that are not there: ${shown}${more}.`,
      remedy:
        gone.length === all.length
          ? 'Nothing to do: they are removed within a quarter of an hour.'
          : 'Start these hosts again, or terminate them for good: their routes are then removed.',
    },
  ];
};
