/** S3 as a service. */
import type { Credential } from '../core/credentials.ts';
import { COMMON_PERFORM } from '../objects/common-calls.ts';
import type { ObjectCall, ObjectService } from '../objects/service.ts';
import { type Calls, type Perform, type ServiceParts, storeService } from '../objects/store-service.ts';
import { document, element } from '../objects/xml.ts';
import { PERMISSIONS, S3_ROUTES, type S3Action } from './actions.ts';
import {
  bucketLocation,
  bucketVersioning,
  createBucket,
  deleteBucket,
  headBucket,
  listBuckets,
} from './bucket-actions.ts';
import { refuse } from './errors.ts';
import { completeUpload, createUpload, uploadPartCopy } from './multipart.ts';
import { copyObject, deleteObject, deleteObjects } from './objects.ts';
import { authenticate } from './sigv4.ts';
import type { S3World } from './world.ts';

const PERFORM: Readonly<Record<S3Action, Perform<S3World>>> = {
  ...COMMON_PERFORM,
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  DeleteBucket: deleteBucket,
  HeadBucket: headBucket,
  GetBucketLocation: bucketLocation,
  GetBucketVersioning: bucketVersioning,
  DeleteObjects: deleteObjects,
  CopyObject: copyObject,
  DeleteObject: deleteObject,
  CreateMultipartUpload: createUpload,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
};

/** In the words that name what is not allowed. */
const forbidden = (action: string, resource: string, { principal }: Credential, isDenied: boolean) => {
  const who = `User: arn:aws:iam::123456789012:user/${principal.name} is not authorized to perform: ${action} on resource: "arn:aws:s3:::${resource}"`;
  return refuse(
    'AccessDenied',
    isDenied
      ? `${who} with an explicit deny in a resource-based policy`
      : `${who} because no identity-based policy allows the ${action} action`,
  );
};

const CALLS: Calls<S3World, S3Action> = {
  routes: S3_ROUTES,
  permissions: PERMISSIONS,
  perform: PERFORM,
  removesMany: 'DeleteObjects',
  writes: /^(Put|Copy|Delete|Create|Upload|Complete)/,
  openTo: ['GetObject', 'ListBucket'],
  unsigned: () => refuse('AccessDenied'),
  forbidden,
  readOnly: (action, resource, credential) => forbidden(action, resource, credential, true),
};

export function s3Service(parts: ServiceParts<S3World>): ObjectService {
  const { world } = parts;
  const service = storeService(parts, CALLS);
  const elsewhere = (call: ObjectCall): void => {
    const how = world.elsewhere.get(call.bucket);
    const region = world.buckets.get(call.bucket)?.region ?? world.region;
    if (how === undefined) return;
    const endpoint = `${call.bucket}.s3.${region}.amazonaws.com`;
    const headers = { 'x-amz-bucket-region': region };
    if (how === 'moved')
      throw refuse('PermanentRedirect', undefined, { Endpoint: endpoint, Bucket: call.bucket }, headers);
    const Location = `http://${endpoint}${call.request.target}`;
    throw refuse('TemporaryRedirect', undefined, { Endpoint: endpoint, Bucket: call.bucket }, { ...headers, Location });
  };
  return {
    ...service,
    busy: { throttle: 'SlowDown', unavailable: 'ServiceUnavailable' },
    authenticate: (call) => {
      elsewhere(call);
      return authenticate(call, {
        clock: world.clock,
        credentials: parts.credentials,
        regionOf: (bucket) => world.buckets.get(bucket)?.region ?? world.region,
      });
    },
    perform: (call, credential) => {
      if (world.lacking.actions.has(call.action)) throw refuse('NotImplemented');
      return service.perform(call, credential);
    },
    headers: (requestId) => ({
      'x-amz-id-2': `${requestId}SIMULATED`,
      'x-amz-request-id': requestId,
      Server: 'AmazonS3',
    }),
    encodeError: (refusal, call) => {
      const elements = Object.entries({
        Code: refusal.code,
        Message: refusal.message,
        ...refusal.elements,
        RequestId: call.requestId,
        HostId: `${call.requestId}SIMULATED`,
      });
      const bodiless = call.request.method === 'HEAD' || refusal.status === 304;
      const content = elements.map(([name, value]) => element(name, value)).join('');
      const region = world.buckets.get(call.bucket)?.region;
      const more = call.action === 'HeadBucket' && region !== undefined ? { 'x-amz-bucket-region': region } : {};
      return {
        status: refusal.status,
        headers: {
          ...more,
          ...refusal.headers,
          ...(bodiless && refusal.status === 304 ? {} : { 'Content-Type': 'application/xml' }),
        },
        body: bodiless ? [] : [document('Error', content)],
      };
    },
  };
}
