import { isIPv6 } from 'node:net';
import { parseAddress } from '../../shared/cidr.ts';
import { PluginError } from '../../shared/errors.ts';
import type { PortRecord } from '../state.ts';

/** One entry of `-p`: `hostPort` 0 lets us choose, `hostPortEnd` above it gives a range to choose from. */
export interface PortRequest {
  readonly protocol: PortRecord['protocol'];
  /** The container's address as Docker sees it; not needed, since the endpoint's addresses are known. */
  readonly containerIp: string | undefined;
  readonly containerPort: number;
  readonly hostIp: string | undefined;
  readonly hostPort: number;
  readonly hostPortEnd: number;
}

/** The endpoint's addresses. */
export interface Targets {
  readonly address?: string;
  readonly address6?: string;
}

/** Host sides and targets of a request, before a host port is chosen for them. */
export interface Binding {
  readonly hostIp: string;
  readonly targetIp: string;
}

const UDP = 17;

const refuse = (value: string, reason: string): PluginError =>
  new PluginError('OPTION_INVALID', {
    where: 'The published port',
    option: 'host address',
    value,
    reason,
    allowed: 'an address of this host, of a family that the container has an address of',
    example: '0.0.0.0',
  });

/**
 * Where a request is to be bound: on every address of each family that the container has, or on the one address asked
 * for. Errors: OPTION_INVALID when the container has no address of that family, or the port could never be reached.
 */
export const bindingsOf = (request: PortRequest, targets: Targets): readonly Binding[] => {
  const { hostIp = '' } = request;
  const { address, address6 } = targets;
  if (hostIp === '') {
    const found = [address, address6].flatMap((targetIp) => (targetIp === undefined ? [] : [{ hostIp: '', targetIp }]));
    if (found.length === 0) throw refuse('any', 'the container has no address');
    return found;
  }
  const host = parseAddress(hostIp);
  const targetIp = host.family === 4 ? address : address6;
  if (targetIp === undefined) throw refuse(hostIp, `the container has no IPv${host.family} address`);
  if (host.text === '::1' && request.protocol === UDP) {
    throw refuse(hostIp, 'the kernel cannot pass UDP from the IPv6 loopback on; use 127.0.0.1 or another address');
  }
  const isEvery = host.text === '0.0.0.0' || host.text === '::';
  return [{ hostIp: isEvery ? '' : host.text, targetIp }];
};

/** Do two records claim the same port of the same host address? */
export const collide = (a: PortRecord, b: PortRecord): boolean =>
  a.protocol === b.protocol &&
  a.hostPort === b.hostPort &&
  isIPv6(a.targetIp) === isIPv6(b.targetIp) &&
  (a.hostIp === b.hostIp || a.hostIp === '' || b.hostIp === '');

/** `tcp`, `udp`, `sctp`, as Docker writes them behind a port. */
export const protocolName = (protocol: PortRecord['protocol']): string =>
  ({ 6: 'tcp', 17: 'udp', 132: 'sctp' })[protocol];
