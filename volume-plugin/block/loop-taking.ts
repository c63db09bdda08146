import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import type { LoopDescription } from './loop-files.ts';
import { busy } from './loop-holding.ts';
import type { LoopParts } from './loop-making.ts';
import type { DiskTags, Snapshot } from './provider.ts';

/** Snapshots of disks are taken here, and disks kept to this host meanwhile. */
export class LoopTaking {
  readonly #parts: LoopParts;

  constructor(parts: LoopParts) {
    this.#parts = parts;
  }

  /**
   * Copies the image. Of one that this host has attached, that is done when this answers: what is written later must not
   * be in it, and nothing that is written meanwhile, which whoever has it attached sees to. Another one nobody attaches
   * while it is copied. Alone with the disk. Errors: see DiskProvider.snapshot.
   */
  async take(id: string, tags: DiskTags, token: string, c: Context): Promise<Snapshot> {
    const { files, reading, snapshots, copies, self } = this.#parts;
    const found = await reading.must(id);
    const holder = await files.hold(id, { ...self, meanwhile: 'snapshot' });
    if (holder.id !== self.id) throw busy(found, holder);
    const letGo = (): Promise<void> => files.letGo(id, self.id);
    const copy = await this.#begin(found, tags, token).catch(async (error: unknown) => {
      if (holder.meanwhile !== undefined) await letGo();
      throw error;
    });
    if (holder.meanwhile === undefined) await copy.work(c);
    else copies.begin(id, c.log, (inner) => copy.work(inner).finally(letGo));
    const taken = await snapshots.find(copy.id);
    if (taken !== undefined) return taken;
    const reason = 'it was removed while it was taken';
    throw new PluginError('BACKEND_REFUSED', { provider: 'loop', what: 'a snapshot', reason });
  }

  /** Describes it, and answers what is to be done. */
  async #begin(found: LoopDescription, tags: DiskTags, token: string) {
    const { files, snapshots, room } = this.#parts;
    const described = await snapshots.add(found, tags, token);
    const known = await snapshots.find(described.id);
    if (known?.state !== 'ready') {
      const taken = (await files.folder.size(`${found.id}.img`))?.taken ?? 0;
      await room.refuse(found.volume, found.size, taken).catch(async (error: unknown) => {
        await snapshots.remove(described.id);
        throw error;
      });
    }
    const work = (c: Context): Promise<void> => snapshots.copy(described, files.image(found.id), c);
    return { id: described.id, work };
  }
}
