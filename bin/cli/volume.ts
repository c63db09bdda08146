import { join } from 'node:path';
import { ask, CommandError, exit, isRecord } from './client.ts';
import { listing, table } from './table.ts';

interface VolumeCommand {
  readonly help: string;
  readonly method: string;
  /** What must stand behind the command, as the usage names it. */
  readonly operand?: string;
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
    operand: 'the name of a volume',
    timeout: 10_000,
    show: ({ Volume }) => listing(isRecord(Volume) ? Volume : {}),
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
  const expected = command.operand === undefined ? 0 : 1;
  if (rest.length < expected) throw new CommandError(`volume ${name} needs ${command.operand}.`, exit.usage);
  if (rest.length > expected) {
    throw new CommandError(`"${rest[expected]}" is not expected after volume ${name}. See drayage --help.`, exit.usage);
  }
  const body = command.operand === undefined ? {} : { Volume: rest[0] };
  const answer = await ask(join(state, 'volume', 'admin.sock'), command.method, body, command.timeout);
  return json ? JSON.stringify(answer, null, 2) : command.show(answer);
}
