/** `npm run rig -- up|status|shell|down`: a live cluster for a developer. */
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { startTime } from './command.ts';
import { ENGINES, type EngineVersion, type Iptables } from './packages.ts';
import { isDead, type RigRecord, records, sweep, takeDown } from './record.ts';
import { Rig } from './rig.ts';
import type { Fabric } from './router.ts';

const USAGE = `usage: npm run rig -- COMMAND
  up [--hosts N] [--engine 20|26|28] [--iptables nft|legacy] [--fabric vpc|switch] [--etcd]
                      start a cluster that stays: N hosts (2), a router, and an "Internet"
  status              what is running
  shell [HOST] [-- COMMAND…]
                      a shell on host 1, 2 … or on "router" or "world"; docker there is the host's engine
  down [ID]           take the cluster down (all of them without an id)
`;

function oneOf<T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw new Error(`--${option} ${value}: choose one of ${allowed.join(', ')}.`);
  return found;
}

async function up(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      hosts: { type: 'string', default: '2' },
      engine: { type: 'string', default: '28' },
      iptables: { type: 'string', default: 'nft' },
      fabric: { type: 'string', default: 'vpc' },
      etcd: { type: 'boolean', default: false },
    },
  });
  const hosts = Number(values.hosts);
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > 20) throw new Error(`--hosts ${values.hosts}: choose 1 to 20.`);
  const started = performance.now();
  const rig = await Rig.up({
    hosts,
    engine: oneOf<EngineVersion>('engine', values.engine, ENGINES),
    iptables: oneOf<Iptables>('iptables', values.iptables, ['nft', 'legacy']),
    fabric: oneOf<Fabric>('fabric', values.fabric, ['vpc', 'switch']),
    images: ['box', 'perf'],
    detached: true,
  });
  if (values.etcd) process.stdout.write(`etcd is at ${(await rig.etcd()).endpoint}\n`);
  process.stdout.write(`rig ${rig.id} is up after ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  for (const host of rig.hosts) {
    process.stdout.write(`  ${host.name}  ${host.v4}  Docker ${host.engine.files.debian}\n`);
  }
  process.stdout.write('  npm run rig -- shell 1     a shell on host 1\n  npm run rig -- down        take it down\n');
}

function status(): void {
  const all = records();
  if (all.length === 0) process.stdout.write('no rig is up\n');
  for (const record of all) {
    const state = isDead(record)
      ? 'dead, the next rig sweeps it'
      : record.detached
        ? 'up'
        : `up, owned by process ${record.pid}`;
    process.stdout.write(`${record.id}  engine ${record.engine}  ${state}  ${record.folder}\n`);
    for (const host of record.hosts) {
      process.stdout.write(`  ${host.name}  ${host.v4}  ${startTime(host.init) ? 'running' : 'off'}\n`);
    }
  }
}

/** The newest cluster that is up. */
function current(): RigRecord {
  const found = records().filter((record) => !isDead(record) && record.hosts.length > 0);
  const newest = found.find((record) => record.detached) ?? found[0];
  if (!newest) throw new Error('No rig is up: start one with npm run rig -- up.');
  return newest;
}

async function shell(args: string[]): Promise<number> {
  const record = current();
  const [where = '1', ...rest] = args;
  const command = rest[0] === '--' ? rest.slice(1) : rest;
  const host = record.hosts[Number(where) - 1];
  const init = where === 'router' ? record.router?.init : where === 'world' ? record.world?.init : host?.init;
  if (init === undefined) throw new Error(`There is no "${where}": say 1 to ${record.hosts.length}, router or world.`);
  const env = host ? await Rig.shellEnvironment(record, host.name) : process.env;
  const argv = command.length > 0 ? command : ['bash', '--norc', '-i'];
  const child = spawn('nsenter', ['-t', String(init), '-n', '-m', '-u', '-i', '-p', '--', ...argv], {
    stdio: 'inherit',
    env: { ...env, TERM: process.env.TERM ?? 'dumb', PS1: `${host?.name ?? where}# ` },
  });
  return await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

async function down(args: string[]): Promise<void> {
  const [id] = args;
  for (const swept of await sweep()) process.stdout.write(`swept ${swept}\n`);
  const mine = records().filter((record) => (id ? record.id === id : record.detached));
  if (id && mine.length === 0) throw new Error(`There is no rig ${id}; npm run rig -- status lists them.`);
  for (const record of mine) {
    await takeDown(record);
    process.stdout.write(`took ${record.id} down\n`);
  }
}

/** Carries out one command. Returns the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const [command, ...args] = argv;
  switch (command) {
    case 'up':
      await up(args);
      return 0;
    case 'status':
      status();
      return 0;
    case 'shell':
      return await shell(args);
    case 'down':
      await down(args);
      return 0;
    default:
      process.stderr.write(USAGE);
      return command === undefined || command === 'help' || command === '--help' ? 0 : 1;
  }
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`rig: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
