/** If-Match and its kin. */
import type { StoredObject } from '../objects/bucket.ts';
import { Refusal } from '../objects/refusal.ts';
import { names, unquoted } from '../objects/replies.ts';
import type { ObjectCall } from '../objects/service.ts';
import { refuse } from './errors.ts';
import type { Lacking } from './world.ts';

const failed = (condition: string) => refuse('PreconditionFailed', undefined, { Condition: condition });

/** Of GET and HEAD. Refusals: 412, and 304 as one without a body. */
export function checkRead(call: ObjectCall, object: StoredObject): void {
  const { headers } = call.request;
  const match = headers['if-match'];
  const none = headers['if-none-match'];
  const since = Date.parse(headers['if-modified-since'] ?? '');
  const unmodified = Date.parse(headers['if-unmodified-since'] ?? '');
  if (match !== undefined) {
    if (!names(match, object.etag)) throw failed('If-Match');
  } else if (object.modified > unmodified) throw failed('If-Unmodified-Since');
  const same = none === undefined ? object.modified <= since : names(none, object.etag);
  if (same) throw new Refusal(304, 'NotModified', 'Not Modified', {}, { ETag: `"${object.etag}"` });
}

/** Of writes, on what is there now. */
export function checkWrite(call: ObjectCall, there: StoredObject | undefined, lacking: Lacking['put']): void {
  const { 'if-match': match, 'if-none-match': none } = call.request.headers;
  if (match === undefined && none === undefined) return;
  if (lacking === 'ignored') return;
  if (lacking === 'refused') {
    throw refuse('NotImplemented', undefined, { Header: match === undefined ? 'If-None-Match' : 'If-Match' });
  }
  if (none !== undefined) {
    if (none !== '*' || match !== undefined) throw refuse('NotImplemented', undefined, { Header: 'If-None-Match' });
    if (there !== undefined) throw failed('If-None-Match');
  }
  if (match === undefined) return;
  if (there === undefined) throw refuse('NoSuchKey', undefined, { Key: call.key });
  if (unquoted(match) !== there.etag) throw failed('If-Match');
}

/** Of copies, on the source. */
export function checkSource(call: ObjectCall, source: StoredObject): void {
  const { headers } = call.request;
  const match = headers['x-amz-copy-source-if-match'];
  const none = headers['x-amz-copy-source-if-none-match'];
  const since = Date.parse(headers['x-amz-copy-source-if-modified-since'] ?? '');
  const unmodified = Date.parse(headers['x-amz-copy-source-if-unmodified-since'] ?? '');
  if (match !== undefined ? !names(match, source.etag) : source.modified > unmodified) {
    throw failed(match === undefined ? 'x-amz-copy-source-If-Unmodified-Since' : 'x-amz-copy-source-If-Match');
  }
  if (none !== undefined ? names(none, source.etag) : source.modified <= since) {
    throw failed(none === undefined ? 'x-amz-copy-source-If-Modified-Since' : 'x-amz-copy-source-If-None-Match');
  }
}
