import { HOLDS } from './hold-tag.ts';
import { type LoopDescription, type LoopFiles, missing } from './loop-files.ts';
import type { Disk } from './provider.ts';

/** What the folder shows of disks, in the words of the contract. */
export class LoopReading {
  readonly #files: LoopFiles;

  constructor(files: LoopFiles) {
    this.#files = files;
  }

  /** Of every volume, or of one when it is named. */
  async disks(volume?: string): Promise<readonly Disk[]> {
    const ours = (await this.#files.all(volume)).filter((one) => one.volume !== '');
    return Promise.all(ours.map((one) => this.asDisk(one)));
  }

  async disk(id: string): Promise<Disk | undefined> {
    const found = await this.#files.read(id);
    return found === undefined || found.volume === '' ? undefined : this.asDisk(found);
  }

  /** Errors: DISK_MISSING. */
  async must(id: string): Promise<LoopDescription> {
    const found = await this.#files.read(id);
    if (found === undefined) throw missing({ id, volume: id });
    return found;
  }

  /** The note says who has it: a device alone may be left over from a crash, and goes with the next detach. */
  async asDisk(found: LoopDescription): Promise<Disk> {
    const { id, volume, size, fromSnapshot, created } = found;
    const [note, image] = await Promise.all([this.#files.holder(id), this.#files.imageSize(id)]);
    const holder = note?.meanwhile === undefined ? note : undefined;
    const holds = holder === undefined ? undefined : await this.#files.holds(id);
    const tags = holds === undefined ? found.tags : { ...found.tags, [HOLDS]: holds };
    const isNew = holder === undefined && tags.formatting === undefined && tags.formatted === undefined;
    const there = holder === undefined ? 'available' : 'attached';
    return {
      ...{ id, volume, size, tags, created, serial: id },
      state: image !== undefined ? there : isNew ? 'creating' : 'failed',
      ...(holder !== undefined && { holder: { id: holder.id, name: holder.name } }),
      ...(fromSnapshot !== undefined && { fromSnapshot }),
    };
  }
}
