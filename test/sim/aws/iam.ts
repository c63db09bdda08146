/** Whether a policy document lets somebody do something: as much of IAM's language as policies for EC2 need. */
import { listOf, type Parameters } from './parameters.ts';
import type { Storage, Tags } from './storage.ts';
import type { World } from './world.ts';

type OneOrMore = string | readonly string[];

interface Statement {
  readonly Effect: string;
  readonly Action: OneOrMore;
  readonly Resource: OneOrMore;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, OneOrMore>>>>;
}

export interface Policy {
  readonly Statement: readonly Statement[];
}

/** One thing that must be allowed; a call may come to several of them. */
export interface Asked {
  /** With its service. */
  readonly action: string;
  /** An ARN, or `*` where calls cannot be limited. */
  readonly resource: string;
  /** What conditions look at. */
  readonly context: Readonly<Record<string, OneOrMore>>;
}

const all = (value: OneOrMore): readonly string[] => (typeof value === 'string' ? [value] : value);

const like = (pattern: string, value: string): boolean =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
    's',
  ).test(value);

const OPERATORS: Readonly<Record<string, (wanted: readonly string[], value: string) => boolean>> = {
  StringEquals: (wanted, value) => wanted.includes(value),
  StringLike: (wanted, value) => wanted.some((pattern) => like(pattern, value)),
  ArnLike: (wanted, value) => wanted.some((pattern) => like(pattern, value)),
};

/** A key that is not there fails the condition, but for those about all values of a list. */
const holds = (name: string, key: string, wanted: OneOrMore, context: Asked['context']): boolean => {
  if (name === 'Null') return all(wanted).includes(String(context[key] === undefined));
  const [, forAll, operator = name] = /^(ForAllValues:)?(.+)$/.exec(name) ?? [];
  const test = OPERATORS[operator];
  if (test === undefined) throw new Error(`the simulator does not know the condition ${name}`);
  const values = context[key];
  if (values === undefined) return forAll !== undefined;
  return forAll === undefined
    ? all(values).some((value) => test(all(wanted), value))
    : all(values).every((value) => test(all(wanted), value));
};

const covers = (statement: Statement, { action, resource, context }: Asked): boolean =>
  all(statement.Action).some((pattern) => like(pattern.toLowerCase(), action.toLowerCase())) &&
  all(statement.Resource).some((pattern) => pattern === '*' || like(pattern, resource)) &&
  Object.entries(statement.Condition ?? {}).every(([name, keys]) =>
    Object.entries(keys).every(([key, wanted]) => holds(name, key, wanted, context)),
  );

export const allows = ({ Statement }: Policy, asked: Asked): boolean => {
  const fitting = Statement.filter((one) => covers(one, asked));
  return fitting.some(({ Effect }) => Effect === 'Allow') && !fitting.some(({ Effect }) => Effect === 'Deny');
};

/** What a call for volumes or snapshots needs to be allowed, one resource at a time. */
export const askedBy = (action: string, parameters: Parameters, world: World, storage: Storage): Asked[] => {
  const { partition, region, account } = world;
  const arn = (kind: string, id: string): string =>
    `arn:${partition}:ec2:${region}:${kind === 'snapshot' ? '' : account}:${kind}/${id}`;
  const requested = newTags(parameters);
  const base = { 'aws:RequestedRegion': region };
  const withTags = (tags: Tags) => ({ ...base, ...prefixed('ec2:ResourceTag/', tags) });
  // Of what does not exist no tags are known.
  const volume = (id = ''): Asked => ({
    ...{ action: `ec2:${action}`, resource: arn('volume', id) },
    context: withTags(storage.volumes.get(id)?.tags ?? {}),
  });
  const snapshot = (id = ''): Asked => ({
    ...{ action: `ec2:${action}`, resource: arn('snapshot', id) },
    context: withTags(storage.snapshots.get(id)?.tags ?? {}),
  });
  const made = (kind: string): Asked[] => {
    const context = { ...base, ...prefixed('aws:RequestTag/', requested), 'aws:TagKeys': Object.keys(requested) };
    const resource = arn(kind, '*');
    const tagging = { action: 'ec2:CreateTags', resource, context: { ...context, 'ec2:CreateAction': action } };
    return [{ action: `ec2:${action}`, resource, context }, ...(Object.keys(requested).length > 0 ? [tagging] : [])];
  };
  const { VolumeId, SnapshotId, InstanceId = '' } = parameters;
  switch (action) {
    case 'CreateVolume':
      return [...made('volume'), ...(SnapshotId === undefined ? [] : [snapshot(SnapshotId)])];
    case 'CreateSnapshot':
      return [...made('snapshot'), volume(VolumeId)];
    case 'AttachVolume':
    case 'DetachVolume':
      return [volume(VolumeId), { action: `ec2:${action}`, resource: arn('instance', InstanceId), context: base }];
    case 'ModifyVolume':
    case 'DeleteVolume':
      return [volume(VolumeId)];
    case 'DeleteSnapshot':
      return [snapshot(SnapshotId)];
    case 'CreateTags':
    case 'DeleteTags': {
      const tags = taggedWith(parameters);
      const isNew = action === 'CreateTags' ? prefixed('aws:RequestTag/', tags) : {};
      return listOf(parameters, 'ResourceId').map((id) => {
        const asked = id.startsWith('snap-') ? snapshot(id) : volume(id);
        return { ...asked, context: { ...asked.context, ...isNew, 'aws:TagKeys': Object.keys(tags) } };
      });
    }
    default:
      return [{ action: `ec2:${action}`, resource: '*', context: base }];
  }
};

const prefixed = (prefix: string, tags: Tags): Tags =>
  Object.fromEntries(Object.entries(tags).map(([key, value]) => [prefix + key, value]));

const pairs = (parameters: Parameters, pattern: RegExp): Tags =>
  Object.fromEntries(
    Object.entries(parameters).flatMap(([name, key]) => {
      const stem = pattern.exec(name)?.[1];
      return stem === undefined ? [] : [[key, parameters[`${stem}.Value`] ?? '']];
    }),
  );

const newTags = (parameters: Parameters): Tags => pairs(parameters, /^(TagSpecification\.\d+\.Tag\.\d+)\.Key$/);
const taggedWith = (parameters: Parameters): Tags => pairs(parameters, /^(Tag\.\d+)\.Key$/);
