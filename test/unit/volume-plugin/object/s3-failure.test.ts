import t from 'tap';
import { BucketAddress } from '../../../../volume-plugin/object/addressing.ts';
import { originOf } from '../../../../volume-plugin/object/http/origin.ts';
import { refusalOf } from '../../../../volume-plugin/object/refusal.ts';
import { failureOf, refused } from '../../../../volume-plugin/object/s3-failure.ts';

const address = new BucketAddress(originOf(true, 's3.amazonaws.com', 443), 'b', 'path').of('k');

/** The error that an answer becomes. `more`: other elements beside the code. */
const errorOf = (status: number, code: string, headers: Record<string, string> = {}, more = '') => {
  const body = code === '' ? '' : `<Error><Code>${code}</Code><Message>Said so.</Message>${more}</Error>`;
  const answer = { status, headers: new Map(Object.entries(headers)), length: undefined, body: Buffer.from(body) };
  const refusal = refusalOf(answer);
  const call = { action: 's3:GetObject', method: 'GET', key: 'k', address } as const;
  return refused({ ...answer, refusal, repeated: false }, refusal, call, { name: 's3://b', region: 'us-east-1' });
};

t.test('what stores say becomes what the file system can act on', async (t) => {
  const known: [number, string, string][] = [
    [404, 'NoSuchKey', 'NOT_FOUND'],
    [404, 'NoSuchUpload', 'NOT_FOUND'],
    [404, 'NoSuchBucket', 'NO_BUCKET'],
    [404, '', 'NOT_FOUND'],
    [412, 'PreconditionFailed', 'CONFLICT'],
    [412, '', 'CONFLICT'],
    [304, '', 'CONFLICT'],
    [403, 'AccessDenied', 'DENIED'],
    [403, '', 'DENIED'],
    [403, 'InvalidAccessKeyId', 'CREDENTIALS'],
    [403, 'SignatureDoesNotMatch', 'CREDENTIALS'],
    [400, 'ExpiredToken', 'CREDENTIALS'],
    [403, 'RequestTimeTooSkewed', 'SKEWED'],
    [503, 'SlowDown', 'THROTTLED'],
    [403, 'QuotaExceeded', 'FULL'],
    [507, 'XMinioStorageFull', 'FULL'],
    [507, '', 'FULL'],
    [403, 'InvalidObjectState', 'ARCHIVED'],
    [501, 'NotImplemented', 'UNSUPPORTED'],
    [405, 'MethodNotAllowed', 'UNSUPPORTED'],
    [400, 'BadDigest', 'DAMAGED'],
    [400, 'InvalidPart', 'INVALID'],
    [400, 'KeyTooLongError', 'INVALID'],
    [409, 'BucketNotEmpty', 'INVALID'],
    [418, 'NeverHeardOf', 'INVALID'],
    [500, 'NeverHeardOf', 'UNREACHABLE'],
    [500, '', 'UNREACHABLE'],
  ];
  for (const [status, code, failure] of known) {
    t.equal(failureOf({ status, code, message: '', requestId: '' }), failure, `${status} ${code}`);
    t.equal(errorOf(status, code).failure, failure);
  }
});

t.test('the region that a bucket is in is named, wherever the answer has it', async (t) => {
  const headers = { 'x-amz-bucket-region': 'eu-west-3' };
  const region = '<Region>eu-west-3</Region>';
  for (const error of [
    errorOf(301, 'PermanentRedirect', headers),
    errorOf(301, '', headers),
    errorOf(400, '', headers),
    errorOf(307, 'TemporaryRedirect', headers),
    errorOf(400, 'AuthorizationHeaderMalformed', {}, region),
    errorOf(400, 'IllegalLocationConstraintException', headers),
  ]) {
    t.match(error, { failure: 'WRONG_REGION', named: 'eu-west-3', message: /in the region eu-west-3/ });
  }
  t.match(errorOf(301, 'PermanentRedirect'), { failure: 'WRONG_REGION', message: /in another region/ });
  t.equal(errorOf(400, 'AuthorizationHeaderMalformed').failure, 'CREDENTIALS', 'it is not the region');
  t.equal(errorOf(403, 'AccessDenied', headers).failure, 'DENIED');
  t.equal(errorOf(307, 'TemporaryRedirect', { 'x-amz-bucket-region': 'us-east-1' }).failure, 'UNREACHABLE');
});

t.test('an error says what was asked, of what, and what the store said', async (t) => {
  const error = errorOf(403, 'AccessDenied', { 'x-amz-request-id': 'R1' });
  t.match(error, { named: 's3:GetObject', key: 'k', passing: false });
  t.equal(error.message, 's3:GetObject is not allowed for s3://b/k: 403 AccessDenied Said so. (request R1)');
  t.equal(errorOf(404, 'NoSuchBucket').message, 's3://b does not exist');
  t.equal(errorOf(503, 'SlowDown').passing, true);
});
