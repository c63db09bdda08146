/** S3's dialect for the handler of object servers. */
import type { Credential, Credentials } from '../core/credentials.ts';
import type { ObjectReply } from '../objects/message.ts';
import { Refusal } from '../objects/refusal.ts';
import type { ObjectCall, ObjectService } from '../objects/service.ts';
import { document, element } from '../objects/xml.ts';
import { decodeCall, isWrite, PERMISSIONS, type S3Action } from './actions.ts';
import {
  bucketLocation,
  bucketVersioning,
  createBucket,
  deleteBucket,
  headBucket,
  listBuckets,
} from './bucket-actions.ts';
import { refuse } from './errors.ts';
import { listObjects, listObjectsV2, listUploads } from './listing.ts';
import { abortUpload, completeUpload, createUpload, listParts, uploadPart, uploadPartCopy } from './multipart.ts';
import { type Allow, copyObject, deleteObject, deleteObjects, getObject, putObject } from './objects.ts';
import { authenticate } from './sigv4.ts';
import type { S3World } from './world.ts';

type Perform = (world: S3World, call: ObjectCall, allow: Allow) => ObjectReply;

const PERFORM: Readonly<Record<S3Action, Perform>> = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  DeleteBucket: deleteBucket,
  HeadBucket: headBucket,
  GetBucketLocation: bucketLocation,
  GetBucketVersioning: bucketVersioning,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListMultipartUploads: listUploads,
  DeleteObjects: deleteObjects,
  GetObject: getObject,
  HeadObject: getObject,
  PutObject: putObject,
  CopyObject: copyObject,
  DeleteObject: deleteObject,
  CreateMultipartUpload: createUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
  ListParts: listParts,
};

export interface S3ServiceParts {
  readonly world: S3World;
  readonly credentials: Credentials;
  /** Permissions (`s3:PutObject`) that nobody has. */
  readonly denied: ReadonlySet<string>;
  /** Buckets that may be read without a signature. */
  readonly open: ReadonlySet<string>;
  readonly domains: readonly string[];
}

/** A rule of the account for the caller; throws AccessDenied in the words that name what is not allowed. */
const allowance = (parts: S3ServiceParts, credential: Credential | undefined): Allow => {
  return (name, resource) => {
    const action = `s3:${name}`;
    if (credential === undefined) {
      if (parts.open.has(resource.split('/')[0] ?? '') && /^(GetObject|ListBucket)$/.test(name)) return;
      throw refuse('AccessDenied');
    }
    const isDenied = parts.denied.has(action);
    if (!isDenied && parts.credentials.allows(credential, action)) return;
    const who = `User: arn:aws:iam::123456789012:user/${credential.principal.name} is not authorized to perform: ${action} on resource: "arn:aws:s3:::${resource}"`;
    throw refuse(
      'AccessDenied',
      isDenied
        ? `${who} with an explicit deny in a resource-based policy`
        : `${who} because no identity-based policy allows the ${action} action`,
    );
  };
};

export function s3Service(parts: S3ServiceParts): ObjectService {
  const { world } = parts;
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
    name: 's3',
    busy: { throttle: 'SlowDown', unavailable: 'ServiceUnavailable' },
    decode: (request, requestId) => decodeCall(request, requestId, parts.domains),
    authenticate: (call) => {
      elsewhere(call);
      return authenticate(call, {
        clock: world.clock,
        credentials: parts.credentials,
        regionOf: (bucket) => world.buckets.get(bucket)?.region ?? world.region,
      });
    },
    perform: (call, credential) => {
      const action = call.action as S3Action;
      if (world.lacking.actions.has(action)) throw refuse('NotImplemented');
      const allow = allowance(parts, credential);
      // Of several keys each is asked for.
      if (action !== 'DeleteObjects') {
        allow(
          PERMISSIONS[action],
          call.bucket === '' ? '*' : call.key === '' ? call.bucket : `${call.bucket}/${call.key}`,
        );
      } else if (credential === undefined) throw refuse('AccessDenied');
      const bucket = world.buckets.get(call.bucket);
      if (bucket?.readOnly === true && isWrite(action)) {
        throw refuse(
          'AccessDenied',
          `User: arn:aws:iam::123456789012:user/${credential?.principal.name} is not authorized to perform: s3:${PERMISSIONS[action]} on resource: "arn:aws:s3:::${call.bucket}/${call.key}" with an explicit deny in a resource-based policy`,
        );
      }
      return PERFORM[action](world, call, allow);
    },
    named: (code, status, message) => {
      const usual = refuse(code, message);
      return status === undefined ? usual : new Refusal(status, code, usual.message);
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
