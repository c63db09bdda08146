import { statfs } from 'node:fs/promises';
import { PluginError } from '../../shared/errors.ts';
import { blocking } from '../../shared/kernel/blocking.ts';
import type { LoopFiles } from './loop-files.ts';
import type { LoopSnapshots } from './loop-snapshots.ts';

/** What room there is for disks and snapshots: images take none before they are written to, and may do so any time. */
export class LoopRoom {
  readonly #files: LoopFiles;
  readonly #snapshots: LoopSnapshots;
  readonly #quota: number | undefined;

  constructor(files: LoopFiles, snapshots: LoopSnapshots, quota: number | undefined) {
    this.#files = files;
    this.#snapshots = snapshots;
    this.#quota = quota;
  }

  /**
   * Refuses a disk or a snapshot of `size` bytes that takes `more` bytes beyond what is described already. Errors:
   * DISK_QUOTA.
   */
  async refuse(volume: string, size: number, more: number): Promise<void> {
    const { folder } = this.#files.folder;
    const { bavail, bsize } = await blocking(folder, `looking for room in ${folder}`, () => statfs(folder));
    const all = await this.#files.all();
    const images = await Promise.all(all.map(({ id }) => this.#files.folder.size(`${id}.img`)));
    const promised = all.reduce((sum, one, n) => sum + Math.max(0, one.size - (images[n]?.taken ?? 0)), 0);
    const used = all.reduce((sum, one) => sum + one.size, 0) + (await this.#snapshots.taken());
    const [free, left] = [bavail * bsize - promised, (this.#quota ?? Number.POSITIVE_INFINITY) - used];
    const [room, what] = left < free ? [left, 'left of LOOP_QUOTA'] : [free, `free in ${folder}`];
    if (room >= more) return;
    throw new PluginError('DISK_QUOTA', { volume, size, limit: Math.max(0, room + (more === 0 ? size : 0)), what });
  }
}
