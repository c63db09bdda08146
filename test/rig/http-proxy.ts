/**
 * Proxies as they stand between hosts and what is outside, in a process of their own: `node http-proxy.ts ADDRESS`. Each
 * request that they are asked is a line of JSON on standard output.
 */
import { createServer, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

/** Where each listens, and what it does. */
export const PROXY_PORTS = { open: 3128, closed: 3129, guarded: 3130 } as const;
/** What the guarded one wants. */
export const PROXY_CREDENTIALS = 'me:p@ss:word';

export interface ProxyRequest {
  readonly proxy: keyof typeof PROXY_PORTS;
  readonly method: string;
  /** Of CONNECT host and port, else a URL. */
  readonly target: string;
}

const serve = (address: string, proxy: keyof typeof PROXY_PORTS): void => {
  /** The status of a refusal. */
  const refusal = ({ method = '', url = '', headers }: IncomingMessage): number | undefined => {
    process.stdout.write(`${JSON.stringify({ proxy, method, target: url } satisfies ProxyRequest)}\n`);
    if (proxy === 'closed') return 403;
    const wanted = `Basic ${Buffer.from(PROXY_CREDENTIALS).toString('base64')}`;
    return proxy === 'guarded' && headers['proxy-authorization'] !== wanted ? 407 : undefined;
  };
  const server = createServer((asked, answer) => {
    const status = refusal(asked);
    if (status !== undefined) {
      asked.resume();
      answer.writeHead(status, { 'content-type': 'text/html' }).end('<html>not here</html>');
      return;
    }
    const { 'proxy-authorization': _, ...headers } = asked.headers;
    const onward = request(asked.url ?? '', { method: asked.method, headers }, (answered) => {
      answer.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(answer);
    });
    onward.on('error', () => answer.writeHead(502).end());
    asked.pipe(onward);
  });
  server.on('connect', (asked: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy());
    const status = refusal(asked);
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(`http://${asked.url}`);
    const onward = connect(Number(port === '' ? 80 : port), hostname.replace(/^\[|\]$/g, ''), () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  server.listen(PROXY_PORTS[proxy], address);
};

if (import.meta.main) {
  const [, , address = '127.0.0.1'] = process.argv;
  for (const proxy of ['open', 'closed', 'guarded'] as const) serve(address, proxy);
}
