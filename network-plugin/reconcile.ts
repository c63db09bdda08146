import { hostCidr, parseAddress } from '../shared/cidr.ts';
import { type Context, newContext } from '../shared/context.ts';
import { asPluginError } from '../shared/errors.ts';
import { KeyedMutex } from '../shared/keyed-mutex.ts';
import type { Logger } from '../shared/log.ts';
import type { StateStore } from '../shared/state/store.ts';
import type { DataPath, Drift } from './datapath/datapath.ts';
import type { Driver } from './driver.ts';
import type { Ipam } from './ipam.ts';
import { checkedEndpoints, pathNetwork } from './network.ts';
import { type AddressOwners, lostAddresses, NOBODY } from './roaming.ts';
import type { EndpointRecord, NetworkState } from './state.ts';
import { isVacant } from './strangers.ts';

/** What reconcile needs of the route engine. */
export interface RouteRepair extends AddressOwners {
  /** `routine`: nobody asked for it; what costs calls of its own is not looked at each time. */
  reconcile(repair: boolean, c: Context, routine?: boolean): Promise<readonly Drift[]>;
  /** The same from what is known, without a question to the provider. */
  settle(repair: boolean, c: Context): Promise<readonly Drift[]>;
  release(prefix: string, c: Context): Promise<void>;
  /** Work on a claim of exactly this prefix goes on, and may be joined by a repeated call. */
  isClaiming(prefix: string): boolean;
}

/** What reconcile needs of the port reservations. */
export interface PortRepair {
  restore(endpoints: readonly EndpointRecord[], c: Context): Promise<readonly Drift[]>;
}

export interface ReconcilerDeps {
  readonly store: StateStore<NetworkState>;
  readonly driver: Driver;
  readonly ipam: Ipam;
  readonly routes: RouteRepair;
  readonly path: DataPath;
  readonly ports: PortRepair;
  readonly log: Logger;
  readonly dryRun: boolean;
  /** Told of each pass that came to its end. */
  readonly onPass?: (drift: readonly Drift[]) => void;
  readonly now?: () => number;
  readonly windows?: Windows;
}

/** How long what looks abandoned is left alone, in milliseconds; read at each pass. */
export interface Windows {
  /** The engine repeats a call for about 30 s after a lost connection: what is younger may still be finished by it. */
  readonly retryMs: number;
  /** What nothing has used for so long was left by a call that never came to its end. */
  readonly orphanMs: number;
}

export const WINDOWS: Windows = { retryMs: 60_000, orphanMs: 5 * 60_000 };
const PASS_DEADLINE_MS = 60_000;

/** What a pass is for. At the `start` no call of the engine can be in flight; one that was `asked` for looks at everything. */
export type Occasion = 'start' | 'routine' | 'asked';

type Step = readonly [what: string, work: () => Promise<readonly Drift[]>];

/**
 * Holds the kernel, the route provider and the records against each other: after a crash it finishes or undoes what
 * was begun, later it repairs drift. It touches only what is ours, and writes nothing when all is well.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #now: () => number;
  readonly #windows: Windows;
  readonly #turn = new KeyedMutex();
  /** Passes that have not begun yet, by what they will do. */
  readonly #waiting = new Map<string, Promise<readonly Drift[]>>();
  #timer: NodeJS.Timeout | undefined;
  #suspects = new Set<string>();

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
    this.#windows = deps.windows ?? WINDOWS;
  }

  /** Runs about every `intervalMs`, jittered by a quarter so that hosts started together drift apart. */
  start(intervalMs: number): void {
    const next = (): void => {
      const delay = intervalMs * (0.75 + Math.random() / 2);
      this.#timer = setTimeout(() => {
        const c = newContext(this.#deps.log, PASS_DEADLINE_MS);
        this.run(!this.#deps.dryRun, c, 'routine')
          .catch((error: unknown) => this.#deps.log.error('reconcile failed', { error: asPluginError(error) }))
          .finally(next);
      }, delay);
      this.#timer.unref();
    };
    next();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /**
   * One whole pass, begun after the call: one that is under way may have missed what the caller knows of. Those who wait
   * for the same share it.
   */
  run(repair: boolean, c: Context, occasion: Occasion = 'asked'): Promise<readonly Drift[]> {
    const atStart = occasion === 'start';
    const { store, routes, path, ports, driver } = this.#deps;
    return this.#pass(`whole, ${repair ? 'repairing' : 'looking'}, ${occasion}`, atStart, c, [
      ['networks', () => this.#networks(repair, atStart, c)],
      ['endpoints', () => this.#endpoints(repair, atStart, c)],
      ['pools', () => this.#pools(repair, c)],
      ['routes', () => routes.reconcile(repair, c, occasion !== 'asked')],
      ['roaming addresses', () => this.#lost(repair, c)],
      ['data path', () => path.check(this.#readyNetworks(), checkedEndpoints(store, routes), repair, c)],
      ['firewall', () => driver.checkFirewall(repair, c)],
      ['ports', async () => (repair ? ports.restore([...store.all('endpoints').values()], c) : [])],
    ]);
  }

  /**
   * A pass over the kernel alone, for when something of ours was touched there. It judges no record (the engine may be
   * between two calls of its own) and asks the provider nothing.
   */
  touchUp(): Promise<readonly Drift[]> {
    const { store, routes, path, driver, log, dryRun } = this.#deps;
    const c = newContext(log, PASS_DEADLINE_MS);
    return this.#pass('kernel', false, c, [
      ['routes', () => routes.settle(!dryRun, c)],
      ['data path', () => path.check(this.#readyNetworks(), checkedEndpoints(store, routes), !dryRun, c)],
      ['firewall', () => driver.checkFirewall(!dryRun, c)],
    ]);
  }

  #pass(kind: string, atStart: boolean, c: Context, steps: readonly Step[]): Promise<readonly Drift[]> {
    const waiting = this.#waiting.get(kind);
    if (waiting !== undefined) return waiting;
    const pass = this.#turn
      .run(
        'pass',
        () => {
          this.#waiting.delete(kind);
          return this.#walk(steps, atStart);
        },
        c,
      )
      .finally(() => {
        if (this.#waiting.get(kind) === pass) this.#waiting.delete(kind);
      });
    this.#waiting.set(kind, pass);
    return pass;
  }

  async #walk(steps: readonly Step[], atStart: boolean): Promise<readonly Drift[]> {
    const { log, onPass } = this.#deps;
    const drift: Drift[] = [];
    for (const [what, step] of steps) {
      try {
        drift.push(...(await step()));
      } catch (error) {
        // One part in trouble (a provider that is down) must not keep the others from being repaired.
        const reason = asPluginError(error);
        log.error(`reconcile could not finish the ${what}`, { error: reason });
        drift.push({ what: `${what}: ${reason.message}`, repaired: false });
      }
    }
    // At start it is mostly a reboot or an upgrade, which is no news.
    for (const { what, repaired } of drift) log[atStart ? 'info' : 'warn']('drift', { what, repaired });
    onPass?.(drift);
    return drift;
  }

  #readyNetworks() {
    return [...this.#deps.store.all('networks').values()].filter(({ phase }) => phase !== 'deleting').map(pathNetwork);
  }

  async #networks(repair: boolean, atStart: boolean, c: Context): Promise<Drift[]> {
    const { store, driver } = this.#deps;
    const drift: Drift[] = [];
    for (const network of [...store.all('networks').values()]) {
      const abandoned =
        network.phase === 'creating' && (atStart || this.#now() - network.since > this.#windows.retryMs);
      if (network.phase === 'ready' || (network.phase === 'creating' && !abandoned)) continue;
      if (repair) await driver.deleteNetwork(network.id, c);
      drift.push({ what: `network ${network.id.slice(0, 12)} was left ${network.phase}`, repaired: repair });
    }
    return drift;
  }

  async #endpoints(repair: boolean, atStart: boolean, c: Context): Promise<Drift[]> {
    const { store, driver, path } = this.#deps;
    const drift: Drift[] = [];
    const suspects = new Set<string>();
    for (const endpoint of [...store.all('endpoints').values()]) {
      const orphaned = store.get('networks', endpoint.network) === undefined;
      const place = await path.present(endpoint.id);
      if (!orphaned && place === 'sandbox') {
        if (endpoint.phase === 'joining' && repair) await driver.endpoints.settle(endpoint.id, c);
        continue;
      }
      const young = this.#now() - endpoint.since < this.#windows.retryMs;
      // A link that is gone was lost with the container or the host; one on the host may be about to be moved.
      const lost = atStart && endpoint.phase === 'joined' && place === 'absent';
      if (!orphaned && young && !lost) continue;
      // Seen twice, a pass apart: the engine may be between two calls of its own.
      if (!atStart && !this.#suspects.has(endpoint.id)) {
        suspects.add(endpoint.id);
        continue;
      }
      if (repair) await driver.endpoints.collect(endpoint.id, c);
      drift.push({ what: `endpoint ${endpoint.id.slice(0, 12)} has no container any more`, repaired: repair });
    }
    this.#suspects = suspects;
    return drift;
  }

  /** Pools, addresses and claims that no network uses. */
  async #pools(repair: boolean, c: Context): Promise<Drift[]> {
    const { store, driver, ipam, routes, path } = this.#deps;
    const drift: Drift[] = [];
    const old = (since: number): boolean => this.#now() - since > this.#windows.orphanMs;
    const held = [...store.all('addresses').values()].filter(({ phase }) => phase !== 'released');
    const inUse = new Set(held.map((address) => address.pool));
    for (const pool of [...store.all('pools').values()]) {
      const network = pool.network === undefined ? undefined : store.get('networks', pool.network);
      if (network === undefined && old(pool.since) && (pool.released === true || !inUse.has(pool.id))) {
        if (repair) await ipam.dropPool(pool.id, c);
        drift.push({ what: `no network uses the pool ${pool.id}`, repaired: repair });
      } else if (network !== undefined && pool.released === true && old(network.since)) {
        if (repair) await driver.deleteNetwork(network.id, c);
        drift.push({ what: `Docker released the pool of network ${network.id.slice(0, 12)}`, repaired: repair });
      }
    }
    drift.push(...(await this.#addresses(repair, old, c)));
    const claimed = new Set([...store.all('pools').values()].map((pool) => pool.prefix));
    for (const network of store.all('networks').values()) for (const prefix of network.prefixes) claimed.add(prefix);
    for (const { address, roaming } of store.all('addresses').values())
      if (roaming === true) claimed.add(hostCidr(parseAddress(address)).text);
    const adopted = [...store.all('claims').values()].some((claim) => claim.adopted);
    const strangers = adopted ? await path.strangers(new Set(store.all('endpoints').keys())) : [];
    for (const claim of [...store.all('claims').values()]) {
      const due = claim.adopted ? isVacant(claim, strangers) : old(Date.parse(claim.since));
      if (claimed.has(claim.prefix) || !due || routes.isClaiming(claim.prefix)) continue;
      if (repair) await routes.release(claim.prefix, c);
      drift.push({ what: `nothing uses the prefix ${claim.prefix}`, repaired: repair });
    }
    return drift;
  }

  /** Addresses that another host has taken: they are claimed again when they are to be had, and said until then. */
  async #lost(repair: boolean, c: Context): Promise<Drift[]> {
    const { store, ipam, routes } = this.#deps;
    const drift: Drift[] = [];
    for (const [address, owner] of lostAddresses(store, routes)) {
      const free = owner === NOBODY && repair;
      if (free) await ipam.regainAddress(address, c);
      const what = free ? 'was lost, and is held again' : `leads to ${owner}: its container here is not reached`;
      drift.push({ what: `${address} ${what}`, repaired: free });
    }
    return drift;
  }

  /** Addresses whose release Docker could not tell, because the plugin was disabled. */
  async #addresses(repair: boolean, old: (since: number) => boolean, c: Context): Promise<Drift[]> {
    const { store, ipam, routes } = this.#deps;
    const held = new Set([...store.all('endpoints').values()].flatMap(({ address, address6 }) => [address, address6]));
    const drift: Drift[] = [];
    for (const record of [...store.all('addresses').values()]) {
      const { pool, address, phase, purpose, at, roaming = false } = record;
      const network = store.get('pools', pool)?.network;
      if (phase === 'released' || purpose !== 'endpoint' || network === undefined || held.has(address)) continue;
      // A call that is repeated joins the claim: given back, the address would be gone from under it.
      if (roaming && routes.isClaiming(hostCidr(parseAddress(address)).text)) continue;
      // As long as a roaming one is held here, no other host can have it.
      if (!(roaming ? this.#now() - at > this.#windows.retryMs : old(at))) continue;
      if (repair) await ipam.releaseAddress(pool, address, c, record);
      drift.push({ what: `no container has the address ${address} any more`, repaired: repair });
    }
    return drift;
  }
}
