import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { findLoop, growLoop } from '../../shared/kernel/loop-device.ts';
import type { Copies } from './copies.ts';
import { copyOf, type LoopDescription, type LoopFiles, type LoopHolder, missing } from './loop-files.ts';
import { busy } from './loop-holding.ts';
import type { LoopReading } from './loop-reading.ts';
import type { LoopRoom } from './loop-room.ts';
import type { LoopSnapshots } from './loop-snapshots.ts';
import type { Disk, DiskRequest, Snapshot } from './provider.ts';

/** What the parts of the provider that need all the others work with. */
export interface LoopParts {
  readonly files: LoopFiles;
  readonly reading: LoopReading;
  readonly snapshots: LoopSnapshots;
  readonly room: LoopRoom;
  readonly copies: Copies;
  readonly self: LoopHolder;
}

/** Disks are made here, and made larger: no more of them than there is room for. */
export class LoopMaking {
  readonly #parts: LoopParts;

  constructor(parts: LoopParts) {
    this.#parts = parts;
  }

  /**
   * Describes a disk, unless the token has made one: from then on it counts. One at a time. Errors: see
   * DiskProvider.create.
   */
  async describe(request: DiskRequest, token: string): Promise<LoopDescription> {
    const { files, reading } = this.#parts;
    const from = request.snapshot === undefined ? undefined : await this.#ready(request.snapshot);
    if (from !== undefined && from.size > request.size) {
      const reason = `it has ${from.size} bytes, more than the ${request.size} of the disk`;
      throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: `a disk from ${from.id}`, reason });
    }
    const known = await files.add(request, token);
    if (known.volume !== request.volume) {
      const what = `a disk for volume ${request.volume}`;
      throw new PluginError('TOKEN_BURNED', { provider: 'loop', what, reason: `${known.id} was let go since` });
    }
    if ((await reading.asDisk(known)).state === 'creating') await this.#refuseWithoutRoom(known);
    return known;
  }

  /** Makes the image of a disk that is described; a copy goes on when this answers. One at a time for each disk. */
  async make(known: LoopDescription, c: Context): Promise<Disk> {
    const { files, reading, snapshots, copies } = this.#parts;
    const before = await reading.asDisk(known);
    if (before.state !== 'creating') return before;
    const { fromSnapshot, id, size } = known;
    if (fromSnapshot !== undefined) {
      const from = snapshots.image((await this.#ready(fromSnapshot)).id);
      copies.begin(id, c.log, (inner) => files.makeImage(id, copyOf(from, size, inner)));
      return before;
    }
    await files.makeImage(id, (file) => file.truncate(size));
    const made = await reading.disk(id);
    if (made !== undefined) return made;
    await files.folder.remove(`${id}.img`);
    throw missing(known);
  }

  /** See DiskProvider.resize. One at a time, and alone with the disk. */
  async grow(id: string, bytes: number, c: Context): Promise<void> {
    const { files, reading, room, self } = this.#parts;
    const found = await reading.must(id);
    if (bytes <= found.size) return;
    const holder = await files.holder(id);
    if (holder !== undefined && holder.id !== self.id) throw busy(found, holder);
    await room.refuse(found.volume, bytes, bytes - found.size);
    await files.growImage(id, bytes);
    const device = await findLoop(files.image(id), c);
    if (device !== undefined) await growLoop(device, c);
    await files.change(id, (one) => ({ ...one, size: Math.max(one.size, bytes) }));
  }

  /** A snapshot that disks can be made from. */
  async #ready(id: string): Promise<Snapshot> {
    const found = await this.#parts.snapshots.find(id);
    if (found?.state === 'ready') return found;
    const reason = found === undefined ? 'there is no such snapshot' : `it is ${found.state}`;
    throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: `a disk from snapshot ${id}`, reason });
  }

  /** The disk is described already, and counted therefore; its description goes when there is no room. */
  async #refuseWithoutRoom(description: LoopDescription): Promise<void> {
    const { files, room, self } = this.#parts;
    await room.refuse(description.volume, description.size, 0).catch(async (error: unknown) => {
      await files.remove(description, self);
      throw error;
    });
  }
}
