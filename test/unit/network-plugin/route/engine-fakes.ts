import { type EngineDeps, RouteEngine } from '../../../../network-plugin/route/engine.ts';
import type { LocalUse, PeerRoute, RouteKernel } from '../../../../network-plugin/route/kernel.ts';
import type {
  NextHop,
  Route,
  RouteEvent,
  RouteProvider,
  RouteRequest,
  RouteTable,
} from '../../../../network-plugin/route/provider.ts';
import type { NetworkState } from '../../../../network-plugin/state.ts';
import { overlaps, parseCidr } from '../../../../shared/cidr.ts';
import type { Context } from '../../../../shared/context.ts';
import { PluginError } from '../../../../shared/errors.ts';
import { type Logger, silentLogger } from '../../../../shared/log.ts';
import { MemoryStore } from '../../../../shared/state/store.ts';
import { context } from '../../../conformance/route-provider.ts';
import { until } from './etcd-world.ts';

/** A router in memory, seen by one host, which tells its changes; tests play the other hosts. */
export class FakeProvider implements RouteProvider {
  readonly name = 'fake';
  installsKernelRoutes = true;
  allowsNarrower = true;
  readonly routes = new Map<string, Route>();
  readonly calls: string[] = [];
  localPrefixes: string[] = [];
  /** Not to be reached: calls fail. */
  down = false;
  /** Called before a claim is decided. */
  beforeCreate: ((prefix: string) => void | Promise<void>) | undefined;
  /** Called after a claim was made: what is thrown is an answer that got lost. */
  afterCreate: (() => void) | undefined;
  #listener: ((event: RouteEvent) => void) | undefined;

  async start(_c: Context): Promise<void> {
    this.#check('start');
    this.#listener?.({ kind: 'sync', routes: [...this.routes.values()] });
    this.#listener?.({ kind: 'reachable' });
  }

  async self(): Promise<NextHop> {
    return { host: 'me', address: '192.0.2.1' };
  }

  async tables(): Promise<readonly string[]> {
    return ['main'];
  }

  async read(): Promise<readonly RouteTable[]> {
    this.#check('list');
    return [{ id: 'main', routes: [...this.routes.values()] }];
  }

  async create(_table: string, { prefix, pool }: RouteRequest): Promise<void> {
    this.#check(`create ${prefix}`);
    await this.beforeCreate?.(prefix);
    const other = [...this.routes.values()].find((route) => overlaps(parseCidr(route.prefix), parseCidr(prefix)));
    if (other?.ours === false) throw new PluginError('PREFIX_OWNED', { prefix, owner: other.nextHop.host });
    const route: Route = { prefix, pool, nextHop: await this.self(), state: 'active', ours: true };
    this.routes.set(prefix, route);
    this.afterCreate?.();
    this.#listener?.({ kind: 'put', route });
  }

  async replace(): Promise<void> {
    throw new Error('not used by the engine');
  }

  async remove(_table: string, { prefix }: Pick<RouteRequest, 'prefix'>): Promise<void> {
    this.#check(`remove ${prefix}`);
    if (this.routes.get(prefix)?.ours !== true) return;
    this.routes.delete(prefix);
    this.#listener?.({ kind: 'remove', prefix });
  }

  local(): readonly string[] {
    return this.localPrefixes;
  }

  watch(listener: (event: RouteEvent) => void): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
    };
  }

  async close(): Promise<void> {
    this.calls.push('close');
  }

  /** Another host claims, or changes its next hop. */
  other(host: string, prefix: string, hop: { address?: string; address6?: string } = { address: '192.0.2.9' }): void {
    const route: Route = { prefix, pool: prefix, nextHop: { host, ...hop }, state: 'active', ours: false };
    this.routes.set(prefix, route);
    this.#listener?.({ kind: 'put', route });
  }

  /** A route vanishes: released, or its host's lease has ended. */
  vanish(prefix: string): void {
    this.routes.delete(prefix);
    this.#listener?.({ kind: 'remove', prefix });
  }

  fail(): void {
    this.down = true;
    this.#listener?.({ kind: 'unreachable', why: 'pulled the plug' });
  }

  recover(): void {
    this.down = false;
    this.#listener?.({ kind: 'sync', routes: [...this.routes.values()] });
    this.#listener?.({ kind: 'reachable' });
  }

  #check(call: string): void {
    this.calls.push(call);
    if (this.down) throw new PluginError('PROVIDER_UNREACHABLE', { provider: this.name });
  }
}

/** Routes in memory; `writes` are all changes in order. */
export class FakeKernel implements RouteKernel {
  readonly peerRoutes = new Map<string, string>();
  readonly writes: string[] = [];
  localUses: LocalUse[] = [];

  async peers(): Promise<readonly PeerRoute[]> {
    return [...this.peerRoutes].map(([prefix, via]) => ({ prefix, via }));
  }

  async putPeer({ prefix, via }: PeerRoute): Promise<void> {
    this.writes.push(`put ${prefix} via ${via}`);
    this.peerRoutes.set(prefix, via);
  }

  async removePeer({ prefix, via }: PeerRoute): Promise<void> {
    this.writes.push(`remove ${prefix} via ${via}`);
    this.peerRoutes.delete(prefix);
  }

  async held(): Promise<readonly string[]> {
    return [];
  }

  async hold(): Promise<boolean> {
    throw new Error('not used by the engine');
  }

  async unhold(): Promise<void> {
    throw new Error('not used by the engine');
  }

  async uses(): Promise<readonly LocalUse[]> {
    return this.localUses;
  }
}

export interface World {
  readonly provider: FakeProvider;
  readonly kernel: FakeKernel;
  readonly store: MemoryStore<NetworkState>;
  readonly engine: RouteEngine;
}

/** An engine that is not started yet. */
export const makeWorld = (options: Partial<EngineDeps> & { log?: Logger } = {}): World => {
  const [provider, kernel, store] = [new FakeProvider(), new FakeKernel(), new MemoryStore<NetworkState>()];
  const engine = new RouteEngine({ provider, kernel, store, log: silentLogger, ...options });
  return { provider, kernel, store, engine };
};

type Ending = { teardown(work: () => unknown): void };

/** An engine that works, or that has found out that its provider is down; `prepare` comes before its start. */
export const startedWorld = async (
  t: Ending,
  prepare: (world: World) => unknown = () => undefined,
  options: Partial<EngineDeps> = {},
): Promise<World> => {
  const world = makeWorld(options);
  await prepare(world);
  t.teardown(() => world.engine.close(context()));
  await world.engine.start(context());
  await until('the provider is at work', () => world.engine.status().reachable || world.provider.down);
  return world;
};
