/**
 * Plays a cloud: a simulator in the router's namespace whose effective routes are the router's kernel table. A prefix
 * that is not in the cloud's table, or whose next hop is gone, carries no packet. Runs as a program, started by `RigCloud`.
 */
import { startAliyunSim } from '../sim/aliyun/sim.ts';
import { startAwsSim } from '../sim/aws/sim.ts';
import type { CoreConfig } from '../sim/core/config.ts';
import type { EffectiveRoute, RouteSink } from '../sim/core/routes.ts';
import { CLOUD_ADDRESS, hostAddresses } from './addresses.ts';
import { programRoutes } from './etcd-router.ts';
import type { Fabric } from './router.ts';
import { VmMedia } from './vm/media.ts';

export type CloudName = 'aws' | 'aliyun';

/** Where each cloud's metadata service answers, in every VPC. */
export const METADATA_ADDRESS: Readonly<Record<CloudName, string>> = {
  aws: '169.254.169.254',
  aliyun: '100.100.100.200',
};

/** What the program is told, as JSON in its first argument. */
export interface CloudConfig {
  readonly cloud: CloudName;
  readonly hosts: number;
  readonly fabric: Fabric;
  /** Unix socket of the control interface. */
  readonly control: string;
  /** More of the simulator's configuration: rates, lag, timing … */
  readonly sim: Omit<CoreConfig, 'clock'>;
  /** Folder of the disks of virtual machines. */
  readonly media?: string;
}

/** Effective routes as prefix → host number. What leads nowhere, or to no host, is left out. */
export function tableOf(routes: readonly EffectiveRoute[], hosts: number): Map<string, number> {
  const numbers = new Map<string, number>();
  for (let n = 1; n <= hosts; n += 1) {
    const { v4, v6 } = hostAddresses(n);
    numbers.set(v4, n).set(v6, n);
  }
  const table = new Map<string, number>();
  for (const { prefix, state, via = '' } of routes) {
    const host = numbers.get(via);
    if (state === 'active' && host !== undefined) table.set(prefix, host);
  }
  return table;
}

/** How often the kernel is compared with the cloud: a host that was off has its routes back this soon. */
const EVERY_MS = 200;

/** Serves until it is killed. */
export async function serveCloud(config: CloudConfig): Promise<void> {
  const { cloud, hosts, fabric } = config;
  const places = {
    api: { host: CLOUD_ADDRESS, port: 80 },
    metadata: { host: METADATA_ADDRESS[cloud], port: 80 },
    control: { socket: config.control },
  };
  const start = cloud === 'aws' ? startAwsSim : startAliyunSim;
  const media = config.media === undefined ? {} : { media: new VmMedia(config.media) };
  const sim = await start({ ...config.sim, ...places, ...media });
  const sink: RouteSink = { apply: (routes) => programRoutes(tableOf(routes, hosts), hosts, fabric) };
  await sim.attach(sink);
  setInterval(() => sink.apply(sim.effectiveRoutes()), EVERY_MS);
}

if (import.meta.main) await serveCloud(JSON.parse(process.argv[2] ?? '{}') as CloudConfig);
