/**
 * Compares ways from one host to the other: the hosts themselves, Docker's overlay, bridges with routes, and the plugin.
 *
 *     npm run bench:net -- [--rounds 5] [--seconds 3] [--trips 20000] [--engine 28] [--json FILE]
 *
 * The paths take turns in every round, and each figure is the median of the rounds: what else the machine does then
 * meets all of them alike. Only ratios say something about other machines.
 */
import { parseArgs } from 'node:util';
import { Cluster } from '../integration/support/cluster.ts';
import { ENGINES } from '../rig/packages.ts';
import { type Extent, measure, type Sample, startServers } from './measure.ts';
import { PATHS, type Path, type PathName, preparePaths } from './path.ts';
import { count, machine, say, table, writeJson } from './report.ts';
import { median, rounded } from './statistics.ts';

interface PathFigures extends Sample {
  readonly ratio_to_host: { readonly tcp: number; readonly rtt: number; readonly udp: number; readonly cpu: number };
  readonly runs: readonly Sample[];
}

const FIELDS = ['tcp_gbps', 'rtt_us', 'udp_kpps', 'cpu_s_per_gb'] as const satisfies readonly (keyof Sample)[];

/** Rounds, all paths in each, beginning with another path every time. */
async function measureAll(paths: readonly Path[], rounds: number, extent: Extent, cluster: Cluster) {
  const runs: Record<PathName, Sample[]> = { host: [], overlay: [], bridge: [], ptp: [] };
  const { tools } = cluster.rig;
  for (const path of paths) await startServers(path, tools);
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < paths.length; turn += 1) {
      const path = paths[(round + turn) % paths.length];
      if (path === undefined) continue;
      const sample = await measure(path, extent, tools);
      runs[path.name].push(sample);
      const { tcp_gbps: tcp, rtt_us: rtt, udp_kpps: udp, cpu_s_per_gb: cpu } = sample;
      const figures = `${tcp.toFixed(2)} Gbit/s, ${rtt.toFixed(1)} µs, ${udp.toFixed(0)} kpps, ${cpu.toFixed(2)} s/GB`;
      say(`round ${round + 1} of ${rounds}, ${path.name}: ${figures}`);
    }
  }
  return runs;
}

function medians(runs: readonly Sample[]): Sample {
  const of = (field: keyof Sample): number => rounded(median(runs.map((run) => run[field])));
  return { tcp_gbps: of('tcp_gbps'), rtt_us: of('rtt_us'), udp_kpps: of('udp_kpps'), cpu_s_per_gb: of('cpu_s_per_gb') };
}

function figures(runs: Readonly<Record<PathName, readonly Sample[]>>): Record<PathName, PathFigures> {
  const host = medians(runs.host);
  const one = (name: PathName): PathFigures => {
    const own = medians(runs[name]);
    const ratio = (field: keyof Sample): number => rounded(own[field] / host[field], 3);
    return {
      ...own,
      ratio_to_host: {
        tcp: ratio('tcp_gbps'),
        rtt: ratio('rtt_us'),
        udp: ratio('udp_kpps'),
        cpu: ratio('cpu_s_per_gb'),
      },
      runs: runs[name],
    };
  };
  return { host: one('host'), overlay: one('overlay'), bridge: one('bridge'), ptp: one('ptp') };
}

function print(paths: Readonly<Record<PathName, PathFigures>>): void {
  const rows = PATHS.map((name) => {
    const path = paths[name];
    const { tcp, rtt, udp, cpu } = path.ratio_to_host;
    const ratios = [tcp, rtt, udp, cpu];
    return [name, ...FIELDS.map((field, i) => `${path[field].toFixed(2)} (${ratios[i]?.toFixed(2)})`)];
  });
  console.log(table([['path', 'TCP Gbit/s', 'round trip µs', '64-byte UDP kpps', 'CPU s/GB'], ...rows]));
  console.log('In brackets: to the host. Medians.');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      trips: { type: 'string', default: '20000' },
      engine: { type: 'string', default: '28' },
      json: { type: 'string' },
    },
  });
  const engine = ENGINES.find((version) => version === values.engine);
  if (engine === undefined) throw new Error(`--engine ${values.engine} is none of ${ENGINES.join(', ')}.`);
  const rounds = count(values.rounds, 'rounds');
  const extent = { seconds: count(values.seconds, 'seconds'), trips: count(values.trips, 'trips') };
  const ends: (() => Promise<void>)[] = [];
  const before = machine();
  try {
    say('starts two hosts');
    const cluster = await Cluster.for({ teardown: (end: () => Promise<void>) => ends.push(end) }, { engine });
    const paths = await preparePaths(cluster);
    const result = figures(await measureAll(paths, rounds, extent, cluster));
    print(result);
    writeJson(values.json, { paths: result, rounds, ...extent, engine, machine: before });
  } finally {
    for (const end of ends) await end();
  }
}

await main().catch((error: unknown) => {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
