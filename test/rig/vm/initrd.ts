/** The first file system of a guest's kernel: busybox and the modules without which it cannot see its disk. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

const FOLDER = 0o40755;
const PROGRAM = 0o100755;

/** An archive as the kernel unpacks it: cpio's "newc" (Documentation/driver-api/early-userspace/buffer-format.rst). */
class Archive {
  readonly #parts: Buffer[] = [];
  #inode = 0;

  add(name: string, mode: number, content: Buffer = Buffer.alloc(0)): void {
    this.#inode += 1;
    const fields = [this.#inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
    this.#parts.push(padded(Buffer.from(header)), padded(content));
  }

  end(): Buffer {
    this.add('TRAILER!!!', 0);
    return Buffer.concat(this.#parts);
  }
}

const padded = (content: Buffer): Buffer => Buffer.concat([content, Buffer.alloc((4 - (content.length % 4)) % 4)]);

/**
 * Writes the archive to `file`. It loads `modules` (in this order), mounts the first virtio disk and goes on with `init` there.
 * @param modules paths of .ko files.
 */
export async function writeInitrd(
  file: string,
  parts: { readonly busybox: string; readonly modules: readonly string[]; readonly init: string },
): Promise<void> {
  const archive = new Archive();
  for (const folder of ['bin', 'dev', 'root']) archive.add(folder, FOLDER);
  archive.add('bin/busybox', PROGRAM, await readFile(parts.busybox));
  for (const module of parts.modules) archive.add(path.basename(module), PROGRAM, await readFile(module));
  const script = [
    '#!/bin/busybox sh',
    '/bin/busybox mount -t devtmpfs dev /dev',
    ...parts.modules.map((module) => `/bin/busybox insmod /${path.basename(module)}`),
    'while ! /bin/busybox mount -t ext4 /dev/vda /root; do /bin/busybox usleep 20000; done',
    `exec /bin/busybox switch_root /root ${parts.init}`,
    '',
  ];
  archive.add('init', PROGRAM, Buffer.from(script.join('\n')));
  await writeFile(file, archive.end());
}
