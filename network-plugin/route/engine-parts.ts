import type { Context } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import type { GatewayRoute } from '../../shared/option-kinds.ts';
import type { StateStore } from '../../shared/state/store.ts';
import { Unattended } from '../../shared/unattended.ts';
import type { NetworkState } from '../state.ts';
import { Addresses } from './addresses.ts';
import { Blackholes } from './blackholes.ts';
import { Claims } from './claims.ts';
import { Fates } from './fates.ts';
import { FreeClaims } from './free-claims.ts';
import { checkPeers, Gateways, poolAround } from './gateways.ts';
import type { RouteKernel } from './kernel.ts';
import { Ledger } from './ledger.ts';
import { HostNeeds } from './needs.ts';
import { Obstacles } from './obstacles.ts';
import type { RouteProvider } from './provider.ts';
import { ProviderLink } from './provider-link.ts';
import { Quotas } from './quotas.ts';
import { Rounds } from './rounds.ts';
import { RouteView } from './route-view.ts';

export interface EngineDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly kernel: RouteKernel;
  readonly log: Logger;
  /** Refuse, or only report, every effect. */
  readonly dryRun?: boolean;
  /** The pools of the settings. */
  readonly home?: readonly string[];
  /** Prefixes that live elsewhere, and what leads there (PEERS). */
  readonly peers?: readonly GatewayRoute[];
  /** Where those routes belong: into the provider's tables, or into this host's kernel. */
  readonly peersIn?: 'kernel' | 'tables';
  /** CIDRs that no host may claim a prefix in: the roaming ranges of this host's networks. Asked at each claim. */
  readonly reserved?: () => readonly string[];
  /** How many free places a host chooses among where hosts do not hear of each other's claims. */
  readonly choice?: number;
  readonly now?: () => number;
  /** For tests: a number in [0, 1). */
  readonly random?: () => number;
}

/** What the parts ask of the engine. */
export interface EngineHooks {
  /** The provider has just come to work. */
  readonly begin: (c: Context) => Promise<void>;
  /** Reads the whole view, unless it was read within `maxAgeMs`. */
  readonly freshen: (c: Context, maxAgeMs?: number) => Promise<void>;
  /** Every pool that is known. */
  readonly pools: () => readonly string[];
  /** The engine is closed. */
  readonly end: AbortSignal;
}

export interface EngineParts {
  readonly view: RouteView;
  readonly fates: Fates;
  readonly ledger: Ledger;
  readonly quotas: Quotas;
  readonly claims: Claims;
  readonly free: FreeClaims;
  readonly addresses: Addresses;
  readonly blackholes: Blackholes;
  readonly link: ProviderLink;
  readonly needs: HostNeeds;
  readonly unattended: Unattended;
  readonly rounds: Rounds;
}

/** With hundreds of hosts that start at once a claim gets its turn minutes later, where a VPC takes one write at a time. */
const WORK_MS = 15 * 60_000;

/** Puts the engine together. Errors: SETTING_INVALID for PEERS. */
export const assembleEngine = (deps: EngineDeps, { begin, freshen, pools, end }: EngineHooks): EngineParts => {
  const { provider, store, kernel, log, dryRun = false, peers = [], peersIn = 'kernel', now = Date.now } = deps;
  const { reserved = () => [] } = deps;
  checkPeers(peers, peersIn);
  const chance = deps.random === undefined ? {} : { random: deps.random };
  const choice = deps.choice === undefined ? {} : { choice: deps.choice };
  const view = new RouteView();
  const fates = new Fates(provider, now);
  const ledger = new Ledger({ provider, view, fates, log, now });
  const quotas = new Quotas(provider, view, log);
  const obstacles = new Obstacles({ provider, kernel, view, peers, reserved });
  const needs = new HostNeeds({ provider, log, dryRun, now });
  const start = async (c: Context): Promise<void> => {
    await provider.start(c);
    await needs.prepare(c);
    await begin(c);
  };
  const link = new ProviderLink({ provider, log, now, end, start });
  const ready = (c: Context): Promise<void> => link.ready(c);
  const claims = new Claims({
    ...{ provider, store, view, ledger, fates, obstacles, quotas, dryRun, now, ready, freshen },
    reachable: () => link.reachable,
    leave: () => rounds.nudge(),
  });
  const blackholes = new Blackholes({ provider, view, claims, ledger, fates, pools, now, ...chance });
  const poolOf = (prefix: string): string => poolAround(prefix, pools());
  const inTables = peersIn === 'tables';
  const rounds: Rounds = new Rounds({
    ...{ provider, kernel, view, claims, ledger, blackholes, link, log, dryRun, end },
    gateways: inTables ? new Gateways({ provider, store, view, ledger, peers, poolOf, now }) : undefined,
    ways: inTables ? [] : peers.map(({ prefix, via }) => ({ prefix: prefix.text, via })),
  });
  return {
    ...{ view, fates, ledger, quotas, claims, blackholes, link, needs, rounds },
    free: new FreeClaims({ provider, view, claims, fates, obstacles, ready, freshen, ...chance, ...choice }),
    addresses: new Addresses({ claims, view, fates, ready, freshen }),
    unattended: new Unattended(log, end, WORK_MS),
  };
};
