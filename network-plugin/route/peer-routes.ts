import { contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import type { Context } from '../../shared/context.ts';
import { asPluginError } from '../../shared/errors.ts';
import type { Drift } from '../datapath/datapath.ts';
import { inTheWay, type PeerRoute, type RouteKernel } from './kernel.ts';
import type { Route } from './provider.ts';

/** Where this host's kernel is to lead to. */
export interface PeerWays {
  /** The cluster's; this host's own ones are left out. */
  readonly routes: readonly Route[];
  /** Prefixes that live elsewhere, each by the address of a gateway. */
  readonly gateways: readonly PeerRoute[];
  /** Prefixes that this host answers for, by its records; they are never routed away. */
  readonly own: readonly string[];
}

/** Makes this host's kernel lead to its peers' prefixes, and to no others. Writes nothing when all is well. */
export const reconcilePeers = async (
  kernel: RouteKernel,
  ways: PeerWays,
  repair: boolean,
  c: Context,
): Promise<Drift[]> => {
  const drift: Drift[] = [];
  const report = async (what: string, fix: () => Promise<void>): Promise<void> => {
    if (!repair) {
      drift.push({ what, repaired: false });
      return;
    }
    try {
      await fix();
      drift.push({ what, repaired: true });
    } catch (error) {
      drift.push({ what: `${what}: ${asPluginError(error).message}`, repaired: false });
    }
  };
  const { wanted, refused } = await plan(kernel, ways, c);
  drift.push(...refused.map((what) => ({ what, repaired: false })));
  const present = new Set<string>();
  for (const route of await kernel.peers(c)) {
    const want = wanted.get(route.prefix);
    if (want?.via === route.via) present.add(route.prefix);
    // One with another next hop is replaced below, without a gap.
    else if (want === undefined) await report(`stale route ${describe(route)}`, () => kernel.removePeer(route, c));
  }
  for (const route of wanted.values()) {
    if (!present.has(route.prefix)) await report(`missing route ${describe(route)}`, () => kernel.putPeer(route, c));
  }
  return drift;
};

const describe = ({ prefix, via }: PeerRoute): string => `${prefix} via ${via}`;

/** What the kernel should have, and in words what it must not get. */
const plan = async (
  kernel: RouteKernel,
  { routes, gateways, own }: PeerWays,
  c: Context,
): Promise<{ wanted: Map<string, PeerRoute>; refused: string[] }> => {
  const wanted = new Map<string, PeerRoute>();
  const refused: string[] = [];
  const peers = routes.filter((route) => !route.ours && route.gateway !== true);
  const uses = peers.length + gateways.length === 0 ? [] : await kernel.uses(c);
  // A peer knows nothing of this host's other networks: its claim must not lead their packets away.
  const localTo = (prefix: string) => uses.find((use) => inTheWay(prefix, use, true));
  for (const { prefix, nextHop } of peers) {
    const cidr = parseCidr(prefix);
    if (own.some((one) => overlaps(cidr, parseCidr(one)))) continue;
    const via = cidr.family === 4 ? nextHop.address : nextHop.address6;
    const local = localTo(prefix);
    if (via === undefined) refused.push(`${prefix} of host ${nextHop.host} has no next hop of its family`);
    else if (local !== undefined) refused.push(`${prefix} of host ${nextHop.host} overlaps ${local.what}`);
    else wanted.set(prefix, { prefix, via });
  }
  for (const { prefix, via } of gateways) {
    const cidr = parseCidr(prefix);
    const local = localTo(prefix);
    if (wanted.has(prefix)) refused.push(`${prefix} via ${via} of PEERS is the prefix of a host`);
    else if (local !== undefined) refused.push(`${prefix} via ${via} of PEERS overlaps ${local.what}`);
    // The kernel takes the narrowest: a wider way does not lead own packets away.
    else if (!own.some((one) => contains(parseCidr(one), cidr))) wanted.set(prefix, { prefix, via });
  }
  return { wanted, refused };
};
