import { addressAt, type Cidr, parseCidr, subnets, width } from '../../shared/cidr.ts';
import { replaceAddress } from '../../shared/kernel/address.ts';
import { AF_INET, AF_INET6 } from '../../shared/kernel/inet.ts';
import type { Link } from '../../shared/kernel/link.ts';
import { setLink } from '../../shared/kernel/link-change.ts';
import type { Ipv4Conf, Ipv6Conf } from '../../shared/kernel/link-conf.ts';
import { setNeighbourTimes } from '../../shared/kernel/neighbour.ts';
import type { Request } from '../../shared/kernel/netlink-request.ts';
import type { Route } from '../../shared/kernel/route.ts';
import type { Attachment, PathEndpoint, PathNetwork } from './datapath.ts';

/** What the point-to-point path wants on the host's side of an endpoint and in its sandbox: pure functions. */

/** Marks the links that are ours; behind it the whole endpoint id. */
const ALIAS = 'drayage:';
export const aliasOf = (endpointId: string): string => `${ALIAS}${endpointId}`;
/** The endpoint id in a link's alias; undefined when the link is not ours. */
export const ownerOf = (link: Link): string | undefined =>
  link.alias?.startsWith(ALIAS) ? link.alias.slice(ALIAS.length) : undefined;

export const HOST_LINK = /^dry[0-9a-f]{11}$/;

/**
 * One address for the host's end of every pair: each is alone with its peer. Given at birth, so that udev does not
 * replace a random one a moment later.
 */
export const HOST_MAC = '02:64:72:79:00:01';

/** Above what people and routing daemons use: their routes to a prefix win over "unreachable". */
export const DEAD_METRIC = 4096;

/**
 * proxy_arp: the host answers for addresses that the sandbox believes to be on its link. rp_filter 2: replies may come
 * another way. route_localnet: published ports of 127.0.0.1. The rest keeps a container from bending the host's routes.
 */
export const IPV4_WANTED = {
  forwarding: 1,
  proxyArp: 1,
  rpFilter: 2,
  routeLocalnet: 1,
  acceptRedirects: 0,
  acceptSourceRoute: 0,
} as const satisfies Ipv4Conf;

/** A container must not become the host's router by an advertisement. Written through sysctl: no message does it. */
export const IPV6_WANTED = {
  acceptRa: { value: 0, key: 'accept_ra' },
  acceptRedirects: { value: 0, key: 'accept_redirects' },
} as const satisfies { [K in keyof Ipv6Conf]?: { value: number; key: string } };

const GATEWAYS = { 4: parseCidr('169.254.1.0/24'), 6: parseCidr('fe80::/64') };

/** `169.254.1.1` or `fe80::1` in a sandbox's first network, the next numbers in its others. */
export const gatewayOf = (family: 4 | 6, slot = 0): string => addressAt(GATEWAYS[family], slot + 1).text;

/** The host's addresses on the link; without a prefix, of which the kernel would keep one long list for all links. */
export const hostAddresses = (endpoint: PathEndpoint): string[] => [
  ...(endpoint.address === undefined ? [] : [`${gatewayOf(4, endpoint.slot)}/32`]),
  ...(endpoint.address6 === undefined ? [] : [`${gatewayOf(6, endpoint.slot)}/128`]),
];

export const addressRequest = (link: number, address: string): Request =>
  address.includes(':')
    ? replaceAddress({ link, address, noDad: true })
    : replaceAddress({ link, address, scope: 'link' });

/** The one neighbour is in this machine. Packets that come while its link is being moved make the host ask too early. */
const ASK_AGAIN = { retransmit: 50, probes: 60 } as const;

/**
 * Up, forwarding, answering without the random delay of proxies (up to 0.8 s by default), asking for the container
 * again soon (after 1 s by default, which a container that is started under traffic would be late by), for 3 s in all.
 */
export const linkRequests = (index: number): Request[] => [
  setLink({ index }, { ipv4: IPV4_WANTED, up: true }),
  setNeighbourTimes(AF_INET, index, { proxyDelay: 0, ...ASK_AGAIN }),
];

/** The same for IPv6, which only a link has that an address of it is for. */
export const linkRequests6 = (index: number): Request[] => [setNeighbourTimes(AF_INET6, index, ASK_AGAIN)];

/** The addresses that the host itself uses towards containers. */
export interface Sources {
  readonly address?: string;
  readonly address6?: string;
}

/** The host's routes to the endpoint. */
export const hostRoutes = (endpoint: PathEndpoint, link: number, sources: Sources): Route[] => {
  const { address, address6 } = endpoint;
  // Scope global: engines before 28 take a route of scope link for a subnet of the host, and whatever pool overlaps it
  // for taken. They then ask for another one, for ever.
  const route = (destination: string, source: string | undefined): Route =>
    source === undefined ? { destination, link, scope: 'global' } : { destination, link, scope: 'global', source };
  return [
    ...(address === undefined ? [] : [route(`${address}/32`, sources.address)]),
    ...(address6 === undefined ? [] : [route(`${address6}/128`, sources.address6)]),
  ];
};

/** Packets to an address of the prefix that nobody has are answered at once, and never loop between host and router. */
export const deadRoutes = (network: PathNetwork): Route[] =>
  network.prefixes.map((destination) => ({ destination, type: 'unreachable', metric: DEAD_METRIC }));

/** Two halves of a prefix; nothing of a single address. */
const halves = (prefix: Cidr): string[] =>
  prefix.length < width(prefix.family) ? [...subnets(prefix, prefix.length + 1)].map((half) => half.text) : [];

/**
 * The sandbox's routes. Docker's mask says that the whole subnet is on the link, where IPv6 would ask in vain (the
 * kernel proxies single addresses only) and IPv4 would wait 3 s for an address that nobody has. So the subnet's halves,
 * being narrower than the subnet itself, lead to the gateway, which is on the link by a route of its own. Nothing wider
 * than the subnet: the engine refuses a second network whose addresses any route of the sandbox covers, except the
 * default route, which covers the rest of the pool where this network is the sandbox's gateway, and `ways`.
 */
export const sandboxRoutes = (endpoint: PathEndpoint): Attachment['routes'] => {
  const { network, slot, ways = [] } = endpoint;
  const own = ([4, 6] as const).flatMap((family) => {
    if ((family === 4 ? endpoint.address : endpoint.address6) === undefined) return [];
    const via = gatewayOf(family, slot);
    const destinations = (network.subnets ?? network.prefixes)
      .map((subnet) => parseCidr(subnet))
      .filter((subnet) => subnet.family === family)
      .flatMap(halves);
    return [{ destination: `${via}/${width(family)}` }, ...destinations.map((destination) => ({ destination, via }))];
  });
  const further = ways.flatMap((way) =>
    way.destinations.map((destination) => ({ destination, via: gatewayOf(parseCidr(destination).family, way.slot) })),
  );
  return [...own, ...further];
};
