import { PluginError } from '../../shared/errors.ts';
import { checkOptions, option, type Parsed, parseOptions } from '../../shared/options.ts';
import {
  mergeMountOptions,
  mountOptionsProblem,
  parseMountOptions,
  sortedMountOptions,
  strangerTo,
} from '../nfs/mount-options.ts';
import type { MountWish } from '../nfs/mounted-share.ts';
import { type MountOptions, NFS_VERSIONS } from '../nfs/share.ts';
import type { FolderTraits } from '../nfs/share-files.ts';
import type { ShareRequest } from '../nfs/share-provider.ts';
import type { VolumeSpec } from './backend.ts';

const OWNER_MAX = 2 ** 32 - 2;

/** `docker volume create -o type=nfs -o NAME=value`. */
export const NFS_OPTIONS = {
  share: option.text({
    min: 2,
    max: 1024,
    pattern: /^[^\s,]+$/,
    allowed: 'a share such as 10.0.0.5:/export',
    example: '10.0.0.5:/export',
    help: 'The share that it is on: `HOST:/PATH`, `nfs://HOST:PORT/PATH`, or an id of the provider. The first of the setting NFS_SHARE, or what the provider makes, when left out.',
  }),
  path: option.path({
    help: 'A folder of the share that is there, as the volume; it is neither made nor removed. A folder below `.drayage/volumes` is made when left out.',
    validate: (path) => pathProblem(path),
  }),
  readonly: option.boolean({ default: false, help: 'Whether containers can only read it.' }),
  uid: option.integer({ default: 0, min: 0, max: OWNER_MAX, help: 'Owner of the folder, when it is made.' }),
  gid: option.integer({ default: 0, min: 0, max: OWNER_MAX, help: 'Group of that folder.' }),
  mode: option.text({
    default: '0755',
    pattern: /^0?[0-7]{3}$/,
    allowed: 'an octal mode such as 0750',
    help: 'Permissions of that folder.',
  }),
  size: option.size({
    min: 2 ** 20,
    max: 2 ** 52,
    help: 'How large it may grow, where the provider of the share can limit that; as large as the share when left out.',
  }),
  'on-remove': option.enum(['delete', 'retain'], {
    help: 'What `docker volume rm` does with the folder: `delete` it, or `retain` it as `.drayage/retained/NAME.UUID`. The setting ON_REMOVE when left out, of which `snapshot` retains.',
  }),
  access: option.enum(['many', 'single-writer'], {
    default: 'many',
    help: 'Whether hosts can have it at the same time, or one at a time, for applications that must not run twice.',
  }),
  nfsvers: option.enum(NFS_VERSIONS, {
    help: 'Only this version of NFS; the best that both sides speak when left out.',
  }),
  'mount-options': option.text({
    min: 1,
    max: 1024,
    allowed: 'options of nfs(5) such as rsize=65536,soft',
    example: 'rsize=65536,soft',
    help: "Options of the mount, in the place of what the share's vendor recommends, one by one.",
    validate: (text) => mountOptionsProblem(text),
  }),
  kind: option.text({
    min: 2,
    max: 32,
    pattern: /^[a-z][A-Za-z0-9_-]*$/,
    allowed: "the provider's name of a kind of file system",
    help: 'The kind of the file system that the provider makes when the cluster has none, in its words.',
  }),
  encrypted: option.boolean({ help: 'Whether that file system is encrypted where it is kept.' }),
  'kms-key': option.text({
    min: 1,
    max: 2048,
    help: "The key of the provider's key service that encrypts it.",
  }),
  tls: option.boolean({
    default: false,
    help: 'Encryption on the way to the server: not supported yet.',
  }),
} as const;

/** What was retained may become a volume again. */
const pathProblem = (path: string): string | undefined => {
  const [first, second, third] = path.split('/').filter((part) => part !== '');
  if (first !== '.drayage' || (second === 'retained' && third !== undefined)) return undefined;
  return "what is below /.drayage is the plugin's own";
};

export type NfsOptions = Parsed<typeof NFS_OPTIONS>;

const invalid = (name: keyof typeof NFS_OPTIONS, value: string, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', { where: 'The volume option', option: name, value, reason, allowed });

/** Parses options that were checked when the volume was made. Errors: OPTION_*. */
export const readNfsOptions = ({ options }: Pick<VolumeSpec, 'options'>): NfsOptions =>
  parseOptions(NFS_OPTIONS, options, 'volume option');

/** The same, of a volume that is to be made: options must go with each other. Errors: OPTION_*. */
export const checkNfsOptions = ({ options }: Pick<VolumeSpec, 'options'>): NfsOptions => {
  const read = readNfsOptions({ options });
  const { path, readonly, access, nfsvers: version } = read;
  if (read.tls) {
    throw invalid(
      'tls',
      'true',
      'not supported yet: it needs a helper beside the plugin (stunnel or efs-proxy)',
      'false',
    );
  }
  if (path !== undefined) {
    const made = (['uid', 'gid', 'mode', 'size'] as const).find((name) => options[name] !== undefined);
    const reason = 'the folder of path= is taken as it is';
    if (made !== undefined) throw invalid(made, options[made] ?? '', reason, 'nothing together with path=');
    if (read['on-remove'] === 'delete') {
      throw invalid('on-remove', 'delete', 'the folder of path= was not made for the volume', 'retain');
    }
  }
  if (readonly && access === 'single-writer') {
    throw invalid('access', access, 'nobody writes to a volume with readonly=true', 'many');
  }
  const made = (['kind', 'encrypted', 'kms-key'] as const).find((name) => options[name] !== undefined);
  if (made !== undefined && read.share !== undefined) {
    throw invalid(made, options[made] ?? '', 'the share is there already', 'nothing together with share=');
  }
  const own = access === 'single-writer' ? ownOf(parseMountOptions(read['mount-options'])) : undefined;
  if (own !== undefined) {
    const reason = `with access=single-writer what was not written in time must fail, so ${own} is not to be chosen`;
    throw invalid('mount-options', options['mount-options'] ?? '', reason, `others than ${OWN.join(', ')}`);
  }
  const stranger = version && strangerTo(version, parseMountOptions(read['mount-options']));
  if (stranger !== undefined) {
    const reason = `${stranger} is not for version ${version}`;
    throw invalid('mount-options', options['mount-options'] ?? '', reason, `options of version ${version}`);
  }
  return read;
};

/** What the file system is asked to be that is made when there is none. */
export const requestOf = ({ kind, encrypted, 'kms-key': key }: NfsOptions): ShareRequest => ({
  ...(kind !== undefined && { kind }),
  ...(encrypted !== undefined && { encrypted }),
  ...(key !== undefined && { key }),
});

/**
 * What a host writes must have failed before another host takes the volume, and not be sent when the server answers
 * again: in 24 s (8 s and twice 8 s more), where a host is cut off after 30 s, and another one comes after 45 s at the earliest.
 */
const ONE_WRITER: MountOptions = { softerr: true, timeo: '80', retrans: '2' };

/** A mount option that is not to be chosen for volumes of one writer. */
const OWN = ['hard', 'soft', 'timeo', 'retrans', 'sharecache'] as const;
const ownOf = (given: MountOptions): string | undefined => OWN.find((name) => given[name] !== undefined);

/** How the volume's share is to be mounted. */
export const wishOf = (options: NfsOptions): MountWish => {
  const given = parseMountOptions(options['mount-options']);
  return {
    ...(options.nfsvers !== undefined && { version: options.nfsvers }),
    options: options.access === 'single-writer' ? mergeMountOptions(ONE_WRITER, given) : given,
    readonly: false,
  };
};

export const traitsOf = ({ uid, gid, mode }: NfsOptions): FolderTraits => ({
  uid,
  gid,
  mode: Number.parseInt(mode, 8),
});

type Name = keyof typeof NFS_OPTIONS;
const NAMES = Object.keys(NFS_OPTIONS) as Name[];

/** As it is compared: what is left out is its default, and the order of mount options means nothing. */
const meaning = (name: Name, options: NfsOptions): string => {
  const value = options[name];
  if (value === undefined) return 'nothing';
  if (name === 'mount-options') return sortedMountOptions(parseMountOptions(options[name]));
  return (NFS_OPTIONS[name].format as (value: unknown) => string)(value);
};

/**
 * How the options of a volume that is there differ from those asked for; undefined: they mean the same. Not the share,
 * which people write in several ways.
 */
export const differences = (existing: Readonly<Record<string, string>>, asked: VolumeSpec): string | undefined => {
  const { values, errors } = checkOptions(NFS_OPTIONS, existing, 'volume option');
  if (errors[0] !== undefined) return 'it has options that this version does not know';
  const mine = readNfsOptions(asked);
  const found = NAMES.flatMap((name) => {
    const [theirs, ours] = [meaning(name, values), meaning(name, mine)];
    return name === 'share' || theirs === ours ? [] : [`${name}=${theirs}, not ${ours}`];
  });
  return found.length === 0 ? undefined : found.join('; ');
};
