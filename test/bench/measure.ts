/** One measurement of one path. Programs are pinned: the client to the first core, the server to the last. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { signal } from '../rig/command.ts';
import type { Tools } from '../rig/packages.ts';
import { type End, type Path, runAt, startAt } from './path.ts';

/** What one round says of one path. */
export interface Sample {
  /** Gigabits of TCP payload a second, one connection. */
  readonly tcp_gbps: number;
  /** Microseconds for a 64-byte datagram and its echo: the median of the round. */
  readonly rtt_us: number;
  /** Thousands of datagrams with 64 bytes of payload that arrived in a second. */
  readonly udp_kpps: number;
  /** Seconds of all cores, of all of the machine, for a gigabyte (10^9 bytes) over TCP. */
  readonly cpu_s_per_gb: number;
}

export interface Extent {
  /** Of each TCP and UDP run. */
  readonly seconds: number;
  /** Round trips. */
  readonly trips: number;
}

const IPERF_PORT = '5201';
const SCRIPT = join(import.meta.dirname, 'ping-pong.ts');
const NODE = [process.execPath, '--disable-warning=ExperimentalWarning'];
const LAST_CORE = String(cpus().length - 1);
const CLIENT = ['taskset', '-c', '0'];
const SERVER = ['taskset', '-c', LAST_CORE];
/** Else the scheduler's own time to wake a process is most of what is measured. */
const FIRST = ['chrt', '-f', '50'];
/** USER_HZ: what /proc/stat counts in, on every architecture that Linux has. */
const TICKS_PER_SECOND = 100;

/** Starts what the measurements talk to. */
export async function startServers(path: Path, tools: Tools): Promise<void> {
  await startAt(path.server, [...SERVER, tools.iperf3, '-s', '-p', IPERF_PORT], 'iperf3.log', iperfEnvironment(tools));
}

export async function measure(path: Path, extent: Extent, tools: Tools): Promise<Sample> {
  const before = busySeconds();
  const tcp = await iperf(path, ['-t', String(extent.seconds)], extent, tools);
  const cpu = busySeconds() - before;
  const udp = await iperf(path, ['-u', '-b', '0', '-l', '64', '-t', String(extent.seconds)], extent, tools);
  const { bits_per_second: rate, bytes, seconds } = tcp.sum_received;
  if (rate === undefined || bytes === undefined) throw new Error(`${path.name}: iperf3 says nothing of TCP`);
  const { packets = 0, lost_packets: lost = 0 } = udp.sum;
  return {
    tcp_gbps: rate / 1e9,
    rtt_us: await roundTrip(path, extent),
    udp_kpps: (packets - lost) / (udp.sum.seconds || seconds) / 1000,
    cpu_s_per_gb: cpu / (bytes / 1e9),
  };
}

interface IperfSum {
  readonly bits_per_second?: number;
  readonly bytes?: number;
  readonly seconds: number;
  readonly packets?: number;
  readonly lost_packets?: number;
}

/** `sum` is the receiver's view of a UDP run, `sum_received` of a TCP run. */
async function iperf(
  path: Path,
  options: readonly string[],
  extent: Extent,
  tools: Tools,
): Promise<{ sum: IperfSum; sum_received: IperfSum }> {
  const argv = [...CLIENT, tools.iperf3, '-c', path.server.address, '-p', IPERF_PORT, '-J', ...options];
  const text = await runAt(path.client, argv, {
    env: iperfEnvironment(tools),
    timeoutMs: (extent.seconds + 20) * 1000,
  });
  return (JSON.parse(text) as { end: { sum: IperfSum; sum_received: IperfSum } }).end;
}

/** iperf3's own libraries lie beside it. */
function iperfEnvironment(tools: Tools): NodeJS.ProcessEnv {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  return { LD_LIBRARY_PATH: join(tools.root, 'usr/lib', triplet) };
}

async function roundTrip(path: Path, extent: Extent): Promise<number> {
  const { client, server } = path;
  const ends = (from: End, fromPort: string, to: End, toPort: string): string[] => {
    return [from.address, fromPort, to.address, toPort];
  };
  const serve = [...FIRST, ...SERVER, ...NODE, SCRIPT, 'serve', ...ends(server, '7001', client, '7002')];
  const pid = await startAt(server, serve, 'ping-pong.log');
  try {
    // Until it listens, datagrams are lost or refused; both would be counted.
    await sleep(400);
    const ask = [...FIRST, ...CLIENT, ...NODE, SCRIPT, 'measure', ...ends(client, '7002', server, '7001')];
    const text = await runAt(client, [...ask, String(extent.trips)]);
    const { median, lost } = JSON.parse(text) as { median: number; lost: number };
    if (lost > extent.trips / 100) throw new Error(`${path.name}: ${lost} of ${extent.trips} round trips were lost`);
    return median;
  } finally {
    signal(pid, 'SIGTERM');
  }
}

/** Seconds that all cores have been busy since boot: user, system, interrupts; proc(5). */
function busySeconds(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (
    readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? ''
  )
    .split(/\s+/)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
