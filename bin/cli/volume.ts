import { join } from 'node:path';
import { formatSize } from '../../shared/duration.ts';
import { ask, CommandError, exit, isRecord } from './client.ts';
import { listing, table } from './table.ts';

interface VolumeCommand {
  readonly help: string;
  readonly method: string;
  /** What must stand behind the command: names in the request, and in words. */
  readonly operands?: Readonly<Record<string, string>>;
  /** How many of them may be left out, from the end. */
  readonly optional?: number;
  /** Takes `--inside`. */
  readonly inside?: true;
  /** Milliseconds. */
  readonly timeout: number;
  show(answer: Readonly<Record<string, unknown>>): string;
}

const VOLUME = 'the name of a volume';
const SNAPSHOTS = ['Id', 'Volume', 'Size', 'State', 'Created', 'Reason'];

const snapshots = (found: unknown): string =>
  table(Array.isArray(found) ? found.map(sized) : [], SNAPSHOTS, 'There are no snapshots.');

/** Sizes as people write them. */
const sized = (row: unknown): unknown =>
  isRecord(row) && typeof row.Size === 'number' ? { ...row, Size: formatSize(row.Size) } : row;

const nameOf = (value: unknown, field = 'Name'): string => String(isRecord(value) ? value[field] : '');

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
    operands: { Volume: VOLUME },
    timeout: 10_000,
    show: ({ Volume }) => listing(isRecord(Volume) ? Volume : {}),
  },
  resize: {
    method: '/Drayage.VolumeResize',
    help: 'makes a volume larger, also while containers use it; on the host that has it',
    operands: { Volume: VOLUME, Size: 'its new size, such as 40GiB' },
    timeout: 60_000,
    show: ({ Volume }) => {
      const size = isRecord(Volume) && isRecord(Volume.Options) ? Volume.Options.size : undefined;
      return `Volume ${nameOf(Volume)} has ${String(size)} now.`;
    },
  },
  snapshot: {
    method: '/Drayage.VolumeSnapshot',
    help: 'begins a snapshot of what is in a volume now; writers wait until it has begun',
    operands: { Volume: VOLUME },
    timeout: 60_000,
    show: ({ Snapshot }) => snapshots([Snapshot]),
  },
  snapshots: {
    method: '/Drayage.VolumeSnapshots',
    help: "the cluster's snapshots, or those of one volume",
    operands: { Volume: VOLUME },
    optional: 1,
    timeout: 60_000,
    show: ({ Snapshots }) => snapshots(Snapshots),
  },
  'snapshot-rm': {
    method: '/Drayage.VolumeSnapshotRemove',
    help: 'removes a snapshot; volumes that were made of it stay',
    operands: { Snapshot: 'the id of a snapshot' },
    timeout: 60_000,
    show: ({ Snapshot }) => `Snapshot ${nameOf(Snapshot, 'Id')} is removed.`,
  },
  clone: {
    method: '/Drayage.VolumeClone',
    help: 'makes a volume that begins as a copy of a volume or a snapshot',
    operands: { Source: 'the name of a volume or the id of a snapshot', Volume: 'the name of the new volume' },
    timeout: 60_000,
    show: ({ Volume, Source }) => `Volume ${nameOf(Volume)} is a copy of ${String(Source)}.`,
  },
  import: {
    method: '/Drayage.VolumeImport',
    help: 'makes a disk that is there a volume, unformatted; --inside names the folder that containers get',
    operands: { Disk: 'the id or the name of a disk', Volume: 'the name of the new volume' },
    inside: true,
    timeout: 60_000,
    show: ({ Volume, Disk }) => `Disk ${String(Disk)} is volume ${nameOf(Volume)}.`,
  },
  fence: {
    method: '/Drayage.VolumeFence',
    help: 'takes a volume from a host that is dead; make sure that it is: a live one goes on writing',
    operands: { Volume: VOLUME, Host: 'the name of the host that has it, as a confirmation' },
    timeout: 120_000,
    show: ({ Volume, Host }) => `Volume ${nameOf(Volume)} was taken from ${String(Host)}.`,
  },
  retire: {
    method: '/Drayage.VolumeRetire',
    help: 'disks that a volume left behind when it moved; with the number of a generation it removes those up to it',
    operands: { Volume: VOLUME, Generation: 'the number of the last generation to remove, as a confirmation' },
    optional: 1,
    timeout: 120_000,
    show: ({ Retired, Removed }) => {
      const rows = Array.isArray(Retired) ? Retired.map(sized) : [];
      const shown = table(rows, ['Generation', 'Disk', 'Zone', 'Size', 'Retired'], 'No generation is retired.');
      return Removed === true ? `Removed:\n${shown}` : shown;
    },
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

const LABEL = `volume ${Object.keys(commands).reduce((a, b) => (a.length > b.length ? a : b))}`.length;

/** The lines of the usage. */
export const volumeUsage = Object.entries(commands)
  .map(([name, { help }]) => `  ${`volume ${name}`.padEnd(LABEL)} ${help}`)
  .join('\n');

const words = ({ operands = {}, optional = 0, inside }: VolumeCommand): string => {
  const names = Object.keys(operands).map((name) => name.toUpperCase());
  const shown = names.map((name, n) => (n >= names.length - optional ? `[${name}]` : name));
  return [...shown, ...(inside ? ['[--inside FOLDER]'] : [])].join(' ');
};

/** What `drayage volume --help` prints. */
export const volumeHelp = `Usage: drayage volume COMMAND [options]

${Object.entries(commands)
  .map(([name, command]) => `  ${`${name} ${words(command)}`.trimEnd()}\n      ${command.help}`)
  .join('\n')}

Options:
  --inside FOLDER with import: the folder of the disk's file system that containers get; data when left out, / for all of it
  --json          print the plugin's answer as JSON
  --state FOLDER  the plugins' state folder

What takes longer goes on after the command has said so; the same command again shows how far it is.

Examples:
  drayage volume resize pgdata 40GiB
  drayage volume snapshot pgdata
  drayage volume clone pgdata pgdata-test
  drayage volume import vol-0a1b2c3d4e5f67890 pgdata
  docker volume create -d cloudvol -o from=snap-0a1b2c3d4e5f67890 pgdata-old`;

export interface VolumeArguments {
  /** What stands after `volume`. */
  readonly args: readonly string[];
  /** The plugins' state folder. */
  readonly state: string;
  readonly json: boolean;
  readonly inside: string | undefined;
}

/** Runs `drayage volume …` and answers what to print. */
export async function volume({ args, state, json, inside }: VolumeArguments): Promise<string> {
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
  const missing = operands.slice(0, operands.length - (command.optional ?? 0))[rest.length];
  if (missing !== undefined) throw new CommandError(`volume ${name} needs ${missing[1]}.`, exit.usage);
  if (rest.length > operands.length) {
    throw new CommandError(
      `"${rest[operands.length]}" is not expected after volume ${name}. See drayage volume --help.`,
      exit.usage,
    );
  }
  if (inside !== undefined && command.inside !== true) {
    throw new CommandError('--inside only goes with volume import.', exit.usage);
  }
  const body = {
    ...Object.fromEntries(operands.map(([field], n) => [field, rest[n]])),
    // As a path it is the root of the file system; the plugin says nothing in its place.
    ...(inside !== undefined && { Inside: inside.replace(/^\/+|\/+$/g, '') }),
  };
  const answer = await ask(join(state, 'volume', 'admin.sock'), command.method, body, command.timeout);
  return json ? JSON.stringify(answer, null, 2) : command.show(answer);
}
