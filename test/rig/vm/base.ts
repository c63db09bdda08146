/**
 * What all guests are made from: Debian's kernel, an initrd, and a root file system, unpacked from the machine's own
 * mirror into the rig's cache (about 20 s, once). Packages are not configured: what their scripts would do that matters
 * here is in `guest.ts`.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { installMissing, PrivateApt } from '../apt.ts';
import { must } from '../command.ts';
import { CACHE, type Tools, withLock } from '../packages.ts';
import { keepNewest } from '../sweep.ts';
import {
  GROUP,
  GUEST_PACKAGES,
  IN_USE,
  IN_USE_PATH,
  INIT,
  INIT_PATH,
  PASSWD,
  RUNC,
  RUNC_PACKAGED_PATH,
  RUNC_PATH,
  WAKE,
  WAKE_PATH,
} from './guest.ts';
import { writeInitrd } from './initrd.ts';

/** Programs that must be on the machine itself, and the Debian package of each. */
const MACHINE_PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'mkfs.ext4': 'e2fsprogs',
};
/** To be changed with what is made here; a change of `guest.ts` makes it anew by itself. */
const REVISION = 6;
const RECIPE = JSON.stringify([REVISION, GUEST_PACKAGES, INIT, WAKE, IN_USE, RUNC, PASSWD, GROUP]);
const ROOT_BYTES = '3G';
/** Older ones are dropped. */
const KEPT = 2;

export interface GuestBase {
  /** Another one each time that the same base is made: files lie elsewhere in its image then, as machines that run know. */
  readonly made: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Raw image of the root file system; guests write to overlays of it. */
  readonly root: string;
}

/** All of it; unpacks and makes what is missing. */
export async function ensureBase(tools: Tools, say: (line: string) => void): Promise<GuestBase> {
  if (process.arch !== 'x64')
    throw new Error(`The rig's virtual machines are x86-64; this machine is ${process.arch}.`);
  await installMissing(MACHINE_PROGRAMS, say);
  const id = `vm-base-${createHash('sha256').update(RECIPE).digest('hex').slice(0, 12)}`;
  const folder = path.join(CACHE, id);
  const found = async (): Promise<GuestBase> => {
    const now = new Date();
    await utimes(folder, now, now);
    return {
      made: await readFile(path.join(folder, 'made'), 'utf8'),
      kernel: path.join(folder, 'vmlinuz'),
      initrd: path.join(folder, 'initrd'),
      root: path.join(folder, 'root.raw'),
    };
  };
  if (existsSync(folder)) return await found();
  return await withLock(id, async () => {
    if (existsSync(folder)) return await found();
    const started = Date.now();
    say(`making the file system of virtual machines in ${folder}`);
    const fresh = `${folder}.new`;
    await rm(fresh, { recursive: true, force: true });
    const root = path.join(fresh, 'root');
    await mkdir(root, { recursive: true });
    const apt = await PrivateApt.open(path.join(fresh, 'apt'), 'bookworm');
    await apt.unpackTree(GUEST_PACKAGES, root);
    await furnish(root);
    await makeImage(root, tools);
    await extractKernel(root, fresh, tools);
    // No journal and no discards: an image that is only ever read.
    const options = ['-q', '-O', '^has_journal', '-E', 'nodiscard,lazy_itable_init=1'];
    await must(['mkfs.ext4', ...options, '-d', root, path.join(fresh, 'root.raw'), ROOT_BYTES], { timeoutMs: 120_000 });
    for (const name of ['root', 'apt']) await rm(path.join(fresh, name), { recursive: true, force: true });
    await writeFile(path.join(fresh, 'made'), randomBytes(4).toString('hex'));
    await rename(fresh, folder);
    // One more than this one: guests of another checkout may run on it.
    await keepNewest(CACHE, KEPT, (name) => /^vm-base-[0-9a-f]+$/.test(name));
    say(`the file system of virtual machines is ready after ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return await found();
  });
}

/** What the packages' own scripts would have done, and the rig's programs. */
async function furnish(root: string): Promise<void> {
  const at = (file: string): string => path.join(root, file);
  await rename(at(RUNC_PATH), at(RUNC_PACKAGED_PATH));
  for (const [file, text] of [
    ['etc/passwd', PASSWD],
    ['etc/group', GROUP],
    // Plugins get these from the host.
    ['etc/hosts', '127.0.0.1 localhost\n'],
    ['etc/resolv.conf', ''],
    [INIT_PATH, INIT],
    [WAKE_PATH, WAKE],
    [IN_USE_PATH, IN_USE],
    [RUNC_PATH, RUNC],
  ] as const) {
    await writeFile(at(file), text);
  }
  for (const file of [INIT_PATH, WAKE_PATH, IN_USE_PATH, RUNC_PATH]) await chmod(at(file), 0o755);
  for (const folder of ['var/lib/docker/plugins', 'var/lib/drayage']) await mkdir(at(folder), { recursive: true });
  await rm(at('var/run'), { recursive: true, force: true });
  await symlink('/run', at('var/run'));
  for (const folder of ['doc', 'man', 'locale', 'perl', 'info']) {
    await rm(at(`usr/share/${folder}`), { recursive: true, force: true });
  }
}

/** The container image: the guest's own sqlite3 and flock with the libraries that they link, and busybox. Imported at the template's first boot. */
async function makeImage(root: string, tools: Tools): Promise<void> {
  const image = path.join(root, 'image');
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'etc', 'tmp', 'data', 'usr/bin']) {
    await mkdir(path.join(image, folder), { recursive: true });
  }
  await copyFile(tools.busybox, path.join(image, 'bin/busybox'));
  for (const applet of (await must([tools.busybox, '--list'])).split('\n')) {
    if (applet !== 'busybox') await symlink('busybox', path.join(image, 'bin', applet));
  }
  for (const program of ['/usr/bin/sqlite3', '/usr/bin/flock']) {
    await copyFile(path.join(root, program), path.join(image, program));
    const linked = await must(['chroot', root, '/lib64/ld-linux-x86-64.so.2', '--list', program]);
    for (const [, library = ''] of linked.matchAll(/(\/\S+) \(0x/g)) {
      await mkdir(path.join(image, path.dirname(library)), { recursive: true });
      await copyFile(path.join(root, library), path.join(image, library));
    }
  }
  await mkdir(path.join(image, 'lib64'), { recursive: true });
  await copyFile(path.join(root, 'lib64/ld-linux-x86-64.so.2'), path.join(image, 'lib64/ld-linux-x86-64.so.2'));
  await must(['tar', '--numeric-owner', '-C', image, '-cf', path.join(root, 'image.tar'), '.']);
  await rm(image, { recursive: true, force: true });
}

async function extractKernel(root: string, target: string, tools: Tools): Promise<void> {
  const [version = ''] = await readdir(path.join(root, 'lib/modules'));
  await must(['chroot', root, '/sbin/depmod', version], { timeoutMs: 60_000 });
  await copyFile(path.join(root, `boot/vmlinuz-${version}`), path.join(target, 'vmlinuz'));
  await rm(path.join(root, 'boot'), { recursive: true });
  const dependencies = await readFile(path.join(root, 'lib/modules', version, 'modules.dep'), 'utf8');
  const modules = ['virtio_pci', 'virtio_blk'].flatMap((name) => withDependencies(dependencies, name));
  await writeInitrd(path.join(target, 'initrd'), {
    busybox: tools.busybox,
    modules: [...new Set(modules)].map((file) => path.join(root, 'lib/modules', version, file)),
    init: INIT_PATH,
  });
}

/** Files of a module and all that it needs, in the order of loading: `modules.dep` lists needs from the nearest to the farthest. */
function withDependencies(text: string, name: string): string[] {
  const line = text.split('\n').find((one) => one.split(':')[0]?.endsWith(`/${name}.ko`));
  if (line === undefined) throw new Error(`Debian's cloud kernel has no module ${name}`);
  const [file = '', needs = ''] = line.split(':');
  return [
    ...needs
      .split(' ')
      .filter((need) => need !== '')
      .reverse(),
    file,
  ];
}
