import { type FoundAddress, parseAddress, RTM_DELADDR, RTM_NEWADDR } from './address.ts';
import { MalformedMessage, type Message } from './attribute.ts';
import { AF_UNSPEC } from './inet.ts';
import { type Link, parseLink } from './link.ts';
import { RTM_DELLINK, RTM_NEWLINK } from './link-message.ts';
import { Multicast, type MulticastOptions } from './multicast.ts';
import { type FoundRoute, parseRoute, RTM_DELROUTE, RTM_NEWROUTE } from './route.ts';

/** What happens to links, addresses and routes. Kernel source: include/uapi/linux/rtnetlink.h (RTNLGRP_*). */

const NETLINK_ROUTE = 0;
const GROUPS = { link: [1], address: [5, 9], route: [7, 11] } as const;

export type Subject = keyof typeof GROUPS;
type Action = 'new' | 'deleted';

/** `new` is also said of changes. `resync`: events were lost, only a fresh listing tells what is. */
export type KernelEvent =
  | { readonly kind: 'link'; readonly action: Action; readonly link: Link }
  | { readonly kind: 'address'; readonly action: Action; readonly address: FoundAddress }
  | { readonly kind: 'route'; readonly action: Action; readonly route: FoundRoute }
  | { readonly kind: 'resync' };

/**
 * Calls `listener` for each event, in the kernel's order, from the event loop; it must not throw. Does not keep the
 * process alive; `close` is immediate and no event comes after it. The constructor throws KernelError.
 */
export class Monitor extends Multicast {
  constructor(subjects: readonly Subject[], listener: (event: KernelEvent) => void, options: MulticastOptions = {}) {
    const groups = subjects.flatMap((subject) => [...GROUPS[subject]]);
    const onMessage = (message: Message): void => {
      const event = parse(message);
      if (event !== undefined) listener(event);
    };
    super(NETLINK_ROUTE, groups, { onMessage, onOverflow: () => listener({ kind: 'resync' }) }, options);
  }
}

const parse = (message: Message): KernelEvent | undefined => {
  try {
    return parseWhole(message);
  } catch (error) {
    if (error instanceof MalformedMessage) return { kind: 'resync' };
    throw error;
  }
};

const parseWhole = (message: Message): KernelEvent | undefined => {
  const { type } = message;
  if (type === RTM_NEWLINK || type === RTM_DELLINK) {
    // Bridges tell about their ports in messages of a family of their own.
    if (message.body[0] !== AF_UNSPEC) return undefined;
    return { kind: 'link', action: type === RTM_NEWLINK ? 'new' : 'deleted', link: parseLink(message) };
  }
  if (type === RTM_NEWADDR || type === RTM_DELADDR) {
    const address = parseAddress(message);
    const action = type === RTM_NEWADDR ? 'new' : 'deleted';
    return address === undefined ? undefined : { kind: 'address', action, address };
  }
  if (type === RTM_NEWROUTE || type === RTM_DELROUTE) {
    const route = parseRoute(message);
    const action = type === RTM_NEWROUTE ? 'new' : 'deleted';
    return route === undefined ? undefined : { kind: 'route', action, route };
  }
  return undefined;
};
