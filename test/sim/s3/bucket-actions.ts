/** Calls about buckets. */
import { sortedBuckets } from '../objects/listing.ts';
import type { ObjectReply } from '../objects/message.ts';
import { empty, iso } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { element, readXml, textOf } from '../objects/xml.ts';
import { refuse } from './errors.ts';
import type { S3World } from './world.ts';

const VALID = /^(?!xn--|sthree-)(?!.*\.\.)(?!.*[.-]{2}|\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

export function createBucket(world: S3World, call: ObjectCall): ObjectReply {
  const name = call.bucket;
  if (!VALID.test(name)) throw refuse('InvalidBucketName', undefined, { BucketName: name });
  const root = call.body.length === 0 ? undefined : readXml(call.body);
  const wanted = root === undefined ? undefined : textOf(root, 'LocationConstraint');
  if (root !== undefined && root.name !== 'CreateBucketConfiguration') throw refuse('MalformedXML');
  // us-east-1 is the only region that wants none, and whose endpoint may make buckets elsewhere.
  if (world.region === 'us-east-1' ? wanted === 'us-east-1' : wanted !== world.region) {
    if (wanted === 'us-east-1')
      throw refuse('InvalidLocationConstraint', 'The specified location-constraint is not valid', {
        LocationConstraint: wanted,
      });
    throw wanted === undefined
      ? refuse('IllegalLocationConstraintException')
      : refuse(
          'IllegalLocationConstraintException',
          `The ${wanted} location constraint is incompatible for the region specific endpoint this request was sent to.`,
        );
  }
  if (world.taken.has(name)) throw refuse('BucketAlreadyExists', undefined, { BucketName: name });
  const there = world.buckets.get(name);
  // An old rule of that region alone.
  if (there !== undefined && (world.region !== 'us-east-1' || there.region !== world.region)) {
    throw refuse('BucketAlreadyOwnedByYou', undefined, { BucketName: name });
  }
  if (there === undefined) world.addBucket(name, wanted ?? world.region);
  return empty(200, { Location: `/${name}` });
}

export function deleteBucket(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  if (bucket.count > 0) throw refuse('BucketNotEmpty', undefined, { BucketName: call.bucket });
  world.buckets.delete(call.bucket);
  return empty(204);
}

export function headBucket(world: S3World, call: ObjectCall): ObjectReply {
  const bucket = world.bucket(call);
  return empty(200, { 'x-amz-bucket-region': bucket.region, 'Content-Type': 'application/xml' });
}

export function bucketLocation(world: S3World, call: ObjectCall): ObjectReply {
  const { region } = world.bucket(call);
  return world.xml('LocationConstraint', region === 'us-east-1' ? '' : region);
}

export function bucketVersioning(world: S3World, call: ObjectCall): ObjectReply {
  world.bucket(call);
  return world.xml('VersioningConfiguration', '');
}

export function listBuckets(world: S3World): ObjectReply {
  const each = sortedBuckets(world).map(
    ({ name, created }) => `<Bucket>${element('Name', name)}${element('CreationDate', iso(created))}</Bucket>`,
  );
  return world.xml(
    'ListAllMyBucketsResult',
    `<Owner>${element('ID', 'simulated')}</Owner><Buckets>${each.join('')}</Buckets>`,
  );
}
