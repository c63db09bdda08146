import { EtcdProvider, type EtcdProviderOptions } from '../../../../network-plugin/route/etcd.ts';
import { type Logger, silentLogger } from '../../../../shared/log.ts';
import type { EtcdServer } from '../../../conformance/etcd-server.ts';

/** etcd grants no lease shorter than one and a half elections: one second as the tests start it. */
export const LEASE_SECONDS = 2;

let clusters = 0;

/** A fresh cluster on a server that others may use too. */
export const newCluster = (): string => `c${process.pid}-${++clusters}`;

/** Host `n` of a cluster: its name, address and identity are always the same. */
export const etcdHost = (
  server: EtcdServer,
  cluster: string,
  n: number,
  options: Partial<EtcdProviderOptions> = {},
  log: Logger = silentLogger,
): EtcdProvider =>
  new EtcdProvider({
    etcd: { endpoints: [server.endpoint], attemptMs: 700 },
    root: '/drayage',
    cluster,
    self: { host: `host-${n}`, address: `192.0.2.${n + 1}`, address6: `2001:db8::${n + 1}` },
    id: `id-${n}`,
    leaseSeconds: LEASE_SECONDS,
    log,
    ...options,
  });

/** Waits until it holds. */
export const until = async (what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> => {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
