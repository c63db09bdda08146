/**
 * Per-link settings of IP, which /proc/sys/net/ipv{4,6}/conf/<link>/ shows under the names in the comments.
 * Kernel source: include/uapi/linux/ip.h (IPV4_DEVCONF_*), include/uapi/linux/ipv6.h (DEVCONF_*).
 */

/** Readable and, through RTM_SETLINK, writable where /proc/sys is not. Names as in /proc/sys, in camel case. */
export const IPV4_CONF = {
  forwarding: 1,
  proxyArp: 3,
  acceptRedirects: 4,
  sendRedirects: 6,
  rpFilter: 8,
  acceptSourceRoute: 9,
  logMartians: 11,
  arpFilter: 13,
  arpAnnounce: 18,
  arpIgnore: 19,
  arpAccept: 21,
  arpNotify: 22,
  acceptLocal: 23,
  srcValidMark: 24,
  proxyArpPvlan: 25,
  routeLocalnet: 26,
} as const;

/** Only readable here: the kernel has no message that writes them, sysctl.ts does. */
export const IPV6_CONF = {
  forwarding: 0,
  acceptRa: 3,
  acceptRedirects: 4,
  autoconf: 5,
  dadTransmits: 6,
  proxyNdp: 22,
  disableIpv6: 26,
  acceptDad: 27,
} as const;

export type Ipv4Conf = { readonly [K in keyof typeof IPV4_CONF]?: number };
export type Ipv6Conf = { readonly [K in keyof typeof IPV6_CONF]?: number };
