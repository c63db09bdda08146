import { contains, parseAddress, parseCidr } from '../../shared/cidr.ts';
import { listAddresses } from '../../shared/kernel/address.ts';
import { AF_INET, AF_INET6 } from '../../shared/kernel/inet.ts';
import { type Link, listLinks } from '../../shared/kernel/link.ts';
import { deleteLink } from '../../shared/kernel/link-change.ts';
import type { Ipv4Conf } from '../../shared/kernel/link-conf.ts';
import { listProxyDelays } from '../../shared/kernel/neighbour.ts';
import type { Request } from '../../shared/kernel/netlink-request.ts';
import {
  deleteRoute,
  type FoundRoute,
  listRoutes,
  type Route,
  RTPROT_DRAYAGE,
  replaceRoute,
} from '../../shared/kernel/route.ts';
import type { Rtnetlink } from '../../shared/kernel/rtnetlink.ts';
import type { Sysctl } from '../../shared/kernel/sysctl.ts';
import {
  type CheckedEndpoint,
  type Drift,
  hostLink,
  type PathEndpoint,
  type PathNetwork,
  type Stranger,
} from './datapath.ts';
import {
  addressRequest,
  DEAD_METRIC,
  deadRoutes,
  HOST_LINK,
  hostAddresses,
  hostRoutes,
  IPV4_WANTED,
  IPV6_WANTED,
  linkRequests,
  ownerOf,
  type Sources,
} from './ptp-host.ts';

/** The kernel as it is, read with one dump a table. */
interface Snapshot {
  readonly links: ReadonlyMap<string, Link>;
  readonly names: ReadonlyMap<number, string>;
  /** `<link index>|<address/length>` */
  readonly addresses: ReadonlySet<string>;
  readonly routes: readonly FoundRoute[];
  readonly delays: ReadonlyMap<number, number>;
}

/** Something that is not as it should be; without a fix nothing can be done about it here. */
interface Finding {
  readonly what: string;
  readonly fix?: readonly Request[] | (() => void);
}

/** Compares links, addresses and routes with what should be, repairs when `repair`, and says what it found. */
export const checkPath = (
  rt: Rtnetlink,
  sysctl: Sysctl,
  sources: Sources,
  networks: readonly PathNetwork[],
  endpoints: readonly CheckedEndpoint[],
  repair: boolean,
): Drift[] => {
  const snapshot = take(rt);
  const routes = new Map(snapshot.routes.map((route) => [keyOf(route), route]));
  const findings = [
    ...endpoints.filter(({ attached }) => attached).flatMap((e) => judge(e, snapshot, routes, sources, sysctl)),
    ...networks.flatMap(deadRoutes).flatMap((route) => judgeRoute(route, routes, 'the answer for unused addresses of')),
    ...orphans(snapshot, networks, endpoints),
  ];
  return findings.map((finding) => settle(rt, finding, repair));
};

const take = (rt: Rtnetlink): Snapshot => {
  const links = listLinks(rt, { kind: 'veth' });
  return {
    links: new Map(links.map((link) => [link.name, link])),
    names: new Map(links.map((link) => [link.index, link.name])),
    addresses: new Set(listAddresses(rt).map(({ link, address }) => `${link}|${address}`)),
    routes: ownRoutes(rt),
    delays: listProxyDelays(rt, AF_INET),
  };
};

const ownRoutes = (rt: Rtnetlink): FoundRoute[] =>
  ([AF_INET, AF_INET6] as const).flatMap((family) => listRoutes(rt, { family, protocol: RTPROT_DRAYAGE }));

/** IPv4 and IPv6 spell no metric differently; ours has one only where it says "unreachable". */
const keyOf = (route: Route): string =>
  `${route.type ?? 'unicast'} ${route.destination} ${route.type === 'unreachable' ? route.metric : ''}`;

const judge = (
  endpoint: CheckedEndpoint,
  snapshot: Snapshot,
  routes: ReadonlyMap<string, FoundRoute>,
  sources: Sources,
  sysctl: Sysctl,
): Finding[] => {
  const name = hostLink(endpoint.id);
  const link = snapshot.links.get(name);
  const short = endpoint.id.slice(0, 12);
  if (link === undefined) return [{ what: `the link ${name} of endpoint ${short} is gone` }];
  if (ownerOf(link) !== endpoint.id) return [{ what: `the link ${name} is not that of endpoint ${short}` }];
  const findings: Finding[] = [];
  const { index } = link;
  if (!rightlySet(link, snapshot.delays)) {
    findings.push({ what: `the settings of ${name} had been changed`, fix: linkRequests(index) });
  }
  for (const [conf, { key, value }] of Object.entries(IPV6_WANTED)) {
    const present = link.ipv6[conf as keyof typeof IPV6_WANTED];
    if (present === undefined || present === value) continue;
    findings.push({
      what: `${key} of ${name} was ${present}`,
      fix: () => void sysctl.write(`ipv6/conf/${name}/${key}`, value),
    });
  }
  for (const address of hostAddresses(endpoint)) {
    if (snapshot.addresses.has(`${index}|${address}`)) continue;
    findings.push({ what: `the address ${address} of ${name} was missing`, fix: [addressRequest(index, address)] });
  }
  for (const route of hostRoutes(endpoint, index, sources)) {
    findings.push(...judgeRoute(route, routes, `on ${name} the route to`));
  }
  return findings;
};

const rightlySet = (link: Link, delays: ReadonlyMap<number, number>): boolean =>
  link.up &&
  delays.get(link.index) === 0 &&
  (Object.keys(IPV4_WANTED) as (keyof typeof IPV4_WANTED)[]).every(
    (key: keyof typeof IPV4_WANTED & keyof Ipv4Conf) => link.ipv4[key] === IPV4_WANTED[key],
  );

const judgeRoute = (route: Route, routes: ReadonlyMap<string, FoundRoute>, which: string): Finding[] => {
  const present = routes.get(keyOf(route));
  const fix = [replaceRoute(route)];
  if (present === undefined) return [{ what: `${which} ${route.destination} was missing`, fix }];
  const right = route.type === 'unreachable' || (present.link === route.link && present.source === route.source);
  return right ? [] : [{ what: `${which} ${route.destination} was wrong`, fix }];
};

/** See `DataPath.strangers`. */
export const findStrangers = (rt: Rtnetlink, known: ReadonlySet<string>): Stranger[] => {
  const links = listLinks(rt, { kind: 'veth' });
  // The routes of a thousand containers are only read when there is somebody to read them for.
  return links.some((link) => isStranger(link, known)) ? strangersIn(links, ownRoutes(rt), known) : [];
};

const isStranger = (link: Link, known: ReadonlySet<string>): boolean => {
  const owner = ownerOf(link);
  return owner !== undefined && !known.has(owner) && HOST_LINK.test(link.name) && link.peerNetns !== undefined;
};

const strangersIn = (links: Iterable<Link>, routes: readonly FoundRoute[], known: ReadonlySet<string>): Stranger[] =>
  [...links]
    .filter((link) => isStranger(link, known))
    .map((link) => ({
      endpoint: ownerOf(link) ?? '',
      link: link.name,
      addresses: routes
        .filter((route) => route.link === link.index && route.via === undefined)
        .map(({ destination }) => destination.split('/')[0] ?? ''),
    }));

/** Links and routes that carry our mark and that nobody owns. Routes with a next hop belong to the route engine. */
const orphans = (
  snapshot: Snapshot,
  networks: readonly PathNetwork[],
  endpoints: readonly PathEndpoint[],
): Finding[] => {
  const known = new Set(endpoints.map(({ id }) => id));
  const wanted = new Set([
    ...networks.flatMap(deadRoutes).map(keyOf),
    ...endpoints.flatMap((endpoint) => hostRoutes(endpoint, 0, {})).map(keyOf),
  ]);
  const strangers = strangersIn(snapshot.links.values(), snapshot.routes, known);
  const theirs = strangers.flatMap(({ addresses }) => addresses).map((text) => parseAddress(text));
  const findings: Finding[] = strangers.map(({ link, addresses }) => ({
    what: `a container runs on ${link} (${addresses.join(', ')}) that no record knows; it is left as it is`,
  }));
  for (const link of snapshot.links.values()) {
    const owner = ownerOf(link);
    if (owner === undefined || known.has(owner) || !HOST_LINK.test(link.name) || isStranger(link, known)) continue;
    findings.push({ what: `the link ${link.name} belongs to no endpoint`, fix: [deleteLink({ index: link.index })] });
  }
  for (const route of snapshot.routes) {
    if (wanted.has(keyOf(route)) || route.via !== undefined || route.multipath) continue;
    const dead = route.type === 'unreachable' && route.metric === DEAD_METRIC;
    const name = route.link === undefined ? undefined : snapshot.names.get(route.link);
    const toContainer = route.type === 'unicast' && name !== undefined && HOST_LINK.test(name);
    if (!dead && !toContainer) continue;
    if (theirs.some((address) => contains(parseCidr(route.destination), address))) continue;
    findings.push({ what: `the route to ${route.destination} belongs to nothing`, fix: [deleteRoute(route)] });
  }
  return findings;
};

const settle = (rt: Rtnetlink, { what, fix }: Finding, repair: boolean): Drift => {
  if (!repair || fix === undefined) return { what, repaired: false };
  try {
    if (typeof fix === 'function') fix();
    else for (const failure of rt.attempt(fix)) if (failure !== undefined && !gone(failure.errnoName)) throw failure;
    return { what, repaired: true };
  } catch (error) {
    return {
      what: `${what}, and could not be repaired: ${error instanceof Error ? error.message : error}`,
      repaired: false,
    };
  }
};

/** A route that was to be removed may have gone with its link a moment before. */
const gone = (errno: string): boolean => errno === 'ESRCH' || errno === 'ENODEV';
