import { PluginError } from '../../shared/errors.ts';
import type { Volume } from './backend.ts';
import { type Bucket, readBucket } from './object-bucket.ts';
import { type ObjectOptions, prefixOf, readObjectOptions } from './object-options.ts';
import type { ObjectParts } from './object-parts.ts';

type Details = Readonly<Record<string, string | number | boolean>>;

/** What `docker volume inspect` shows of a volume in a bucket. Nothing is asked of its store. */
export const objectStatus = (parts: ObjectParts, volume: Volume, dead: string | undefined): Details => {
  const { buckets, engines, writers, onRemove } = parts;
  const { name, handle } = volume;
  const bucket = unlessRefused(() => readBucket(handle['bucket'] ?? '', buckets.settings));
  const options = unlessRefused(() => readObjectOptions(volume));
  const holder = writers.holder(name);
  const uuid = handle['uuid'];
  return {
    ...(bucket !== undefined && wayTo(bucket, parts)),
    prefix: prefixOf(volume),
    ...(options !== undefined && promises(options)),
    ...(holder !== undefined && { leaseHolder: holder.host, epoch: holder.epoch }),
    onRemove: handle['onRemove'] ?? onRemove,
    ...(dead !== undefined && { deadMounts: dead }),
    ...(uuid === undefined ? {} : engines.status(uuid, name)),
  };
};

const wayTo = (bucket: Bucket, { buckets }: ObjectParts): Details => {
  const { objectEndpoint, objectFolder, region } = buckets.settings;
  const endpoint = bucket.kind === 'folder' ? objectFolder : (bucket.endpoint ?? objectEndpoint);
  const where = bucket.region ?? region;
  return {
    store: bucket.kind,
    bucket: bucket.name,
    ...(endpoint !== undefined && { endpoint }),
    ...(where !== undefined && bucket.kind !== 'folder' && { region: where }),
  };
};

const promises = ({ consistency, durability, access, readonly }: ObjectOptions): Details => ({
  ...{ consistency, durability, access },
  ...(readonly && { readonly }),
});

/** Of what was made by a newer version there is less to say. */
const unlessRefused = <T>(read: () => T): T | undefined => {
  try {
    return read();
  } catch (error) {
    if (error instanceof PluginError) return undefined;
    throw error;
  }
};
