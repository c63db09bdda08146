import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Media, MediaDisk } from '../../../sim/core/media.ts';
import { run } from './scratch.ts';

/**
 * Disks of a simulated cloud as files on this machine: an attached one is a loop device, and the instance that has it sees
 * it under its serial number in a folder of its own.
 */
export class FileMedia implements Media {
  readonly #folder: string;
  /** Disk → its device, and the instance that has it. */
  readonly #plugged = new Map<
    string,
    { readonly device: string; readonly instance: string; readonly serial: string }
  >();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** In place of `/sys/class/block` and `/dev`, as this instance sees them. */
  devices(instance: string): { readonly sys: string; readonly dev: string } {
    const sys = join(this.#folder, `sys-${instance}`);
    mkdirSync(sys, { recursive: true });
    return { sys, dev: '/dev' };
  }

  async create({ id, bytes }: MediaDisk, snapshot?: string): Promise<void> {
    if (snapshot === undefined) writeFileSync(this.#image(id), '');
    else run('cp', '--sparse=always', this.#image(snapshot), this.#image(id));
    truncateSync(this.#image(id), bytes);
  }

  async resize({ id, bytes }: MediaDisk): Promise<void> {
    truncateSync(this.#image(id), bytes);
  }

  async remove(disk: string): Promise<void> {
    rmSync(this.#image(disk), { force: true });
  }

  async snapshot(disk: string, snapshot: string): Promise<void> {
    run('cp', '--sparse=always', this.#image(disk), this.#image(snapshot));
  }

  async removeSnapshot(snapshot: string): Promise<void> {
    rmSync(this.#image(snapshot), { force: true });
  }

  async attach({ id, serial }: MediaDisk, instance: string): Promise<void> {
    const device = run('losetup', '--find', '--show', this.#image(id)).trim();
    const shown = join(this.devices(instance).sys, basename(device));
    mkdirSync(shown);
    writeFileSync(join(shown, 'serial'), serial);
    this.#plugged.set(id, { device, instance, serial });
  }

  async detach(disk: string, instance: string): Promise<'done' | 'busy'> {
    const found = this.#plugged.get(disk);
    if (found === undefined) return 'done';
    rmSync(join(this.devices(instance).sys, basename(found.device)), { recursive: true, force: true });
    run('losetup', '--detach', found.device);
    this.#plugged.delete(disk);
    return 'done';
  }

  async stop(instance: string): Promise<void> {
    for (const [disk, plugged] of [...this.#plugged]) {
      if (plugged.instance === instance) await this.detach(disk, instance);
    }
  }

  async start(instance: string, disks: readonly MediaDisk[]): Promise<void> {
    for (const disk of disks) await this.attach(disk, instance);
  }

  #image(id: string): string {
    return join(this.#folder, `${id}.img`);
  }
}
