/** S3 servers that nobody here wrote, on loopback, over HTTP and TLS, each in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { CEPH_KEY, startCeph } from './ceph.ts';
import { type Certificates, makeCertificates } from './certificates.ts';

export interface ObjectServer {
  readonly name: ObjectServerName;
  /** http://127.0.0.1:… */
  readonly endpoint: string;
  /** The same over TLS, with a certificate of `ca` (PEM). */
  readonly secure: string;
  readonly ca: string;
  readonly region: string;
  /** The vendor's name in the plugin that fits. */
  readonly vendor: string;
  readonly key: { readonly id: string; readonly secret: string };
  readonly pids: readonly number[];
  /** Ends its processes, and removes what they had. */
  close(): Promise<void>;
}

interface Started {
  readonly endpoint: string;
  readonly secure: string;
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** What is known of a server before it runs. */
interface Kind {
  readonly vendor: string;
  readonly key: { readonly id: string; readonly secret: string };
  start(folder: string, certificates: Certificates): Promise<Started>;
}

const READY_MS = 15_000;

/** A port that was free a moment ago. */
const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
};

/** One of these speaks either HTTP or TLS: two of them have one folder. */
const s3rver: Kind = {
  vendor: 'generic',
  key: { id: 'S3RVER', secret: 'S3RVER' },
  start: async (folder, { serverCert, serverKey }) => {
    const script = fileURLToPath(new URL('s3rver-main.ts', import.meta.url));
    const run = async (tls: object) => {
      const options = { address: '127.0.0.1', port: 0, silent: true, directory: folder, vhostBuckets: false, ...tls };
      const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
      const ended = once(child, 'exit');
      const said = once(createInterface(child.stdout), 'line', { signal: AbortSignal.timeout(READY_MS) });
      const [port] = await Promise.race([
        said,
        ended.then(() => Promise.reject(new Error('s3rver ended at its start'))),
      ]);
      const stop = async (): Promise<void> => {
        child.kill('SIGKILL');
        await ended;
      };
      return { port: Number(port), pid: child.pid ?? 0, stop };
    };
    const read = (file: string): string => readFileSync(file, 'utf8');
    const plain = await run({});
    const secure = await run({ key: read(serverKey), cert: read(serverCert) });
    return {
      endpoint: `http://127.0.0.1:${plain.port}`,
      secure: `https://127.0.0.1:${secure.port}`,
      pids: [plain.pid, secure.pid],
      stop: async () => {
        await Promise.all([plain.stop(), secure.stop()]);
      },
    };
  },
};

const ceph: Kind = {
  vendor: 'ceph',
  key: CEPH_KEY,
  start: async (folder, { serverCert, serverKey }) => {
    const ports = { inner: await freePort(), http: await freePort(), tls: await freePort() };
    const started = await startCeph({ folder, ports, tls: { key: serverKey, cert: serverCert } });
    return { ...started, endpoint: `http://127.0.0.1:${ports.http}`, secure: `https://127.0.0.1:${ports.tls}` };
  },
};

const KINDS = { s3rver, ceph } as const satisfies Record<string, Kind>;

export type ObjectServerName = keyof typeof KINDS;

/** Starts one, without any bucket. `close` it; when this process ends it ends, too. */
export async function startObjectServer(name: ObjectServerName): Promise<ObjectServer> {
  const { vendor, key, start } = KINDS[name];
  const folder = await mkdtemp(path.join(tmpdir(), `drt${process.pid}-${name}-`));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const certificates = await makeCertificates(path.join(folder, 'tls'), ['127.0.0.1']);
    const ca = readFileSync(certificates.ca, 'utf8');
    const data = path.join(folder, 'data');
    await mkdir(data);
    const { endpoint, secure, pids, stop } = await start(data, certificates);
    return {
      ...{ name, endpoint, secure, ca, vendor, key, pids, region: 'us-east-1' },
      close: async () => {
        await stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
