import type { Context } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { type Contents, deviceSize, isReadOnly, isZero, probe } from '../../shared/kernel/block-device.ts';
import { type Filesystem, isFilesystem, leastSize, makeFilesystem, recognize } from './filesystem.ts';
import type { Disk } from './provider.ts';

/** Who may be formatted: the most destructive decision of all, so it is made in this one place. */

export interface FormatRequest {
  readonly disk: Disk;
  readonly device: string;
  /** What the user asked for; undefined: whatever is there, ext4 on a blank disk. */
  readonly wanted: Filesystem | undefined;
  /** Made once for this disk. */
  readonly uuid: string;
  /** Writes tags of the disk down at its provider. */
  tag(tags: Readonly<Record<string, string>>): Promise<void>;
  /** Mounts what is there, and looks whether anybody has written to it. */
  hasFiles(kind: Filesystem): Promise<boolean>;
}

/** Read at the beginning and at the end of a disk, in bytes: partition tables, RAID and file systems all leave a mark. */
const HEAD = 4 * 2 ** 20;
const TAIL = 2 ** 20;

/**
 * Answers the file system of the disk, after making it on one that is certainly blank: of the right size, readable and
 * zero at both ends, without any content that is known, not made from a snapshot, and never formatted before. (Its serial
 * number was compared when its device was looked up.) What a crash left of our own formatting, before anybody could write
 * to it, is made again; that nobody has is seen there, since a tag that says so may only not show yet. Errors: FORMAT_REFUSED with the reason, DISK_FAILED, and those of the programs.
 */
export const ensureFilesystem = async (request: FormatRequest, c: Context): Promise<Filesystem> => {
  const { disk, device, wanted, uuid, tag, hasFiles } = request;
  const refuse = (reason: string): PluginError =>
    new PluginError('FORMAT_REFUSED', { volume: disk.volume, disk: disk.id, device, reason });
  const size = deviceSize(device);
  // One that grows shows it sooner in one place than in the other; before it is formatted it must be what it should be.
  if (size < disk.size || (size > disk.size && disk.tags.formatted === undefined)) {
    throw refuse(`the device has ${size} bytes, but the disk should have ${disk.size}`);
  }
  const { formatting } = disk.tags;
  const begun = formatting !== undefined && disk.tags.formatted === undefined && disk.fromSnapshot === undefined;
  const found = await contentsOf(request, c);
  if (found.several) throw refuse('it has signs of several contents');
  if (found.partitions !== undefined) throw refuse(`it has a partition table (${found.partitions})`);
  // Our own, from before a crash, may be half made; nobody has written to it, since it is mounted only once formatted.
  const half = begun && found.uuid === formatting;
  const isUsed = half && found.type !== undefined && isFilesystem(found.type) && (await hasFiles(found.type));
  if (found.type !== undefined && (!half || isUsed)) return existing(found.type, request, isUsed, refuse);
  const kind = wanted ?? 'ext4';
  await refuseUnlessBlank(request, size, begun, refuse, c);
  if (isReadOnly(device)) throw refuse('it can only be read');
  if (size < leastSize(kind)) throw refuse(`${kind} needs at least ${leastSize(kind)} bytes`);
  // From here on a crash leaves a disk that is ours to format, and that nobody has written to.
  if (formatting !== uuid) await tag({ formatting: uuid });
  await makeFilesystem(kind, device, uuid, c);
  await tag({ formatted: kind });
  return kind;
};

/** Of a disk that was formatted, what was made there comes first: its users may have written what looks like more. */
const contentsOf = async ({ disk, device }: FormatRequest, c: Context): Promise<Contents> => {
  const { formatted, uuid, formatting } = disk.tags;
  // Nobody else's has our UUID. Whatever else is there is for blkid, which knows more than three kinds.
  const own = [uuid, formatting].flatMap((one) => one ?? []);
  const known = formatted === undefined ? undefined : await recognize(formatted, own, device, c);
  if (known !== undefined) return { type: known.type, uuid: known.uuid };
  const made = formatted === undefined ? {} : await probe(device, c, formatted);
  return made.type === undefined ? probe(device, c) : { type: made.type, ...(made.uuid && { uuid: made.uuid }) };
};

const refuseUnlessBlank = async (
  { disk, device }: FormatRequest,
  size: number,
  begun: boolean,
  refuse: (reason: string) => PluginError,
  c: Context,
): Promise<void> => {
  const { formatted, imported } = disk.tags;
  if (imported !== undefined) throw refuse('it was imported, and nothing is found there');
  if (formatted !== undefined)
    throw refuse(`it was formatted with ${formatted} before, and nothing is found there now`);
  if (disk.fromSnapshot !== undefined)
    throw refuse(`it was made from ${disk.fromSnapshot}, but nothing is found there`);
  const head = Math.min(HEAD, size);
  const tail = Math.min(TAIL, size);
  const [first, last] = await Promise.all([isZero(device, 0, head, c), isZero(device, size - tail, tail, c)]).catch(
    (error: unknown) => {
      if (error instanceof PluginError && error.code === 'EXEC_FAILED') throw refuse('it cannot be read');
      throw error;
    },
  );
  if (begun) return;
  if (!first) throw refuse('it has data at its beginning that nothing here knows');
  if (!last) throw refuse('it has data at its end that nothing here knows');
};

const existing = async (
  type: string,
  { disk, device, wanted, tag }: FormatRequest,
  isUsed: boolean,
  refuse: (reason: string) => PluginError,
): Promise<Filesystem> => {
  const { formatted, imported } = disk.tags;
  if (!isFilesystem(type)) throw refuse(`it has ${type} on it`);
  if (wanted !== undefined && wanted !== type) throw refuse(`it has ${type} on it, and ${wanted} was asked for`);
  if (formatted !== undefined && formatted !== type)
    throw refuse(`it has ${type} on it, and was formatted with ${formatted} before`);
  const known = isUsed || formatted !== undefined || imported !== undefined || disk.fromSnapshot !== undefined;
  if (!known) throw refuse(`it has ${type} on it that Drayage did not make; import it if it is yours`);
  if (isReadOnly(device))
    throw new PluginError('DISK_FAILED', { volume: disk.volume, disk: disk.id, state: 'read-only' });
  if (formatted === undefined) await tag({ formatted: type });
  return type;
};
