import type { Attachment, PathEndpoint, PathNetwork } from '../../../../network-plugin/datapath/datapath.ts';
import { PtpPath } from '../../../../network-plugin/datapath/ptp.ts';
import { findUplink } from '../../../../network-plugin/uplink.ts';
import { overlaps, parseCidr } from '../../../../shared/cidr.ts';
import { newContext } from '../../../../shared/context.ts';
import { addAddress } from '../../../../shared/kernel/address.ts';
import { AF_INET, AF_INET6 } from '../../../../shared/kernel/inet.ts';
import { createVeth, setLink } from '../../../../shared/kernel/link-change.ts';
import { LinkRemover } from '../../../../shared/kernel/link-remover.ts';
import { addRoute, listRoutes, lookUpRoute, RTPROT_BOOT } from '../../../../shared/kernel/route.ts';
import type { Logger } from '../../../../shared/log.ts';
import { makeNamespace, type Namespace } from '../../shared/kernel/namespaces.ts';

/** A host with an uplink to a router, and what the engine does with an attachment. */

const ignore = (): undefined => undefined;
export const quiet: Logger = {
  level: 'error',
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => quiet,
};
export const context = () => newContext(quiet, 20_000);

export interface World {
  readonly host: Namespace;
  /** Also plays a container on another host: 10.64.9.9 and fd64:0:0:9::9. */
  readonly router: Namespace;
  readonly path: PtpPath;
}

interface Test {
  teardown(work: () => void): void;
}

export const POOL = '10.64.0.0/12';
export const POOL6 = 'fd64::/48';

export const network: PathNetwork = {
  id: 'a'.repeat(64),
  prefixes: ['10.64.3.0/24', 'fd64:0:0:3::/64'],
  pools: [POOL, POOL6],
};

export const endpointOf = (n: number, more: Partial<PathEndpoint> = {}): PathEndpoint => ({
  id: n.toString(16).padStart(11, '0').padEnd(64, 'e'),
  network,
  address: `10.64.3.${n}`,
  address6: `fd64:0:0:3::${n.toString(16)}`,
  mac: `02:42:0a:40:03:${n.toString(16).padStart(2, '0')}`,
  ...more,
});

export const makeWorld = (t: Test, options: { readonly mtu?: number } = {}): World => {
  const host = makeNamespace(t, 'h');
  const router = makeNamespace(t, 'r');
  host.rt.run(createVeth({ name: 'eth0', peer: 'up0', mtu: options.mtu ?? 1500, peerNetns: { fd: router.fd } }));
  const [uplink, far] = [host.link('eth0').index, router.link('up0').index];
  host.rt.run(setLink({ index: uplink }, { up: true }));
  router.sysctl.write('ipv4/conf/all/forwarding', 1);
  router.sysctl.write('ipv6/conf/all/forwarding', 1);
  router.rt.run(
    setLink({ index: far }, { up: true }),
    addAddress({ link: far, address: '192.168.7.1/24' }),
    addAddress({ link: far, address: 'fd07::1/64', noDad: true }),
    // Made ones, because the kernel's own take a second or two after the link's birth.
    addAddress({ link: far, address: 'fe80::7:1/64', noDad: true }),
    addAddress({ link: 1, address: '10.64.9.9/32' }),
    addAddress({ link: 1, address: 'fd64:0:0:9::9/128' }),
    addRoute({ destination: '10.64.3.0/24', via: '192.168.7.2', link: far }),
    addRoute({ destination: 'fd64:0:0:3::/64', via: 'fd07::2', link: far }),
  );
  host.rt.run(
    addAddress({ link: uplink, address: '192.168.7.2/24' }),
    addAddress({ link: uplink, address: 'fd07::2/64', noDad: true }),
    addAddress({ link: uplink, address: 'fe80::7:2/64', noDad: true }),
    addRoute({ destination: '0.0.0.0/0', via: '192.168.7.1', link: uplink, protocol: RTPROT_BOOT }),
    addRoute({ destination: '::/0', via: 'fd07::1', link: uplink, protocol: RTPROT_BOOT }),
  );
  const settings = { uplink: undefined, nodeIp: undefined };
  const remover = new LinkRemover({ netns: host.fd });
  t.teardown(() => remover.close());
  const path = new PtpPath({ rt: host.rt, remover, sysctl: host.sysctl, uplink: () => findUplink(host.rt, settings) });
  return { host, router, path };
};

/** libnetwork's checkRouteConflict: no route but the default one may overlap the new subnet. */
const refuseConflicts = (sandbox: Namespace, subnets: readonly string[]): void => {
  for (const family of [AF_INET, AF_INET6] as const) {
    for (const { destination } of listRoutes(sandbox.rt, { family })) {
      if (destination.endsWith('/0')) continue;
      const clash = subnets.find((subnet) => overlaps(parseCidr(subnet), parseCidr(destination)));
      if (clash !== undefined) throw new Error(`cannot program ${clash}: it conflicts with the route ${destination}`);
    }
  }
};

/**
 * What libnetwork does after Join: moves and renames the link, addresses it with the subnet's mask, sets the connected
 * routes, then those with a next hop on the link that leads to it, then the default route. Refusals are thrown.
 */
export const asEngine = (
  host: Namespace,
  sandbox: Namespace,
  endpoint: PathEndpoint,
  attachment: Attachment,
  name = 'eth0',
  gateway = true,
): void => {
  host.rt.run(setLink({ name: attachment.source }, { netns: { fd: sandbox.fd } }));
  const { index } = sandbox.link(attachment.source);
  const bits = (pool: string | undefined): string => pool?.split('/')[1] ?? '';
  const subnets = endpoint.network.subnets ?? endpoint.network.prefixes;
  const mask = (six: boolean): string => bits(subnets.find((pool) => pool.includes(':') === six));
  sandbox.rt.run(setLink({ index }, { rename: name, mac: endpoint.mac }));
  refuseConflicts(sandbox, subnets);
  if (endpoint.address !== undefined) {
    sandbox.rt.run(addAddress({ link: index, address: `${endpoint.address}/${mask(false)}` }));
  }
  if (endpoint.address6 !== undefined) {
    sandbox.rt.run(addAddress({ link: index, address: `${endpoint.address6}/${mask(true)}`, noDad: true }));
  }
  sandbox.rt.run(setLink({ index }, { up: true }));
  const protocol = RTPROT_BOOT;
  for (const { destination, via } of attachment.routes) {
    if (via === undefined) sandbox.rt.run(addRoute({ destination, link: index, protocol, scope: 'link' }));
  }
  const through = (destination: string, via: string): void => {
    const link = lookUpRoute(sandbox.rt, via)?.link;
    sandbox.rt.run(addRoute({ destination, via, protocol, ...(link === undefined ? {} : { link }) }));
  };
  for (const { destination, via } of attachment.routes) if (via !== undefined) through(destination, via);
  if (!gateway) return;
  if (attachment.gateway !== undefined) through('0.0.0.0/0', attachment.gateway);
  if (attachment.gateway6 !== undefined) through('::/0', attachment.gateway6);
};

/** Round trip of one ping in milliseconds; undefined without an answer, with what ping said. */
export const ping = async (
  from: Namespace,
  to: string,
  ...options: string[]
): Promise<{ readonly ms?: number; readonly output: string; readonly took: number }> => {
  const started = performance.now();
  const { output } = await from.run('ping', '-n', '-c', '1', '-W', '5', ...options, to);
  const ms = /time=([\d.]+)/.exec(output)?.[1];
  return { output, took: performance.now() - started, ...(ms === undefined ? {} : { ms: Number(ms) }) };
};
