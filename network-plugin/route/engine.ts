import type { Context } from '../../shared/context.ts';
import type { Logger } from '../../shared/log.ts';
import type { StateStore } from '../../shared/state/store.ts';
import type { Drift } from '../datapath/datapath.ts';
import type { NetworkState } from '../state.ts';
import type { RouteKernel } from './kernel.ts';
import type { Route, RouteProvider } from './provider.ts';

/** Whose prefix an address lies in. */
export interface Owner {
  readonly host: string;
  readonly prefix: string;
  readonly ours: boolean;
}

/** A prefix that this host's records say it holds, and another host holds now. */
export interface Lost {
  readonly prefix: string;
  /** The other host, and its prefix. */
  readonly owner: string;
  readonly other: string;
}

export interface RouteStatus {
  readonly provider: string;
  readonly reachable: boolean;
  /** ISO time of the last change of `reachable`. */
  readonly since: string;
  /** Why it is not reachable. */
  readonly why?: string;
  /** When the provider's whole view was last confirmed; absent before the first time. */
  readonly confirmed?: string;
  readonly held: readonly string[];
  readonly lost: readonly Lost[];
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface EngineDeps {
  readonly provider: RouteProvider;
  readonly store: StateStore<NetworkState>;
  readonly kernel: RouteKernel;
  readonly log: Logger;
  /** Refuse and log every effect. */
  readonly dryRun?: boolean;
  readonly now?: () => number;
}

/** Claims, withdraws and repairs this host's prefixes, and knows whose the others are. Used by driver and IPAM. */
export interface RouteEngineContract {
  /** Never waits for a dead provider: returns at once and keeps trying in the background. */
  start(c: Context): Promise<void>;
  /** Exactly this prefix; idempotent. Errors: PREFIX_OWNED, ROUTE_CONFLICT, PREFIX_IS_LOCAL, PROVIDER_UNREACHABLE, DRY_RUN. */
  claim(prefix: string, pool: string, c: Context): Promise<void>;
  /** A free prefix of the pool, first of all `preferred`. Errors: POOL_EXHAUSTED, PROVIDER_UNREACHABLE, DRY_RUN. */
  claimFree(pool: string, length: number, preferred: string | undefined, c: Context): Promise<string>;
  /** Idempotent. When the provider is down the intent is kept, and reconcile finishes it. */
  release(prefix: string, c: Context): Promise<void>;
  /** From the cached view: no I/O. */
  ownerOf(address: string): Owner | undefined;
  routes(): readonly Route[];
  /** Pools that some host has drawn from. */
  pools(): readonly string[];
  /** CIDRs reached without address translation, beside the pools. */
  local(): readonly string[];
  lost(): readonly Lost[];
  reconcile(repair: boolean, c: Context): Promise<Drift[]>;
  status(): RouteStatus;
  /** Calls back after the view of routes has changed; the answer stops it. */
  onChange(listener: () => void): () => void;
  close(c: Context): Promise<void>;
}
