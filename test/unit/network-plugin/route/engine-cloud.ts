import { type EngineDeps, RouteEngine } from '../../../../network-plugin/route/engine.ts';
import type {
  Fate,
  NextHop,
  Route,
  RouteProvider,
  RouteRequest,
  RouteTable,
} from '../../../../network-plugin/route/provider.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { contains, overlaps, parseCidr } from '../../../../shared/cidr.ts';
import type { Context } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { context } from '../../../conformance/route-provider.ts';
import { FakeKernel } from './engine-fakes.ts';
import { until } from './etcd-world.ts';

/** The target of a route: `i-` is an instance, anything else a gateway. */
type Targets = Map<string, string>;

/**
 * A cloud in memory: several route tables that all hosts see, and no news of changes. Every call takes a few turns of
 * the event loop, so that calls of several hosts come in any order; each write is then decided at once.
 */
export class FakeCloud {
  readonly tables = new Map<string, Targets>([
    ['rtb-1', new Map()],
    ['rtb-2', new Map()],
    ['rtb-3', new Map()],
  ]);
  /** What became of instances that are not alive. */
  readonly fates = new Map<string, Fate>();
  /** Most routes of a table. */
  limit: number | undefined;
  /** Tables that every host claims in although they are not there. */
  readonly stubborn: string[] = [];
  /** Writes that changed something, in order. */
  readonly effects: string[] = [];
  #frozen: Map<string, Targets> | undefined;

  /** Readings show what is now, until `thaw`. */
  freeze(): void {
    this.#frozen = new Map([...this.tables].map(([id, routes]) => [id, new Map(routes)]));
  }

  thaw(): void {
    this.#frozen = undefined;
  }

  get shown(): ReadonlyMap<string, Targets> {
    return this.#frozen ?? this.tables;
  }

  /** `prefix → target` of a table, sorted. */
  of(table: string): string[] {
    return [...(this.tables.get(table) ?? [])].map(([prefix, target]) => `${prefix} ${target}`).sort();
  }

  set(prefix: string, target: string, tables: readonly string[] = [...this.tables.keys()]): this {
    for (const table of tables) this.tables.get(table)?.set(prefix, target);
    return this;
  }
}

const isHost = (target: string): boolean => target.startsWith('i-');

/** The cloud as one host uses it. */
export class CloudProvider implements RouteProvider {
  readonly name = 'cloud';
  readonly installsKernelRoutes = false;
  allowsNarrower = true;
  readonly cloud: FakeCloud;
  readonly target: string;
  /** Every call, with the tables of writes. */
  readonly calls: string[] = [];
  /** Writes that are under way. */
  active = 0;
  /** Most writes that were under way at once. */
  busiest = 0;
  /** Called before a write is decided; one that never ends is a cloud that hangs. */
  before: ((call: string) => void | Promise<void>) | undefined;
  /** Called after a write was decided; what it throws is an answer that got lost. */
  after: ((call: string) => void | Promise<void>) | undefined;
  localPrefixes: string[] = [];

  constructor(cloud: FakeCloud, target: string) {
    this.cloud = cloud;
    this.target = target;
  }

  get writes(): string[] {
    return this.calls.filter((call) => call !== 'read' && call !== 'start' && !call.startsWith('fate'));
  }

  get reads(): number {
    return this.calls.filter((call) => call === 'read').length;
  }

  async start(_c: Context): Promise<void> {
    this.calls.push('start');
  }

  async self(): Promise<NextHop> {
    return { host: this.target, target: this.target };
  }

  async tables(): Promise<readonly string[]> {
    return [...this.cloud.tables.keys(), ...this.cloud.stubborn];
  }

  async read(): Promise<readonly RouteTable[]> {
    this.calls.push('read');
    await turns();
    return [...this.cloud.shown].map(([id, routes]) => ({
      id,
      routes: [...routes].map(([prefix, target]) => this.#route(prefix, target)),
      ...(this.cloud.limit !== undefined && { limit: this.cloud.limit, used: routes.size }),
    }));
  }

  async create(table: string, { prefix, via }: RouteRequest): Promise<void> {
    await this.#write(`create ${prefix} in ${table}`, () => {
      const routes = this.#table(table);
      const wanted = via ?? this.target;
      if (routes.get(prefix) === wanted) return false;
      for (const [other, target] of routes) {
        const wider = contains(parseCidr(other), parseCidr(prefix)) && other !== prefix;
        if (!overlaps(parseCidr(other), parseCidr(prefix)) || (wider && !isHost(target)) || other === '0.0.0.0/0')
          continue;
        if (!isHost(target)) throw new PluginError('ROUTE_CONFLICT', { prefix, table, target });
        throw new PluginError('PREFIX_OWNED', { prefix, owner: target, other: other === prefix ? undefined : other });
      }
      if (this.cloud.limit !== undefined && routes.size >= this.cloud.limit) {
        throw new PluginError('QUOTA_EXCEEDED', { table, used: routes.size, limit: this.cloud.limit });
      }
      routes.set(prefix, wanted);
      return true;
    });
  }

  async replace(table: string, { prefix, via }: RouteRequest, expected: NextHop): Promise<void> {
    await this.#write(`replace ${prefix} in ${table}`, () => {
      const routes = this.#table(table);
      const target = routes.get(prefix);
      if (target !== expected.target) {
        throw new PluginError('ROUTE_CONFLICT', { prefix, table, target: target ?? 'nothing' });
      }
      routes.set(prefix, via ?? this.target);
      return true;
    });
  }

  async remove(table: string, { prefix, via }: Pick<RouteRequest, 'prefix' | 'via'>): Promise<void> {
    await this.#write(`remove ${prefix} in ${table}`, () => {
      const routes = this.#table(table);
      return routes.get(prefix) === (via ?? this.target) && routes.delete(prefix);
    });
  }

  async fate({ target }: NextHop): Promise<Fate> {
    this.calls.push(`fate ${target}`);
    await turns();
    return this.cloud.fates.get(target ?? '') ?? 'alive';
  }

  local(): readonly string[] {
    return this.localPrefixes;
  }

  async close(): Promise<void> {
    return undefined;
  }

  #route(prefix: string, target: string): Route {
    const nextHop = { host: target, target };
    const fate = this.cloud.fates.get(target) ?? 'alive';
    const state = fate === 'alive' ? 'active' : 'blackhole';
    return { prefix, nextHop, state, ours: target === this.target, ...(!isHost(target) && { gateway: true as const }) };
  }

  #table(table: string): Targets {
    const found = this.cloud.tables.get(table);
    if (found === undefined) throw new PluginError('ROUTE_TABLE_MISSING', { table });
    return found;
  }

  async #write(call: string, decide: () => boolean): Promise<void> {
    this.calls.push(call);
    this.active += 1;
    this.busiest = Math.max(this.busiest, this.active);
    try {
      await turns();
      await this.before?.(call);
      if (decide()) this.cloud.effects.push(`${this.target}: ${call}`);
      await this.after?.(call);
      await turns();
    } finally {
      this.active -= 1;
    }
  }
}

let seed = 20_261_122;

/** The same numbers in [0, 1) in each run. */
export const dice = (): number => {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
};

/** A few turns of the event loop. */
const turns = async (): Promise<void> => {
  for (let n = Math.floor(dice() * 4); n >= 0; n -= 1) await new Promise((resolve) => setImmediate(resolve));
};

export interface CloudWorld {
  readonly cloud: FakeCloud;
  readonly provider: CloudProvider;
  readonly store: MemoryStore<NetworkState>;
  readonly kernel: FakeKernel;
  readonly engine: RouteEngine;
  /** Epoch milliseconds on the engine's clock. */
  readonly clock: { now: number };
}

type Ending = { teardown(work: () => unknown): void };

/** An engine of the host `target` that is at work and has settled. */
export const cloudWorld = async (
  t: Ending,
  options: Partial<EngineDeps> & { cloud?: FakeCloud; target?: string; store?: MemoryStore<NetworkState> } = {},
): Promise<CloudWorld> => {
  const { cloud = new FakeCloud(), target = 'i-me', store = new MemoryStore<NetworkState>(), ...deps } = options;
  const provider = new CloudProvider(cloud, target);
  const kernel = new FakeKernel();
  const clock = { now: 1_800_000_000_000 };
  const engine = new RouteEngine({
    ...{ provider, store, kernel, log: silentLogger, home: ['10.64.0.0/12'], peersIn: 'tables', now: () => clock.now },
    ...{ random: dice, choice: 1 },
    ...deps,
  });
  t.teardown(() => engine.close(context()));
  // The first round of repairs comes by itself.
  let rounds = 0;
  const stop = engine.onChange(() => {
    rounds += 1;
  });
  await engine.start(context());
  await until('the provider is at work', () => engine.status().reachable && rounds > 0);
  stop();
  await engine.settle(true, context());
  return { cloud, provider, store, kernel, engine, clock };
};

/** Resolves with the error that a promise rejects with. */
export const errorOf = async (promise: Promise<unknown>): Promise<PluginError> => {
  try {
    await promise;
  } catch (error) {
    if (error instanceof PluginError) return error;
    throw error;
  }
  throw new Error('it succeeded');
};
