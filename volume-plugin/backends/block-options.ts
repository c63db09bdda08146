import { PluginError } from '../../shared/errors.ts';
import { checkOptions, option, type Parsed, parseOptions } from '../../shared/options.ts';
import { FILESYSTEMS, leastSize } from '../block/filesystem.ts';
import type { Disk, DiskTraits } from '../block/provider.ts';
import type { VolumeSpec } from './backend.ts';

const MIB = 2 ** 20;

/** What becomes of the disk of a volume that is removed. */
const ON_REMOVE = ['delete', 'snapshot', 'retain'] as const;

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
  from: option.text({
    min: 2,
    max: 255,
    pattern: /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/,
    allowed: 'the id of a snapshot or the name of a volume',
    help: 'What it begins as a copy of; its size is at least that, and that when left out.',
  }),
  kind: option.text({
    min: 2,
    max: 32,
    pattern: /^[a-z][a-z0-9_]*$/,
    allowed: "the provider's name of a kind of disk",
    example: 'gp3',
    help: 'The kind of disk, in the words of its provider; what is usual there when left out.',
  }),
  iops: option.integer({ min: 1, max: 1_000_000, help: 'Operations a second that the disk is provisioned for.' }),
  throughput: option.integer({ min: 1, max: 100_000, help: 'MiB a second that the disk is provisioned for.' }),
  encrypted: option.boolean({ help: 'Whether its provider encrypts the disk.' }),
  'kms-key': option.text({
    min: 1,
    max: 2048,
    help: "The key of the provider's key service that encrypts the disk: an id, an alias or an ARN.",
  }),
  tags: option.text({
    min: 3,
    max: 4096,
    allowed: 'tags such as team=web,stage=prod',
    example: 'team=web,stage=prod',
    help: 'Tags of the disk at its provider, beside those of the plugin.',
    validate: (text) => labelProblem(text),
  }),
  'on-remove': option.enum(ON_REMOVE, {
    help: 'What `docker volume rm` does with the disk: `delete` it, take a `snapshot` and delete it, or `retain` it for `drayage volume import`. The setting ON_REMOVE when left out.',
  }),
} as const;

export type OnRemove = (typeof ON_REMOVE)[number];

export const isOnRemove = (text: string | undefined): text is OnRemove =>
  (ON_REMOVE as readonly (string | undefined)[]).includes(text);

const labelsIn = (text: string): readonly (readonly [string, string])[] =>
  text.split(',').map((one) => {
    const [key = '', ...value] = one.split('=');
    return [key.trim(), value.join('=').trim()];
  });

/** Prefixes that belong to clouds or to us. */
const RESERVED = /^(drayage|aws|acs|aliyun)\b/i;

const labelProblem = (text: string): string | undefined => {
  const labels = labelsIn(text);
  const names = labels.map(([key]) => key);
  const nameless = text.split(',').find((one) => one.indexOf('=') < 1);
  if (nameless !== undefined) return `"${nameless}" is no NAME=VALUE`;
  const reserved = names.find((key) => RESERVED.test(key) || key === 'Name' || key === 'DiskName');
  if (reserved !== undefined) return `the tag ${reserved} is not for users`;
  const twice = names.find((key, n) => names.indexOf(key) !== n);
  return twice === undefined ? undefined : `${twice} is there twice`;
};

/** What the disk shall be like at its provider. */
export const traitsOf = (options: BlockOptions): DiskTraits => {
  const { kind, iops, throughput, encrypted, tags } = options;
  const key = options['kms-key'];
  return {
    ...(kind !== undefined && { kind }),
    ...(iops !== undefined && { iops }),
    ...(throughput !== undefined && { throughput }),
    // A key of one's own is there to encrypt with.
    ...((encrypted ?? (key === undefined ? undefined : true)) !== undefined && { encrypted: encrypted ?? true }),
    ...(key !== undefined && { key }),
    ...(tags !== undefined && { labels: Object.fromEntries(labelsIn(tags)) }),
  };
};

export type BlockOptions = Parsed<typeof BLOCK_OPTIONS>;

export const readBlockOptions = ({ options }: Pick<VolumeSpec, 'options'>): BlockOptions =>
  parseOptions(BLOCK_OPTIONS, options, 'volume option');

const { format } = BLOCK_OPTIONS.size;

const tooSmall = (size: number, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', {
    ...{ where: 'The volume option', option: 'size', value: format(size), reason, allowed },
  });

/** Bytes of a disk that is asked for: whole MiB. */
export const wholeMib = (size: number): number => Math.ceil(size / MIB) * MIB;

/** Bytes of the disk that is made. Errors: OPTION_INVALID when the file system does not fit on it. */
export const diskSize = ({ size, fs }: BlockOptions): number => {
  const least = leastSize(fs);
  if (size < least) throw tooSmall(size, `${fs} does not fit on it`, `at least ${format(least)} for ${fs}`);
  return wholeMib(size);
};

/** Bytes of a disk that begins as a copy. Errors: OPTION_INVALID when it is smaller than that. */
export const copySize = ({ options }: Pick<VolumeSpec, 'options'>, from: string, least: number): number => {
  const { size } = readBlockOptions({ options });
  if (options.size === undefined) return least;
  if (wholeMib(size) < least) throw tooSmall(size, `${from} is larger`, `at least ${format(least)}`);
  return wholeMib(size);
};

/** Bytes that a volume shall grow to, as somebody has written them. Errors: OPTION_INVALID. */
export const parseGrowth = (text: string): number =>
  wholeMib(parseOptions({ size: BLOCK_OPTIONS.size }, { size: text }, 'volume option').size);

/** The options of a volume that has grown: a repeated creation with the new size agrees with it. */
export const grownOptions = (
  options: Readonly<Record<string, string>>,
  bytes: number,
): Readonly<Record<string, string>> => ({ ...options, size: format(bytes) });

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
    of[name] === undefined ? 'nothing' : (BLOCK_OPTIONS[name].format as (value: unknown) => string)(of[name]);
  const names = Object.keys(BLOCK_OPTIONS) as (keyof BlockOptions)[];
  const found = names.flatMap((name) => {
    const [theirs, ours] = [show(name, values), show(name, mine)];
    return theirs === ours ? [] : [`${name}=${theirs}, not ${ours}`];
  });
  return found.length === 0 ? undefined : found.join('; ');
};
