/** OSS's dialect for the handler of object servers. */
import type { Credential, Credentials } from '../core/credentials.ts';
import type { ObjectReply } from '../objects/message.ts';
import { Refusal } from '../objects/refusal.ts';
import type { ObjectCall, ObjectService } from '../objects/service.ts';
import { document, element } from '../objects/xml.ts';
import { decodeCall, isWrite, type OssAction, PERMISSIONS } from './actions.ts';
import { bucketInfo, bucketLocation, deleteBucket, listBuckets, putBucket } from './bucket-actions.ts';
import { refuse } from './errors.ts';
import { listObjects, listObjectsV2 } from './listing.ts';
import {
  abortUpload,
  completeUpload,
  initiateUpload,
  listParts,
  listUploads,
  uploadPart,
  uploadPartCopy,
} from './multipart.ts';
import { type Allow, copyObject, deleteObject, deleteObjects, getObject, putObject } from './objects.ts';
import { authenticate } from './signatures.ts';
import type { OssWorld } from './world.ts';

type Perform = (world: OssWorld, call: ObjectCall, allow: Allow) => ObjectReply;

const PERFORM: Readonly<Record<OssAction, Perform>> = {
  ListBuckets: listBuckets,
  PutBucket: putBucket,
  DeleteBucket: deleteBucket,
  GetBucketInfo: bucketInfo,
  GetBucketLocation: bucketLocation,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  ListMultipartUploads: listUploads,
  DeleteMultipleObjects: deleteObjects,
  GetObject: getObject,
  HeadObject: getObject,
  GetObjectMeta: getObject,
  PutObject: putObject,
  CopyObject: copyObject,
  DeleteObject: deleteObject,
  InitiateMultipartUpload: initiateUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
  ListParts: listParts,
};

export interface OssServiceParts {
  readonly world: OssWorld;
  readonly credentials: Credentials;
  /** Permissions (`oss:PutObject`) that nobody has. */
  readonly denied: ReadonlySet<string>;
  /** Buckets that may be read without a signature. */
  readonly open: ReadonlySet<string>;
  readonly domains: readonly string[];
}

const allowance = (parts: OssServiceParts, credential: Credential | undefined): Allow => {
  return (name, resource) => {
    const action = `oss:${name}`;
    if (credential === undefined) {
      if (parts.open.has(resource.split('/')[0] ?? '') && /^(GetObject|ListObjects)$/.test(name)) return;
      throw refuse(
        'AccessDenied',
        'You are not authorized to do this action. Anonymous access is forbidden for this operation.',
      );
    }
    if (!parts.denied.has(action) && parts.credentials.allows(credential, action)) return;
    throw refuse('AccessDenied', undefined, {
      AuthAction: action,
      AuthPrincipalDisplayName: credential.principal.name,
    });
  };
};

export function ossService(parts: OssServiceParts): ObjectService {
  const { world } = parts;
  return {
    name: 'oss',
    busy: { throttle: 'QpsLimitExceeded', unavailable: 'ServiceUnavailable' },
    decode: (request, requestId) => decodeCall(request, requestId, parts.domains),
    authenticate: (call) =>
      authenticate(call, { clock: world.clock, credentials: parts.credentials, region: world.region }),
    perform: (call, credential) => {
      const action = call.action as OssAction;
      const allow = allowance(parts, credential);
      // Of several keys each is asked for.
      if (action !== 'DeleteMultipleObjects') {
        allow(
          PERMISSIONS[action],
          call.bucket === '' ? '*' : call.key === '' ? call.bucket : `${call.bucket}/${call.key}`,
        );
      } else if (credential === undefined) throw refuse('AccessDenied');
      if (world.buckets.get(call.bucket)?.readOnly === true && isWrite(action)) throw refuse('FileImmutable');
      return PERFORM[action](world, call, allow);
    },
    named: (code, status, message) => {
      const usual = refuse(code, message);
      return status === undefined ? usual : new Refusal(status, code, usual.message);
    },
    headers: (requestId) => ({ 'x-oss-request-id': requestId, 'x-oss-server-time': '1', Server: 'AliyunOSS' }),
    encodeError: (refusal, call) => {
      const facts = {
        ...{ Code: refusal.code, Message: refusal.message, RequestId: call.requestId },
        ...{ HostId: call.request.headers['host'] ?? '', ...refusal.elements },
      };
      const content = Object.entries(facts).map(([name, value]) => element(name, value));
      const body = document('Error', content.join(''));
      if (refusal.status === 304) return { status: 304, headers: {}, body: [] };
      // Answers to HEAD have no body, so OSS hides the error in a header.
      const isHead = call.request.method === 'HEAD';
      const hidden = isHead ? { 'x-oss-err': body.toString('base64') } : {};
      const headers = { 'Content-Type': 'application/xml', ...hidden, ...refusal.headers };
      return { status: refusal.status, headers, body: isHead ? [] : [body] };
    },
  };
}
