/** What tests of disks in virtual machines ask of the machines and of the simulated cloud. */
import type { Outcome } from '../../rig/command.ts';
import { until } from '../../rig/command.ts';
import { IMAGE } from '../../rig/vm/guest.ts';
import type { VirtualMachine } from '../../rig/vm/machine.ts';
import type { Vms } from '../../rig/vm/rig.ts';

/** A volume of the simulated AWS, as far as tests look at it. */
export interface CloudVolume {
  readonly id: string;
  readonly state: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly attachment?: { readonly instance: string; readonly state: string };
}

/** The cloud's only volume of that name. */
export async function cloudVolume(vms: Vms, name: string): Promise<CloudVolume> {
  const { volumes } = await vms.cloud.control.ask<{ volumes: readonly CloudVolume[] }>('GET', 'state');
  const found = volumes.filter(({ tags }) => tags['drayage:volume'] === name);
  if (found.length !== 1 || !found[0]) throw new Error(`the cloud has ${found.length} volumes called ${name}`);
  return found[0];
}

/** Resolves when the machine that has the volume has told the others how many containers use it there: a moment after their start. */
export async function untilTold(vms: Vms, name: string, count: number): Promise<void> {
  const tells = async (): Promise<boolean> => {
    const { tags, attachment } = await cloudVolume(vms, name);
    return tags['drayage:holds'] === `${count} ${attachment?.instance}`;
  };
  await until(`${name} to be told of ${count} containers`, tells, { timeoutMs: 60_000, everyMs: 100 });
}

/** Serial number of a volume of EBS in its machine. */
export const serialOf = ({ id }: CloudVolume): string => id.replace('-', '');

export const createVolume = (machine: VirtualMachine, name: string): Promise<string> =>
  machine.dockerMust(['volume', 'create', '-d', 'cloudvol', '-o', 'size=1g', name]);

/** `docker run --rm` of a shell script with the volume at /data; a failure is an outcome. */
export const runOn = (machine: VirtualMachine, volume: string, script: string): Promise<Outcome> =>
  machine.docker(['run', '--rm', '--network', 'host', '-v', `${volume}:/data`, IMAGE, 'sh', '-c', script]);

/** Like `runOn`, again and again while Docker is told to come back later: the time of a client that retries. Returns the output. */
export async function untilRunOn(machine: VirtualMachine, volume: string, script: string): Promise<string> {
  let last = '';
  try {
    return await until(
      `a container on ${machine.name} with ${volume}`,
      async () => {
        const outcome = await runOn(machine, volume, script);
        last = outcome.stderr.trim();
        return outcome.code === 0 ? outcome.stdout.trim() || ' ' : undefined;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; last: ${last}\n${await machine.pluginLog()}`);
  }
}

/** A container that appends a line to a file of the volume and syncs it, four times a second; at the first error it says `failed`. */
export async function startWriter(machine: VirtualMachine, volume: string, file = 'log'): Promise<void> {
  const path = `/data/${file}`;
  const script = `while echo line >> ${path} && sync -f ${path}; do sleep 0.25; done; echo failed; sleep 600`;
  const run = [
    'run',
    '-d',
    '--name',
    'writer',
    '--network',
    'host',
    '-v',
    `${volume}:/data`,
    IMAGE,
    'sh',
    '-c',
    script,
  ];
  await machine.dockerMust(run);
}

export const removeWriter = (machine: VirtualMachine): Promise<string> =>
  machine.dockerMust(['rm', '-f', 'writer'], { timeoutMs: 120_000 });
