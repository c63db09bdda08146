/** Disks of volumes that are files: the folder that a rig's hosts keep them in, and their loop devices. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { must } from './command.ts';
import type { Host } from './host.ts';

/** Where the volume plugin keeps disks that are files, on each host: its setting LOOP_FOLDER. */
const FOLDER = '/var/lib/drayage/loop';

/** That folder of a host, as this machine sees it. */
export const diskFolder = (host: Host): string => path.join(host.stateFolder, 'loop');

/** Lets `others` see the disks of `owner`, as they would on a file system that they share. Before their plugins start. */
export async function shareDisks(owner: Host, ...others: readonly Host[]): Promise<void> {
  await owner.must(['mkdir', '-p', FOLDER]);
  for (const host of others) {
    await host.must(['mkdir', '-p', FOLDER]);
    await host.must(['mount', '--bind', diskFolder(owner), FOLDER]);
  }
}

/** Loop devices of the disks in a folder. */
export async function loopDevices(folder: string): Promise<string[]> {
  if (!existsSync(folder)) return [];
  const images = readdirSync(folder).filter((name) => name.endsWith('.img'));
  // By the file's inode: the path in the kernel's list is that of a plugin's own mounts.
  const found = images.map((name) =>
    must(['losetup', '--noheadings', '--output', 'NAME', '-j', path.join(folder, name)]),
  );
  return (await Promise.all(found)).flatMap((text) => text.split('\n').filter((line) => line !== ''));
}
