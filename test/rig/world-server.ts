/**
 * Runs in the namespace that plays the Internet: HTTP on 80, TCP and UDP echo on 7, DNS on 53.
 * Every answer tells the client's address, and every request is written as a JSON line to standard output.
 * The DNS answers `world.test` with the world's addresses, `office.test` with the office's, anything else with NXDOMAIN.
 */
import { createSocket } from 'node:dgram';
import { createServer as createHttp } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { OFFICE4, WORLD4, WORLD6 } from './addresses.ts';

const NAMES: Record<string, { 1?: string; 28?: string }> = {
  'world.test': { 1: WORLD4, 28: WORLD6 },
  'office.test': { 1: OFFICE4 },
};

function plain(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:/, '');
}

function record(protocol: string, client: string, detail: string): void {
  process.stdout.write(`${JSON.stringify({ protocol, client, detail })}\n`);
}

/** Address as it stands in a DNS answer: 4 or 16 bytes. */
function bytesOf(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16)));
  const [left, right] = [words(head), words(tail)];
  const all = [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 255]));
}

/** The reply to one DNS query (RFC 1035): the question repeated, and at most one answer. */
function answer(query: Buffer, client: string): Buffer {
  const labels: string[] = [];
  let at = 12;
  while (at < query.length && query[at] !== 0) {
    const length = query[at] ?? 0;
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += length + 1;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const name = labels.join('.').toLowerCase();
  record('dns', client, name);
  const found = NAMES[name];
  const address = found?.[type as 1 | 28];
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180 | (found ? 0 : 3), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(address ? 1 : 0, 6);
  header.writeUInt32BE(0, 8);
  if (!address) return Buffer.concat([header, question]);
  const data = bytesOf(address);
  const fixed = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 5, 0, data.length]);
  return Buffer.concat([header, question, fixed, data]);
}

/** Listens for ever. */
export function serve(): void {
  createHttp((request, response) => {
    const client = plain(request.socket.remoteAddress);
    record('http', client, request.url ?? '');
    response.end(`${client}\n`);
  }).listen(80, '::');
  createTcp((socket) => {
    const client = plain(socket.remoteAddress);
    record('tcp', client, '');
    socket.on('error', (error) => record('tcp', client, error.message));
    socket.pipe(socket);
  }).listen(7, '::');
  const echo = createSocket('udp6');
  echo.on('message', (message, from) => {
    record('udp', plain(from.address), message.toString('latin1'));
    echo.send(`${plain(from.address)}\n`, from.port, from.address);
  });
  echo.bind(7, '::');
  const dns = createSocket('udp6');
  dns.on('message', (query, from) => {
    if (query.length > 16) dns.send(answer(query, plain(from.address)), from.port, from.address);
  });
  dns.bind(53, '::', () => record('ready', '', ''));
}

if (import.meta.main) serve();
