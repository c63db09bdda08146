import {
  AttachVolumeCommand,
  CreateSnapshotCommand,
  CreateTagsCommand,
  CreateVolumeCommand,
  DeleteSnapshotCommand,
  DeleteTagsCommand,
  DeleteVolumeCommand,
  DescribeInstancesCommand,
  type DescribeInstancesCommandOutput,
  DescribeInstanceTypesCommand,
  DescribeSnapshotsCommand,
  type DescribeSnapshotsCommandOutput,
  DescribeVolumesCommand,
  type DescribeVolumesCommandOutput,
  DescribeVolumesModificationsCommand,
  DetachVolumeCommand,
  type EbsInfo,
  type Filter,
  ModifyVolumeCommand,
  type Instance as SdkInstance,
  type Snapshot as SdkSnapshot,
  type Tag as SdkTag,
  type Volume as SdkVolume,
  type VolumeType,
} from '@aws-sdk/client-ec2';
import type { Wire } from './model.ts';
import { chunks, dry, instanceOf, nextToken, openSdk, pages, type Senders } from './sdk.ts';
import type { SdkOptions } from './sdk-config.ts';
import { within } from './sdk-config.ts';
import type {
  Machine,
  Modification,
  Volume,
  VolumeAttachment,
  VolumeCalls,
  VolumeSearch,
  VolumeSnapshot,
} from './volume-model.ts';

/** The calls for volumes, through the vendor's client. */

/** Entries of a page: more are refused where filters are given. */
const PAGE = 500;

type Names = Readonly<Record<string, string>>;

const tagsOf = (tags: readonly SdkTag[] | undefined): Names =>
  Object.fromEntries((tags ?? []).map(({ Key = '', Value = '' }) => [Key, Value]));

const sdkTags = (tags: Names): SdkTag[] => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

const attachmentOf = ({ Attachments = [] }: SdkVolume): VolumeAttachment | undefined => {
  const found = Attachments.find(({ State }) => State !== 'detached');
  if (found?.InstanceId === undefined) return undefined;
  const state = (found.State as VolumeAttachment['state'] | undefined) ?? 'attached';
  return { instance: found.InstanceId, device: found.Device ?? '', state };
};

const volumeOf = (volume: SdkVolume): Volume => {
  const attachment = attachmentOf(volume);
  const { SnapshotId: snapshot = '' } = volume;
  return {
    id: volume.VolumeId ?? '',
    size: volume.Size ?? 0,
    zone: volume.AvailabilityZone ?? '',
    state: volume.State ?? 'creating',
    ...(attachment !== undefined && { attachment }),
    ...(snapshot !== '' && { snapshot }),
    kind: volume.VolumeType ?? '',
    created: (volume.CreateTime ?? new Date()).toISOString(),
    tags: tagsOf(volume.Tags),
  };
};

const snapshotOf = (snapshot: SdkSnapshot): VolumeSnapshot => {
  const { State = 'pending' } = snapshot;
  return {
    id: snapshot.SnapshotId ?? '',
    volume: snapshot.VolumeId ?? '',
    size: snapshot.VolumeSize ?? 0,
    state: State === 'completed' || State === 'error' ? State : 'pending',
    progress: State === 'completed' ? 100 : Number.parseInt(snapshot.Progress ?? '0', 10) || 0,
    created: (snapshot.StartTime ?? new Date()).toISOString(),
    tags: tagsOf(snapshot.Tags),
  };
};

const machineOf = (instance: SdkInstance): Machine => {
  const { id, state, name, privateDnsName } = instanceOf(instance);
  return {
    ...{ id, state, type: instance.InstanceType ?? '' },
    ...(name !== undefined && { name }),
    ...(privateDnsName !== undefined && { privateDnsName }),
    devices: [
      ...(instance.BlockDeviceMappings ?? []).flatMap(({ DeviceName }) => DeviceName ?? []),
      ...(instance.RootDeviceName === undefined ? [] : [instance.RootDeviceName]),
    ],
  };
};

/** Filters leave out what does not exist, where ids would be refused. One list for each call. */
const filtersOf = (search: VolumeSearch, name: string): Filter[][] => {
  if ('ids' in search) return chunks(search.ids).map((Values) => [{ Name: name, Values }]);
  const tags = Object.entries(search.tags).map(([key, value]) => ({ Name: `tag:${key}`, Values: [literal(value)] }));
  return [[...tags, ...(search.having === undefined ? [] : [{ Name: 'tag-key', Values: [search.having] }])]];
};

/** EC2 takes `*` and `?` of a filter for anything, unless they stand behind a backslash. */
const literal = (text: string): string => text.replace(/[*?\\]/g, '\\$&');

const limitsOf = ({ MaximumEbsAttachments: attachments, AttachmentLimitType: kind }: EbsInfo) => ({
  ...(attachments !== undefined && { attachments }),
  isShared: kind === 'shared',
});

const modificationOf = (found: {
  ModificationState?: string | undefined;
  TargetSize?: number | undefined;
  StatusMessage?: string | undefined;
}): Modification => ({
  state: (found.ModificationState as Modification['state'] | undefined) ?? 'modifying',
  size: found.TargetSize ?? 0,
  ...(found.StatusMessage !== undefined && found.StatusMessage !== '' && { reason: found.StatusMessage }),
});

const isNoModification = (error: unknown): boolean =>
  error instanceof Error && error.name === 'InvalidVolumeModification.NotFound';

const senders: Senders<VolumeCalls> = {
  DescribeVolumes: async (client, search, options) => {
    const all: Volume[] = [];
    for (const Filters of filtersOf(search, 'volume-id')) {
      const found = await pages<DescribeVolumesCommandOutput>((token) =>
        client.send(
          new DescribeVolumesCommand({ Filters, MaxResults: PAGE, ...nextToken(token), ...dry(options) }),
          within(options),
        ),
      );
      all.push(...found.flatMap((page) => (page.Volumes ?? []).map(volumeOf)));
    }
    return all;
  },
  DescribeSnapshots: async (client, search, options) => {
    const all: VolumeSnapshot[] = [];
    for (const Filters of filtersOf(search, 'snapshot-id')) {
      const found = await pages<DescribeSnapshotsCommandOutput>((token) =>
        client.send(
          new DescribeSnapshotsCommand({
            ...{ Filters, OwnerIds: ['self'], MaxResults: PAGE },
            ...nextToken(token),
            ...dry(options),
          }),
          within(options),
        ),
      );
      all.push(...found.flatMap((page) => (page.Snapshots ?? []).map(snapshotOf)));
    }
    return all;
  },
  DescribeInstances: async (client, { ids, exact = false }, options) => {
    const all: Machine[] = [];
    for (const some of chunks(ids)) {
      const which = exact ? { InstanceIds: some } : { Filters: [{ Name: 'instance-id', Values: some }] };
      const found = await pages<DescribeInstancesCommandOutput>((token) =>
        client.send(new DescribeInstancesCommand({ ...which, ...nextToken(token), ...dry(options) }), within(options)),
      );
      const instances = found.flatMap(({ Reservations = [] }) => Reservations).flatMap((one) => one.Instances ?? []);
      all.push(...instances.map(machineOf));
    }
    return all;
  },
  DescribeInstanceTypes: async (client, { type }, options) => {
    const command = new DescribeInstanceTypesCommand({
      Filters: [{ Name: 'instance-type', Values: [type] }],
      ...dry(options),
    });
    const { InstanceTypes = [] } = await client.send(command, within(options));
    return limitsOf(InstanceTypes[0]?.EbsInfo ?? {});
  },
  DescribeVolumesModifications: async (client, { volume }, options) => {
    const command = new DescribeVolumesModificationsCommand({ VolumeIds: [volume], ...dry(options) });
    try {
      const { VolumesModifications = [] } = await client.send(command, within(options));
      // The last one stands last, if there are several.
      const last = VolumesModifications.at(-1);
      return last === undefined ? undefined : modificationOf(last);
    } catch (error) {
      if (isNoModification(error)) return undefined;
      throw error;
    }
  },
  CreateVolume: async (client, request, options) => {
    const { zone, size, kind, iops, throughput, encrypted, key, snapshot, tags, token } = request;
    const made = await client.send(
      new CreateVolumeCommand({
        ...{ AvailabilityZone: zone, Size: size, VolumeType: kind as VolumeType, ClientToken: token },
        ...(iops !== undefined && { Iops: iops }),
        ...(throughput !== undefined && { Throughput: throughput }),
        ...(encrypted !== undefined && { Encrypted: encrypted }),
        ...(key !== undefined && { KmsKeyId: key }),
        ...(snapshot !== undefined && { SnapshotId: snapshot }),
        TagSpecifications: [{ ResourceType: 'volume', Tags: sdkTags(tags) }],
        ...dry(options),
      }),
      within(options),
    );
    return volumeOf(made);
  },
  DeleteVolume: async (client, { volume }, options) => {
    await client.send(new DeleteVolumeCommand({ VolumeId: volume, ...dry(options) }), within(options));
    return undefined;
  },
  AttachVolume: async (client, { volume, instance, device }, options) => {
    const command = new AttachVolumeCommand({
      ...{ VolumeId: volume, InstanceId: instance, Device: device },
      ...dry(options),
    });
    await client.send(command, within(options));
    return undefined;
  },
  DetachVolume: async (client, { volume, instance }, options) => {
    // Never with Force: what the machine has not written yet would be lost.
    const command = new DetachVolumeCommand({ VolumeId: volume, InstanceId: instance, ...dry(options) });
    await client.send(command, within(options));
    return undefined;
  },
  ModifyVolume: async (client, { volume, size }, options) => {
    await client.send(new ModifyVolumeCommand({ VolumeId: volume, Size: size, ...dry(options) }), within(options));
    return undefined;
  },
  CreateSnapshot: async (client, { volume, description, tags }, options) => {
    const made = await client.send(
      new CreateSnapshotCommand({
        ...{ VolumeId: volume, Description: description },
        TagSpecifications: [{ ResourceType: 'snapshot', Tags: sdkTags(tags) }],
        ...dry(options),
      }),
      within(options),
    );
    return snapshotOf(made);
  },
  DeleteSnapshot: async (client, { snapshot }, options) => {
    await client.send(new DeleteSnapshotCommand({ SnapshotId: snapshot, ...dry(options) }), within(options));
    return undefined;
  },
  CreateTags: async (client, { id, tags }, options) => {
    await client.send(
      new CreateTagsCommand({ Resources: [id], Tags: sdkTags(tags), ...dry(options) }),
      within(options),
    );
    return undefined;
  },
  DeleteTags: async (client, { id, names }, options) => {
    const Tags = names.map((Key) => ({ Key }));
    await client.send(new DeleteTagsCommand({ Resources: [id], Tags, ...dry(options) }), within(options));
    return undefined;
  },
};

export const openVolumes = (options: SdkOptions): Wire<VolumeCalls> => openSdk(senders, options);
