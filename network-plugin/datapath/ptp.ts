import { type Context, throwIfDone } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isKernelError, KernelError } from '../../shared/kernel/kernel-error.ts';
import { findLink, type Link, parseLink, readLink } from '../../shared/kernel/link.ts';
import { createVeth, deleteLink, setLink } from '../../shared/kernel/link-change.ts';
import type { LinkRemover } from '../../shared/kernel/link-remover.ts';
import {
  addRoute,
  deleteRoute,
  lookUpRoute,
  type Route,
  RTPROT_DRAYAGE,
  replaceRoute,
} from '../../shared/kernel/route.ts';
import type { Rtnetlink } from '../../shared/kernel/rtnetlink.ts';
import type { Sysctl } from '../../shared/kernel/sysctl.ts';
import type { Uplink } from '../uplink.ts';
import {
  type Attachment,
  type CheckedEndpoint,
  type DataPath,
  type Drift,
  hostLink,
  type PathEndpoint,
  type PathNetwork,
  type Stranger,
  sandboxLink,
} from './datapath.ts';
import { checkPath, findStrangers } from './ptp-check.ts';
import { prepareForwarding } from './ptp-forwarding.ts';
import {
  addressRequest,
  aliasOf,
  deadRoutes,
  gatewayOf,
  HOST_MAC,
  hostAddresses,
  hostRoutes,
  IPV6_WANTED,
  linkRequests,
  linkRequests6,
  ownerOf,
  sandboxRoutes,
} from './ptp-host.ts';

export interface PtpDeps {
  readonly rt: Rtnetlink;
  readonly remover: LinkRemover;
  readonly sysctl: Sysctl;
  /** Asked again each time: addresses come and go. Undefined on a host without a default route. */
  readonly uplink: () => Uplink | undefined;
}

const DEFAULT_MTU = 1500;

/**
 * The point-to-point path: one veth pair an endpoint, no bridge. The host routes each container's address to its link;
 * the container's gateway is a link-local address that the host has on every such link. An attachment is made without
 * giving way to other calls: whoever looks sees it whole or not at all.
 */
export class PtpPath implements DataPath {
  readonly name = 'ptp';
  readonly #deps: PtpDeps;

  constructor(deps: PtpDeps) {
    this.#deps = deps;
  }

  /** Forwarding on the uplink, and an answer for the prefixes' unused addresses. Errors: KERNEL, UPLINK_MISSING. */
  async setup(network: PathNetwork, c: Context): Promise<void> {
    throwIfDone(c);
    const { rt } = this.#deps;
    for (const { what } of prepareForwarding(this.#deps, [network], true)) c.log.info('host prepared', { what });
    rt.run(...deadRoutes(network).map(replaceRoute));
  }

  async attach(endpoint: PathEndpoint, c: Context): Promise<Attachment> {
    throwIfDone(c);
    const uplink = this.#deps.uplink();
    const mtu = endpoint.network.mtu ?? uplink?.mtu ?? DEFAULT_MTU;
    const link = this.#pair(endpoint, mtu);
    try {
      this.#equip(endpoint, link, uplink ?? {});
    } catch (error) {
      // The error that is thrown is worth more than one about the clean-up; `check` collects what is left over.
      this.#deps.rt.attempt([deleteLink({ index: link.index })]);
      throw linkFailed(endpoint, error);
    }
    return {
      source: sandboxLink(endpoint.id),
      ...(endpoint.address === undefined ? {} : { gateway: gatewayOf(4, endpoint.slot) }),
      ...(endpoint.address6 === undefined ? {} : { gateway6: gatewayOf(6, endpoint.slot) }),
      routes: sandboxRoutes(endpoint),
    };
  }

  /** Makes the pair, or takes over the one that an interrupted call left; answers the host's end. */
  #pair(endpoint: PathEndpoint, mtu: number): Link {
    const { rt } = this.#deps;
    const name = hostLink(endpoint.id);
    const peer = sandboxLink(endpoint.id);
    const found = findLink(rt, { name });
    if (found !== undefined) {
      if (ownerOf(found) !== endpoint.id) {
        const reason = `a link of that name belongs to ${ownerOf(found) ?? 'something else'}`;
        throw linkFailed(endpoint, reason);
      }
      if (this.#intact(found, endpoint, mtu)) return found;
      rt.run(deleteLink({ index: found.index }));
    }
    let made: Link | undefined;
    const requests = [
      createVeth({ name, peer, mtu, mac: HOST_MAC, peerMac: endpoint.mac, queues: 1 }),
      setLink({ name }, { alias: aliasOf(endpoint.id), noAddressGeneration: true }),
      readLink({ name }),
    ];
    const failure = rt
      .attempt(requests, (message) => {
        made = parseLink(message);
      })
      .find((one) => one !== undefined);
    if (failure !== undefined) {
      const taken = failure.errnoName === 'EEXIST' && findLink(rt, { name: peer }) !== undefined;
      throw linkFailed(endpoint, taken ? `a link of the name ${peer} is there already` : failure);
    }
    if (made === undefined) throw linkFailed(endpoint, 'it vanished while it was being made');
    return made;
  }

  #intact(link: Link, endpoint: PathEndpoint, mtu: number): boolean {
    if (link.peer === undefined || link.peerNetns !== undefined || link.mtu !== mtu || !link.noAddressGeneration) {
      return false;
    }
    const peer = findLink(this.#deps.rt, { index: link.peer });
    return peer?.name === sandboxLink(endpoint.id) && peer.mac === endpoint.mac.toLowerCase() && peer.mtu === mtu;
  }

  #equip(endpoint: PathEndpoint, { index, name, ipv6 }: Link, sources: { address?: string; address6?: string }): void {
    const { rt, sysctl } = this.#deps;
    for (const [conf, { key, value }] of Object.entries(IPV6_WANTED)) {
      const present = ipv6[conf as keyof typeof IPV6_WANTED];
      if (present !== undefined && present !== value) sysctl.set(`ipv6/conf/${name}/${key}`, value);
    }
    const settings = [
      ...linkRequests(index),
      ...(endpoint.address6 === undefined ? [] : linkRequests6(index)),
      ...hostAddresses(endpoint).map((address) => addressRequest(index, address)),
    ];
    const routes = hostRoutes(endpoint, index, sources);
    const failures = rt.attempt([...settings, ...routes.map(addRoute)]);
    for (const failure of failures.slice(0, settings.length)) if (failure !== undefined) throw failure;
    routes.forEach((route, slot) => {
      const failure = failures[settings.length + slot];
      if (failure === undefined) return;
      if (failure.errnoName !== 'EEXIST') throw failure;
      this.#takeOver(route);
    });
  }

  /** A route to the address is there: ours, of an earlier endpoint or call, gives way; another's is not touched. */
  #takeOver(route: Route): void {
    const { rt } = this.#deps;
    const present = lookUpRoute(rt, route.destination.split('/')[0] ?? '', { entry: true });
    if (present !== undefined && present.protocol !== RTPROT_DRAYAGE) {
      throw new KernelError(
        `route ${route.destination}`,
        17,
        `another program (routing protocol ${present.protocol}) has a route there`,
      );
    }
    rt.run(replaceRoute(route));
  }

  /** Deleting the host's end takes its peer, wherever that is, and its addresses and routes along. */
  async detach(endpointId: string, c: Context): Promise<void> {
    throwIfDone(c);
    const link = this.#own(endpointId);
    if (link !== undefined) await this.#deps.remover.remove(link.index);
  }

  async present(endpointId: string): Promise<'absent' | 'host' | 'sandbox'> {
    const link = this.#own(endpointId);
    if (link === undefined) return 'absent';
    return link.peerNetns === undefined ? 'host' : 'sandbox';
  }

  #own(endpointId: string): Link | undefined {
    const link = findLink(this.#deps.rt, { name: hostLink(endpointId) });
    return link !== undefined && ownerOf(link) === endpointId ? link : undefined;
  }

  async strangers(known: ReadonlySet<string>): Promise<readonly Stranger[]> {
    return findStrangers(this.#deps.rt, known);
  }

  async check(
    networks: readonly PathNetwork[],
    endpoints: readonly CheckedEndpoint[],
    repair: boolean,
    c: Context,
  ): Promise<Drift[]> {
    throwIfDone(c);
    return [
      ...prepareForwarding(this.#deps, networks, repair),
      ...checkPath(this.#deps.rt, this.#deps.sysctl, this.#deps.uplink() ?? {}, networks, endpoints, repair),
    ];
  }

  async teardown(network: PathNetwork, c: Context): Promise<void> {
    throwIfDone(c);
    for (const failure of this.#deps.rt.attempt(deadRoutes(network).map(deleteRoute))) {
      if (failure !== undefined && !isKernelError(failure, 'ESRCH')) throw failure;
    }
  }
}

const linkFailed = (endpoint: PathEndpoint, cause: unknown): PluginError => {
  const reason = typeof cause === 'string' ? cause : cause instanceof Error ? cause.message : String(cause);
  return new PluginError(
    'LINK_FAILED',
    { link: hostLink(endpoint.id), endpoint: endpoint.id.slice(0, 12), reason: reason.replace(/^KERNEL: /, '') },
    { cause },
  );
};
