import type { DiskTags } from './provider.ts';

/** What one host says of a disk. */
export interface HostTag {
  /** The host's id at the provider. */
  readonly host: string;
  readonly words: readonly string[];
  /** The host's name for people; its id when it has said none. */
  readonly name: string;
}

/**
 * Tags `<what>-<host id>` by which each host says something of a disk, in so many words and then its name: there is no
 * compare-and-set, so none writes another one's.
 */
export class HostTags {
  readonly #prefix: string;
  readonly #words: number;

  constructor(what: string, words: number) {
    this.#prefix = `${what}-`;
    this.#words = words;
  }

  isOne(tag: string): boolean {
    return tag.startsWith(this.#prefix);
  }

  /** What all hosts say; words that are missing are empty. */
  read(tags: DiskTags): readonly HostTag[] {
    return Object.entries(tags).flatMap(([tag, value]) => {
      if (!this.isOne(tag)) return [];
      const host = tag.slice(this.#prefix.length);
      const all = value.split(' ');
      const words = Array.from({ length: this.#words }, (_, n) => all[n] ?? '');
      return [{ host, words, name: all.slice(this.#words).join(' ') || host }];
    });
  }

  /** As many words as it has, and the host's name. */
  write(host: string, words: readonly string[], name: string): DiskTags {
    return { [`${this.#prefix}${host}`]: [...words, name].join(' ') };
  }

  /** Takes back what a host says. */
  none(host: string): Readonly<Record<string, undefined>> {
    return { [`${this.#prefix}${host}`]: undefined };
  }
}
