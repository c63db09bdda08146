/**
 * Disks of a simulated cloud that are real: sparse files, plugged into the virtual machines of a rig while they run.
 * Which machine is an instance is told by a link with the instance's id in `instances`, to the folder of its sockets.
 */
import { existsSync } from 'node:fs';
import { mkdir, open, realpath, rm, truncate } from 'node:fs/promises';
import path from 'node:path';
import type { Media, MediaDisk } from '../../sim/core/media.ts';
import { must, until } from '../command.ts';
import { GuestAgent } from './agent.ts';
import { IN_USE_PATH } from './guest.ts';
import { agentSocket, DISK_SLOTS, monitorSocket, NO_LIMIT } from './qemu.ts';
import { Qmp, QmpError } from './qmp.ts';

/** How long a guest has to say whether it has a disk mounted, and to let one go. */
const ASK_MS = 3_000;
const UNPLUG_MS = 5_000;

/** A disk in a machine. `node`: the name of its file in QEMU, another one at each plugging. */
interface Plugged {
  readonly disk: string;
  readonly instance: string;
  readonly slot: string;
  readonly serial: string;
  readonly node: string;
  readonly bytes: number;
}

export class VmMedia implements Media {
  readonly #disks: string;
  readonly #instances: string;
  readonly #plugged = new Set<Plugged>();
  readonly #monitors = new Map<string, Qmp>();
  #count = 0;

  /** @param folder for disks, snapshots, and the links to machines. */
  constructor(folder: string) {
    this.#disks = path.join(folder, 'disks');
    this.#instances = path.join(folder, 'instances');
  }

  async create(disk: MediaDisk, snapshot?: string): Promise<void> {
    await mkdir(this.#disks, { recursive: true });
    const file = this.#file(disk.id);
    if (snapshot === undefined) await (await open(file, 'wx')).close();
    else await copySparse(this.#file(snapshot), file);
    await truncate(file, disk.bytes);
  }

  async resize(disk: MediaDisk): Promise<void> {
    const plugged = [...this.#plugged].find((one) => one.disk === disk.id);
    if (plugged === undefined) await truncate(this.#file(disk.id), disk.bytes);
    else {
      const qmp = await this.#monitor(plugged.instance);
      await qmp.ask('block_resize', { 'node-name': `${plugged.node}-file`, size: disk.bytes });
      await qmp.ask('block_resize', { 'node-name': plugged.node, size: disk.bytes });
    }
  }

  async remove(disk: string): Promise<void> {
    await rm(this.#file(disk), { force: true });
  }

  /** What the guest has not written yet is not in it, as in a cloud. */
  async snapshot(disk: string, snapshot: string): Promise<void> {
    await copySparse(this.#file(disk), this.#file(snapshot));
  }

  async removeSnapshot(snapshot: string): Promise<void> {
    await rm(this.#file(snapshot), { force: true });
  }

  /**
   * The file's lock is the last guard: a disk that another machine still has is refused by QEMU. Between file and device
   * is a layer that lets go of the file at once, whatever the guest does: see `detach`.
   */
  async attach(disk: MediaDisk, instance: string): Promise<void> {
    const qmp = await this.#monitor(instance);
    const taken = new Set([...this.#plugged].flatMap((one) => (one.instance === instance ? [one.slot] : [])));
    const slot = DISK_SLOTS.find((one) => !taken.has(one));
    if (slot === undefined) throw new Error(`the virtual machine of ${instance} has no free slot`);
    this.#count += 1;
    const node = `disk${process.pid}-${this.#count}`;
    const plugged = { disk: disk.id, instance, slot, serial: disk.serial, node, bytes: disk.bytes };
    this.#plugged.add(plugged);
    try {
      await qmp.ask('blockdev-add', fileNode(`${node}-file`, this.#file(disk.id)));
      await qmp.ask('blockdev-add', layer(node, `${node}-file`));
      const driver = disk.bus === 'nvme' ? 'nvme' : 'virtio-blk-pci';
      await qmp.ask('device_add', { driver, drive: node, bus: slot, serial: disk.serial, id: node });
    } catch (error) {
      this.#plugged.delete(plugged);
      await this.#dropNodes(qmp, node);
      throw error;
    }
  }

  /**
   * Asks the guest whether it has the disk mounted, as Amazon's `busy` does; one that does not answer keeps it. With
   * `force` the file is taken away beneath the device first: from then on the guest gets I/O errors, also one that is
   * frozen now and wakes up later.
   */
  async detach(disk: string, instance: string, force: boolean): Promise<'done' | 'busy'> {
    const plugged = [...this.#plugged].find((one) => one.disk === disk && one.instance === instance);
    if (plugged === undefined) return 'done';
    if (!force && (await this.#isInUse(plugged))) return 'busy';
    const qmp = await this.#monitor(instance);
    const { node } = plugged;
    if (force) {
      await qmp.ask('blockdev-add', deadNode(`${node}-dead`, plugged.bytes));
      await qmp.ask('blockdev-reopen', { options: [layer(node, `${node}-dead`)] });
      await qmp.ask('blockdev-del', { 'node-name': `${node}-file` });
    }
    const gone = qmp.event('DEVICE_DELETED', (data) => data['device'] === node, force ? UNPLUG_MS : UNPLUG_MS * 4);
    gone.catch(() => undefined);
    await qmp.ask('device_del', { id: node });
    try {
      await gone;
    } catch (error) {
      // A frozen guest cannot see to it; what it has left is a device that answers errors.
      if (!force) throw error;
      this.#plugged.delete(plugged);
      return 'done';
    }
    await this.#dropNodes(qmp, node);
    this.#plugged.delete(plugged);
    return 'done';
  }

  /** Ends its machine at once; a machine that stops in order would have unmounted everything before. */
  async stop(instance: string): Promise<void> {
    const folder = path.join(this.#instances, instance);
    if (existsSync(folder)) await this.#quit(instance);
    for (const plugged of this.#plugged) if (plugged.instance === instance) this.#plugged.delete(plugged);
    this.#monitors.get(instance)?.close();
    this.#monitors.delete(instance);
  }

  /** The rig starts machines, not the cloud: a machine that was stopped is given its disks when it is there again. */
  async start(instance: string, disks: readonly MediaDisk[]): Promise<void> {
    for (const disk of disks) await this.attach(disk, instance);
  }

  #file(id: string): string {
    return path.join(this.#disks, id);
  }

  async #quit(instance: string): Promise<void> {
    try {
      const qmp = await this.#monitor(instance, 0);
      await qmp.ask('quit');
      await until(`the end of the machine of ${instance}`, () => !qmp.alive, { timeoutMs: 10_000 });
    } catch (error) {
      // It was killed before: nobody listens.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ECONNREFUSED' && code !== 'ENOENT' && !/has ended/.test((error as Error).message)) throw error;
    }
  }

  async #isInUse({ instance, serial }: Plugged): Promise<boolean> {
    const agent = new GuestAgent(agentSocket(await this.#folder(instance), 'cloud'));
    try {
      return (await agent.exec([IN_USE_PATH, serial], { timeoutMs: ASK_MS })).code === 0;
    } catch (error) {
      if (error instanceof Error) return true;
      throw error;
    }
  }

  async #dropNodes(qmp: Qmp, node: string): Promise<void> {
    for (const name of [node, `${node}-file`, `${node}-dead`]) {
      try {
        await qmp.ask('blockdev-del', { 'node-name': name });
      } catch (error) {
        if (!(error instanceof QmpError)) throw error;
      }
    }
  }

  async #monitor(instance: string, timeoutMs = 2_000): Promise<Qmp> {
    const known = this.#monitors.get(instance);
    if (known?.alive) return known;
    const qmp = await Qmp.open(monitorSocket(await this.#folder(instance), 'cloud'), timeoutMs);
    this.#monitors.set(instance, qmp);
    return qmp;
  }

  /** Sockets have short names: the folder itself, not the link to it. */
  #folder(instance: string): Promise<string> {
    return realpath(path.join(this.#instances, instance));
  }
}

/** A raw file with QEMU's own lock: a second machine is refused it. No flush of the host's: killing QEMU loses nothing. */
const fileNode = (name: string, filename: string): object => ({
  'node-name': name,
  driver: 'file',
  filename,
  locking: 'on',
  cache: { direct: false, 'no-flush': true },
});

/** What the device is plugged into: passes everything on to the node below, which can be changed. */
const layer = (name: string, below: string): object => ({
  'node-name': name,
  driver: 'throttle',
  'throttle-group': NO_LIMIT,
  file: below,
});

/** A disk on which everything fails. */
const deadNode = (name: string, size: number): object => ({
  'node-name': name,
  driver: 'blkdebug',
  image: { driver: 'null-co', size },
  'inject-error': [
    { event: 'none', iotype: 'read' },
    { event: 'none', iotype: 'write' },
    { event: 'none', iotype: 'flush' },
  ],
});

async function copySparse(from: string, to: string): Promise<void> {
  await must(['cp', '--sparse=always', from, to]);
}
