import { type Context, now, sleep } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { isUnused } from '../../shared/kernel/block-device.ts';
import { attachLoop, detachLoop, findLoop } from '../../shared/kernel/loop-device.ts';
import { type LoopDescription, type LoopFiles, type LoopHolder, missing } from './loop-files.ts';
import type { LoopReading } from './loop-reading.ts';
import type { Disk } from './provider.ts';

/** For a device that was detached to be closed by everybody. */
const CLOSING_MS = 3_000;

/** Who has a disk, and its device on this host. Called by one at a time for each disk. */
export class LoopHolding {
  readonly #files: LoopFiles;
  readonly #reading: LoopReading;
  readonly #self: LoopHolder;

  constructor(files: LoopFiles, reading: LoopReading, self: LoopHolder) {
    this.#files = files;
    this.#reading = reading;
    this.#self = self;
  }

  /** See DiskProvider.attach. */
  async attach(id: string, c: Context): Promise<void> {
    const self = this.#self;
    const found = await this.#reading.must(id);
    const holder = await this.#files.hold(id, self);
    if (holder.id !== self.id || holder.meanwhile !== undefined) throw busy(found, holder);
    // Who removes a disk has it meanwhile: it may have gone before it was held here.
    if ((await this.#files.read(id)) === undefined) {
      await this.#files.letGo(id, self.id);
      throw missing(found);
    }
    // A device that is left over knows nothing of what others have done with the image since.
    const isNew = holder === self;
    if (isNew) {
      await this.#detachHere(found, c).catch(async (error: unknown) => {
        await this.#files.letGo(id, self.id);
        throw error;
      });
    }
    await attachLoop(this.#files.image(id), c);
  }

  /** See DiskProvider.detach. */
  async detach(id: string, host: string, c: Context): Promise<void> {
    const found = await this.#files.read(id);
    if (found === undefined || (await this.#files.holder(id))?.id !== host) return;
    if (host === this.#self.id) await this.#detachHere(found, c);
    await this.#files.letGo(id, host);
  }

  /** See DiskProvider.device. */
  async device({ id, volume, holder }: Disk, c: Context): Promise<string | undefined> {
    const { id: self } = this.#self;
    if (holder?.id !== self || (await this.#files.holder(id))?.id !== self) return undefined;
    if ((await this.#files.imageSize(id)) === undefined) throw missing({ id, volume });
    // After a restart of the host the note is there, and the device is not.
    return attachLoop(this.#files.image(id), c);
  }

  /** See DiskProvider.remove. Nobody may attach what is being removed. */
  async remove(id: string, c: Context): Promise<void> {
    const found = await this.#files.read(id);
    if (found === undefined) return;
    const before = await this.#files.holder(id);
    if (before !== undefined) throw busy(found, before);
    const holder = await this.#files.hold(id, this.#self);
    if (holder.id !== this.#self.id) throw busy(found, holder);
    // A device may be left over from a crash.
    await this.#detachHere(found, c);
    await this.#files.remove(found, this.#self);
  }

  /** See DiskProvider.release. */
  async release(id: string): Promise<void> {
    const found = await this.#files.read(id);
    if (found === undefined || found.volume === '') return;
    const holder = await this.#files.holder(id);
    if (holder !== undefined) throw busy(found, holder);
    await this.#files.change(id, (one) => ({ ...one, volume: '', name: found.volume }));
  }

  /** One that is still used somewhere would end only with its last user: nobody else may have it before that. */
  async #detachHere({ id, volume }: LoopDescription, c: Context): Promise<void> {
    const image = this.#files.image(id);
    const device = await findLoop(image, c);
    if (device === undefined) return;
    if (!(await isUnused(device))) throw new PluginError('VOLUME_IN_USE', { volume, users: `a mount of ${device}` });
    await detachLoop(image, c);
    // It goes with the last of those who have it open: whoever lists devices opens each of them for a moment.
    for (const end = now() + CLOSING_MS; (await findLoop(image, c)) !== undefined; await sleep(20, c)) {
      if (now() > end) throw new PluginError('VOLUME_IN_USE', { volume, users: `a process that has ${device} open` });
    }
    await this.#files.syncImage(id);
  }
}

/** The refusal of a disk that somebody has. */
export const busy = ({ volume }: LoopDescription, holder: LoopHolder): PluginError =>
  new PluginError('VOLUME_BUSY', { volume, holder: holder.name });
