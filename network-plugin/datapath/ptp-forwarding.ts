import { AF_INET6 } from '../../shared/kernel/inet.ts';
import { isKernelError } from '../../shared/kernel/kernel-error.ts';
import { findLink, type Link } from '../../shared/kernel/link.ts';
import { setLink } from '../../shared/kernel/link-change.ts';
import { listRoutes } from '../../shared/kernel/route.ts';
import type { Rtnetlink } from '../../shared/kernel/rtnetlink.ts';
import type { Sysctl } from '../../shared/kernel/sysctl.ts';
import type { Uplink } from '../uplink.ts';
import type { Drift, PathNetwork } from './datapath.ts';

const RTPROT_RA = 9;

interface Host {
  readonly rt: Rtnetlink;
  readonly sysctl: Sysctl;
  readonly uplink: () => Uplink | undefined;
}

/**
 * The host forwards between its uplink and the containers. IPv4 is switched on the uplink alone (the containers' links
 * have it from `attach`); IPv6 has one switch for all links (before Linux 6.17). An IPv6 router ignores router advertisements, unless
 * accept_ra is 2, and drops the default routes that it learned when it becomes one: so accept_ra comes first.
 * Answers what was not so. Kernel source: net/ipv6/addrconf.c (addrconf_fixup_forwarding), net/ipv4/devinet.c.
 */
export const prepareForwarding = (host: Host, networks: readonly PathNetwork[], repair: boolean): Drift[] => {
  const { rt, sysctl } = host;
  const drift: Drift[] = [];
  const uplink = host.uplink();
  const link = uplink === undefined ? undefined : findLink(rt, { index: uplink.index });
  if (link !== undefined && networks.length > 0 && link.ipv4.forwarding !== 1) {
    if (repair) forwardIpv4(host, link);
    drift.push({ what: `IPv4 forwarding was off on the uplink ${link.name}`, repaired: repair });
  }
  if (!networks.some(({ prefixes }) => prefixes.some((prefix) => prefix.includes(':')))) return drift;
  for (const router of routerLinks(rt, uplink)) {
    if (router.ipv6.acceptRa !== 1) continue;
    if (repair) sysctl.write(`ipv6/conf/${router.name}/accept_ra`, 2);
    drift.push({ what: `accept_ra of ${router.name} would lose its IPv6 default route`, repaired: repair });
  }
  if (sysctl.read('ipv6/conf/all/forwarding') !== '1') {
    if (repair) sysctl.write('ipv6/conf/all/forwarding', 1);
    drift.push({ what: 'IPv6 forwarding was off', repaired: repair });
  }
  return drift;
};

/** The file also switches off large receive offload, which forwarded packets must not get; netlink does where it is read-only. */
const forwardIpv4 = (host: Host, link: Link): void => {
  try {
    host.sysctl.write(`ipv4/conf/${link.name}/forwarding`, 1);
  } catch (error) {
    if (!isKernelError(error, 'EROFS', 'EACCES', 'ENOENT')) throw error;
    host.rt.run(setLink({ index: link.index }, { ipv4: { forwarding: 1 } }));
  }
};

/** The uplink and every link with a default route learned from an advertisement. */
const routerLinks = (rt: Rtnetlink, uplink: Uplink | undefined): Link[] => {
  const learned = listRoutes(rt, { family: AF_INET6, protocol: RTPROT_RA })
    .filter(({ destination, link }) => destination === '::/0' && link !== undefined)
    .flatMap(({ link }) => (link === undefined ? [] : [link]));
  const indexes = new Set([...learned, ...(uplink === undefined ? [] : [uplink.index])]);
  return [...indexes].flatMap((index) => findLink(rt, { index }) ?? []);
};
