import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { findLoop } from '../../shared/kernel/loop-device.ts';
import { type LoopDescription, type LoopFiles, missing } from './loop-files.ts';
import type { AnyDisk, DiskTags } from './provider.ts';

/** How disks that were released, and images that somebody has put into the folder, become volumes' disks. */
export class LoopAdoption {
  readonly #files: LoopFiles;

  constructor(files: LoopFiles) {
    this.#files = files;
  }

  /**
   * Our own disks by id, by their volume's name and by the one that they had; images of others by their file's name, with
   * their device on this host: what another host does with them nobody knows.
   */
  async search(idOrName: string, c: Context): Promise<readonly AnyDisk[]> {
    const ours = (await this.#files.all()).map(async ({ id, volume, name = volume, size }): Promise<AnyDisk> => {
      const holder = await this.#files.holder(id);
      return {
        ...{ id, name, size },
        ...(volume !== '' && { volume }),
        ...(holder !== undefined && { holder: `host ${holder.name}` }),
      };
    });
    const foreign = (await this.#files.foreign()).map(({ name, size }) => ({
      ...{ id: name, size },
      name: name.replace(/\.[^.]+$/s, ''),
    }));
    const isMeant = ({ id, name }: AnyDisk): boolean => id === idOrName || name === idOrName;
    const images = foreign.filter(isMeant).map(async (image): Promise<AnyDisk> => {
      const device = await findLoop(this.#files.folder.path(image.id), c);
      return { ...image, ...(device !== undefined && { holder: `this host as ${device}` }) };
    });
    return [...(await Promise.all(ours)).filter(isMeant), ...(await Promise.all(images))];
  }

  /** The disk gets another id; asked again by the old one, it is answered. Errors: DISK_MISSING, VOLUME_EXISTS. */
  async adopt(id: string, volume: string, tags: DiskTags): Promise<LoopDescription> {
    const found = await this.#files.read(id);
    if (found !== undefined && found.volume !== '') return this.#again(found, volume, tags);
    const foreign = (await this.#files.foreign()).find(({ name }) => name === id);
    const taken =
      foreign === undefined
        ? await this.#takeBack(id, found, volume, tags)
        : await this.#files.takeOver(id, { volume, tags, size: foreign.size }, `image ${id} ${foreign.inode}`);
    const adopted = taken === undefined ? undefined : await this.#files.read(taken);
    if (adopted === undefined) throw missing({ id, volume });
    return this.#again(adopted, volume, tags);
  }

  async #again(found: LoopDescription, volume: string, tags: DiskTags): Promise<LoopDescription> {
    if (found.volume !== volume) {
      throw new PluginError('VOLUME_EXISTS', { volume: found.volume, differences: `disk ${found.id} is its` });
    }
    const adopted = await this.#files.change(found.id, (one) => ({ ...one, tags }));
    if (adopted === undefined) throw missing(found);
    return adopted;
  }

  /** A disk that was released; its description goes last, since it is what the disk is found by. */
  async #takeBack(
    id: string,
    found: LoopDescription | undefined,
    volume: string,
    tags: DiskTags,
  ): Promise<string | undefined> {
    const token = `adopted ${id}`;
    if (found === undefined) return (await this.#files.made(volume, token))?.id;
    const own = await this.#files.takeOver(`${id}.img`, { volume, tags, size: found.size }, token);
    await this.#files.forget(id);
    return own;
  }
}
