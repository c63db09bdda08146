import { PluginError } from '../../shared/errors.ts';
import { checkOptions, option, type Parsed, parseOptions } from '../../shared/options.ts';
import { ATTRIBUTES, CONSISTENCIES, DURABILITIES } from '../engine/wire.ts';
import { BUCKET_TEXT, VENDOR_TEXT } from '../options.ts';
import type { VolumeSpec } from './backend.ts';
import type { BucketWay, StoreWishes } from './object-bucket.ts';

const OWNER_MAX = 2 ** 32 - 2;
const MODE = { pattern: /^0?[0-7]{3}$/, allowed: 'an octal mode such as 0750' } as const;

/** `docker volume create -o type=object -o NAME=value`. */
export const OBJECT_OPTIONS = {
  bucket: option.text({
    pattern: BUCKET_TEXT,
    allowed: 'a bucket such as assets, s3://assets or oss://media?region=cn-hangzhou',
    example: 's3://assets',
    help: 'The bucket that it is in; made when there is none and this host may. The first of the setting OBJECT_BUCKET when left out.',
  }),
  prefix: option.text({
    max: 800,
    allowed: 'the beginning of keys such as media/',
    help: "What its objects' keys begin with; empty for the whole bucket. `NAME/` when left out.",
    validate: (prefix) => prefixProblem(prefix),
  }),
  endpoint: option.url({
    example: 'https://oss-cn-hangzhou.aliyuncs.com',
    help: 'Where the bucket is. The setting OBJECT_ENDPOINT, or the public endpoint of its vendor, when left out.',
  }),
  region: option.text({
    pattern: /^[a-z0-9-]{2,40}$/,
    allowed: 'a region such as eu-central-1 or cn-hangzhou',
    help: "The bucket's region. The setting REGION, or that of this host's instance, when left out.",
  }),
  vendor: option.text({
    pattern: VENDOR_TEXT,
    allowed: 'a vendor such as aws, oss or minio',
    help: 'Whose bucket it is: `oss` for the native interface of Alibaba Cloud, others for what their S3 can do. Told from the endpoint when left out.',
  }),
  addressing: option.enum(['path', 'virtual'], {
    help: "Whether requests name the bucket in the path or in the host's name; as the vendor does it when left out.",
  }),
  readonly: option.boolean({ default: false, help: 'Whether containers can only read it.' }),
  cache: option.size({
    min: 2 ** 24,
    help: "How much of it is kept on this host's disk. The setting OBJECT_CACHE when left out.",
  }),
  memory: option.size({
    default: 150 * 2 ** 20,
    min: 64 * 2 ** 20,
    help: 'How much memory its file system may take on each host.',
  }),
  consistency: option.enum(CONSISTENCIES, {
    default: 'close-to-open',
    help: 'When other hosts see what was written: at their next open (`close-to-open`), at whatever they do next (`strict`), or within a minute (`relaxed`).',
  }),
  durability: option.enum(DURABILITIES, {
    default: 'server',
    help: "What close and fsync wait for: that it is in the bucket, or on this host's disk and on its way (`local`).",
  }),
  access: option.enum(['many', 'single-writer'], {
    default: 'many',
    help: 'Whether hosts can have it at the same time, or one at a time, for applications that must not run twice.',
  }),
  attributes: option.enum(ATTRIBUTES, {
    default: 'listed',
    help: 'Whether owner and mode of what others have written are asked for in listings, one request each (`objects`), or taken as usual until a file is opened.',
  }),
  uid: option.integer({ default: 0, min: 0, max: OWNER_MAX, help: 'Owner of what does not say.' }),
  gid: option.integer({ default: 0, min: 0, max: OWNER_MAX, help: 'Group of what does not say.' }),
  'file-mode': option.text({ default: '0644', ...MODE, help: 'Permissions of files that do not say.' }),
  'dir-mode': option.text({ default: '0755', ...MODE, help: 'Permissions of folders that do not say.' }),
  'storage-class': option.text({
    pattern: /^[A-Za-z][A-Za-z0-9_-]{1,40}$/,
    allowed: "the vendor's name of a storage class",
    example: 'STANDARD_IA',
    help: 'Storage class of new objects; what is usual in the bucket when left out.',
  }),
  sse: option.text({
    pattern: /^(AES256|SM4|KMS|aws:kms|aws:kms:dsse)$/,
    allowed: 'AES256, aws:kms, aws:kms:dsse, KMS, SM4',
    help: 'How the server encrypts new objects; as the bucket says when left out.',
  }),
  'sse-key': option.text({
    min: 1,
    max: 2048,
    help: "The key of the vendor's key service for that: an id, an alias or an ARN.",
  }),
  'requester-pays': option.boolean({
    default: false,
    help: 'Whether the caller pays for requests, where the owner of the bucket wants that.',
  }),
  'conditional-writes': option.boolean({
    help: 'Whether the store heeds conditions of writes (If-Match, If-None-Match), by which lost updates are found; as its vendor does when left out.',
  }),
  'on-remove': option.enum(['delete', 'retain'], {
    help: 'What `docker volume rm` does with the objects: `delete` them, or `retain` them. When left out: the setting ON_REMOVE for a prefix that was empty and not named; others are retained.',
  }),
  ca: option.path({
    example: '/var/lib/drayage/ca.pem',
    help: "Certificates (PEM) of authorities by which the endpoint's is checked. It must be below /var/lib/drayage. The setting OBJECT_CA when left out.",
    validate: (path) => (path.startsWith('/var/lib/drayage/') ? undefined : 'it is not below /var/lib/drayage'),
  }),
  proxy: option.proxy({
    example: 'http://proxy.example:3128',
    help: 'HTTP proxy on the way to the endpoint. The setting OBJECT_PROXY when left out; endpoints in OBJECT_NO_PROXY are reached without.',
  }),
  retry: option.duration({
    default: 60_000,
    min: 1_000,
    max: 3_600_000,
    help: 'How long whoever reads or writes waits for a store that does not answer.',
  }),
} as const;

export type ObjectOptions = Parsed<typeof OBJECT_OPTIONS>;

const prefixProblem = (prefix: string): string | undefined => {
  if (prefix === '') return undefined;
  const parts = prefix.replace(/\/$/, '').split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'it has a part that is no name';
  if (parts[0] === '.drayage') return "what begins with .drayage/ is the plugin's own";
  return Buffer.byteLength(prefix) > 800 ? 'it is longer than 800 bytes' : undefined;
};

const invalid = (name: keyof typeof OBJECT_OPTIONS, value: string, reason: string, allowed: string): PluginError =>
  new PluginError('OPTION_INVALID', { where: 'The volume option', option: name, value, reason, allowed });

/** Parses options that were checked when the volume was made. Errors: OPTION_*. */
export const readObjectOptions = ({ options }: Pick<VolumeSpec, 'options'>): ObjectOptions =>
  parseOptions(OBJECT_OPTIONS, options, 'volume option');

/** The same, of a volume that is to be made: options must go with each other. Errors: OPTION_*. */
export const checkObjectOptions = (spec: VolumeSpec): ObjectOptions => {
  const read = readObjectOptions(spec);
  if (read.readonly && read.access === 'single-writer') {
    throw invalid('access', read.access, 'nobody writes to a volume with readonly=true', 'many');
  }
  if (read['sse-key'] !== undefined && (read.sse === undefined || read.sse === 'AES256' || read.sse === 'SM4')) {
    throw invalid('sse-key', read['sse-key'], 'it goes with sse=aws:kms or sse=KMS', 'nothing without such an sse=');
  }
  if (read['on-remove'] === 'delete' && prefixOf(spec) === '') {
    const reason = 'with an empty prefix the whole bucket would be deleted';
    throw invalid('on-remove', 'delete', reason, 'retain');
  }
  if (read['on-remove'] === 'delete' && read.readonly) {
    throw invalid('on-remove', 'delete', 'nobody writes to a volume with readonly=true', 'retain');
  }
  return read;
};

/** What the keys of a volume begin with: empty, or with a slash at its end. */
export const prefixOf = ({ name, options }: VolumeSpec): string => {
  const prefix = options['prefix'] ?? `${name}/`;
  return prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
};

/** What of the way to its bucket a volume says. */
export const wayOf = (options: ObjectOptions): BucketWay => ({
  ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
  ...(options.region !== undefined && { region: options.region }),
  ...(options.vendor !== undefined && { vendor: options.vendor }),
  ...(options.addressing !== undefined && { addressing: options.addressing }),
  ...(options['requester-pays'] && { requesterPays: true as const }),
  ...(options['conditional-writes'] !== undefined && { conditionalWrites: options['conditional-writes'] }),
  ...(options.ca !== undefined && { ca: options.ca }),
  ...(options.proxy !== undefined && { proxy: options.proxy }),
});

export const wishesOf = (options: ObjectOptions): StoreWishes => {
  const { sse: algorithm, 'sse-key': keyId, 'storage-class': storageClass } = options;
  return {
    ...(algorithm !== undefined && { sse: { algorithm, ...(keyId !== undefined && { keyId }) } }),
    ...(storageClass !== undefined && { storageClass }),
  };
};

type Name = keyof typeof OBJECT_OPTIONS;
const NAMES = Object.keys(OBJECT_OPTIONS) as Name[];
/** The way to the bucket, which may differ from host to host, and is compared as a whole. */
const WAY: readonly Name[] = [
  ...(['bucket', 'prefix', 'endpoint', 'region', 'vendor', 'addressing', 'requester-pays', 'ca', 'proxy'] as const),
  'conditional-writes',
];

const meaning = (name: Name, options: ObjectOptions): string => {
  const value = options[name];
  return value === undefined ? 'nothing' : (OBJECT_OPTIONS[name].format as (value: unknown) => string)(value);
};

/**
 * How the options of a volume that is there differ from those asked for; undefined: they mean the same. Not the bucket and
 * the way to it, which people write in several ways.
 */
export const differences = (existing: VolumeSpec, asked: VolumeSpec): string | undefined => {
  const { values, errors } = checkOptions(OBJECT_OPTIONS, existing.options, 'volume option');
  if (errors[0] !== undefined) return 'it has options that this version does not know';
  const mine = readObjectOptions(asked);
  const [theirPrefix, myPrefix] = [prefixOf(existing), prefixOf(asked)];
  const found = NAMES.flatMap((name) => {
    const [theirs, ours] = [meaning(name, values), meaning(name, mine)];
    return WAY.includes(name) || theirs === ours ? [] : [`${name}=${theirs}, not ${ours}`];
  });
  if (theirPrefix !== myPrefix) found.unshift(`prefix=${theirPrefix}, not ${myPrefix}`);
  return found.length === 0 ? undefined : found.join('; ');
};
