import type { DurableFolder } from './durable-folder.ts';
import type { LoopDescription } from './loop-files.ts';

/** A disk's description as it was after so many changes. */
export interface LoopVersion {
  readonly number: number;
  readonly description: LoopDescription;
}

const CHANGE = /^(.+)\.change-([1-9]\d{0,8})$/s;

/** The disk that a file is a change of; undefined: it is none. */
export const changedDisk = (file: string): string | undefined => CHANGE.exec(file)?.[1];

const fileOf = (id: string, number: number): string => `${id}.change-${number}`;

/**
 * What was changed of descriptions since their disks were made. Each change is a file with the whole description, and
 * its number, which a link grants to one host only: who was slower looks at what the other one has written, and changes
 * that. They stay, a few hundred bytes each, as long as the disk: a number that was free again could be taken by who has
 * not seen the later ones.
 */
export class LoopChanges {
  readonly #folder: DurableFolder;
  /** The last one seen of each disk: what has a number never changes. */
  readonly #seen = new Map<string, LoopVersion>();

  constructor(folder: DurableFolder) {
    this.#folder = folder;
  }

  /** A disk's description as it is now, from the one that it was made with. `names`: all files, where they were listed. */
  async last(first: LoopDescription, names?: readonly string[]): Promise<LoopVersion> {
    const { id } = first;
    const seen = this.#seen.get(id);
    if (seen === undefined || names !== undefined) {
      const files = names ?? (await this.#folder.names());
      const numbers = files.flatMap((name) => (changedDisk(name) === id ? Number(name.split('-').at(-1)) : []));
      const top = Math.max(0, ...numbers);
      const known = seen ?? this.#see({ number: 0, description: first });
      return top > known.number ? ((await this.#read(id, top)) ?? known) : known;
    }
    for (let last = seen; ; ) {
      const next = await this.#read(id, last.number + 1);
      if (next === undefined) return last;
      last = next;
    }
  }

  /** The next change after this many; false: another one was faster. */
  async add(number: number, description: LoopDescription): Promise<boolean> {
    if (!(await this.#folder.create(fileOf(description.id, number + 1), JSON.stringify(description)))) return false;
    this.#see({ number: number + 1, description });
    return true;
  }

  /** Of a disk that is gone. */
  async remove(id: string): Promise<void> {
    this.#seen.delete(id);
    const files = (await this.#folder.names()).filter((name) => changedDisk(name) === id);
    if (files.length > 0) await this.#folder.remove(...files);
  }

  async #read(id: string, number: number): Promise<LoopVersion | undefined> {
    const description = await this.#folder.read<LoopDescription>(fileOf(id, number));
    if (description === undefined) return undefined;
    return this.#see({ number, description });
  }

  #see(version: LoopVersion): LoopVersion {
    const { id } = version.description;
    if ((this.#seen.get(id)?.number ?? -1) < version.number) this.#seen.set(id, version);
    return version;
  }
}
