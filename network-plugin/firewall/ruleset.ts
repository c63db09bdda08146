import { ELEMENT_SETS, type Element, type ElementSet, elementText } from './element.ts';
import { compilePolicy, type FirewallModel, type NetworkRules, type Policy, type PrefixSet } from './policy.ts';

/** The one table that Drayage writes rules in. */
export const TABLE = 'inet drayage';

type Family = 4 | 6;
const FAMILIES: readonly Family[] = [4, 6];
/** nft's word for the family in front of a field. */
const FIELD = { 4: 'ip', 6: 'ip6' } as const;

type Lines = readonly string[];

const block = (head: string, lines: Lines): string =>
  `\t${head} {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n`;

const elementsLine = (elements: Lines): Lines =>
  elements.length === 0 ? [] : [`elements = { ${[...elements].sort().join(', ')} }`];

const both = (make: (field: 'ip' | 'ip6', family: Family) => Lines): Lines =>
  FAMILIES.flatMap((family) => make(FIELD[family], family));

/** Rules for the families that a network has prefixes in. */
const spoken = (network: NetworkRules, make: (field: 'ip' | 'ip6', family: Family) => Lines): Lines =>
  both((field, family) => (network.prefixes[family].length === 0 ? [] : make(field, family)));

const prefixSetBlocks = (name: string, set: PrefixSet): Lines =>
  FAMILIES.map((family) =>
    block(`set ${name}${family}`, [`type ipv${family}_addr`, 'flags interval', ...elementsLine(set[family])]),
  );

/** Which chain a packet goes to, by a prefix. */
const verdictMap = (
  name: string,
  networks: readonly NetworkRules[],
  verdict: (n: NetworkRules) => string | undefined,
) =>
  FAMILIES.map((family) => {
    const elements = networks.flatMap((network) => {
      const to = verdict(network);
      return to === undefined ? [] : network.prefixes[family].map((prefix) => `${prefix} : ${to}`);
    });
    return block(`map ${name}${family}`, [
      `type ipv${family}_addr : verdict`,
      'flags interval',
      ...elementsLine(elements),
    ]);
  });

/** Of the element sets, in nft's words. */
export const ELEMENT_TYPES: Readonly<Record<ElementSet, string>> = {
  any4: 'inet_proto . inet_service : ipv4_addr . inet_service',
  any6: 'inet_proto . inet_service : ipv6_addr . inet_service',
  one4: 'ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service',
  one6: 'ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service',
  self4: 'ipv4_addr . ipv4_addr',
  self6: 'ipv6_addr . ipv6_addr',
  roam_to4: 'ipv4_addr : verdict',
  roam_to6: 'ipv6_addr : verdict',
  roam_from4: 'ipv4_addr : verdict',
  roam_from6: 'ipv6_addr : verdict',
  roam_leave4: 'ipv4_addr : verdict',
  roam_leave6: 'ipv6_addr : verdict',
  roam_internal4: 'ipv4_addr',
  roam_internal6: 'ipv6_addr',
};

const elementSets = (elements: Iterable<Element>): Lines => {
  const all = [...elements];
  return (Object.keys(ELEMENT_SETS) as ElementSet[]).map((name) =>
    block(`${ELEMENT_SETS[name]} ${name}`, [
      `type ${ELEMENT_TYPES[name]}`,
      ...elementsLine(all.filter(({ set }) => set === name).map(elementText)),
    ]),
  );
};

/**
 * Who sent a packet must own its source address: the route back to it leads out of the link that it came from. Replies
 * are let through by their connection, because a container on two networks may answer over either.
 * Link-local sources only speak ICMPv6 (neighbour discovery): they say nothing about the network they are in.
 */
const guard = block('chain guard', [
  'type filter hook prerouting priority mangle; policy accept;',
  'iifname != "dry*" return',
  'ip daddr 127.0.0.0/8 drop',
  'ct state established,related return',
  'ip6 saddr fe80::/10 meta l4proto 58 return',
  'ip6 saddr :: meta l4proto 58 return',
  'ip6 saddr fe80::/10 drop',
  'fib saddr . iif oif 0 drop',
]);

/**
 * Published ports, for packets from outside, from containers and from the host itself. ::1 cannot be translated to an
 * address outside (the kernel sends nothing from ::1 over a link), so connections to it reach the reserving listener.
 */
const publishing = [
  block('chain publish', [
    ...both((field, family) => [`dnat ${field} to ${field} daddr . meta l4proto . th dport map @one${family}`]),
    ...both((field, family) => [`dnat ${field} to meta l4proto . th dport map @any${family}`]),
  ]),
  block('chain prerouting', [
    'type nat hook prerouting priority dstnat; policy accept;',
    'iifname != "lo" ip daddr 127.0.0.0/8 return',
    'fib daddr type local jump publish',
  ]),
  block('chain output', [
    'type nat hook output priority -100; policy accept;',
    'ip6 daddr ::1 return',
    'fib daddr type local jump publish',
  ]),
];

/**
 * Where the clouds' metadata services answer (EC2's of both families, Aliyun's): they hand the keys of the host's role to
 * whoever asks. The host itself is not forwarded, nor is what it leads to a proxy of its own. Names may be asked for: the
 * name servers of EC2 and Aliyun are elsewhere, but under etcd a host may be in a cloud that has its own at this address.
 */
const METADATA = [
  'iifname "dry*" ip daddr { 100.100.100.200, 169.254.169.254 } th dport != 53 drop',
  'iifname "dry*" ip6 daddr fd00:ec2::254 drop',
];

const forwarding = ({ metadata }: Policy): Lines => [
  block('chain receive', [
    'ct status dnat accept',
    ...both((field, family) => [`${field} daddr vmap @receive${family}`]),
    ...both((field, family) => [`${field} daddr vmap @roam_to${family}`]),
    'drop',
  ]),
  block('chain forward', [
    'type filter hook forward priority filter; policy accept;',
    'ct state established,related accept',
    ...(metadata === 'deny' ? METADATA : []),
    ...both((field, family) => [`iifname "dry*" ${field} saddr vmap @send${family}`]),
    ...both((field, family) => [`iifname "dry*" ${field} saddr vmap @roam_from${family}`]),
    'oifname "dry*" goto receive',
  ]),
  block('chain input', [
    'type filter hook input priority filter; policy accept;',
    'iifname != "dry*" return',
    'ct state established,related accept',
    'meta l4proto { 1, 58 } accept',
    ...both((field, family) => [
      `${field} saddr @internal${family} reject with icmpx admin-prohibited`,
      `${field} saddr @roam_internal${family} reject with icmpx admin-prohibited`,
    ]),
  ]),
];

const leaving = [
  // Only connections that have no other way get another source: from 127.0.0.0/8, and from a container to itself.
  block('chain deliver', [
    'ip saddr 127.0.0.0/8 masquerade',
    ...both((field, family) => [`${field} saddr . ${field} daddr @self${family} masquerade`]),
  ]),
  block('chain leave_auto', [
    ...both((field, family) => [`${field} daddr @pools${family} return`, `${field} daddr @local${family} return`]),
    'masquerade',
  ]),
  block('chain postrouting', [
    'type nat hook postrouting priority srcnat; policy accept;',
    'oifname "dry*" goto deliver',
    ...both((field, family) => [`${field} saddr vmap @leave${family}`]),
    ...both((field, family) => [`${field} saddr vmap @roam_leave${family}`]),
  ]),
];

/** Isolation is decided by the receiver, in this order: peers, then strangers of another pool, then the rest. */
const receiveChain = (network: NetworkRules): string => {
  const { tag, ingress } = network;
  const rest = {
    any: ['accept'],
    vpc: [...spoken(network, (field, family) => [`${field} saddr @local${family} accept`]), 'drop'],
    pool: ['drop'],
  }[ingress];
  return block(`chain to_${tag}`, [
    ...spoken(network, (field, family) => [
      `${field} saddr @peers${family}_${tag} accept`,
      `${field} saddr @pools${family} drop`,
    ]),
    ...rest,
  ]);
};

const networkSets = (network: NetworkRules): Lines => {
  const { tag, peers, pools, masquerade } = network;
  const set = (name: string, from: PrefixSet): Lines =>
    spoken(network, (_, family) => [
      block(`set ${name}${family}_${tag}`, [`type ipv${family}_addr`, 'flags interval', ...elementsLine(from[family])]),
    ]);
  return [...set('peers', peers), ...(masquerade === 'on' ? set('pools', pools) : [])];
};

const networkChains = (network: NetworkRules): Lines => {
  const { tag, internal, masquerade } = network;
  const leave = block(`chain leave_${tag}`, [
    ...spoken(network, (field, family) => [`${field} daddr @pools${family}_${tag} return`]),
    'masquerade',
  ]);
  const from = block(`chain from_${tag}`, [
    ...spoken(network, (field, family) => [`${field} daddr @peers${family}_${tag} return`]),
    'reject with icmpx admin-prohibited',
  ]);
  return [receiveChain(network), ...(internal ? [from] : []), ...(masquerade === 'on' ? [leave] : [])];
};

const tableOf = (policy: Policy, elements: Iterable<Element>): string => {
  const { networks, pools, local, internal } = policy;
  const parts = [
    ...prefixSetBlocks('pools', pools),
    ...prefixSetBlocks('local', local),
    ...prefixSetBlocks('internal', internal),
    ...networks.flatMap(networkSets),
    ...elementSets(elements),
    ...verdictMap('receive', networks, ({ verdicts }) => verdicts.receive),
    ...verdictMap('send', networks, ({ verdicts }) => verdicts.send),
    ...verdictMap('leave', networks, ({ verdicts }) => verdicts.leave),
    ...networks.flatMap(networkChains),
    guard,
    ...publishing,
    ...forwarding(policy),
    ...leaving,
  ];
  const comment = '\tcomment "Made by the Drayage network plugin, which undoes changes made here"\n';
  return `table ${TABLE} {\n${comment}\n${parts.join('\n')}}\n`;
};

/**
 * The whole table for a model, in the form in which nft lists it (so that a listing can be compared with it), with the
 * elements given. Equal input gives equal text. Errors: CIDR_INVALID, FIREWALL.
 */
export const renderTable = (model: FirewallModel, elements: Iterable<Element>): string =>
  tableOf(compilePolicy(model), elements);

/** One transaction that puts `table` in the place of what is there: connections under way do not notice. */
export const replacement = (table: string): string => `add table ${TABLE}\ndelete table ${TABLE}\n${table}`;
