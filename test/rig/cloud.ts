/** A simulated cloud around a rig: every host is an instance of its VPC, and its route table is the router's. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Call, CallFilter } from '../sim/core/call-log.ts';
import type { CoreConfig } from '../sim/core/config.ts';
import { SimControl } from '../sim/core/control-client.ts';
import type { EffectiveRoute } from '../sim/core/routes.ts';
import { CLOUD_ADDRESS, HOSTS4, HOSTS6, hostAddresses } from './addresses.ts';
import { type CloudConfig, type CloudName, METADATA_ADDRESS } from './cloud-router.ts';
import { until } from './command.ts';
import type { Rig } from './rig.ts';

export interface RigCloudOptions {
  /** What the hosts' role may do; everything by default. */
  readonly actions?: readonly string[];
  /** More of the simulator's configuration, such as `{ lagMs: 500 }`. No limits of rate by default. */
  readonly sim?: Omit<CoreConfig, 'clock'> & Readonly<Record<string, unknown>>;
  /** Instances that are virtual machines, instead of the rig's hosts. */
  readonly machines?: number;
  /** Folder of the disks of virtual machines (see vm/media.ts); without it disks have no bytes. */
  readonly media?: string;
}

/** A host as the cloud knows it. */
export interface CloudInstance {
  readonly id: string;
  /** Its primary interface. */
  readonly interface: string;
}

interface Made {
  readonly id: string;
  readonly interfaces: readonly { readonly id: string }[];
}

const ROLE = 'drayage';

export class RigCloud {
  readonly name: CloudName;
  /** Works the simulator: faults, log of calls, clock, its own verbs. */
  readonly control: SimControl;
  readonly region: string;
  /** The VPC's main (AWS) or system (Aliyun) route table. */
  readonly table: string;
  readonly #instances: readonly CloudInstance[];

  private constructor(parts: {
    name: CloudName;
    control: SimControl;
    region: string;
    table: string;
    instances: readonly CloudInstance[];
  }) {
    this.name = parts.name;
    this.control = parts.control;
    this.region = parts.region;
    this.table = parts.table;
    this.#instances = parts.instances;
  }

  /** Starts the simulator in the rig's router and puts one instance there for each host, known by its address. */
  static async start(rig: Rig, name: CloudName, options: RigCloudOptions = {}): Promise<RigCloud> {
    const { machine, fabric } = rig.router;
    await machine.ip([`address add ${CLOUD_ADDRESS}/32 dev lo`, `address add ${METADATA_ADDRESS[name]}/32 dev lo`]);
    const socket = path.join(machine.folder, 'cloud.sock');
    const hosts = options.machines ?? rig.hosts.length;
    const config: CloudConfig = {
      ...(options.media === undefined ? {} : { media: options.media }),
      ...{ cloud: name, hosts, fabric, control: socket },
      sim: { rates: {}, ...options.sim },
    };
    const script = fileURLToPath(new URL('cloud-router.ts', import.meta.url));
    await machine.spawn([process.execPath, script, JSON.stringify(config)], 'cloud-router.log');
    const control = new SimControl(socket);
    const { region } = await until(`the simulated ${name}`, () =>
      control.ask<{ region: string }>('GET', 'info').catch(() => undefined),
    );
    const furnish = name === 'aws' ? furnishAws : furnishAliyun;
    const { table, instances } = await furnish(control, hosts, options.actions ?? ['*']);
    return new RigCloud({ name, control, region, table, instances });
  }

  /** Settings of the plugin, the same on every host: identity and keys come from the metadata service. */
  get settings(): Readonly<Record<string, string>> {
    return { PROVIDER: this.name, CLOUD_ENDPOINT: `http://${CLOUD_ADDRESS}` };
  }

  /** Host number `n`, counted from 1. */
  instance(n: number): CloudInstance {
    const instance = this.#instances[n - 1];
    if (instance === undefined) throw new Error(`this cloud has ${this.#instances.length} instances, no instance ${n}`);
    return instance;
  }

  /** Number of the host that a next hop is; undefined for another's. */
  hostOf(target: string): number | undefined {
    const index = this.#instances.findIndex((one) => one.id === target || one.interface === target);
    return index < 0 ? undefined : index + 1;
  }

  async routes(): Promise<readonly EffectiveRoute[]> {
    return (await this.control.routes()).routes;
  }

  /** Takes a route out of the table behind everybody's back. */
  async removeRoute(prefix: string): Promise<void> {
    await this.control.do('removeRoute', { table: this.table, prefix });
  }

  /** The instance is stopped; it may come back. */
  async stop(n: number): Promise<void> {
    await this.control.do('stop', { id: this.instance(n).id });
  }

  /** The instance is gone for good: terminated, released. Its routes stay, as black holes. */
  async terminate(n: number): Promise<void> {
    await this.control.do(this.name === 'aws' ? 'terminate' : 'release', { id: this.instance(n).id });
  }

  calls(filter: CallFilter = {}): Promise<Call[]> {
    return this.control.calls(filter);
  }
}

interface Furnished {
  readonly table: string;
  readonly instances: readonly CloudInstance[];
}

const VPC4 = '10.250.0.0/16';
const VPC6 = HOSTS6.replace('/64', '/56');

const eachHost = async (hosts: number, make: (n: number) => Promise<Made>): Promise<CloudInstance[]> => {
  const instances: CloudInstance[] = [];
  for (let n = 1; n <= hosts; n += 1) {
    const { id, interfaces } = await make(n);
    instances.push({ id, interface: interfaces[0]?.id ?? '' });
  }
  return instances;
};

const furnishAws = async (control: SimControl, hosts: number, actions: readonly string[]): Promise<Furnished> => {
  const vpc = await control.do<{ id: string }>('vpc', { cidr: VPC4, cidr6: VPC6 });
  const subnet = await control.do<{ id: string }>('subnet', { vpc: vpc.id, cidr: HOSTS4, cidr6: HOSTS6 });
  const table = await control.do<{ id: string }>('tableOf', { subnet: subnet.id });
  const instances = await eachHost(hosts, (n) => {
    const { v4: address, v6: address6 } = hostAddresses(n);
    const role = { name: ROLE, actions };
    return control.do('instance', { name: `host${n}`, subnet: subnet.id, address, address6, role });
  });
  return { table: table.id, instances };
};

const furnishAliyun = async (control: SimControl, hosts: number, actions: readonly string[]): Promise<Furnished> => {
  await control.do('role', { name: ROLE, actions });
  const vpc = await control.do<{ id: string; systemTable: string }>('vpc', { cidr: VPC4, cidr6: VPC6 });
  const vswitch = await control.do<{ id: string }>('vswitch', { vpc: vpc.id, cidr: HOSTS4, cidr6: HOSTS6 });
  const instances = await eachHost(hosts, (n) => {
    const { v4: address, v6: address6 } = hostAddresses(n);
    return control.do('instance', { name: `host${n}`, vswitch: vswitch.id, address, address6, role: ROLE });
  });
  return { table: vpc.systemTable, instances };
};
