/**
 * The base of a plugin's root file system: Node, koffi's one prebuilt library, the programs and libraries that the plugin
 * uses of the system's, and what the loader needs for them. Made from node_modules and from Debian packages of the building machine's own release;
 * nothing else of the machine gets in. Libraries are found by following what each ELF file names.
 */
import { createHash } from 'node:crypto';
import { chmod, copyFile, cp, glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { cached } from './cache.ts';
import type { PluginName } from './config.ts';
import { unpackDebianPackages } from './debian-packages.ts';
import { copySlim } from './elf.ts';
import { LibraryCopier } from './libraries.ts';

const nodeModules = join(import.meta.dirname, '..', 'node_modules');

/** What one plugin needs beside Node and koffi. */
interface Contents {
  /** What is fetched from Debian; what these depend on comes along, but for `without`. */
  readonly packages: readonly string[];
  readonly without?: RegExp;
  /** Programs and libraries that it starts or loads by name, as patterns of paths below the root. */
  readonly code: readonly string[];
  /** Files that these read. */
  readonly tables: string;
  /** Further names of programs: link → program beside it. */
  readonly commands: Readonly<Record<string, string>>;
  /** Folders that others are mounted on: the root file system can be read-only. */
  readonly mountPoints: readonly string[];
}

const CONTENTS: Readonly<Record<PluginName, Contents>> = {
  network: {
    packages: ['iptables', 'libnftables1', 'libstdc++6', 'netbase'],
    /**
     * iptables-legacy cannot even list a rule whose extension it does not have, and nobody knows which rules an
     * administrator has: all that can stand in FORWARD come along, but for connlabel, which needs two more libraries.
     */
    code: [
      'usr/lib/*-linux-*/libnftables.so.1',
      'usr/lib/*-linux-*/xtables/lib{xt,ipt,ip6t}_!(connlabel).so',
      'usr/sbin/xtables-legacy-multi',
    ],
    /** Names of protocols and ports: nftables and iptables look them up. */
    tables: 'etc/{protocols,services}',
    commands: Object.fromEntries(
      ['iptables-legacy', 'iptables-legacy-restore', 'ip6tables-legacy', 'ip6tables-legacy-restore'].map((name) => [
        `usr/sbin/${name}`,
        'xtables-legacy-multi',
      ]),
    ),
    mountPoints: ['host/sys-net', 'host/lock'],
  },
  volume: {
    packages: [
      'btrfs-progs',
      'coreutils',
      'dash',
      'diffutils',
      'e2fsprogs',
      'libstdc++6',
      'mount',
      'util-linux',
      'xfsprogs',
    ],
    // For programs of these packages that are not copied.
    without:
      /^(lib)?(python|perl|icu|krb5|gssapi|k5crypto|tirpc|nsl|sqlite|ssl)|^(media-types|mailcap|mime-support|tar|dpkg)$/,
    // blkid and mount are of util-linux or mount, by the release of Debian; so is whether /sbin is /usr/sbin.
    code: [
      '{usr/,}{bin,sbin}/{mount,umount,losetup,blkid,cmp,cp,fsfreeze}',
      // For the scripts that start the driver and engines, and start them again.
      '{usr/,}bin/{dash,date,rm,sleep}',
      '{usr/,}{bin,sbin}/{mke2fs,e2fsck,resize2fs,tune2fs}',
      '{usr/,}{bin,sbin}/{mkfs.xfs,xfs_repair,xfs_growfs,xfs_db}',
      '{usr/,}{bin,sbin}/{mkfs.btrfs,btrfs,btrfstune}',
    ],
    tables: 'etc/mke2fs.conf',
    commands: { 'usr/bin/sh': 'dash', 'usr/sbin/mkfs.ext4': 'mke2fs' },
    mountPoints: ['run/drayage-beneath', 'var/lib/drayage-mounts'],
  },
};

/** Licences of what we ship; compressed. */
const LICENCES = 'usr/share/doc/*/copyright';

/** Folders that others are mounted on, in every plugin. */
const MOUNT_POINTS = ['dev', 'proc', 'sys', 'tmp', 'run/docker/plugins', 'var/lib/drayage'];

/** Where a plugin's own code lies in the image. */
export const APP_FOLDER = 'usr/lib/drayage';

/** Answers the folder of a plugin's finished base, from the cache if it was built before. */
export async function baseRootfs(plugin: PluginName): Promise<string> {
  return cached(`rootfs-${plugin}`, await baseKey(), (rootfs) => buildBase(rootfs, CONTENTS[plugin]));
}

/** Changes with whatever goes into the base, newer Debian packages apart: remove the cache to take those in. */
async function baseKey(): Promise<string> {
  const hash = createHash('sha256').update(process.arch);
  const modules = [`node-linux-${process.arch}`, 'koffi'].map((name) => join(nodeModules, name, 'package.json'));
  const sources = ['rootfs.ts', 'libraries.ts', 'elf.ts', 'debian-packages.ts'];
  const files = [...modules, ...sources.map((name) => join(import.meta.dirname, name)), '/etc/os-release'];
  for (const file of files) hash.update(await readFile(file)).update('\0');
  return hash.digest('hex').slice(0, 16);
}

async function buildBase(rootfs: string, contents: Contents): Promise<void> {
  const debian = await mkdtemp(join(tmpdir(), 'drayage-rootfs-'));
  try {
    const packages = await unpackDebianPackages(contents.packages, debian, contents.without);
    await addSkeleton(rootfs, contents.mountPoints);
    await writeFile(join(rootfs, 'usr/share/drayage/packages.json'), `${JSON.stringify(packages, null, 2)}\n`);
    const copier = await LibraryCopier.open(debian, rootfs);
    await addNode(rootfs, copier);
    await addKoffi(rootfs, copier);
    await addDebian(debian, rootfs, copier, contents);
  } finally {
    await rm(debian, { recursive: true, force: true });
  }
}

async function addSkeleton(rootfs: string, mountPoints: readonly string[]): Promise<void> {
  await chmod(rootfs, 0o755);
  const folders = [
    'etc',
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
    'usr/share/drayage',
    APP_FOLDER,
    ...MOUNT_POINTS,
    ...mountPoints,
  ];
  for (const folder of folders) await mkdir(join(rootfs, folder), { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(rootfs, name));
  await writeFile(join(rootfs, 'etc/passwd'), 'root:x:0:0:root:/:/sbin/nologin\n');
  await writeFile(join(rootfs, 'etc/group'), 'root:x:0:\n');
}

async function addNode(rootfs: string, copier: LibraryCopier): Promise<void> {
  const from = join(nodeModules, `node-linux-${process.arch}`);
  const node = join(rootfs, 'usr/bin/node');
  await copySlim(join(from, 'bin/node'), node, 0o755);
  await copier.addNeedsOf(node);
  await addLicence(join(from, 'LICENSE'), join(rootfs, 'usr/share/doc/node/copyright.gz'));
}

/** The prebuilt library for glibc, and of the loaders in JavaScript those that lead to it. */
async function addKoffi(rootfs: string, copier: LibraryCopier): Promise<void> {
  const to = join(rootfs, APP_FOLDER, 'node_modules');
  const loader = ['package.json', 'index.cjs', 'LICENSE.txt', 'src/koffi/index.cjs'];
  for (const name of loader) await addFile(join(nodeModules, 'koffi', name), join(to, 'koffi', name));
  await cp(join(nodeModules, 'koffi/src/koffi/src'), join(to, 'koffi/src/koffi/src'), {
    recursive: true,
    filter: (path) => !/\.[^/]+$/.test(path) || path.endsWith('.cjs'),
  });
  const prebuilt = `@koromix/koffi-linux-${process.arch}`;
  const library = `linux_${process.arch}/koffi.node`;
  for (const name of ['package.json', 'index.js', library]) {
    await addFile(join(nodeModules, prebuilt, name), join(to, prebuilt, name));
  }
  await copier.addNeedsOf(join(to, prebuilt, library));
}

async function addDebian(
  debian: string,
  rootfs: string,
  copier: LibraryCopier,
  { code, tables, commands }: Contents,
): Promise<void> {
  for await (const path of glob(code, { cwd: debian })) await copier.copy(path);
  for await (const path of glob(tables, { cwd: debian })) await addFile(join(debian, path), join(rootfs, path));
  for await (const path of glob(LICENCES, { cwd: debian })) {
    await addLicence(join(debian, path), join(rootfs, `${path}.gz`));
  }
  for (const [link, program] of Object.entries(commands)) await symlink(program, join(rootfs, link));
}

async function addFile(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
}

async function addLicence(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await writeFile(to, gzipSync(await readFile(from)));
}
