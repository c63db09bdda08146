import { PluginError } from '../../shared/errors.ts';
import { HostTags } from './host-tags.ts';
import type { Disk, DiskHost, DiskTags } from './provider.ts';

/**
 * Who is removing a disk and keeps a snapshot of it, which takes minutes: what was written meanwhile would go with the
 * disk. As with `leaving`, a host says so in a tag of its own, and whoever attaches the disk looks at these tags
 * afterwards and lets go again. Each host writes and removes its own tag only, or ends that of a host that is dead.
 */

const SAYING = new HostTags('removing', 1);
/** What an operator has ended on the word that its host is dead: should that come back, it must not go on. */
const ENDED = '-';

/** A host that removes a disk. */
export interface Remover {
  /** The host's id at the provider. */
  readonly host: string;
  /** Random, one for each time that nobody could have the disk: its snapshot is the one for this. Others may join it. */
  readonly removal: string;
  /** The host's name for people. */
  readonly name: string;
}

const everybody = (tags: DiskTags): readonly Remover[] =>
  SAYING.read(tags).map(({ host, words: [removal = ''], name }) => ({ host, removal, name }));

export const isRemoverTag = (tag: string): boolean => SAYING.isOne(tag);

/** Everybody who removes this disk. */
export const removersOf = (tags: DiskTags): readonly Remover[] =>
  everybody(tags).filter(({ removal }) => removal !== ENDED);

/** Has an operator ended what this host had begun? */
export const wasEnded = (tags: DiskTags, host: string): boolean =>
  everybody(tags).some((one) => one.host === host && one.removal === ENDED);

/** What a host says of a disk that it removes. */
export const removingTag = ({ id, name }: Pick<DiskHost, 'id' | 'name'>, removal: string): DiskTags =>
  SAYING.write(id, [removal], name);

/** What is said for a host whose removal was ended. */
export const endedTag = ({ host: id, name }: Remover): DiskTags => removingTag({ id, name }, ENDED);

/** The removal of what a host says. */
export const notRemoving = (host: string): Readonly<Record<string, undefined>> => SAYING.none(host);

/** The refusal of what cannot be done with a disk that another host removes. */
export const removedBy = (volume: string, { name }: Remover, reason?: string): PluginError =>
  new PluginError('VOLUME_REMOVING', { volume, holder: name, reason });

/** Errors: VOLUME_REMOVING when another host than `self` removes the disk. */
export const refuseWhileRemoved = ({ volume, tags }: Pick<Disk, 'volume' | 'tags'>, self: DiskHost): void => {
  const other = removersOf(tags).find(({ host }) => host !== self.id);
  if (other !== undefined) throw removedBy(volume, other);
};
