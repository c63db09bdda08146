import { HOLDS } from './hold-tag.ts';
import { HostTags } from './host-tags.ts';
import type { DiskHost, DiskTags } from './provider.ts';
import { isRemoverTag } from './removers.ts';

/**
 * Who is copying a disk to another zone. While any host says so in a tag of its own, the disk is attached nowhere: who
 * attaches looks at these tags afterwards and lets go; who says so looks at the attachment afterwards and takes back what
 * it said. Each host writes and removes its own tag only, or that of a host that is dead: there is no compare-and-set.
 */

const SAYING = new HostTags('leaving', 2);

/** A host that copies a disk. */
export interface Leaver {
  /** The host's id at the provider. */
  readonly host: string;
  /** Random, one for each time that the disk was still: snapshots bear it. Another host may join by saying the same. */
  readonly stillness: string;
  /** Where to. */
  readonly zone: string;
  /** The host's name for people. */
  readonly name: string;
}

/** Everybody who copies this disk. */
export const leaversOf = (tags: DiskTags): readonly Leaver[] =>
  SAYING.read(tags).map(({ host, words: [stillness = '', zone = ''], name }) => ({ host, stillness, zone, name }));

/** What this host says of a disk that it copies to its own zone. */
export const leavingTag = ({ id, name, zone }: DiskHost, stillness: string): DiskTags =>
  SAYING.write(id, [stillness, zone ?? ''], name);

/** The removal of what a host says. */
export const notLeaving = (host: string): Readonly<Record<string, undefined>> => SAYING.none(host);

/** Tags that a later generation has from an earlier one: all but those that say where the earlier one is or goes. */
export const inherited = (tags: DiskTags): DiskTags =>
  Object.fromEntries(
    Object.entries(tags).filter(
      ([tag]) => !SAYING.isOne(tag) && !isRemoverTag(tag) && !['generation', 'moving', 'retired', HOLDS].includes(tag),
    ),
  );
