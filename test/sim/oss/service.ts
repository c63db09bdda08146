/** OSS as a service. */
import { COMMON_PERFORM } from '../objects/common-calls.ts';
import { getObject } from '../objects/reading.ts';
import type { ObjectService } from '../objects/service.ts';
import { type Calls, type Perform, type ServiceParts, storeService } from '../objects/store-service.ts';
import { document, element } from '../objects/xml.ts';
import { OSS_ROUTES, type OssAction, PERMISSIONS } from './actions.ts';
import { bucketInfo, bucketLocation, deleteBucket, listBuckets, putBucket } from './bucket-actions.ts';
import { refuse } from './errors.ts';
import { completeUpload, initiateUpload, uploadPartCopy } from './multipart.ts';
import { copyObject, deleteObject, deleteObjects } from './objects.ts';
import { authenticate } from './signatures.ts';
import type { OssWorld } from './world.ts';

const PERFORM: Readonly<Record<OssAction, Perform<OssWorld>>> = {
  ...COMMON_PERFORM,
  ListBuckets: listBuckets,
  PutBucket: putBucket,
  DeleteBucket: deleteBucket,
  GetBucketInfo: bucketInfo,
  GetBucketLocation: bucketLocation,
  DeleteMultipleObjects: deleteObjects,
  GetObjectMeta: getObject,
  CopyObject: copyObject,
  DeleteObject: deleteObject,
  InitiateMultipartUpload: initiateUpload,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
};

const CALLS: Calls<OssWorld, OssAction> = {
  routes: OSS_ROUTES,
  permissions: PERMISSIONS,
  perform: PERFORM,
  removesMany: 'DeleteMultipleObjects',
  writes: /^(Put|Copy|Delete|Initiate|Upload|Complete)/,
  openTo: ['GetObject', 'ListObjects'],
  unsigned: () =>
    refuse(
      'AccessDenied',
      'You are not authorized to do this action. Anonymous access is forbidden for this operation.',
    ),
  forbidden: (action, _resource, { principal }) =>
    refuse('AccessDenied', undefined, { AuthAction: action, AuthPrincipalDisplayName: principal.name }),
  readOnly: () => refuse('FileImmutable'),
};

export function ossService(parts: ServiceParts<OssWorld>): ObjectService {
  const { world } = parts;
  return {
    ...storeService(parts, CALLS),
    busy: { throttle: 'QpsLimitExceeded', unavailable: 'ServiceUnavailable' },
    authenticate: (call) =>
      authenticate(call, { clock: world.clock, credentials: parts.credentials, region: world.region }),
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
