import { partitionOf } from '../../shared/cloud/aws/policy.ts';
import type { Metadata } from '../../shared/cloud/metadata.ts';
import type { Context } from '../../shared/context.ts';

/** Who this machine is to AWS. */
export interface AwsIdentity {
  readonly instance: string;
  /** The network interface that packets for containers come in by. */
  readonly networkInterface: string;
  readonly vpc: string;
  readonly subnet: string;
  readonly region: string;
  readonly zone: string;
  readonly account: string;
  readonly partition: string;
  /** The VPC's own blocks, of both families. */
  readonly blocks: readonly string[];
}

const INTERFACES = 'meta-data/network/interfaces/macs';

/**
 * Asks the metadata service. On a machine with several interfaces the one with one of `addresses` counts (the uplink's),
 * else the primary one. Errors: PROVIDER_UNREACHABLE, DEADLINE.
 */
export const identify = async (
  metadata: Metadata,
  addresses: readonly string[],
  region: string | undefined,
  c: Context,
): Promise<AwsIdentity> => {
  const must = (path: string): Promise<string> => metadata.must(path, c);
  const macs = await metadata.list(`${INTERFACES}/`, c);
  const ofUplink = macs.length < 2 ? undefined : await macWith(metadata, macs, addresses, c);
  const path = `${INTERFACES}/${ofUplink ?? (await must('meta-data/mac'))}`;
  const [instance, networkInterface, vpc, subnet, zone, account, blocks, blocks6] = await Promise.all([
    must('meta-data/instance-id'),
    must(`${path}/interface-id`),
    must(`${path}/vpc-id`),
    must(`${path}/subnet-id`),
    must('meta-data/placement/availability-zone'),
    metadata.get(`${path}/owner-id`, c),
    metadata.list(`${path}/vpc-ipv4-cidr-blocks`, c),
    metadata.list(`${path}/vpc-ipv6-cidr-blocks`, c),
  ]);
  const where = region ?? (await must('meta-data/placement/region'));
  return {
    ...{ instance, networkInterface, vpc, subnet, zone, region: where },
    account: account ?? '*',
    partition: partitionOf(where),
    blocks: [...blocks, ...blocks6],
  };
};

const macWith = async (
  metadata: Metadata,
  macs: readonly string[],
  addresses: readonly string[],
  c: Context,
): Promise<string | undefined> => {
  for (const mac of macs) {
    const own = await Promise.all(
      ['local-ipv4s', 'ipv6s'].map((name) => metadata.list(`${INTERFACES}/${mac}/${name}`, c)),
    );
    if (own.flat().some((address) => addresses.includes(address))) return mac;
  }
  return undefined;
};
