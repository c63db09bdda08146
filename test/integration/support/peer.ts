/**
 * What busybox cannot do, as a program to run on a machine of the rig:
 *
 *     node peer.ts serve-udp PORT        answers every datagram with the address that it came from
 *     node peer.ts ask-udp ADDRESS PORT  sends a datagram until it is answered, and prints the answer
 *     node peer.ts get URL ADDRESS       prints what HTTP answers to a client with this address
 */
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { isIPv6 } from 'node:net';
import { fileURLToPath } from 'node:url';

/** Milliseconds until there is no answer. */
const DEADLINE = 2_000;

/** The argument array that runs one of these commands. */
export const peer = (...args: string[]): string[] => [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  fileURLToPath(import.meta.url),
  ...args,
];

function serveUdp(port: number): void {
  const socket = createSocket('udp6');
  socket.on('message', (_, from) => socket.send(from.address.replace(/^::ffff:/, ''), from.port, from.address));
  socket.bind(port, '::');
}

function askUdp(address: string, port: number): void {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const again = setInterval(() => socket.send('who am I?', port, address), 200);
  const end = (code: number): void => {
    clearInterval(again);
    clearTimeout(late);
    socket.close();
    process.exitCode = code;
  };
  const late = setTimeout(() => end(1), DEADLINE);
  // A port that nobody listens on may yet be listened on.
  socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
  socket.on('message', (message) => {
    process.stdout.write(`${message}\n`);
    end(0);
  });
}

function getFrom(url: string, localAddress: string): void {
  const call = get(url, { localAddress, signal: AbortSignal.timeout(DEADLINE) }, (response) => {
    response.pipe(process.stdout);
  });
  call.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  });
}

if (import.meta.main) {
  const [command, first = '', second = ''] = process.argv.slice(2);
  if (command === 'serve-udp') serveUdp(Number(first));
  else if (command === 'ask-udp') askUdp(first, Number(second));
  else if (command === 'get') getFrom(first, second);
  else throw new Error(`there is no command ${command}`);
}
