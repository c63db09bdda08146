import {
  CreateFileSystemCommand,
  CreateMountTargetCommand,
  DescribeFileSystemsCommand,
  DescribeMountTargetsCommand,
  type DescribeMountTargetsCommandOutput,
  EFSClient,
  type FileSystemDescription,
  type MountTargetDescription,
  type ThroughputMode,
} from '@aws-sdk/client-efs';
import type { Wire } from './model.ts';
import {
  clientConfig,
  NEXT_TO_THE_WIRE,
  read,
  type SdkOptions,
  type Senders,
  tellDates,
  wireOf,
  within,
} from './sdk-config.ts';
import type { FileSystem, MountTarget, ShareCalls } from './share-model.ts';

/** The calls for file systems, through the vendor's client, which has a file of its own as EC2's has: see `sdk.ts`. */

const fileSystemOf = (found: FileSystemDescription): FileSystem => {
  const { AvailabilityZoneName: zone, KmsKeyId: key } = found;
  return {
    id: found.FileSystemId ?? '',
    state: found.LifeCycleState ?? 'creating',
    ...(zone !== undefined && zone !== '' && { zone }),
    encrypted: found.Encrypted === true,
    ...(key !== undefined && key !== '' && { key }),
    throughput: found.ThroughputMode ?? '',
    tags: Object.fromEntries((found.Tags ?? []).map(({ Key = '', Value = '' }) => [Key, Value])),
  };
};

const mountTargetOf = (found: MountTargetDescription): MountTarget => {
  const address = [found.IpAddress, found.Ipv6Address].find((one) => one !== undefined && one !== '');
  return {
    id: found.MountTargetId ?? '',
    state: found.LifeCycleState ?? 'creating',
    ...(address !== undefined && { address }),
    vpc: found.VpcId ?? '',
    zone: found.AvailabilityZoneName ?? '',
    zoneId: found.AvailabilityZoneId ?? '',
  };
};

const isNamed = (error: unknown, name: string): boolean => error instanceof Error && error.name === name;

const senders: Senders<EFSClient, ShareCalls> = {
  DescribeFileSystems: async (client, search, options) => {
    const which = 'id' in search ? { FileSystemId: search.id } : { CreationToken: search.token };
    try {
      const { FileSystems = [] } = await client.send(new DescribeFileSystemsCommand(which), within(options));
      return FileSystems.map(fileSystemOf)[0];
    } catch (error) {
      if (isNamed(error, 'FileSystemNotFound')) return undefined;
      throw error;
    }
  },
  CreateFileSystem: async (client, { token, throughput, encrypted, key, tags }, options) => {
    const command = new CreateFileSystemCommand({
      ...{ CreationToken: token, ThroughputMode: throughput as ThroughputMode, Encrypted: encrypted },
      ...(key !== undefined && { KmsKeyId: key }),
      Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
    });
    try {
      const { FileSystemId: id = '' } = await client.send(command, within(options));
      return { id, isNew: true };
    } catch (error) {
      // The answer to a token that was used before: no error for whoever wants there to be one.
      const id = isNamed(error, 'FileSystemAlreadyExists') ? read(error, 'FileSystemId') : undefined;
      if (typeof id === 'string' && id !== '') return { id, isNew: false };
      throw error;
    }
  },
  DescribeMountTargets: async (client, { fileSystem }, options) => {
    const all: MountTarget[] = [];
    let marker: string | undefined;
    do {
      const page: DescribeMountTargetsCommandOutput = await client.send(
        new DescribeMountTargetsCommand({ FileSystemId: fileSystem, ...(marker !== undefined && { Marker: marker }) }),
        within(options),
      );
      all.push(...(page.MountTargets ?? []).map(mountTargetOf));
      marker = page.NextMarker === '' ? undefined : page.NextMarker;
    } while (marker !== undefined);
    return all;
  },
  CreateMountTarget: async (client, { fileSystem, subnet, securityGroups }, options) => {
    const command = new CreateMountTargetCommand({
      ...{ FileSystemId: fileSystem, SubnetId: subnet },
      ...(securityGroups.length > 0 && { SecurityGroups: [...securityGroups] }),
    });
    return mountTargetOf(await client.send(command, within(options)));
  },
};

/** EFS has an endpoint of its own. One that was set for EC2 is read as its neighbour's; others are taken as they are. */
export const efsEndpoint = (endpoint: string): string => {
  const { hostname, origin } = new URL(endpoint);
  const match = /^ec2(-fips)?\.([a-z0-9-]+\..+)$/.exec(hostname);
  if (match === null) return endpoint;
  const [, fips = '', rest = ''] = match;
  // From the rules of the vendor's client: the names that answer over IPv6, too, are shorter.
  const service = /\.api\.(aws|amazonwebservices\.com\.cn)$/.test(rest) ? 'efs' : 'elasticfilesystem';
  return origin.replace(hostname, `${service}${fips}.${rest}`);
};

/** A client for one region. No I/O before the first call. */
export const openShares = (options: SdkOptions): Wire<ShareCalls> =>
  wireOf((key) => {
    const { endpoint } = options;
    const own = endpoint === undefined ? options : { ...options, endpoint: efsEndpoint(endpoint) };
    const client = new EFSClient(clientConfig(own, key));
    client.middlewareStack.add(tellDates(options.onDate), NEXT_TO_THE_WIRE);
    return client;
  }, senders);
