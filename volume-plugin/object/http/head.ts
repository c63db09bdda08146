import { HttpError } from './http-error.ts';
import type { HttpHead, HttpRequest, Origin } from './message.ts';

const UNSENDABLE = /[\r\n\0]/;
const ASCII = /^[\0-\x7f]*$/;
const NO_SPACE = /^[^\s]+$/;

/** A head that is ready to be written. */
export interface WrittenHead {
  readonly text: string;
  readonly encoding: 'latin1' | 'utf8';
}

/** The head of a request; `target` in the form that the next hop wants. Errors: HttpError `unsendable` for line ends in it. */
export const writeHead = (
  request: HttpRequest,
  origin: Origin,
  target: string,
  length: number,
  more: string,
): WrittenHead => {
  const { headers, method } = request;
  if (!NO_SPACE.test(target) || UNSENDABLE.test(target)) throw unsendable('the path');
  let text = `${method} ${target} HTTP/1.1\r\n`;
  if (headers['host'] === undefined) text += `host: ${origin.authority}\r\n`;
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || name === 'content-length') continue;
    if (UNSENDABLE.test(value)) throw unsendable(`the header ${name}`);
    text += `${name}: ${value}\r\n`;
  }
  if (length > 0 || (method !== 'GET' && method !== 'HEAD' && method !== 'DELETE')) {
    text += `content-length: ${length}\r\n`;
  }
  text += `${more}\r\n`;
  // Most are ASCII, which is written without being converted.
  return { text, encoding: ASCII.test(text) ? 'latin1' : 'utf8' };
};

const unsendable = (what: string): HttpError =>
  new HttpError('unsendable', `${what} of the request has a character that cannot be sent`);

/** An answer's head, and what it says of its connection. */
export interface ReadHead extends HttpHead {
  /** Chunks follow. */
  readonly chunked: boolean;
  /** The connection may be used for another request. */
  readonly keepAlive: boolean;
}

const garbage = (what: string): HttpError => new HttpError('garbage', `the answer is no HTTP/1.1: ${what}`);
const CR = 13;
const SPACE = 32;
const TAB = 9;

/**
 * The head from its text, without the empty line that ends it. `bodiless`: the request was HEAD.
 * Errors: HttpError `garbage`.
 */
export const readHead = (text: string, bodiless: boolean): ReadHead => {
  const first = text.indexOf('\r\n');
  const line = first < 0 ? text : text.slice(0, first);
  const match = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/.exec(line);
  if (match === null) throw garbage(`it begins with ${JSON.stringify(line.slice(0, 40))}`);
  const status = Number(match[2]);
  const headers = first < 0 ? new Map<string, string>() : readFields(text, first + 2);
  const connection = headers.get('connection')?.toLowerCase() ?? '';
  const coding = headers.get('transfer-encoding')?.toLowerCase();
  if (coding !== undefined && coding !== 'chunked' && coding !== 'identity')
    throw garbage(`transfer-encoding ${coding}`);
  const chunked = coding === 'chunked';
  // Both is what smuggling looks like: chunks rule, and the connection is not used again.
  const declared = headers.get('content-length');
  if (declared !== undefined && !/^\d{1,15}$/.test(declared)) throw garbage('its content-length is no number');
  const keepAlive =
    (match[1] === '1' ? !connection.includes('close') : connection.includes('keep-alive')) &&
    !(chunked && declared !== undefined);
  if (bodiless || status === 204 || status === 304 || status < 200) {
    return { status, headers, length: 0, chunked: false, keepAlive };
  }
  const length = chunked || declared === undefined ? undefined : Number(declared);
  return { status, headers, length, chunked, keepAlive };
};

const readFields = (text: string, from: number): Map<string, string> => {
  const headers = new Map<string, string>();
  for (let at = from; at < text.length; ) {
    let end = text.indexOf('\r\n', at);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', at);
    if (colon <= at || colon >= end) throw garbage('a header without a name');
    const begins = text.charCodeAt(at);
    const before = text.charCodeAt(colon - 1);
    if (begins === SPACE || begins === TAB || before === SPACE || before === CR) throw garbage('a folded header');
    const name = text.slice(at, colon).toLowerCase();
    const value = text.slice(colon + 1, end).trim();
    const known = headers.get(name);
    headers.set(name, known === undefined ? value : `${known}, ${value}`);
    at = end + 2;
  }
  return headers;
};
