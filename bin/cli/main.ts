import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ask, CommandError, exit, isRecord } from './client.ts';
import { findings } from './findings.ts';
import { policy, type Scope } from './policy.ts';
import { listing, table } from './table.ts';
import { volume, volumeHelp, volumeUsage } from './volume.ts';

/** Where the command prints: one call a line or block, without the line end. */
export interface Output {
  out(text: string): void;
  error(text: string): void;
}

interface Command {
  readonly help: string;
  /** What must stand behind the command, as the usage names it. */
  readonly operand?: string;
  /** Asked of the plugin; without it the command knows the answer itself. */
  readonly method?: string;
  /** Milliseconds. */
  readonly timeout?: number;
  answer?(operand: string, scope: Scope): Readonly<Record<string, unknown>>;
  show(answer: Readonly<Record<string, unknown>>): string;
  /** True when the answer itself means failure. */
  failed?(answer: Readonly<Record<string, unknown>>): boolean;
}

const commands: Readonly<Record<string, Command>> = {
  ports: {
    method: '/Drayage.Ports',
    help: 'published ports of this host (docker ps cannot show them)',
    timeout: 10_000,
    show: ({ Ports }) =>
      table(list(Ports), ['HostIP', 'HostPort', 'Protocol', 'Target', 'Network', 'Endpoint'], 'No port is published.'),
  },
  networks: {
    method: '/Drayage.Networks',
    help: 'networks of this host with their pools and prefixes',
    timeout: 10_000,
    show: ({ Networks }) => table(list(Networks), [], 'This host has no vpc network.'),
  },
  routes: {
    method: '/Drayage.Routes',
    help: 'every route of the pools: prefix, table, next hop, host, state, whose it is, drift',
    timeout: 30_000,
    show: ({ Routes }) =>
      table(
        list(Routes),
        ['Prefix', 'Table', 'NextHop', 'Host', 'Kind', 'State', 'Owner', 'Drift'],
        'There are no routes.',
      ),
  },
  doctor: {
    method: '/Drayage.Doctor',
    help: 'what is missing on this host and at its provider, each with its remedy',
    timeout: 60_000,
    show: ({ Findings }) => findings(list(Findings)),
    failed: ({ Findings }) => list(Findings).some((one) => isRecord(one) && one.State === 'bad'),
  },
  policy: {
    help: 'the least-privilege policy document for exactly the calls that the plugin makes',
    operand: 'aws or aliyun',
    answer: policy,
    show: (answer) => JSON.stringify(answer, null, 2),
  },
  status: {
    method: '/Drayage.Status',
    help: 'the settings, and how the plugin gets on with its provider',
    timeout: 10_000,
    show: (answer) => listing(answer),
  },
  forget: {
    method: '/Drayage.Forget',
    help: 'give up a network that Docker removed while the plugin could not be told',
    timeout: 60_000,
    operand: 'a NETWORK-ID',
    show: ({ Network }) => `Network ${String(Network)} is forgotten, and its prefix is free.`,
  },
  reconcile: {
    method: '/Drayage.Reconcile',
    help: 'compare state, kernel and provider now, and repair; --dry-run only compares',
    timeout: 120_000,
    show: ({ Drift }) => table(list(Drift), ['What', 'Repaired'], 'Everything is as it should be.'),
    failed: ({ Drift }) => list(Drift).some((one) => isRecord(one) && one.Repaired === false),
  },
};

const usage = `Usage: drayage COMMAND [options]

${Object.entries(commands)
  .map(([name, { help }]) => `  ${name.padEnd(10)} ${help}`)
  .join('\n')}
${volumeUsage}

Options:
  --json          print the plugin's answer as JSON
  --dry-run       with reconcile: say what differs and change nothing
  --plugin NAME   with policy: of the plugin network (as without it) or volume
  --region, --account, --vpc, --tables, --cluster, --buckets
                  with policy: limit it to these (for networks --vpc on aws and --tables on aliyun, for volumes --cluster and --buckets,
                  with commas between; BUCKET/PREFIX is for what begins so)
  --inside        with volume import: see drayage volume --help
  --state FOLDER  the plugin's state folder (DRAYAGE_STATE, else /var/lib/drayage)
  --help          this text

Exit codes: 0 fine, 1 the plugin refused, could not repair something or found something bad, 2 wrong usage, 3 the plugin cannot be reached.

Examples:
  drayage ports
  drayage routes --json
  drayage doctor
  drayage policy aws --region eu-central-1 --vpc vpc-0a1b2c3d > policy.json
  drayage policy aws --plugin volume --cluster default > policy.json
  drayage reconcile --dry-run
  drayage forget 8a99ec086875
  drayage status --state /srv/drayage`;

/**
 * Runs the command and answers its exit code.
 * @param args what stands after `drayage`.
 */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv, output: Output): Promise<number> {
  try {
    const { values, positionals } = parse(args);
    const [name, ...rest] = positionals;
    if (values.help || name === 'help' || (name === 'volume' && rest[0] === 'help')) {
      output.out(positionals.includes('volume') ? volumeHelp : usage);
      return exit.fine;
    }
    if (name === undefined) {
      output.error(usage);
      return exit.usage;
    }
    const state = values.state ?? env.DRAYAGE_STATE ?? '/var/lib/drayage';
    if (name === 'volume') {
      output.out(await volume({ args: rest, state, json: values.json, inside: values.inside }));
      return exit.fine;
    }
    const command = find(name, rest, values['dry-run']);
    if (values.inside !== undefined) throw new CommandError('--inside only goes with volume import.', exit.usage);
    const scoped = Object.values(scopeOf(values)).some((value) => value !== undefined);
    if (scoped && name !== 'policy') {
      throw new CommandError(
        '--plugin, --region, --account, --vpc, --tables, --cluster and --buckets only go with policy.',
        exit.usage,
      );
    }
    const socket = join(state, 'network', 'admin.sock');
    const body = {
      ...(name === 'reconcile' && { DryRun: values['dry-run'] }),
      ...(name === 'forget' && { Network: rest[0] }),
    };
    const answer =
      command.answer?.(rest[0] ?? '', scopeOf(values)) ??
      (await ask(socket, command.method ?? '', body, command.timeout ?? 10_000));
    output.out(values.json ? JSON.stringify(answer, null, 2) : command.show(answer));
    return !values['dry-run'] && command.failed?.(answer) === true ? exit.failed : exit.fine;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    output.error(`drayage: ${error.message}`);
    return error.exitCode;
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        'dry-run': { type: 'boolean', default: false },
        state: { type: 'string' },
        region: { type: 'string' },
        account: { type: 'string' },
        vpc: { type: 'string' },
        tables: { type: 'string' },
        plugin: { type: 'string' },
        cluster: { type: 'string' },
        buckets: { type: 'string' },
        inside: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    // Node's own sentences are good, but end in a hint about `--`.
    if (error instanceof TypeError)
      throw new CommandError(`${error.message.split('. ')[0]}. See drayage --help.`, exit.usage);
    throw error;
  }
}

/** Options that only `policy` takes. */
const scopeOf = ({ plugin, region, account, vpc, tables, cluster, buckets }: Scope): Scope => ({
  ...{ plugin, region, account, vpc, tables, cluster, buckets },
});

function find(name: string, rest: readonly string[], dryRun: boolean): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    throw new CommandError(
      `There is no command "${name}"; there are ${[...Object.keys(commands), 'volume'].join(', ')}.`,
      exit.usage,
    );
  }
  const expected = command.operand === undefined ? 0 : 1;
  if (rest.length < expected) throw new CommandError(`${name} needs ${command.operand}.`, exit.usage);
  if (rest.length > expected) {
    throw new CommandError(`"${rest[expected]}" is not expected after ${name}. See drayage --help.`, exit.usage);
  }
  if (dryRun && name !== 'reconcile') throw new CommandError('--dry-run only goes with reconcile.', exit.usage);
  return command;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
