import { overlaps, parseCidr, width } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { KeyedMutex } from '../../shared/keyed-mutex.ts';
import { type RouteKernel, refuseLocal } from './kernel.ts';
import type { NextHop, RouteProvider, RouteRequest, RouteTable } from './provider.ts';

const TABLE = 'main';

/**
 * Provider `host`: one host whose own kernel is the router. The claim is the `unreachable` route of the prefix, which
 * the data path wants there anyway: the kernel makes it for exactly one asker. Anything of the host that overlaps a
 * prefix is in the way: a Docker bridge, an interface's subnet, a route of others. A single address is only remembered:
 * its route leads to its container, and after a restart the records claim it again.
 */
export class HostProvider implements RouteProvider {
  readonly name = 'host';
  readonly installsKernelRoutes = false;
  readonly allowsNarrower = false;
  readonly #kernel: RouteKernel;
  readonly #self: NextHop;
  readonly #locks = new KeyedMutex();
  readonly #addresses = new Set<string>();

  constructor(options: { readonly kernel: RouteKernel; readonly self: NextHop }) {
    this.#kernel = options.kernel;
    this.#self = options.self;
  }

  async start(c: Context): Promise<void> {
    await this.#kernel.held(c);
  }

  async self(): Promise<NextHop> {
    return this.#self;
  }

  async tables(): Promise<readonly string[]> {
    return [TABLE];
  }

  async read(c: Context): Promise<readonly RouteTable[]> {
    const held = [...(await this.#kernel.held(c)), ...this.#addresses];
    return [
      { id: TABLE, routes: held.map((prefix) => ({ prefix, nextHop: this.#self, state: 'active', ours: true })) },
    ];
  }

  create(table: string, { prefix }: RouteRequest, c: Context): Promise<void> {
    // Different prefixes that overlap are two routes to the kernel: one look and one claim at a time.
    return this.#locks.run(table, () => this.#claim(prefix, c), c);
  }

  async replace(_table: string, { prefix }: RouteRequest, expected: NextHop, c: Context): Promise<void> {
    const held = this.#addresses.has(prefix) || (await this.#kernel.held(c)).includes(prefix);
    if (expected.host === this.#self.host && held) return;
    throw new PluginError('ROUTE_CONFLICT', { prefix, table: 'this host', target: 'nothing of ours' });
  }

  remove(table: string, { prefix }: Pick<RouteRequest, 'prefix'>, c: Context): Promise<void> {
    return this.#locks.run(
      table,
      async () => {
        if (!this.#addresses.delete(prefix)) await this.#kernel.unhold(prefix, c);
      },
      c,
    );
  }

  local(): readonly string[] {
    return [];
  }

  async close(): Promise<void> {
    return undefined;
  }

  async #claim(prefix: string, c: Context): Promise<void> {
    const asked = parseCidr(prefix);
    const held = [...(await this.#kernel.held(c)), ...this.#addresses];
    if (held.includes(prefix)) return;
    const other = held.find((one) => overlaps(asked, parseCidr(one)));
    if (other !== undefined) throw new PluginError('PREFIX_OVERLAP', { prefix, other, owner: 'this host' });
    refuseLocal(prefix, await this.#kernel.uses(c), false);
    if (asked.length === width(asked.family)) {
      this.#addresses.add(prefix);
      return;
    }
    if (await this.#kernel.hold(prefix, c)) return;
    // Somebody was quicker, after our look.
    if ((await this.#kernel.held(c)).includes(prefix)) return;
    refuseLocal(prefix, await this.#kernel.uses(c), false);
    throw new PluginError('ROUTE_CONFLICT', { prefix, table: 'this host', target: 'a route that came and went' });
  }
}
