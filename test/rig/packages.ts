/** What the rig runs: three unpacked Docker engines, one client for all of them, and small tools. Cached, shared by all rigs of a machine. */
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, open, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installMissing, machineMirror, PrivateApt, type Suite } from './apt.ts';
import { must, run, startTime } from './command.ts';

/** Major versions of the engines: 20.10 (bookworm), 26.1 (trixie), 28.5 (sid). */
export const ENGINES = ['20', '26', '28'] as const;
export type EngineVersion = (typeof ENGINES)[number];
export type Iptables = 'nft' | 'legacy';

const SUITES: Record<EngineVersion, Suite> = { '20': 'bookworm', '26': 'trixie', '28': 'sid' };
/** A suite's own C library and what its programs link: they run on any newer or older machine with these beside them. */
const LIBRARIES = [
  'libc6',
  'libseccomp2',
  'libsystemd0',
  'libcap2',
  'libgcrypt20',
  'libgpg-error0',
  'liblzma5',
  'libzstd1',
  'liblz4-1',
  'libdevmapper1.02.1',
  'libselinux1',
  'libudev1',
  'libpcre2-8-0',
];
const ENGINE_PACKAGES = ['docker.io', 'containerd', 'runc', ...LIBRARIES];
/** busybox from sid: `wget -T` of bookworm's crashes. */
const CLIENT_PACKAGES = ['docker-cli', 'docker-compose', 'busybox-static', ...LIBRARIES];
const TOOL_PACKAGES = ['etcd-server', 'etcd-client', 'iperf3', 'libiperf0', 'libsctp1', 'patchelf', 'tini'];
/** Programs that must be on the machine itself, and the Debian package of each. */
const MACHINE_PROGRAMS = {
  ip: 'iproute2',
  nft: 'nftables',
  'iptables-nft': 'iptables',
  'iptables-legacy': 'iptables',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  sysctl: 'procps',
  openssl: 'openssl',
  tar: 'tar',
};

/** Where the packages of this machine's rigs are kept. */
export const CACHE = process.env.DRAYAGE_RIG_CACHE ?? '/var/cache/drayage-rig';

/** Paths of everything that the rig runs. */
export interface Tools {
  /** The docker client (28.x), which drives all engines. */
  readonly docker: string;
  /** Folder of the client's plugins (compose). */
  readonly cliPlugins: string;
  readonly busybox: string;
  readonly etcd: string;
  readonly etcdctl: string;
  readonly iperf3: string;
  readonly tini: string;
  readonly patchelf: string;
  /** Root of the unpacked tool packages, for their libraries. */
  readonly root: string;
}

/** One unpacked engine: a folder of programs to put first in PATH. */
export interface EngineFiles {
  readonly version: EngineVersion;
  /** Debian's version of docker.io, such as 28.5.2+dfsg4-5. */
  readonly debian: string;
  readonly bin: string;
}

/** Runs `work` while holding a lock file that names this process; a lock whose owner is dead is taken over. */
export async function withLock<T>(name: string, work: () => Promise<T>, timeoutMs = 600_000): Promise<T> {
  await mkdir(CACHE, { recursive: true });
  const file = path.join(CACHE, `${name}.lock`);
  const me = `${process.pid} ${startTime(process.pid)}`;
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(me);
      await handle.close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (existsSync(file)) {
      const holder = readLock(file);
      const [pid, born] = holder.split(' ');
      if (holder !== '' && startTime(Number(pid)) !== born) {
        // The name under which a dead owner's lock is moved away is unique to it: only one waiter wins the rename.
        const aside = `${file}.dead.${pid}.${born}`;
        if (readLock(file) === holder) await rename(file, aside).then(() => rm(aside, { force: true }), ignoreMissing);
        continue;
      }
    }
    if (Date.now() > deadline)
      throw new Error(`${file} is held by process ${readLock(file)} for more than ${timeoutMs} ms`);
    await sleep(100);
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

function readLock(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    ignoreMissing(error as Error);
    return '';
  }
}

function ignoreMissing(error: Error): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}

/** Unpacks packages into CACHE/<name> unless they are there; an interrupted attempt leaves nothing that counts. */
async function ensureFolder(
  name: string,
  suite: string,
  packages: readonly string[],
  say: (line: string) => void,
  finish: (root: string, final: string) => Promise<void>,
): Promise<{ root: string; versions: Record<string, string> }> {
  const final = path.join(CACHE, name);
  const manifest = path.join(final, 'versions.json');
  const read = async () => ({
    root: final,
    versions: JSON.parse(await readFile(manifest, 'utf8')) as Record<string, string>,
  });
  if (existsSync(manifest)) return await read();
  return await withLock(name, async () => {
    if (existsSync(manifest)) return await read();
    const started = Date.now();
    say(`unpacking ${name} from Debian ${suite} into ${final}`);
    const fresh = `${final}.new`;
    for (const folder of [fresh, final]) await rm(folder, { recursive: true, force: true });
    await mkdir(fresh, { recursive: true });
    const apt = await PrivateApt.open(path.join(CACHE, 'apt', name), suite);
    const versions = await apt.unpack(packages, fresh);
    await finish(fresh, final);
    await writeFile(path.join(fresh, 'versions.json'), JSON.stringify(versions, null, 2));
    await rename(fresh, final);
    await rm(path.join(CACHE, 'apt', name), { recursive: true, force: true });
    say(`${name} is ready after ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return await read();
  });
}

/** Makes the programs of an unpacked suite use that suite's own libraries, wherever they run. `final` is the folder's later name. */
async function relink(root: string, final: string, programs: readonly string[], patchelf: string): Promise<void> {
  const inRoot = await must(['find', root, '-name', 'ld-linux*.so.*']);
  const loader = inRoot.split('\n').find((file) => file.includes('/lib'));
  if (!loader) throw new Error(`${root} holds no dynamic loader`);
  const libraries = new Set<string>();
  for (const file of (await must(['find', root, '-name', '*.so.*'])).split('\n')) {
    if (!file.includes('/cni/')) libraries.add(path.dirname(file).replace(root, final));
  }
  for (const program of programs) {
    const file = path.join(root, program);
    // A static program has no interpreter and needs none.
    if ((await run([patchelf, '--print-interpreter', file])).code !== 0) continue;
    // DT_RPATH, not DT_RUNPATH: the libraries' own libraries must come from this suite too.
    const search = [...libraries].join(':');
    await must([
      patchelf,
      '--set-interpreter',
      loader.replace(root, final),
      '--force-rpath',
      '--set-rpath',
      search,
      file,
    ]);
  }
}

/** Puts symbolic links to every program of the folder's bin directories into `<root>/programs`. Returns their paths relative to root. */
async function linkPrograms(root: string): Promise<string[]> {
  const programs: string[] = [];
  await mkdir(path.join(root, 'programs'));
  for (const folder of ['usr/sbin', 'usr/bin', 'sbin', 'bin']) {
    if (!existsSync(path.join(root, folder))) continue;
    for (const entry of await readdir(path.join(root, folder), { withFileTypes: true })) {
      if (!entry.isFile() || existsSync(path.join(root, 'programs', entry.name))) continue;
      programs.push(path.join(folder, entry.name));
      await symlink(path.join('..', folder, entry.name), path.join(root, 'programs', entry.name));
    }
  }
  return programs;
}

/** The docker client, compose, and the small tools; unpacks what is missing (about 10 s once). */
export async function ensureTools(say: (line: string) => void): Promise<Tools> {
  await installMissing(MACHINE_PROGRAMS, say);
  const { suite } = await machineMirror();
  const tools = await ensureFolder('tools', suite, TOOL_PACKAGES, say, async () => undefined);
  const patchelf = path.join(tools.root, 'usr/bin/patchelf');
  const client = await ensureFolder('client', 'sid', CLIENT_PACKAGES, say, async (root, final) => {
    await relink(root, final, ['usr/bin/docker', 'usr/libexec/docker/cli-plugins/docker-compose'], patchelf);
  });
  return {
    docker: path.join(client.root, 'usr/bin/docker'),
    cliPlugins: path.join(client.root, 'usr/libexec/docker/cli-plugins'),
    busybox: path.join(client.root, 'usr/bin/busybox'),
    etcd: path.join(tools.root, 'usr/bin/etcd'),
    etcdctl: path.join(tools.root, 'usr/bin/etcdctl'),
    iperf3: path.join(tools.root, 'usr/bin/iperf3'),
    tini: path.join(tools.root, 'usr/bin/tini-static'),
    patchelf,
    root: tools.root,
  };
}

/** One engine's programs; unpacks them when they are missing (about 10 s once). */
export async function ensureEngine(
  version: EngineVersion,
  tools: Tools,
  say: (line: string) => void,
): Promise<EngineFiles> {
  const { root, versions } = await ensureFolder(
    `engine-${version}`,
    SUITES[version],
    ENGINE_PACKAGES,
    say,
    async (fresh, final) => {
      await relink(fresh, final, await linkPrograms(fresh), tools.patchelf);
      // `docker run --init` mounts this program into containers: it must be the static one.
      await copyFile(tools.tini, path.join(fresh, 'programs/docker-init'));
    },
  );
  return { version, debian: versions['docker.io'] ?? 'unknown', bin: path.join(root, 'programs') };
}

/** A folder in which `iptables`, `ip6tables` and their save and restore forms are the chosen variant; to be put into PATH. */
export async function iptablesFolder(variant: Iptables): Promise<string> {
  const folder = path.join(CACHE, `iptables-${variant}`);
  if (existsSync(path.join(folder, 'ready'))) return folder;
  return await withLock(`iptables-${variant}`, async () => {
    if (existsSync(path.join(folder, 'ready'))) return folder;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    for (const family of ['iptables', 'ip6tables']) {
      for (const form of ['', '-save', '-restore']) {
        const target = (await must(['which', `${family}-${variant}${form}`])).trim();
        await symlink(target, path.join(folder, `${family}${form}`));
      }
    }
    await writeFile(path.join(folder, 'ready'), '');
    return folder;
  });
}
