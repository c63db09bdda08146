import type { Context } from '../../shared/context.ts';
import {
  copyOf,
  descriptionOfId,
  descriptionOfToken,
  type LoopDescription,
  type LoopFiles,
  newId,
} from './loop-files.ts';
import type { DiskTags, Snapshot } from './provider.ts';

/** What is known of a snapshot beside its image. */
interface SnapshotDescription {
  readonly id: string;
  readonly volume: string;
  readonly disk: string;
  /** Bytes. */
  readonly size: number;
  readonly tags: DiskTags;
  readonly created: string;
  /** Id of the host that takes it. */
  readonly by: string;
}

const DESCRIPTION = /^snap-[0-9a-f]{12}-.+\.json$/s;

/**
 * Copies of images, each with a description that is there first. One without an image is being copied by the host that it
 * names, or was, when a crash came: whoever asks with its token again begins anew.
 */
export class LoopSnapshots {
  readonly #files: LoopFiles;
  readonly #self: string;
  readonly #copying = new Set<string>();

  constructor(files: LoopFiles, self: string) {
    this.#files = files;
    this.#self = self;
  }

  image(id: string): string {
    return this.#files.image(id);
  }

  /** Describes a snapshot of a disk, unless the token has made one, and answers it. */
  async add(disk: LoopDescription, tags: DiskTags, token: string): Promise<SnapshotDescription> {
    const { folder } = this.#files;
    const name = descriptionOfToken('snap', token, disk.volume);
    const { volume, size } = disk;
    const description: SnapshotDescription = {
      ...{ id: newId('snap', token, volume), volume, size, tags, disk: disk.id, by: this.#self },
      created: new Date().toISOString(),
    };
    for (;;) {
      if (await folder.create(name, JSON.stringify(description))) return description;
      const known = await folder.read<SnapshotDescription>(name);
      if (known !== undefined) return known;
    }
  }

  /** Copies the disk's image as it is now; succeeds when there is a copy. The image must not change meanwhile. */
  async copy({ id, size }: SnapshotDescription, image: string, c: Context): Promise<void> {
    this.#copying.add(id);
    try {
      await this.#files.makeImage(id, copyOf(image, size, c));
      // Removed meanwhile, it must not stay for ever.
      if ((await this.#read(id)) === undefined) await this.#files.folder.remove(`${id}.img`);
    } finally {
      this.#copying.delete(id);
    }
  }

  async all(): Promise<readonly Snapshot[]> {
    const names = (await this.#files.folder.names()).filter((name) => DESCRIPTION.test(name));
    const found = await Promise.all(names.map((name) => this.#files.folder.read<SnapshotDescription>(name)));
    return Promise.all(found.flatMap((one) => (one === undefined ? [] : this.#snapshot(one))));
  }

  async find(id: string): Promise<Snapshot | undefined> {
    const found = await this.#read(id);
    return found === undefined ? undefined : this.#snapshot(found);
  }

  /** False: there is no such snapshot. */
  async tag(id: string, change: (tags: DiskTags) => DiskTags): Promise<boolean> {
    const [found, name] = [await this.#read(id), descriptionOfId('snap', id)];
    if (found === undefined || name === undefined) return false;
    await this.#files.folder.replace(name, JSON.stringify({ ...found, tags: change(found.tags) }));
    return true;
  }

  /** Bytes that all of them take. */
  async taken(): Promise<number> {
    const { folder } = this.#files;
    const images = (await folder.names()).filter((name) => /^snap-.*\.img$/s.test(name));
    const sizes = await Promise.all(images.map((name) => folder.size(name)));
    return sizes.reduce((sum, one) => sum + (one?.taken ?? 0), 0);
  }

  async remove(id: string): Promise<void> {
    const name = descriptionOfId('snap', id);
    if ((await this.#read(id)) === undefined || name === undefined) return;
    await this.#files.folder.remove(`${id}.img`, name);
  }

  async #read(id: string): Promise<SnapshotDescription | undefined> {
    const name = descriptionOfId('snap', id);
    const found = name === undefined ? undefined : await this.#files.folder.read<SnapshotDescription>(name);
    return found?.id === id ? found : undefined;
  }

  async #snapshot(found: SnapshotDescription): Promise<Snapshot> {
    const { id, volume, disk, size, tags, created, by } = found;
    const ready = (await this.#files.imageSize(id)) !== undefined;
    const going = by !== this.#self || this.#copying.has(id);
    const state = ready ? 'ready' : going ? 'pending' : 'failed';
    return { ...{ id, volume, disk, size, tags, created, state }, progress: ready ? 100 : 0 };
  }
}
