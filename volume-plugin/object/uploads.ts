import type { Context } from '../../shared/context.ts';
import { bareEtag, documentOf, resultOf, uploadsOf } from './answers.ts';
import { sizeOf } from './body.ts';
import type { Bucket, BucketCall } from './bucket.ts';
import { byteOrder } from './byte-order.ts';
import { SERVER_SIDE_MS } from './call.ts';
import type { Dialect } from './dialect.ts';
import {
  type NewObject,
  type ObjectFacts,
  type Part,
  type PartSource,
  StoreError,
  type Unfinished,
  type WriteCondition,
} from './store.ts';
import { escapeXml, textOf } from './xml.ts';

/** Uploads in parts to S3 and OSS. */
export class Uploads {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** Sent again when no answer has come: an upload that nobody knows of is found by `list`. */
  async begin(key: string, object: Omit<NewObject, 'condition'>, c: Context): Promise<string> {
    const headers = { ...this.#bucket.describing(object), ...this.#bucket.dialect.beginning };
    const call: BucketCall = { ...this.#call('POST', key), query: [['uploads', '']], headers };
    const { document } = await this.#bucket.askDocument(call, c);
    const id = textOf(document, 'UploadId');
    if (id === '') throw new StoreError('UNREACHABLE', `the upload of ${key} was begun without an id`, { key });
    return id;
  }

  async part(key: string, id: string, number: number, body: readonly Buffer[], c: Context): Promise<Part> {
    const { headers, checksum, isIntact } = this.#bucket.dialect.guard(body);
    const answer = await this.#bucket.ask({ ...this.#partCall(key, id, number), headers, body }, c, isIntact);
    const etag = bareEtag(answer.headers.get('etag') ?? '');
    return { number, etag, size: sizeOf(body), ...(checksum !== undefined && { checksum }) };
  }

  async copyPart(key: string, id: string, number: number, source: PartSource, c: Context): Promise<Part> {
    const { offset, length } = source.range;
    const { prefix } = this.#bucket.dialect;
    const headers = {
      ...this.#bucket.copying(source.key, source.ifMatch),
      [`${prefix}copy-source-range`]: `bytes=${offset}-${offset + length - 1}`,
    };
    const call: BucketCall = { ...this.#partCall(key, id, number), headers, patienceMs: SERVER_SIDE_MS };
    const { answer, document } = await this.#bucket.askDocument(call, c);
    const checksum = this.#bucket.dialect.copiedSum(document, answer.headers);
    return { number, etag: resultOf(document).etag, size: length, ...(checksum !== undefined && { checksum }) };
  }

  async complete(
    key: string,
    id: string,
    parts: readonly Part[],
    condition: WriteCondition | undefined,
    c: Context,
  ): Promise<ObjectFacts> {
    if (parts.length === 0) throw new StoreError('INVALID', `the upload of ${key} has no parts`, { key });
    const { dialect } = this.#bucket;
    const call: BucketCall = {
      ...{ ...this.#call('POST', key), query: [['uploadId', id]], patienceMs: SERVER_SIDE_MS },
      headers: { 'content-type': 'application/xml', ...dialect.conditions(condition) },
      body: [Buffer.from(completionOf(parts, dialect))],
    };
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    const isOpen = async (): Promise<boolean> =>
      (await this.list(key, c)).some((upload) => upload.key === key && upload.id === id);
    return dialect.complete(this.#bucket, { key, parts, size, condition, call, isOpen }, c);
  }

  abort(key: string, id: string, c: Context): Promise<void> {
    const action = this.#bucket.action('AbortMultipartUpload');
    return this.#bucket.askGone({ action, method: 'DELETE', key, query: [['uploadId', id]] }, c);
  }

  async list(prefix: string, c: Context): Promise<readonly Unfinished[]> {
    const { actions, uploadsQuery } = this.#bucket.dialect;
    const found: Unfinished[] = [];
    let from: readonly (readonly [string, string])[] = [];
    for (;;) {
      const call: BucketCall = {
        ...{ action: actions.uploads, method: 'GET', key: prefix, ofBucket: true },
        query: [['uploads', ''], ...uploadsQuery, ['prefix', prefix], ...from],
      };
      const answer = await this.#bucket.ask(call, c);
      const { uploads, next } = uploadsOf(documentOf(answer.body, call.action));
      found.push(...uploads.filter(({ key }) => key.startsWith(prefix)));
      if (next === undefined) return found.sort((a, b) => byteOrder(a.key, b.key) || a.begun - b.begun);
      from = [
        ['key-marker', next.key],
        ['upload-id-marker', next.id],
      ];
    }
  }

  #call(method: 'PUT' | 'POST', key: string): BucketCall {
    return { action: this.#bucket.action('PutObject'), method, key };
  }

  #partCall(key: string, id: string, number: number): BucketCall {
    return {
      ...this.#call('PUT', key),
      query: [
        ['partNumber', String(number)],
        ['uploadId', id],
      ],
    };
  }
}

const completionOf = (parts: readonly Part[], { namespace, sumElement }: Dialect): string => {
  const elements = parts.map(({ number, etag, checksum }) => {
    const sum = sumElement === undefined || checksum === undefined ? '' : `<${sumElement}>${checksum}</${sumElement}>`;
    return `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(`"${etag}"`)}</ETag>${sum}</Part>`;
  });
  return `<CompleteMultipartUpload${namespace}>${elements.join('')}</CompleteMultipartUpload>`;
};
