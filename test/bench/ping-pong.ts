/**
 * Round trips of one 64-byte datagram between two processes, with blocking system calls and no event loop between.
 *
 *     node ping-pong.ts serve   LOCAL PORT PEER PORT          answers until nothing has come for 10 s
 *     node ping-pong.ts measure LOCAL PORT PEER PORT COUNT    prints {"median": µs, "p99": µs, "lost": n}
 */
import { packAddress } from '../../shared/kernel/inet.ts';
import { bind, connect, receive, send, setSocketOption, socket, waitReadable } from '../../shared/kernel/syscalls.ts';
import { percentile } from './statistics.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const BYTES = 64;
const IDLE_MS = 10_000;
const LOST_MS = 200;
/** Round trips before the first that counts: neighbours, connection tracking and caches are warm then. */
const WARM_UP = 500;

/** struct sockaddr_in. */
function socketAddress(address: string, port: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(Number(port), 2);
  packAddress(address).copy(bytes, 4);
  return bytes;
}

function open(local: string, localPort: string, peer: string, peerPort: string): number {
  const fd = socket(AF_INET, SOCK_DGRAM, 0);
  setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  bind(fd, socketAddress(local, localPort));
  connect(fd, socketAddress(peer, peerPort));
  return fd;
}

function serve(fd: number): void {
  const packet = Buffer.alloc(BYTES);
  while (waitReadable(fd, IDLE_MS)) {
    // Negative: the other side was not there yet (ECONNREFUSED from its host).
    if (receive(fd, packet, 0) > 0) send(fd, packet, BYTES);
  }
}

function measure(fd: number, count: number): { median: number; p99: number; lost: number } {
  const packet = Buffer.alloc(BYTES, 1);
  const times: number[] = [];
  let lost = 0;
  for (let i = -WARM_UP; i < count; i += 1) {
    packet.writeInt32LE(i, 0);
    const started = process.hrtime.bigint();
    send(fd, packet, BYTES);
    let answered = false;
    // An answer that was given up comes late: it is not the one waited for.
    while (!answered && waitReadable(fd, LOST_MS)) answered = receive(fd, packet, 0) > 0 && packet.readInt32LE(0) === i;
    if (i < 0) continue;
    if (answered) times.push(Number(process.hrtime.bigint() - started) / 1000);
    else lost += 1;
  }
  return { median: percentile(times, 0.5), p99: percentile(times, 0.99), lost };
}

const [mode, local = '', localPort = '', peer = '', peerPort = '', count = '10000'] = process.argv.slice(2);
const fd = open(local, localPort, peer, peerPort);
if (mode === 'serve') serve(fd);
else console.log(JSON.stringify(measure(fd, Number(count))));
