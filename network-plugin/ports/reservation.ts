import { createSocket } from 'node:dgram';
import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import type { PortRecord } from '../state.ts';
import type { LoopbackProxy } from './proxy.ts';

/** Keeps a host port from every other process of the host, as long as it is not closed. */
export interface Reservation {
  close(): Promise<void>;
}

const ANY = { 4: '0.0.0.0', 6: '::' } as const;

/** The address to bind: the family is the container's where every address of the host is meant. */
const hostAddress = ({ hostIp, targetIp }: PortRecord): string =>
  hostIp === '' ? ANY[isIPv6(targetIp) ? 6 : 4] : hostIp;

const TCP = 6;
const UDP = 17;

/**
 * Binds a port's host side with a real socket. Packets never get to it: they are translated before. What does reach a
 * TCP socket, connections to ::1, is handed to the proxy. There is nothing to bind for SCTP, which Node has no sockets
 * for. Rejects with the system's error: EADDRINUSE, EADDRNOTAVAIL, EACCES.
 */
export const bindPort = (port: PortRecord, proxy: LoopbackProxy): Promise<Reservation> => {
  if (port.protocol === TCP) return listen(port, proxy);
  if (port.protocol === UDP) return bindDatagram(port);
  return Promise.resolve({ close: () => Promise.resolve() });
};

const listen = async (port: PortRecord, proxy: LoopbackProxy): Promise<Reservation> => {
  const open = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    proxy.serve(socket, port);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: hostAddress(port), port: port.hostPort, ipv6Only: true, exclusive: true }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  server.unref();
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
};

const bindDatagram = async (port: PortRecord): Promise<Reservation> => {
  const address = hostAddress(port);
  const family6 = isIPv6(address);
  const socket = createSocket({ type: family6 ? 'udp6' : 'udp4', ipv6Only: family6, reuseAddr: false });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address, port: port.hostPort, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
  // An ICMP error on an unconnected socket, at worst: the port stays bound.
  socket.on('error', () => undefined);
  socket.unref();
  return { close: () => new Promise((resolve) => socket.close(() => resolve())) };
};
