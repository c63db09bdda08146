/** Calls about buckets. */
import { sortedBuckets } from '../objects/listing.ts';
import type { ObjectReply } from '../objects/message.ts';
import { empty, iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element, readXml } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import type { OssWorld } from './world.ts';

export function putBucket(world: OssWorld, call: ObjectCall): ObjectReply {
  const name = call.bucket;
  if (!/^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(name))
    throw refuse('InvalidBucketName', undefined, { BucketName: name });
  if (call.body.length > 0 && readXml(call.body).name !== 'CreateBucketConfiguration') throw refuse('MalformedXML');
  const there = world.buckets.get(name);
  if (world.taken.has(name) || (there !== undefined && there.region !== world.region)) {
    throw refuse('BucketAlreadyExists', undefined, { BucketName: name });
  }
  if (there === undefined) world.addBucket(name);
  return empty(200, { Location: `/${name}` });
}

/** Parts of uploads that were not completed count, too. */
export function deleteBucket(world: OssWorld, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  if (bucket.count > 0 || bucket.uploads.size > 0)
    throw refuse('BucketNotEmpty', undefined, { BucketName: call.bucket });
  world.buckets.delete(call.bucket);
  return empty(204);
}

export function bucketLocation(world: OssWorld, call: ObjectCall): ObjectReply {
  return world.xml('LocationConstraint', `oss-${world.bucket(call).region}`);
}

export function bucketInfo(world: OssWorld, call: ObjectCall): ObjectReply {
  const { name, region, created } = world.bucket(call);
  const facts = { Name: name, Location: `oss-${region}`, CreationDate: iso(created), StorageClass: 'Standard' };
  const text = Object.entries(facts).map(([key, value]) => element(key, value));
  return world.xml('BucketInfo', `<Bucket>${text.join('')}</Bucket>`);
}

export function listBuckets(world: OssWorld): ObjectReply {
  const each = sortedBuckets(world).map(
    ({ name, region, created }) =>
      `<Bucket>${element('CreationDate', iso(created))}${element('Location', `oss-${region}`)}${element('Name', name)}${element('Region', region)}${element('StorageClass', 'Standard')}</Bucket>`,
  );
  const rest = element('IsTruncated', false);
  return world.xml('ListAllMyBucketsResult', `<Owner><ID>1</ID></Owner>${rest}<Buckets>${each.join('')}</Buckets>`);
}
