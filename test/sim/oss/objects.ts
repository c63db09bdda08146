/** What OSS alone does to objects. */
import type { StoredObject } from '../objects/bucket.ts';
import { type ObjectReply, queried } from '../objects/message.ts';
import { sourceOf } from '../objects/reading.ts';
import { empty, iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import type { Allow } from '../objects/store-service.ts';
import { isReplacing, removalOf } from '../objects/writing.ts';
import { element } from '../objects/xml.ts';
import { crcHeader } from './checksums.ts';
import { refuse } from './errors.ts';
import type { OssWorld } from './world.ts';
import { checkDigest, checkKey, checkOverwrite, describe } from './writing.ts';

export function copyObject(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  checkKey(key);
  const source = sourceOf(world, call, allow);
  const replaces = isReplacing(world, call);
  if (source.size > world.limits.copyMax) throw refuse('EntityTooLarge');
  const described = describe(call);
  checkOverwrite(call, bucket.find(key));
  world.checkRoom(bucket, key, source.size);
  const { meta, headers } = replaces ? described : source;
  const { storageClass } = described;
  const copy: StoredObject = { ...source, key, meta, headers, storageClass, modified: world.now() };
  bucket.put(copy);
  const content = element('ETag', `"${copy.etag}"`) + element('LastModified', iso(copy.modified));
  return world.xml('CopyObjectResult', content, crcHeader(copy));
}

export function deleteObject(world: OssWorld, call: ObjectCall): ObjectReply {
  world.bucket(call).remove(call.key);
  return empty(204);
}

export function deleteObjects(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  if (call.request.headers['content-md5'] === undefined)
    throw refuse('MissingArgument', 'Missing Some Required Arguments.', { ArgumentName: 'Content-MD5' });
  checkDigest(call);
  const { keys, quiet } = removalOf(world, call);
  const type = queried(call.request, 'encoding-type');
  const encode = type === 'url' ? encodeURIComponent : (text: string) => text;
  const gone: string[] = [];
  for (const key of keys) {
    try {
      allow('DeleteObject', `${call.bucket}/${key}`);
    } catch {
      continue;
    }
    bucket.remove(key);
    gone.push(key);
  }
  if (gone.length === 0) throw refuse('AccessDenied');
  if (quiet) return empty(200);
  const deleted = gone.map((key) => `<Deleted>${element('Key', encode(key))}</Deleted>`).join('');
  return world.xml('DeleteResult', element('EncodingType', type) + deleted);
}
