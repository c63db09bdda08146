/** What the control interface can do to a simulated Aliyun: one JSON argument each. */
import type { Verbs } from '../core/control.ts';
import type { RateTable } from '../core/rates.ts';
import type { AliyunSim } from './sim.ts';

interface Named {
  readonly id: string;
}

type First<
  N extends
    | 'associate'
    | 'addRoute'
    | 'categories'
    | 'disk'
    | 'diskTimes'
    | 'gateway'
    | 'instance'
    | 'lockDisk'
    | 'mountDisk'
    | 'removeRoute'
    | 'role'
    | 'routeTable'
    | 'tagDisk'
    | 'timing'
    | 'vpc'
    | 'vswitch',
> = Parameters<AliyunSim[N]>[0];

export const aliyunVerbs = (sim: AliyunSim) =>
  ({
    vpc: (argument: First<'vpc'>) => sim.vpc(argument),
    vswitch: (argument: First<'vswitch'>) => sim.vswitch(argument),
    routeTable: (argument: First<'routeTable'>) => sim.routeTable(argument),
    associate: (argument: First<'associate'>) => sim.associate(argument),
    deleteTable: ({ id }: Named) => sim.deleteTable(id),
    instance: (argument: First<'instance'>) => sim.instance(argument),
    gateway: (argument: First<'gateway'>) => sim.gateway(argument),
    role: (argument: First<'role'>) => sim.role(argument),
    stop: ({ id }: Named) => sim.stop(id),
    resume: ({ id }: Named) => sim.resume(id),
    release: ({ id }: Named) => sim.release(id),
    addRoute: (argument: First<'addRoute'>) => sim.addRoute(argument),
    removeRoute: (argument: First<'removeRoute'>) => sim.removeRoute(argument),
    routes: ({ table }: { table?: string }) => sim.routes(table),
    disk: (argument: First<'disk'>) => sim.disk(argument),
    disks: () => sim.disks(),
    snapshots: () => sim.snapshots(),
    historyOf: ({ id }: Named) => sim.historyOf(id),
    lockDisk: (argument: First<'lockDisk'>) => sim.lockDisk(argument),
    tagDisk: (argument: First<'tagDisk'>) => sim.tagDisk(argument),
    mountDisk: (argument: First<'mountDisk'>) => sim.mountDisk(argument),
    categories: (argument: First<'categories'>) => sim.categories(argument),
    kmsKey: () => sim.kmsKey(),
    failDisks: ({ count }: { count: number }) => sim.failDisks(count),
    diskTimes: (argument: First<'diskTimes'>) => sim.diskTimes(argument),
    nas: () => sim.nas.state(),
    fileSystem: (argument: Parameters<AliyunSim['nas']['make']>[0]) => sim.nas.make(argument),
    nasTimes: (argument: Partial<AliyunSim['nas']['times']>) => Object.assign(sim.nas.times, argument),
    /** Where all mount targets lead that are made from now on. */
    nasServer: ({ host }: { host: string }) => {
      sim.nas.server = host;
    },
    metadataOf: ({ id }: Named) => sim.metadataOf(id),
    /** With secret and token: for looking whether they show up anywhere. */
    roleCredentials: ({ id }: Named) => sim.roleCredentials(id),
    expire: ({ id }: Named) => sim.expire(id),
    timing: (argument: First<'timing'>) => sim.timing(argument),
    rates: (table: RateTable) => sim.rates(table),
    quota: ({ name, limit }: { name: string; limit: number }) => sim.quotas.set(name, limit),
    lag: ({ ms }: { ms: number }) => {
      sim.lagMs = ms;
    },
  }) satisfies Verbs;
