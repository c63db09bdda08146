import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { PluginError } from '../errors.ts';

/**
 * Bodies of requests, as the engine sends them: JSON objects without a content type, or nothing. No body-parser: it makes
 * {} of an empty body, and an empty body is what the engine sends when it repeats a call over a new connection.
 */

/** The body has more bytes than are taken. */
export class TooLarge extends Error {}

/**
 * The body. Rejects with TooLarge beyond `limit` bytes, or with what cut it short. All of it is taken in any case: whoever
 * still writes when we close the connection never gets to read the answer.
 */
export const readBody = (request: IncomingMessage, limit: number): Promise<Buffer> => {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk);
  });
  request.once('end', () => {
    const [first] = chunks;
    if (length > limit) reject(new TooLarge());
    else if ((request.headers['content-encoding'] ?? 'identity') !== 'identity') reject(new Error('it is encoded'));
    else resolve(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks));
  });
  request.once('error', reject);
  request.once('close', () => reject(new Error('the connection ended before the body')));
  return promise;
};

const refusedBody = (method: string, reason: string, cause?: unknown): PluginError =>
  new PluginError('BAD_REQUEST', { method: method.slice(0, 100), reason }, { cause });

/** Without the mark of the byte order that some put in front. Throws BAD_REQUEST. */
export const decodeBody = (method: string, bytes: Buffer): string => {
  if (!isUtf8(bytes)) throw refusedBody(method, 'the body is not UTF-8');
  const text = bytes.toString();
  return text.startsWith('\ufeff') ? text.slice(1) : text;
};

/** JSON of the body; undefined for none where none is needed. Throws BAD_REQUEST. */
export const parseBody = (method: string, text: string, bodyless: RegExp): unknown => {
  if (text.trim() === '') {
    if (bodyless.test(method)) return undefined;
    throw refusedBody(method, 'the body is empty, as it is when the plugin was started again during the call');
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw refusedBody(method, 'the body is not JSON', error);
  }
  if (body === null && bodyless.test(method)) return undefined;
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw refusedBody(method, 'the body is not a JSON object');
  return body;
};
