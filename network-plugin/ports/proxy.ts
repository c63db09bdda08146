import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { Logger } from '../../shared/log.ts';
import type { PortRecord } from '../state.ts';

export interface ProxyLimits {
  /** Connections at once, over all ports. */
  readonly connections: number;
  readonly connectTimeoutMs: number;
}

const LIMITS: ProxyLimits = { connections: 256, connectTimeoutMs: 10_000 };

const isLoopback = (address: string | undefined): boolean =>
  address === '::1' || (address?.startsWith('127.') ?? false);

/**
 * Carries connections from the host to `[::1]:port`, which the kernel cannot translate, to the container. Others reach
 * the listener only while the firewall is not in place, and are refused: the firewall says who may come in.
 * IPv4's loopback is translated; it is carried too, so that `127.0.0.1` works even while rules are being repaired.
 */
export class LoopbackProxy {
  readonly #log: Logger;
  readonly #limits: ProxyLimits;
  #connections = 0;

  constructor(log: Logger, limits: ProxyLimits = LIMITS) {
    this.#log = log;
    this.#limits = limits;
  }

  /** Connections being carried. */
  get connections(): number {
    return this.#connections;
  }

  serve(client: Socket, port: PortRecord): void {
    // Errors of either side end both; there is nobody to tell but the peer, who sees the connection end.
    client.on('error', (error) => this.#log.debug('a proxied connection ended', { reason: error.message }));
    if (!isLoopback(client.remoteAddress) || this.#connections >= this.#limits.connections) {
      client.resetAndDestroy();
      return;
    }
    this.#connections += 1;
    client.once('close', () => {
      this.#connections -= 1;
    });
    this.#carry(client, port);
  }

  #carry(client: Socket, port: PortRecord): void {
    const container = connect({ host: port.targetIp, port: port.targetPort, allowHalfOpen: true, noDelay: true });
    const late = setTimeout(() => container.destroy(new Error('connect timed out')), this.#limits.connectTimeoutMs);
    late.unref();
    client.once('close', () => container.destroy());
    container.once('close', () => {
      clearTimeout(late);
      client.destroy();
    });
    container.once('error', (error) => {
      this.#log.debug('a container refused a proxied connection', { port: port.hostPort, reason: error.message });
      client.resetAndDestroy();
    });
    container.once('connect', () => {
      clearTimeout(late);
      client.setNoDelay(true);
      const ended = (error: NodeJS.ErrnoException | null | undefined): void => {
        if (error === null || error === undefined) return;
        client.destroy();
        container.destroy();
      };
      pipeline(client, container, ended);
      pipeline(container, client, ended);
    });
  }
}
