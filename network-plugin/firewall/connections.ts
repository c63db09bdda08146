import { networkInterfaces } from 'node:os';
import { type Connection, Conntrack } from '../../shared/kernel/conntrack.ts';
import { familyOf } from '../../shared/kernel/inet.ts';
import type { PublishedPort } from './policy.ts';

/**
 * Connections that were begun before a port was published, or before it was taken back, keep going where they went: the
 * kernel translates a connection's first packet and remembers. For TCP that is right, or both ends notice; a UDP client
 * that keeps sending from one port would talk to a dead address for ever. So those are forgotten.
 */
export interface Connections {
  /** After publishing: what goes to the port's host side, but not to its container. Throws KernelError. */
  forgetStrangers(ports: readonly PublishedPort[]): void;
  /** After taking back: what still goes to the container. Throws KernelError. */
  forgetOwn(ports: readonly PublishedPort[]): void;
}

const UDP = 17;

const leadsTo = ({ reply }: Connection, port: PublishedPort): boolean =>
  reply.source === port.targetIp && reply.sourcePort === port.targetPort;

const hostAddresses = (): Set<string> =>
  new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)));

/** Connection tracking of this host. */
export const trackedConnections = (): Connections => {
  // One socket for good: opening and closing one costs more than what is asked over it.
  let table: Conntrack | undefined;
  const forget = (
    ports: readonly PublishedPort[],
    which: (found: Connection, port: PublishedPort) => boolean,
  ): void => {
    const udp = ports.filter(({ protocol }) => protocol === UDP);
    if (udp.length === 0) return;
    table ??= Conntrack.open();
    for (const [family, group] of Map.groupBy(udp, ({ targetIp }) => familyOf(targetIp))) {
      const found = table.towards(family, UDP, [...new Set(group.map(({ hostPort }) => hostPort))]);
      for (const connection of found) {
        const theirs = group.filter(({ hostPort }) => hostPort === connection.original.destinationPort);
        if (theirs.some((port) => which(connection, port))) table.forget(connection);
      }
    }
  };
  return {
    forgetStrangers: (ports) => {
      const local = ports.some(({ protocol }) => protocol === UDP) ? hostAddresses() : new Set();
      forget(ports, (connection, port) => {
        const { destination } = connection.original;
        const ours = port.hostIp === '' ? local.has(destination) : destination === port.hostIp;
        return ours && !leadsTo(connection, port);
      });
    },
    forgetOwn: (ports) => forget(ports, leadsTo),
  };
};
