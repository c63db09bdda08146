/**
 * Virtual machines in a simulated cloud: each is an instance, and a disk that the cloud attaches is plugged into it.
 *
 *   const vms = await vmsFor(t, { machines: 2, cloud: 'aws', plugin: folder });
 *   await vms.machine(1).enablePlugin(vms.settings);
 *   await vms.machine(1).dockerMust(['run', '-d', '-v', 'data:/data', IMAGE, …]);
 *   await vms.kill(1);
 */
import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { RigCloud, type RigCloudOptions } from '../cloud.ts';
import type { CloudName } from '../cloud-router.ts';
import { Rig } from '../rig.ts';
import { toStandardError } from '../wares.ts';
import { VirtualMachine } from './machine.ts';
import { ensureTemplate, type Template } from './template.ts';

export interface VmsOptions {
  readonly machines: number;
  /** Whose instances they are. Without it there is no cloud. */
  readonly cloud?: CloudName;
  /** Folder of the built volume plugin. */
  readonly plugin: string;
  readonly sim?: RigCloudOptions['sim'];
}

export class Vms {
  readonly rig: Rig;
  readonly #cloud: RigCloud | undefined;
  readonly #template: Template;
  readonly #machines: VirtualMachine[];

  private constructor(rig: Rig, cloud: RigCloud | undefined, template: Template, machines: VirtualMachine[]) {
    this.rig = rig;
    this.#cloud = cloud;
    this.#template = template;
    this.#machines = machines;
  }

  /** @throws Error with one sentence when this machine cannot run any. */
  static async up(options: VmsOptions): Promise<Vms> {
    if (!existsSync('/dev/net/tun')) {
      throw new Error('There is no /dev/net/tun, by which virtual machines are connected: load the module tun.');
    }
    const template = await ensureTemplate(options.plugin, toStandardError);
    const rig = await Rig.up({ hosts: 0, fabric: 'switch' });
    try {
      const media = path.join(rig.folder, 'media');
      mkdirSync(path.join(media, 'instances'), { recursive: true });
      const { machines: count, cloud: name } = options;
      const sim = options.sim === undefined ? {} : { sim: options.sim };
      const [cloud, ...machines] = await Promise.all([
        name === undefined ? undefined : RigCloud.start(rig, name, { machines: count, media, ...sim }),
        ...Array.from({ length: count }, (_, i) => VirtualMachine.start(i + 1, rig, template)),
      ]);
      if (cloud) {
        for (const machine of machines) {
          symlinkSync(machine.folder, path.join(media, 'instances', cloud.instance(machine.number).id));
        }
      }
      return new Vms(rig, cloud, template, machines);
    } catch (error) {
      await rig.down();
      throw error;
    }
  }

  get cloud(): RigCloud {
    if (!this.#cloud) throw new Error('these virtual machines are in no cloud');
    return this.#cloud;
  }

  /** Machine number `n`, counted from 1. */
  machine(n: number): VirtualMachine {
    const machine = this.#machines[n - 1];
    if (!machine) throw new Error(`there are ${this.#machines.length} virtual machines, no machine ${n}`);
    return machine;
  }

  /** A machine like the first one, freshly booted, in the place of number `n`, which has ended. The cloud knows it as the same instance. */
  async replace(n: number): Promise<VirtualMachine> {
    const machine = await VirtualMachine.start(n, this.rig, this.#template);
    this.#machines[n - 1] = machine;
    return machine;
  }

  /** The plugin's settings: disks of this cloud, identity and keys from its metadata service. */
  get settings(): Readonly<Record<string, string>> {
    const provider = this.cloud.name === 'aws' ? 'ebs' : 'aliyun-disk';
    return { ...this.cloud.settings, PROVIDER: provider };
  }

  async down(): Promise<void> {
    await this.rig.down();
  }
}

/** Virtual machines for a tap test: they go down at the test's end. */
export async function vmsFor(t: { teardown(fn: () => Promise<void>): void }, options: VmsOptions): Promise<Vms> {
  const vms = await Vms.up(options);
  t.teardown(async () => await vms.down());
  return vms;
}
