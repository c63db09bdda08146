/** Tags of volumes and snapshots: those given at their making, CreateTags and DeleteTags. */
import { ApiError } from '../core/api.ts';
import type { Action, Actions, Surroundings } from './action.ts';
import { invalid, missing, notFound } from './errors.ts';
import { listOf, type Parameters } from './parameters.ts';
import type { Tags } from './storage.ts';

const MOST = 50;

const check = (tags: Tags): Tags => {
  for (const [key, value] of Object.entries(tags)) {
    if (key === '' || key.length > 128) throw invalid(`Tag key exceeds the maximum length of 128 characters: '${key}'`);
    if (/^aws:/i.test(key)) throw invalid("Tag keys starting with 'aws:' are reserved for internal use");
    if (value.length > 256) throw invalid(`Tag value exceeds the maximum length of 256 characters: '${value}'`);
  }
  if (Object.keys(tags).length > MOST) {
    throw new ApiError('TagLimitExceeded', `The maximum number of Tags for a resource has been reached: ${MOST}`);
  }
  return tags;
};

/** `<prefix>.1.Key`, `<prefix>.1.Value` … A key that comes twice is refused. */
const pairs = (parameters: Parameters, prefix: string): [string, string | undefined][] => {
  const found: [string, string | undefined][] = [];
  for (let n = 1; parameters[`${prefix}.${n}.Key`] !== undefined; n += 1) {
    const key = parameters[`${prefix}.${n}.Key`] ?? '';
    if (found.some(([other]) => other === key)) throw invalid(`Duplicate tag key '${key}' specified.`);
    found.push([key, parameters[`${prefix}.${n}.Value`]]);
  }
  return found;
};

/** The tags that a request gives to what it makes, a `volume` or a `snapshot`. */
export const tagsFor = (resource: string, parameters: Parameters): Tags => {
  const tags: Record<string, string> = {};
  for (let n = 1; parameters[`TagSpecification.${n}.ResourceType`] !== undefined; n += 1) {
    const type = parameters[`TagSpecification.${n}.ResourceType`];
    if (type !== resource) throw invalid(`'${type}' is not a valid taggable resource type for this operation.`);
    for (const [key, value = ''] of pairs(parameters, `TagSpecification.${n}.Tag`)) tags[key] = value;
  }
  return check(tags);
};

/** Those that the request names, volumes and snapshots; throws for others. */
const resources = (parameters: Parameters, { storage }: Surroundings) => {
  const ids = listOf(parameters, 'ResourceId');
  if (ids.length === 0) throw missing('resourceIdSet');
  return ids.map((id) => {
    if (id.startsWith('vol-')) {
      const found = storage.volumes.get(id);
      if (found === undefined) throw notFound('vol', [id]);
      return { tags: found.tags, set: (tags: Tags) => storage.volumes.change(id, { tags }) };
    }
    if (id.startsWith('snap-')) {
      const found = storage.snapshots.get(id);
      if (found === undefined) throw notFound('snap', [id]);
      return { tags: found.tags, set: (tags: Tags) => storage.snapshots.change(id, { tags }) };
    }
    throw new ApiError('InvalidID', `The ID '${id}' is not valid`);
  });
};

const createTags: Action['run'] = (parameters, around) => {
  const added = pairs(parameters, 'Tag').map(([key, value = '']): [string, string] => [key, value]);
  if (added.length === 0) throw missing('tagSet');
  const all = resources(parameters, around).map((one) => ({
    ...one,
    tags: check({ ...one.tags, ...Object.fromEntries(added) }),
  }));
  for (const { tags, set } of all) set(tags);
  return { return: true };
};

/** A tag that is given with a value goes only if it has that one. */
const deleteTags: Action['run'] = (parameters, around) => {
  const named = pairs(parameters, 'Tag');
  for (const { tags, set } of resources(parameters, around)) {
    const goes = ([key, value]: [string, string]): boolean =>
      named.length === 0 || named.some(([name, only]) => name === key && (only === undefined || only === value));
    set(Object.fromEntries(Object.entries(tags).filter((one) => !goes(one))));
  }
  return { return: true };
};

export const tagActions: Actions = {
  CreateTags: { accepts: ['ResourceId', 'Tag'], run: createTags },
  DeleteTags: { accepts: ['ResourceId', 'Tag'], run: deleteTags },
};
