/** What OSS alone does about uploads in parts. */
import { type ObjectReply, sliceOf } from '../objects/message.ts';
import { sourceOf } from '../objects/reading.ts';
import { iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import type { Allow } from '../objects/store-service.ts';
import { addPart, chosenParts, joined, placeOf, uploadOf } from '../objects/uploads.ts';
import { element } from '../objects/xml.ts';
import { sumsOf } from './checksums.ts';
import { refuse } from './errors.ts';
import { coderOf } from './listing.ts';
import type { OssWorld } from './world.ts';
import { checkKey, checkOverwrite, describe } from './writing.ts';

export function initiateUpload(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  checkKey(call.key);
  checkOverwrite(call, bucket.find(call.key));
  const id = world.next();
  bucket.uploads.set(id, { id, key: call.key, begun: world.now(), parts: new Map(), ...describe(call) });
  const { encode, type } = coderOf(call);
  const content = [
    element('EncodingType', type),
    element('Bucket', call.bucket),
    element('Key', encode(call.key)),
    element('UploadId', id),
  ];
  return world.xml('InitiateMultipartUploadResult', content.join(''));
}

/** What the copied part's checksum is, OSS does not say. */
export function uploadPartCopy(world: OssWorld, call: ObjectCall, allow: Allow): ObjectReply {
  const place = placeOf(world, call);
  const source = sourceOf(world, call, allow);
  const text = call.request.headers['x-oss-copy-source-range'] ?? `bytes=0-${source.size - 1}`;
  const [, first = '', last = ''] = /^bytes=(\d+)-(\d+)$/.exec(text) ?? [];
  const length = Number(last) + 1 - Number(first);
  if (first === '' || length < 1 || Number(last) >= source.size)
    throw refuse('InvalidRange', undefined, { RangeRequested: text });
  const body = sliceOf(source.body, Number(first), length);
  const part = addPart(world, place, body, sumsOf(body));
  return world.xml('CopyPartResult', element('LastModified', iso(part.modified)) + element('ETag', `"${part.etag}"`));
}

export function completeUpload(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  const { key } = call;
  const upload = uploadOf(world, bucket, call);
  const parts = chosenParts(world, upload, call);
  checkOverwrite(call, bucket.find(key));
  const whole = joined(world, upload, parts);
  const object = { ...whole, checksums: sumsOf(whole.body) };
  bucket.uploads.delete(upload.id);
  bucket.put(object);
  const { encode, type } = coderOf(call);
  const content = [
    element('EncodingType', type),
    element('Location', `http://${call.bucket}.oss-${world.region}.aliyuncs.com/${encode(key)}`),
    element('Bucket', call.bucket),
    element('Key', encode(key)),
    element('ETag', `"${object.etag}"`),
  ];
  return world.xml('CompleteMultipartUploadResult', content.join(''), world.stored(object));
}
