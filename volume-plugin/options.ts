import { CLOUD_SETTINGS } from '../shared/cloud/settings.ts';
import { LOG_LEVELS } from '../shared/log.ts';
import { option, type Parsed } from '../shared/options.ts';

/** What the plugin must be called for `-d cloudvol` to find it. */
export const PLUGIN_NAME = 'cloudvol';

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
