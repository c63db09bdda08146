import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Certificates } from '../rig/certificates.ts';
import { ensureTools } from '../rig/packages.ts';

const run = promisify(execFile);

/** A real etcd on loopback, with a data folder of its own, that a test may kill, stop and start again. */
export interface EtcdServer {
  readonly endpoint: string;
  start(): Promise<void>;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: connections are accepted by the kernel, and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** etcdctl with the server's endpoint; answers its output. */
  ctl(...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Two ports that were free a moment ago. */
const freePorts = async (count: number): Promise<number[]> => {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  return Promise.all(
    servers.map(async (server) => {
      const address = server.address();
      await new Promise((resolve) => server.close(resolve));
      if (typeof address !== 'object' || address === null) throw new Error('no port');
      return address.port;
    }),
  );
};

const READY_MS = 15_000;

/** Makes and starts one. With `tls`, clients must show a certificate of the same authority. */
export async function startEtcd(options: { tls?: Certificates } = {}): Promise<EtcdServer> {
  const tools = await ensureTools(() => undefined);
  const folder = await mkdtemp(join(tmpdir(), `drt${process.pid}-etcd-`));
  const [clientPort, peerPort] = await freePorts(2);
  const scheme = options.tls === undefined ? 'http' : 'https';
  const endpoint = `${scheme}://127.0.0.1:${clientPort}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const args = ['--name', 'test', '--data-dir', join(folder, 'data'), '--logger', 'zap', '--log-level', 'error'];
  args.push('--listen-client-urls', endpoint, '--advertise-client-urls', endpoint);
  args.push('--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `test=${peer}`);
  // The shortest lease is one and a half elections: these make it one second.
  args.push('--heartbeat-interval', '50', '--election-timeout', '500');
  const ctlArgs = ['--endpoints', endpoint, '--dial-timeout=2s', '--command-timeout=5s'];
  if (options.tls !== undefined) {
    const { ca, serverCert, serverKey, clientCert, clientKey } = options.tls;
    args.push('--cert-file', serverCert, '--key-file', serverKey, '--trusted-ca-file', ca, '--client-cert-auth');
    ctlArgs.push('--cacert', ca, '--cert', clientCert, '--key', clientKey);
  }

  let child: ChildProcess | undefined;
  const ctl = async (...words: string[]): Promise<string> => {
    const { stdout } = await run(tools.etcdctl, [...ctlArgs, ...words], {
      env: { ...process.env, ETCDCTL_API: '3' },
      timeout: 10_000,
    });
    return stdout;
  };
  const kill = async (): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const gone = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGKILL');
    await gone;
  };
  const onExit = (): void => void child?.kill('SIGKILL');
  process.once('exit', onExit);

  const start = async (): Promise<void> => {
    const started = spawn(tools.etcd, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Debian's etcd refuses to run on arm64 without this word.
      env: process.arch === 'arm64' ? { ...process.env, ETCD_UNSUPPORTED_ARCH: 'arm64' } : process.env,
    });
    child = started;
    let errors = '';
    started.stderr?.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-2000);
    });
    const deadline = Date.now() + READY_MS;
    for (;;) {
      // A log-in is refused where users are on, and that too says that the server serves.
      const up = await ctl('endpoint', 'status').then(
        () => true,
        (error: unknown) => /user name is empty|authentication/.test(String(error)),
      );
      if (up) return;
      if (started.exitCode !== null) throw new Error(`etcd ended: ${errors}`);
      if (Date.now() > deadline) throw new Error(`etcd was not ready after ${READY_MS} ms: ${errors}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };

  const server: EtcdServer = {
    endpoint,
    start,
    kill,
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    ctl,
    stop: async () => {
      await kill();
      process.removeListener('exit', onExit);
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}
