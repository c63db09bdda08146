/**
 * Ceph with its object gateway, of Debian: the S3 server behind many stores of one's own. One monitor, one store of objects in
 * memory and one gateway on loopback, without a manager and without keys between them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PrivateApt } from './apt.ts';
import { must, until } from './command.ts';
import { CACHE, withLock } from './packages.ts';

const SUITE = 'trixie';
const NAME = `ceph-${SUITE}`;
const PROGRAMS = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'monmaptool', 'ceph', 'python3', 'python3.13'];
const CLUSTER = '00000000-0000-0000-0000-000000000001';
const DISK = '00000000-0000-0000-0000-000000000002';
export const CEPH_KEY = { id: 'CEPHTEST', secret: 'aSecretOfTheTests' };

/** Unpacks it with its libraries (about 15 s, 134 MB from Debian, once), or finds it. Answers the folder. */
async function ensureCeph(): Promise<string> {
  const final = path.join(CACHE, NAME);
  const mark = path.join(final, 'versions.json');
  if (existsSync(mark)) return final;
  return await withLock(NAME, async () => {
    if (existsSync(mark)) return final;
    const [fresh, apt] = [`${final}.new`, path.join(CACHE, 'apt', NAME)];
    for (const folder of [fresh, final, apt]) await rm(folder, { recursive: true, force: true });
    await mkdir(fresh, { recursive: true });
    const source = await PrivateApt.open(apt, SUITE);
    const versions = await source.unpackTree(['radosgw', 'ceph-mon', 'ceph-osd'], fresh);
    await rm(apt, { recursive: true, force: true });
    await prune(fresh);
    await writeFile(path.join(fresh, 'versions.json'), JSON.stringify(versions, null, 2));
    await rename(fresh, final);
    return final;
  });
}

/** Leaves the programs and the libraries, Python's too. */
async function prune(root: string): Promise<void> {
  const keep = async (folder: string, isKept: (name: string) => boolean): Promise<void> => {
    for (const name of await readdir(path.join(root, folder))) {
      if (!isKept(name)) await rm(path.join(root, folder, name), { recursive: true, force: true });
    }
  };
  await keep('', (name) => name === 'usr');
  await keep('usr', (name) => name === 'bin' || name === 'lib');
  await keep('usr/bin', (name) => PROGRAMS.includes(name));
  await keep('usr/lib', (name) => /linux-gnu|^python3/.test(name));
}

export interface CephPlace {
  /** For all that it writes; there, and empty. */
  readonly folder: string;
  /** Ports of 127.0.0.1: between its parts, for HTTP and for TLS. */
  readonly ports: { readonly inner: number; readonly http: number; readonly tls: number };
  /** PEM files. */
  readonly tls: { readonly key: string; readonly cert: string };
}

const settingsOf = (
  { folder, ports, tls }: CephPlace,
  libraries: string,
): Readonly<Record<string, string | number>> => ({
  fsid: CLUSTER,
  auth_cluster_required: 'none',
  auth_service_required: 'none',
  auth_client_required: 'none',
  mon_host: `v2:127.0.0.1:${ports.inner}`,
  run_dir: folder,
  admin_socket: path.join(folder, '$name.asok'),
  log_file: path.join(folder, '$name.log'),
  plugin_dir: path.join(libraries, 'ceph'),
  erasure_code_dir: path.join(libraries, 'ceph/erasure-code'),
  osd_class_dir: path.join(libraries, 'rados-classes'),
  mon_data: path.join(folder, 'mon'),
  osd_data: path.join(folder, 'osd'),
  rgw_data: path.join(folder, 'rgw'),
  mon_cluster_log_to_file: 'false',
  mgr_initial_modules: '',
  // It would end itself where a disk is nearly full.
  mon_data_avail_crit: 0,
  // Each step of its beginning is agreed on after so long.
  paxos_propose_interval: 0.02,
  paxos_min_wait: 0.01,
  // The gateway wants its connections encrypted, for which there is no key.
  ms_mon_client_mode: 'crc',
  ms_bind_ipv6: 'false',
  ms_bind_msgr1: 'false',
  osd_objectstore: 'memstore',
  memstore_device_bytes: 2 ** 31,
  osd_pool_default_size: 1,
  osd_pool_default_min_size: 1,
  osd_pool_default_pg_num: 1,
  osd_pool_default_pg_autoscale_mode: 'off',
  mon_allow_pool_size_one: 'true',
  osd_crush_chooseleaf_type: 0,
  rgw_frontends: `beast endpoint=127.0.0.1:${ports.http} ssl_endpoint=127.0.0.1:${ports.tls} ssl_certificate=${tls.cert} ssl_private_key=${tls.key}`,
});

export interface Ceph {
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

const READY_MS = 40_000;

/** Starts a cluster with one user; it ends with this process. @throws with what it has written. */
export async function startCeph(place: CephPlace): Promise<Ceph> {
  const { folder, ports } = place;
  const root = await ensureCeph();
  const [loader = ''] = (await must(['find', root, '-name', 'ld-linux*.so.*'])).split('\n');
  const libraries = path.dirname(loader);
  const file = path.join(folder, 'ceph.conf');
  for (const name of ['mon', 'osd', 'rgw']) await mkdir(path.join(folder, name));
  const lines = Object.entries(settingsOf(place, libraries)).map(([name, value]) => `${name} = ${value}\n`);
  await writeFile(file, `[global]\n${lines.join('')}`);
  const command = (name: string, ...args: string[]): string[] => {
    const own = ['--library-path', `${libraries}:${path.join(libraries, 'ceph')}`, path.join(root, 'usr/bin', name)];
    return [loader, ...own, ...args];
  };
  const configured = (name: string, ...args: string[]) => command(name, '--conf', file, ...args);
  const children: ChildProcess[] = [];
  const daemon = (name: string, ...args: string[]): ChildProcess => {
    const argv = ['--pdeathsig', 'KILL', '--', ...configured(name, ...args, '--foreground')];
    const child = spawn('setpriv', argv, { stdio: 'ignore' });
    children.push(child);
    return child;
  };
  const stop = async (): Promise<void> => {
    const running = children.filter((child) => child.exitCode === null && child.signalCode === null);
    const ended = running.map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(ended);
  };
  const map = path.join(folder, 'monmap');
  const address = `v2:127.0.0.1:${ports.inner}`;
  const timeoutMs = READY_MS;
  try {
    await must(command('monmaptool', '--create', '--addv', 'a', address, '--fsid', CLUSTER, map));
    await must(configured('ceph-mon', '--id', 'a', '--mkfs', '--monmap', map), { timeoutMs });
    daemon('ceph-mon', '--id', 'a');
    const python = { PYTHONHOME: path.join(root, 'usr'), PYTHONPATH: path.join(root, 'usr/lib/python3/dist-packages') };
    const env = { PATH: '/usr/bin:/bin', ...python };
    await must(command('python3.13', path.join(root, 'usr/bin/ceph'), '--conf', file, 'osd', 'new', DISK, '0'), {
      env,
      timeoutMs,
    });
    await must(configured('ceph-osd', '--id', '0', '--mkfs', '--osd-uuid', DISK), { timeoutMs });
    daemon('ceph-osd', '--id', '0');
    const key = ['--access-key', CEPH_KEY.id, '--secret-key', CEPH_KEY.secret];
    await must(configured('radosgw-admin', 'user', 'create', '--uid', 'test', '--display-name', 'test', ...key), {
      timeoutMs,
    });
    const gateway = daemon('radosgw', '--name', 'client.rgw');
    const answers = (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${ports.http}`).then(
        ({ ok }) => ok,
        () => false,
      );
    await until('the object gateway', async () => gateway.exitCode !== null || (await answers()), { timeoutMs });
    if (gateway.exitCode !== null) throw new Error('the object gateway has ended');
  } catch (error) {
    await stop();
    const log = await readFile(path.join(folder, 'client.rgw.log'), 'utf8').catch(() => '');
    throw new Error(
      `Ceph did not start: ${error instanceof Error ? error.message : String(error)}\n${log.slice(-1000)}`,
      { cause: error },
    );
  }
  return { pids: children.map(({ pid }) => pid ?? 0), stop };
}
