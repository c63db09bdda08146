import { CLUSTER_TAG } from '../cluster-tag.ts';
import { type PolicyDocument, partitionOf, type Statement } from './policy.ts';
import type { ShareCalls } from './share-model.ts';
import type { VolumePolicyScope } from './volume-policy.ts';

/** What the provider of EFS's file systems may do, for `drayage policy aws --plugin volume`: what it calls, and no more. */

interface Permission {
  /** With its service, as IAM writes it. */
  readonly action: string;
  /** Why it is needed, as a sentence. */
  readonly why: string;
  /** What EFS asks EC2 for in the caller's name; from the API reference of the call. */
  readonly also?: readonly string[];
}

export const SHARE_PERMISSIONS = {
  DescribeFileSystems: {
    action: 'elasticfilesystem:DescribeFileSystems',
    why: 'Finds the file system of the cluster, and those that volumes name.',
  },
  CreateFileSystem: {
    action: 'elasticfilesystem:CreateFileSystem',
    why: 'Makes the file system of the cluster, once, with its tags.',
    also: ['elasticfilesystem:TagResource'],
  },
  DescribeMountTargets: {
    action: 'elasticfilesystem:DescribeMountTargets',
    why: 'Finds the address by which this host reaches a file system.',
  },
  CreateMountTarget: {
    action: 'elasticfilesystem:CreateMountTarget',
    why: "Makes that address, in this host's zone.",
    also: ['ec2:DescribeSubnets', 'ec2:DescribeNetworkInterfaces', 'ec2:CreateNetworkInterface'],
  },
} as const satisfies Readonly<Record<keyof ShareCalls, Permission>>;

/** The least-privilege policy for the role of the hosts, as IAM takes it. Nothing in it can remove anything. */
export const sharePolicyDocument = (scope: VolumePolicyScope = {}): PolicyDocument => {
  const { region, account = '*', cluster = '*' } = scope;
  const partition = scope.partition ?? (region === undefined ? 'aws' : partitionOf(region));
  const arn = (service: string, resource: string): string =>
    `arn:${partition}:${service}:${region ?? '*'}:${account}:${resource}/*`;
  const fileSystems = arn('elasticfilesystem', 'file-system');
  const here = region === undefined ? undefined : { StringEquals: { 'aws:RequestedRegion': region } };
  const statement = (
    name: string,
    Action: readonly string[],
    Resource: string | readonly string[],
    Condition?: Statement['Condition'],
  ): Statement => ({
    ...{ Sid: `DrayageShares${name}`, Effect: 'Allow', Action, Resource },
    ...(Condition !== undefined && { Condition }),
  });
  const { CreateFileSystem, CreateMountTarget, DescribeFileSystems, DescribeMountTargets } = SHARE_PERMISSIONS;
  const [describeSubnets, describeInterfaces, createInterface] = CreateMountTarget.also;
  const Statement = [
    statement('Read', [DescribeFileSystems.action, DescribeMountTargets.action], '*', here),
    statement('Create', [CreateFileSystem.action], fileSystems, {
      StringLike: { [`aws:RequestTag/${CLUSTER_TAG}`]: cluster },
    }),
    statement('TagNew', CreateFileSystem.also, fileSystems, {
      StringEquals: { 'elasticfilesystem:CreateAction': 'CreateFileSystem' },
    }),
    statement('Reach', [CreateMountTarget.action], fileSystems, {
      StringLike: { [`aws:ResourceTag/${CLUSTER_TAG}`]: cluster },
    }),
    statement('Addresses', [describeSubnets, describeInterfaces], '*', here),
    statement(
      'Interface',
      [createInterface],
      [arn('ec2', 'subnet'), arn('ec2', 'security-group'), arn('ec2', 'network-interface')],
    ),
  ];
  return { Version: '2012-10-17', Statement };
};
