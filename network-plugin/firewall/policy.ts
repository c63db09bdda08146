import { type Cidr, compareCidrs, contains, overlaps, parseCidr } from '../../shared/cidr.ts';
import { PluginError } from '../../shared/errors.ts';
import type { Ingress, Masquerade, PortRecord } from '../state.ts';

/** What the firewall must know of a network. All CIDRs are text; they are validated before a rule is made of them. */
export interface NetworkPolicy {
  /** Docker's network id; the first twelve characters name its chains. */
  readonly id: string;
  /** This host's prefixes in the network, IPv4 and IPv6. */
  readonly prefixes: readonly string[];
  /** The whole pools: who is in them may always talk to the network. */
  readonly pools: readonly string[];
  /** Further sources that may reach it, and destinations that an internal network may reach. */
  readonly allow: readonly string[];
  readonly ingress: Ingress;
  readonly internal: boolean;
  readonly masquerade: Masquerade;
}

/** A port in the firewall, with who published it. */
export type PublishedPort = PortRecord & { readonly endpoint: string; readonly network: string };

/** An address of a network outside of this host's prefixes, which its container has brought along. */
export interface RoamingAddress {
  readonly address: string;
  readonly network: Pick<NetworkPolicy, 'id' | 'internal' | 'masquerade'>;
}

/** All that the firewall is made from. Equal models give equal rules, byte for byte. */
export interface FirewallModel {
  readonly networks: readonly NetworkPolicy[];
  /** What the provider calls local (VPC or rack CIDRs, the uplink's subnets): `ingress=vpc`, and never masqueraded. */
  readonly local: readonly string[];
  /** Every pool that the cluster is known to use; pools of `networks` may be left out. */
  readonly otherPools: readonly string[];
  readonly ports: readonly PublishedPort[];
  /** May containers ask the cloud's metadata service? `deny` when absent. */
  readonly metadata?: 'deny' | 'allow' | undefined;
  /** None when absent. */
  readonly roaming?: readonly RoamingAddress[];
}

/** Prefixes of both families: sorted, and without those that lie in another one. */
export interface PrefixSet {
  readonly 4: readonly string[];
  readonly 6: readonly string[];
}

/** Merges prefixes into the form that nftables' interval sets want. Errors: CIDR_INVALID. */
export const prefixSet = (texts: readonly string[]): PrefixSet => {
  const kept: Cidr[] = [];
  for (const cidr of texts.map((text) => parseCidr(text)).sort(compareCidrs)) {
    // Sorted: what contains this one, if anything does, is the last one kept.
    const last = kept.at(-1);
    if (last === undefined || !contains(last, cidr)) kept.push(cidr);
  }
  const of = (family: 4 | 6): string[] => kept.filter((cidr) => cidr.family === family).map((cidr) => cidr.text);
  return { 4: of(4), 6: of(6) };
};

/** A network's policy as sets of prefixes. */
export interface NetworkRules {
  /** Names its chains; letters and digits only. */
  readonly tag: string;
  readonly verdicts: ReturnType<typeof verdictsOf>;
  readonly prefixes: PrefixSet;
  /** Pools and `allow`: who may come in, and where an internal network may go. */
  readonly peers: PrefixSet;
  readonly pools: PrefixSet;
  readonly ingress: Ingress;
  readonly internal: boolean;
  readonly masquerade: Masquerade;
}

/** The model, validated and brought into one order. */
export interface Policy {
  readonly networks: readonly NetworkRules[];
  readonly pools: PrefixSet;
  readonly local: PrefixSet;
  readonly internal: PrefixSet;
  readonly metadata: 'deny' | 'allow';
}

const TAG_LENGTH = 12;

/**
 * Validates a model and sorts it. Errors: CIDR_INVALID; FIREWALL when two networks hold overlapping prefixes of this
 * host (a packet could then belong to either), or a network's id cannot name a chain.
 */
export const compilePolicy = (model: FirewallModel): Policy => {
  const networks = [...model.networks].sort((a, b) => (a.id < b.id ? -1 : 1)).map(rulesOf);
  refuseAmbiguity(networks);
  return {
    networks,
    pools: prefixSet([...model.otherPools, ...model.networks.flatMap((network) => network.pools)]),
    local: prefixSet(model.local),
    internal: prefixSet(model.networks.flatMap((network) => (network.internal ? network.prefixes : []))),
    metadata: model.metadata ?? 'deny',
  };
};

/** The part of a network's id that names its chains. Errors: FIREWALL. */
const tagOf = (id: string): string => {
  if (!/^[A-Za-z0-9]+$/.test(id)) {
    throw new PluginError('FIREWALL', { what: `network ${id}`, reason: 'its id has other than letters and digits' });
  }
  return id.slice(0, TAG_LENGTH);
};

/** Where packets of a network's addresses go, by direction; undefined where they need no rule. Errors: FIREWALL. */
export const verdictsOf = ({
  id,
  internal,
  masquerade,
}: RoamingAddress['network']): { readonly receive: string; readonly send?: string; readonly leave?: string } => {
  const tag = tagOf(id);
  // An internal network is never masqueraded.
  const leave = internal || masquerade === 'off' ? undefined : masquerade === 'auto' ? 'leave_auto' : `leave_${tag}`;
  return {
    receive: `goto to_${tag}`,
    ...(internal && { send: `jump from_${tag}` }),
    ...(leave !== undefined && { leave: `goto ${leave}` }),
  };
};

const rulesOf = (network: NetworkPolicy): NetworkRules => {
  return {
    tag: tagOf(network.id),
    verdicts: verdictsOf(network),
    prefixes: prefixSet(network.prefixes),
    peers: prefixSet([...network.pools, ...network.allow]),
    pools: prefixSet(network.pools),
    // Docker's own internal networks let nobody in from outside either.
    ingress: network.internal ? 'pool' : network.ingress,
    internal: network.internal,
    masquerade: network.internal ? 'off' : network.masquerade,
  };
};

const refuseAmbiguity = (networks: readonly NetworkRules[]): void => {
  const seen: { readonly tag: string; readonly cidr: Cidr }[] = [];
  for (const { tag, prefixes } of networks) {
    if (seen.some((other) => other.tag === tag)) {
      throw new PluginError('FIREWALL', { what: `network ${tag}`, reason: 'another network has the same short id' });
    }
    const own = [...prefixes[4], ...prefixes[6]].map((text) => ({ tag, cidr: parseCidr(text) }));
    for (const { cidr } of own) {
      const other = seen.find((entry) => overlaps(entry.cidr, cidr));
      if (other === undefined) continue;
      const reason = `${cidr.text} overlaps ${other.cidr.text} of network ${other.tag}`;
      throw new PluginError('FIREWALL', { what: `network ${tag}`, reason });
    }
    seen.push(...own);
  }
};
