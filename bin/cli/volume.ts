import { join } from 'node:path';
import { ask, CommandError, exit, isRecord } from './client.ts';
import { listing, table } from './table.ts';

interface VolumeCommand {
  readonly help: string;
  readonly method: string;
  /** What must stand behind the command: names in the request, and in words. */
  readonly operands?: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly timeout: number;
  show(answer: Readonly<Record<string, unknown>>): string;
}

const commands: Readonly<Record<string, VolumeCommand>> = {
  ls: {
    method: '/Drayage.Volumes',
    help: "the cluster's volumes: type, state, and how often Docker holds each here",
    timeout: 10_000,
    show: ({ Volumes }) =>
      table(
        Array.isArray(Volumes) ? Volumes : [],
        ['Name', 'Type', 'State', 'Holds', 'Path', 'Options', 'LastError'],
        'The cluster has no volumes.',
      ),
  },
  inspect: {
    method: '/Drayage.Volume',
    help: 'one volume: options, where it is, who holds it here, what went wrong last',
    operands: { Volume: 'the name of a volume' },
    timeout: 10_000,
    show: ({ Volume }) => listing(isRecord(Volume) ? Volume : {}),
  },
  fence: {
    method: '/Drayage.VolumeFence',
    help: 'takes a volume from a host that is dead; make sure that it is: a live one goes on writing',
    operands: { Volume: 'the name of a volume', Host: 'the name of the host that has it, as a confirmation' },
    timeout: 120_000,
    show: ({ Volume, Host }) => `Volume ${String(isRecord(Volume) ? Volume.Name : '')} was taken from ${String(Host)}.`,
  },
  refresh: {
    method: '/Drayage.Refresh',
    help: "reads the cluster's list now, and prints it",
    timeout: 60_000,
    show: (answer) => commands.ls?.show(answer) ?? '',
  },
  status: {
    method: '/Drayage.Status',
    help: 'the settings of the volume plugin, and which types of volumes work',
    timeout: 10_000,
    show: (answer) => listing(answer),
  },
};

/** The lines of the usage. */
export const volumeUsage = Object.entries(commands)
  .map(([name, { help }]) => `  ${`volume ${name}`.padEnd(15)} ${help}`)
  .join('\n');

/**
 * Runs `drayage volume …` and answers what to print.
 * @param args what stands after `volume`.
 * @param state the plugins' state folder.
 */
export async function volume(args: readonly string[], state: string, json: boolean): Promise<string> {
  const [name, ...rest] = args;
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    const known = Object.keys(commands).join(', ');
    throw new CommandError(
      `volume ${name === undefined ? 'needs' : `has no "${name}", but`} one of ${known}.`,
      exit.usage,
    );
  }
  const operands = Object.entries(command.operands ?? {});
  const missing = operands[rest.length];
  if (missing !== undefined) throw new CommandError(`volume ${name} needs ${missing[1]}.`, exit.usage);
  if (rest.length > operands.length) {
    throw new CommandError(
      `"${rest[operands.length]}" is not expected after volume ${name}. See drayage --help.`,
      exit.usage,
    );
  }
  const body = Object.fromEntries(operands.map(([field], n) => [field, rest[n]]));
  const answer = await ask(join(state, 'volume', 'admin.sock'), command.method, body, command.timeout);
  return json ? JSON.stringify(answer, null, 2) : command.show(answer);
}
