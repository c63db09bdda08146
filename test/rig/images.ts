/** Container images without a registry: tar files for `docker import`, built once from Debian's busybox and iperf3. */
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { must } from './command.ts';
import { CACHE, type Tools, withLock } from './packages.ts';

/** `drayage/box:1` is busybox (httpd, nc, wget, ping, ip …); `drayage/perf:1` has iperf3 as well. */
export const IMAGES = ['box', 'perf'] as const;
export type ImageName = (typeof IMAGES)[number];

/** Answers the address that a request came from: shows whether somebody rewrote it on the way. */
export const WHOAMI = `#!/bin/sh
a=\${REMOTE_ADDR#[}; a=\${a%]}
printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' "\${a#::ffff:}"
`;
/** Format of the tar files; a change here rebuilds them. */
const REVISION = 4;

/** Path of the image's tar file, which is built when it is missing. */
export async function ensureImage(name: ImageName, tools: Tools): Promise<string> {
  const file = path.join(CACHE, `image-${name}-${REVISION}.tar`);
  if (existsSync(file)) return file;
  return await withLock(`image-${name}`, async () => {
    if (existsSync(file)) return file;
    const root = path.join(CACHE, `image-${name}.new`);
    await rm(root, { recursive: true, force: true });
    await populateBox(root, tools);
    if (name === 'perf') await addWithLibraries(root, tools.iperf3, tools.root);
    await must(['tar', '--numeric-owner', '-C', root, '-cf', `${file}.new`, '.']);
    await rename(`${file}.new`, file);
    await rm(root, { recursive: true, force: true });
    return file;
  });
}

async function populateBox(root: string, tools: Tools): Promise<void> {
  for (const folder of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'data', 'root', 'www/cgi-bin', 'usr/bin']) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  await chmod(path.join(root, 'tmp'), 0o1777);
  await copyFile(tools.busybox, path.join(root, 'bin/busybox'));
  for (const applet of (await must([tools.busybox, '--list'])).split('\n')) {
    if (applet !== 'busybox') await symlink('busybox', path.join(root, 'bin', applet));
  }
  await writeFile(
    path.join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n',
  );
  await writeFile(path.join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
  await writeFile(path.join(root, 'www/index.html'), 'hello from a container\n');
  await writeFile(path.join(root, 'www/cgi-bin/whoami'), WHOAMI);
  await chmod(path.join(root, 'www/cgi-bin/whoami'), 0o755);
}

/** Copies a dynamic program with every library that it links, to the paths where its loader looks. */
async function addWithLibraries(root: string, program: string, packages: string): Promise<void> {
  const libraryPath = path.join(packages, 'usr/lib', `${multiarch()}-linux-gnu`);
  const listing = await must(['ldd', program], { env: { PATH: process.env.PATH, LD_LIBRARY_PATH: libraryPath } });
  await copyFile(program, path.join(root, 'usr/bin', path.basename(program)));
  for (const line of listing.split('\n')) {
    const found = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1];
    if (!found) continue;
    const target = found.includes('/ld-linux') ? found : path.join('/lib', path.basename(found));
    await mkdir(path.join(root, path.dirname(target)), { recursive: true });
    await copyFile(found, path.join(root, target));
  }
}

function multiarch(): string {
  return process.arch === 'arm64' ? 'aarch64' : 'x86_64';
}
