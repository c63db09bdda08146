/** What S3 alone does to objects. */
import type { StoredObject } from '../objects/bucket.ts';
import type { ObjectReply } from '../objects/message.ts';
import { sourceOf } from '../objects/reading.ts';
import { empty, iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import type { Allow } from '../objects/store-service.ts';
import { isReplacing, removalOf } from '../objects/writing.ts';
import { element } from '../objects/xml.ts';
import { sumElements } from './checksums.ts';
import { checkWrite } from './conditions.ts';
import { refuse } from './errors.ts';
import type { S3World } from './world.ts';
import { checkKey, describe, sums } from './writing.ts';

/** Refusals: InvalidRequest. */
export function checkCopied({ limits }: S3World, size: number): void {
  if (size <= limits.copyMax) return;
  throw refuse(
    'InvalidRequest',
    'The specified copy source is larger than the maximum allowable size for a copy source: 5368709120',
  );
}

export function copyObject(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  checkKey(key);
  const source = sourceOf(world, call, allow);
  const replaces = isReplacing(world, call);
  checkCopied(world, source.size);
  const there = bucket.find(key);
  const described = describe(call);
  if (there === source && !replaces && described.storageClass === source.storageClass) {
    throw refuse(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  checkWrite(call, there, world.lacking.copy);
  world.checkRoom(bucket, key, source.size);
  const { meta, headers } = replaces ? described : source;
  const { storageClass } = described;
  // Copies of what was uploaded in parts are one piece.
  const etag = source.etag.includes('-') ? world.etagOf(source.body, source.size) : source.etag;
  const copy: StoredObject = { ...source, key, etag, meta, headers, storageClass, modified: world.now() };
  bucket.put(copy);
  const content =
    element('LastModified', iso(copy.modified)) + element('ETag', `"${etag}"`) + sumElements(source.checksums);
  return world.xml('CopyObjectResult', content);
}

export function deleteObject(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const match = call.request.headers['if-match'];
  if (match !== undefined) checkWrite(call, bucket.find(call.key), world.lacking.put);
  bucket.remove(call.key);
  return empty(204);
}

export function deleteObjects(world: S3World, call: ObjectCall, allow: Allow): ObjectReply {
  const bucket = world.bucket(call);
  const { headers } = call.request;
  const hasSums = Object.keys(headers).some(
    (name) => /^x-amz-checksum-(crc|sha)/.test(name) || name === 'x-amz-trailer',
  );
  if (headers['content-md5'] === undefined && !hasSums) {
    throw refuse('InvalidRequest', 'Missing required header for this request: Content-MD5');
  }
  sums(call);
  const { keys, quiet } = removalOf(world, call);
  const results = keys.map((key) => {
    try {
      allow('DeleteObject', `${call.bucket}/${key}`);
    } catch {
      return `<Error>${element('Key', key)}${element('Code', 'AccessDenied')}${element('Message', 'Access Denied')}</Error>`;
    }
    bucket.remove(key);
    return quiet ? '' : `<Deleted>${element('Key', key)}</Deleted>`;
  });
  return world.xml('DeleteResult', results.join(''));
}
