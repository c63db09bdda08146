import { CLOUD_SETTINGS } from '../shared/cloud/settings.ts';
import { LOG_LEVELS } from '../shared/log.ts';
import { exceptionProblem } from '../shared/no-proxy.ts';
import { option, type Parsed } from '../shared/options.ts';

/** What the plugin must be called for `-d cloudvol` to find it. */
export const PLUGIN_NAME = 'cloudvol';

/** `assets`, `s3://assets`, `oss://media?region=cn-hangzhou`: see volume-plugin/backends/object-bucket.ts. */
export const BUCKET_TEXT = /^([a-z0-9]{2,10}:\/\/)?[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](\?[^\s,]{1,1024})?$/;
export const VENDOR_TEXT = /^[a-z][a-z0-9-]{0,30}$/;

/** Settings of the volume plugin; each is an environment variable of its configuration. */
export const SETTINGS = {
  defaultType: option.text({ default: 'block', help: 'The type of volumes that are created without `-o type=`.' }),
  provider: option.enum(['loop', 'ebs', 'aliyun-disk'], {
    default: 'loop',
    help: 'Where disks come from: `loop` for files on this host, or on a file system that hosts share; `ebs` for volumes of AWS, `aliyun-disk` for disks of Aliyun.',
  }),
  loopFolder: option.path({
    default: '/var/lib/drayage/loop',
    help: "The folder of `loop`'s disks, below /var/lib/drayage. Hosts that share it can pass disks on.",
  }),
  loopQuota: option.size({
    help: "Most bytes of all of `loop`'s disks and snapshots together; what there is room for when empty.",
  }),
  nfsProvider: option.enum(['export', 'efs', 'nas'], {
    default: 'export',
    help: 'Where shares of `type=nfs` come from: `export` for any NFS server; `efs` for file systems of AWS, `nas` for those of Aliyun.',
  }),
  nfsShare: option.textList({
    allowed: 'a share such as 10.0.0.5:/export',
    pattern: /^\S{2,1024}$/,
    example: '10.0.0.5:/export',
    help: 'Shares that every host looks for volumes on; the first is for those that are created without `-o share=`. When empty, `efs` and `nas` make a file system for the cluster.',
  }),
  objectBucket: option.textList({
    allowed: 'a bucket such as assets, s3://assets or oss://media?region=cn-hangzhou',
    pattern: BUCKET_TEXT,
    example: 's3://assets',
    help: 'Buckets that every host looks for volumes of `type=object` in; the first is for those that are created without `-o bucket=`. When nothing of these settings is given, objects are files below OBJECT_FOLDER.',
  }),
  objectEndpoint: option.url({
    example: 'https://minio.example:9000',
    help: "Where buckets are, unless their volumes say otherwise; the vendor's public endpoint for the region when empty.",
  }),
  objectVendor: option.text({
    pattern: VENDOR_TEXT,
    allowed: 'a vendor such as aws, oss or minio',
    example: 'minio',
    help: 'Whose buckets these are; told from the endpoint when empty.',
  }),
  objectFolder: option.path({
    default: '/var/lib/drayage/object',
    help: 'The folder of buckets that are folders of this host, below /var/lib/drayage: for volumes without a cloud.',
  }),
  objectCache: option.size({
    default: 2 ** 31,
    min: 2 ** 24,
    help: "How much of each volume of `type=object` is kept on this host's disk, where `-o cache=` does not say.",
  }),
  objectCa: option.path({
    example: '/var/lib/drayage/ca.pem',
    help: "Certificates (PEM) of authorities by which the endpoints' are checked, in the place of the usual ones. It must be below /var/lib/drayage.",
  }),
  objectProxy: option.proxy({
    example: 'http://proxy.example:3128',
    help: 'HTTP proxy by which endpoints of buckets are reached: CONNECT for https://, whole requests for http://.',
  }),
  objectProxyCredentials: option.text({
    sensitive: true,
    pattern: /^[^:\s]+:\S+$/,
    allowed: 'NAME:PASSWORD',
    help: 'Name and password for OBJECT_PROXY, as NAME:PASSWORD.',
  }),
  objectNoProxy: option.textList({
    allowed: 'a name, which counts for all below it, an address or a prefix such as 10.0.0.0/8',
    example: 'minio.example,10.0.0.0/8',
    help: 'Endpoints that are reached without a proxy.',
    validate: (entries) => entries.map(exceptionProblem).find((problem) => problem !== undefined),
  }),
  objectAccessKeyId: option.text({
    pattern: /^[\w./-]{3,128}$/,
    allowed: 'an access key id',
    help: 'Access key for buckets, in the place of ACCESS_KEY_ID and whatever else the cloud is called with.',
  }),
  objectAccessKeySecret: option.text({ sensitive: true, help: 'The secret of OBJECT_ACCESS_KEY_ID.' }),
  objectSecurityToken: option.text({
    sensitive: true,
    help: 'Session token that goes with a temporary OBJECT_ACCESS_KEY_ID.',
  }),
  nodeName: option.text({
    min: 1,
    max: 63,
    pattern: /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i,
    allowed: 'a host name',
    example: 'rack1-host7',
    help: "This host's name in the cluster; its host name when empty.",
  }),
  cluster: option.text({
    default: 'default',
    min: 1,
    max: 63,
    pattern: /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i,
    allowed: 'letters, digits, dots and dashes',
    help: 'Hosts of one cluster share volumes; in one account of a cloud, clusters do not see each other.',
  }),
  onRemove: option.enum(['delete', 'snapshot', 'retain'], {
    default: 'delete',
    help: 'What `docker volume rm` does with the disk of a volume that is created without `-o on-remove=`.',
  }),
  refreshInterval: option.duration({
    default: 60_000,
    min: 5_000,
    max: 3_600_000,
    help: "How often the cluster's list of volumes is read again.",
  }),
  logLevel: option.enum(LOG_LEVELS, { default: 'info', help: "How much goes to the Docker daemon's log." }),
  ...CLOUD_SETTINGS,
} as const;

export type Settings = Parsed<typeof SETTINGS>;
