/** Tags of disks and snapshots: TagResources, UntagResources, and those that come with a making. Source: the manual of TagResources. */
import { ApiError } from '../core/api.ts';
import type { Disks } from './disks.ts';
import { type Actions, flag, type Parameters, records, values } from './parameters.ts';

type Tags = Readonly<Record<string, string>>;

const MOST = 20;
const LONGEST = 128;

/** The tags of a request. Refuses what the vendor refuses. */
export const tagsOf = (parameters: Parameters): Tags => {
  const pairs = records(parameters, 'Tag');
  if (pairs.length > MOST) {
    throw new ApiError('NumberExceed.Tags', 'The maximum number of Tags is exceeded. The maximum is 20.');
  }
  const tags: Record<string, string> = {};
  for (const { Key = '', Value = '' } of pairs) {
    if (Key === '' || Key.length > LONGEST || /^(aliyun|acs:)|https?:\/\//i.test(Key)) {
      throw new ApiError('InvalidTagKey.Malformed', 'The specified Tag.n.Key is not valid.');
    }
    if (Value.length > LONGEST || /^acs:|https?:\/\//i.test(Value)) {
      throw new ApiError('InvalidTagValue.Malformed', 'The specified Tag.n.Value is not valid.');
    }
    if (tags[Key] !== undefined) throw new ApiError('Duplicate.TagKey', 'The Tag.N.Key contain duplicate key.');
    tags[Key] = Value;
  }
  return tags;
};

export const hasTags = (parameters: Parameters, tags: Tags): boolean =>
  records(parameters, 'Tag').every(
    ({ Key = '', Value }) => tags[Key] !== undefined && (Value === undefined || Value === '' || tags[Key] === Value),
  );

export const tagsJson = (tags: Tags) => ({
  Tag: Object.entries(tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })),
});

/** Changes the tags of all resources of a request, or of none. */
const retag = (disks: Disks, parameters: Parameters, change: (tags: Tags) => Tags): Record<string, never> => {
  const kind = parameters.ResourceType ?? '';
  if (!['disk', 'snapshot'].includes(kind)) {
    throw new ApiError('InvalidResourceType.NotFound', 'The ResourceType provided does not exist in our records.', 404);
  }
  const ids = values(parameters, 'ResourceId');
  if (ids.length > 50) throw new ApiError('NumberExceed.ResourceIds', 'The maximum number of ResourceIds is exceeded.');
  const known = ids.map((id) => {
    const found = kind === 'disk' ? disks.disks.get(id) : disks.snapshots.get(id);
    if (found === undefined) {
      throw new ApiError('InvalidResourceId.NotFound', 'The specified ResourceIds are not found in our records.', 404);
    }
    const tags = change(found.tags);
    if (Object.keys(tags).length > MOST) {
      throw new ApiError('QuotaExceed.Tags', 'The number of tags of the resource exceeds the quota.');
    }
    return { id, tags };
  });
  for (const { id, tags } of known) {
    if (kind === 'disk') disks.disks.change(id, { tags });
    else disks.snapshots.change(id, { tags });
  }
  return {};
};

export function tagActions(disks: Disks): Actions {
  return {
    TagResources: {
      required: ['RegionId', 'ResourceType', 'ResourceId.N', 'Tag.N.Key'],
      optional: ['Tag.N.Value'],
      perform: (parameters) => {
        const added = tagsOf(parameters);
        return retag(disks, parameters, (tags) => ({ ...tags, ...added }));
      },
    },
    UntagResources: {
      required: ['RegionId', 'ResourceType', 'ResourceId.N'],
      optional: ['TagKey.N', 'All'],
      perform: (parameters) => {
        const gone = values(parameters, 'TagKey');
        if (gone.length > MOST) throw new ApiError('NumberExceed.Tags', 'The maximum number of TagKeys is exceeded.');
        const all = gone.length === 0 && flag(parameters, 'All');
        const stays = ([key]: [string, string]): boolean => !all && !gone.includes(key);
        return retag(disks, parameters, (tags) => Object.fromEntries(Object.entries(tags).filter(stays)));
      },
    },
  };
}
