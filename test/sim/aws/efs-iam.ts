/** What a call of EFS needs to be allowed, one resource at a time; from the service's authorization reference. */
import { tagsIn } from './efs-input.ts';
import type { FileStorage } from './file-storage.ts';
import type { Asked } from './iam.ts';
import type { Tags } from './storage.ts';
import type { World } from './world.ts';

const prefixed = (prefix: string, tags: Tags): Tags =>
  Object.fromEntries(Object.entries(tags).map(([key, value]) => [prefix + key, value]));

export const askedOfEfs = (
  action: string,
  parameters: Readonly<Record<string, string>>,
  body: Readonly<Record<string, unknown>>,
  { world, files }: { readonly world: World; readonly files: FileStorage },
): Asked[] => {
  const { partition, region, account } = world;
  const base = { 'aws:RequestedRegion': region };
  const arn = (service: string, resource: string): string =>
    `arn:${partition}:${service}:${region}:${account}:${resource}`;
  const asked = (name: string, resource: string, context: Asked['context'] = {}): Asked => ({
    ...{ action: name, resource },
    context: { ...base, ...context },
  });
  const own = `elasticfilesystem:${action}`;
  const fileSystem = (id: string): Asked =>
    asked(
      own,
      arn('elasticfilesystem', `file-system/${id}`),
      // Of what does not exist no tags are known.
      prefixed('aws:ResourceTag/', files.fileSystems.get(id)?.tags ?? {}),
    );
  const accessPoint = (id: string): Asked =>
    asked(
      own,
      arn('elasticfilesystem', `access-point/${id}`),
      prefixed('aws:ResourceTag/', files.accessPoints.get(id)?.tags ?? {}),
    );
  const tags = tagsIn(body);
  const requested = { ...prefixed('aws:RequestTag/', tags), 'aws:TagKeys': Object.keys(tags) };
  const tagging = (resource: string): Asked[] =>
    Object.keys(tags).length === 0
      ? []
      : [
          asked('elasticfilesystem:TagResource', resource, {
            ...requested,
            'elasticfilesystem:CreateAction': action,
          }),
        ];
  const { FileSystemId: id = String(body.FileSystemId ?? '') } = parameters;
  switch (action) {
    case 'CreateFileSystem': {
      const resource = arn('elasticfilesystem', 'file-system/*');
      const encrypted = { 'elasticfilesystem:Encrypted': String(body.Encrypted === true) };
      return [asked(own, resource, { ...requested, ...encrypted }), ...tagging(resource)];
    }
    case 'CreateAccessPoint': {
      const target = fileSystem(id);
      return [
        { ...target, context: { ...target.context, ...requested } },
        ...tagging(arn('elasticfilesystem', 'access-point/*')),
      ];
    }
    case 'CreateMountTarget': {
      const subnet = String(body.SubnetId ?? '');
      const groups = Array.isArray(body.SecurityGroups) ? body.SecurityGroups : [];
      // EFS asks EC2 in the caller's name.
      return [
        fileSystem(id),
        asked('ec2:DescribeSubnets', '*'),
        asked('ec2:DescribeNetworkInterfaces', '*'),
        asked('ec2:CreateNetworkInterface', arn('ec2', `subnet/${subnet}`)),
        asked('ec2:CreateNetworkInterface', arn('ec2', 'network-interface/*')),
        ...groups.map((group) => asked('ec2:CreateNetworkInterface', arn('ec2', `security-group/${group}`))),
      ];
    }
    case 'DeleteFileSystem':
      return [fileSystem(id)];
    case 'DeleteMountTarget':
    case 'DescribeMountTargetSecurityGroups':
      return [fileSystem(files.mountTargets.get(parameters.MountTargetId ?? '')?.fileSystem ?? '')];
    case 'DeleteAccessPoint':
      return [accessPoint(parameters.AccessPointId ?? '')];
    case 'TagResource':
    case 'UntagResource':
    case 'ListTagsForResource': {
      const { ResourceId: resource = '' } = parameters;
      const name = resource.slice(resource.lastIndexOf('/') + 1);
      const target = name.startsWith('fsap-') ? accessPoint(name) : fileSystem(name);
      return [{ ...target, context: { ...target.context, ...requested } }];
    }
    default:
      return [id === '' ? asked(own, '*') : fileSystem(id)];
  }
};
