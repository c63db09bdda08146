/** What the control interface can do to a simulated AWS: one JSON argument each. */
import type { Verbs } from '../core/control.ts';
import type { DiskTimes } from '../core/media.ts';
import type { RateTable } from '../core/rates.ts';
import type { FileTimes } from './file-storage.ts';
import type { AwsSim, InstanceRequest } from './sim.ts';
import type { GatewayKind, Table } from './world.ts';

interface Named {
  readonly id: string;
}

const plain = ({ id, name, vpc, main, subnets }: Table) => ({
  id,
  name,
  vpc,
  main: main !== undefined,
  subnets: [...subnets.values()],
});

export const awsVerbs = (sim: AwsSim) =>
  ({
    vpc: (argument: Parameters<AwsSim['vpc']>[0]) => sim.vpc(argument),
    subnet: (argument: Parameters<AwsSim['subnet']>[0]) => sim.subnet(argument),
    routeTable: (argument: Parameters<AwsSim['routeTable']>[0]) => plain(sim.routeTable(argument)),
    tableOf: ({ subnet }: { subnet: string }) => plain(sim.tableOf(subnet)),
    instance: (argument: InstanceRequest) => sim.instance(argument),
    networkInterface: (argument: Parameters<AwsSim['networkInterface']>[0]) => sim.networkInterface(argument),
    gateway: ({ kind, vpcs = [] }: { kind: GatewayKind; vpcs?: readonly string[] }) => sim.gateway(kind, ...vpcs),
    propagate: (a: { table: string; prefix: string; gateway: string }) => sim.propagate(a.table, a.prefix, a.gateway),
    removeRoute: (a: { table: string; prefix: string }) => sim.removeRoute(a.table, a.prefix),
    deleteTable: ({ id }: Named) => sim.deleteTable(id),
    terminate: ({ id }: Named) => sim.terminate(id),
    forget: ({ id }: Named) => sim.forget(id),
    stop: ({ id }: Named) => sim.stop(id),
    resume: ({ id }: Named) => sim.resume(id),
    times: (times: Partial<DiskTimes>) => {
      sim.disks.times = times;
    },
    fileTimes: (times: Partial<FileTimes>) => {
      sim.files.times = { ...sim.files.times, ...times };
    },
    fileServer: ({ address }: { address: string }) => {
      sim.files.server = address;
    },
    volume: (argument: Parameters<AwsSim['disks']['volume']>[0]) => sim.disks.volume(argument),
    mounted: (a: { id: string; is: boolean }) => sim.disks.mounted(a.id, a.is),
    breakDown: ({ id }: Named) => sim.disks.breakDown(id),
    detach: ({ id }: Named) => sim.disks.detach(id),
    kmsKey: () => sim.disks.key(),
    sourceDestCheck: (a: { id: string; on: boolean }) => sim.setSourceDestCheck(a.id, a.on),
    metadataFrom: (a: { source: string; instance: string }) => sim.metadata.from(a.source, a.instance),
    metadataOf: ({ id }: Named) => sim.metadataOf(id),
    expire: ({ id }: Named) => sim.expire(id),
    quota: (a: { name: string; limit: number }) => sim.quotas.set(a.name, a.limit),
    rates: (table: RateTable) => sim.throttle.configure(table),
    lag: ({ ms }: { ms: number }) => {
      sim.lagMs = ms;
    },
  }) satisfies Verbs;

/** Everything that exists, as plain data without secrets. */
export const awsState = (sim: AwsSim) => {
  const { vpcs, subnets, tables, instances, interfaces, gateways } = sim.world;
  return {
    vpcs: [...vpcs.values()],
    subnets: [...subnets.values()],
    tables: [...tables.values()].map((table) => ({ ...plain(table), routes: sim.routes(table.id) })),
    instances: [...instances.values()],
    interfaces: [...interfaces.values()].map((each) => ({ ...each, sourceDestCheck: sim.sourceDestCheck(each.id) })),
    gateways: [...gateways.values()],
    volumes: sim.disks.volumes(),
    snapshots: sim.disks.snapshots(),
    fileSystems: sim.files.fileSystems.entries().map(([, one]) => one),
    mountTargets: sim.files.mountTargets.entries().map(([, one]) => one),
    quotas: sim.quotas.all(),
    lagMs: sim.lagMs,
  };
};
