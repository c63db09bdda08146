import { PluginError } from '../../shared/errors.ts';
import { checkOptions, option, type Parsed, parseOptions } from '../../shared/options.ts';
import { FILESYSTEMS, leastSize } from '../block/filesystem.ts';
import type { Disk } from '../block/provider.ts';
import type { VolumeSpec } from './backend.ts';

const MIB = 2 ** 20;

/** `docker volume create -o type=block -o NAME=value`. */
export const BLOCK_OPTIONS = {
  size: option.size({
    default: 10 * 2 ** 30,
    min: 16 * MIB,
    max: 64 * 2 ** 40,
    help: 'How large the disk is; parts of a MiB are made whole.',
  }),
  fs: option.enum(FILESYSTEMS, { default: 'ext4', help: 'The file system that is made on it.' }),
  uid: option.integer({
    default: 0,
    min: 0,
    max: 2 ** 32 - 2,
    help: "Owner of the volume's root folder, when it is made.",
  }),
  gid: option.integer({ default: 0, min: 0, max: 2 ** 32 - 2, help: 'Group of that folder.' }),
  mode: option.text({
    default: '0755',
    pattern: /^0?[0-7]{3}$/,
    allowed: 'an octal mode such as 0750',
    help: 'Permissions of that folder.',
  }),
} as const;

export type BlockOptions = Parsed<typeof BLOCK_OPTIONS>;

export const readBlockOptions = ({ options }: Pick<VolumeSpec, 'options'>): BlockOptions =>
  parseOptions(BLOCK_OPTIONS, options, 'volume option');

/** Bytes of the disk that is made. Errors: OPTION_INVALID when the file system does not fit on it. */
export const diskSize = ({ size, fs }: BlockOptions): number => {
  const least = leastSize(fs);
  if (size >= least) return Math.ceil(size / MIB) * MIB;
  const { format } = BLOCK_OPTIONS.size;
  throw new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'size', value: format(size) },
    reason: `${fs} does not fit on it`,
    allowed: `at least ${format(least)} for ${fs}`,
  });
};

/** What the volume was made with; none where somebody has spoilt the tag, which people can edit. */
export const optionsOf = ({ tags }: Disk): Readonly<Record<string, string>> => {
  try {
    const parsed: unknown = JSON.parse(tags.options ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(
      Object.entries(parsed).flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    );
  } catch {
    return {};
  }
};

/** How the options of a disk that is there differ from those asked for; undefined: they mean the same. */
export const differences = (disk: Disk, asked: VolumeSpec): string | undefined => {
  const { values, errors } = checkOptions(BLOCK_OPTIONS, optionsOf(disk), 'volume option');
  if (errors[0] !== undefined) return 'it has options that this version does not know';
  const mine = readBlockOptions(asked);
  const show = (name: keyof BlockOptions, of: BlockOptions): string =>
    (BLOCK_OPTIONS[name].format as (value: unknown) => string)(of[name]);
  const names = Object.keys(BLOCK_OPTIONS) as (keyof BlockOptions)[];
  const found = names.flatMap((name) => {
    const [theirs, ours] = [show(name, values), show(name, mine)];
    return theirs === ours ? [] : [`${name}=${theirs}, not ${ours}`];
  });
  return found.length === 0 ? undefined : found.join('; ');
};
