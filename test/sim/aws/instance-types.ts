/** DescribeInstanceTypes, as far as disks go: how many an instance takes. */
import { ApiError } from '../core/api.ts';
import type { Actions, Surroundings } from './action.ts';
import { type FilterTable, filtered, listOf, type Parameters, page } from './parameters.ts';
import type { Xml } from './xml.ts';

interface InstanceType {
  /** Attachments in all; where they are shared, network interfaces count. The root volume is one of them. */
  readonly attachments: number;
  readonly limit: 'shared' | 'dedicated';
  readonly hypervisor: 'nitro' | 'xen';
}

export const INSTANCE_TYPES: Readonly<Record<string, InstanceType>> = {
  'm6i.large': { attachments: 28, limit: 'shared', hypervisor: 'nitro' },
  't3.micro': { attachments: 28, limit: 'shared', hypervisor: 'nitro' },
  'm7i.large': { attachments: 32, limit: 'dedicated', hypervisor: 'nitro' },
  't2.micro': { attachments: 40, limit: 'dedicated', hypervisor: 'xen' },
};

/** How many volumes an instance takes beside its root volume. */
export const attachable = (type: string, interfaces: number): number => {
  const { attachments = 28, limit = 'shared' } = INSTANCE_TYPES[type] ?? {};
  return attachments - 1 - (limit === 'shared' ? interfaces : 0);
};

const elements = ([name, { attachments, limit, hypervisor }]: [string, InstanceType]): Record<string, Xml> => ({
  instanceType: name,
  currentGeneration: true,
  hypervisor,
  ebsInfo: {
    ebsOptimizedSupport: 'default',
    encryptionSupport: 'supported',
    nvmeSupport: hypervisor === 'nitro' ? 'required' : 'unsupported',
    maximumEbsAttachments: attachments,
    attachmentLimitType: limit,
  },
});

const describe = (parameters: Parameters, { pageSize }: Surroundings) => {
  const names = listOf(parameters, 'InstanceType');
  const unknown = names.filter((name) => INSTANCE_TYPES[name] === undefined);
  if (unknown.length > 0) {
    throw new ApiError(
      'InvalidInstanceType',
      `The following supplied instance types do not exist: [${unknown.join(', ')}]`,
    );
  }
  const all = Object.entries(INSTANCE_TYPES).filter(([name]) => names.length === 0 || names.includes(name));
  const filters: FilterTable<[string, InstanceType]> = {
    'instance-type': ([name]) => [name],
    hypervisor: ([, { hypervisor }]) => [hypervisor],
  };
  const found = filtered(all, parameters, filters, () => ({}));
  const { items, next } = page(found, parameters, { least: 5, most: 100, usual: pageSize, ids: 'InstanceType' });
  return { instanceTypeSet: items.map(elements), nextToken: next };
};

export const instanceTypeActions: Actions = {
  DescribeInstanceTypes: { accepts: ['Filter', 'InstanceType', 'MaxResults', 'NextToken'], run: describe },
};
