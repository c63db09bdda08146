import type { SignableRequest } from '../../../../volume-plugin/object/signing.ts';
import { encodePath } from '../../../../volume-plugin/object/uri-encoding.ts';
import { randomOf } from '../../../suites/random.ts';

/** What keys and values are made of: all that has been got wrong before. */
const PIECES = [
  ...[
    'a',
    'Z',
    '0',
    '-',
    '.',
    '_',
    '~',
    '/',
    '//',
    '/./',
    '/../',
    '..',
    ' ',
    '  ',
    '+',
    '%',
    '%20',
    '&',
    '=',
    '?',
    '#',
  ],
  ...['!', "'", '(', ')', '*', '@', ':', ',', ';', '$', '[', ']', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '\t'],
  ...['é', 'ß', '中文', '\u{1f600}', 'e\u0301', '\u007f', 'İ', '\ufeff'],
];
const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'];
const PARAMETERS = [
  ...['acl', 'continuation-token', 'delimiter', 'encoding-type', 'list-type', 'max-keys', 'partNumber', 'prefix'],
  ...['start-after', 'uploadId', 'uploads', 'versionId'],
];

/** Draws requests. */
export class RequestMaker {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  upTo(most: number): number {
    return Math.floor(this.#random() * most);
  }

  one<T>(of: readonly T[]): T {
    const drawn = of[this.upTo(of.length)];
    if (drawn === undefined) throw new Error('nothing to draw from');
    return drawn;
  }

  text(most: number): string {
    return Array.from({ length: this.upTo(most) }, () => this.one(PIECES)).join('');
  }

  /** A header's value: no control characters but tabs, and spaces wherever. */
  value(): string {
    const text = Array.from({ length: this.upTo(6) }, () =>
      this.one(['a', 'B', '7', '=', ' ', '   ', '\t', '"', 'é', '中']),
    );
    return text.join('');
  }

  query(): (readonly [string, string])[] {
    const names = PARAMETERS.filter(() => this.#random() < 0.2);
    return names.map((name) => [name, this.#random() < 0.3 ? '' : this.text(6)] as const);
  }

  /** `vendor` is what the vendor's headers begin with, such as `x-amz-`. */
  request(vendor: string): SignableRequest & { readonly bucket: string; readonly key: string } {
    const bucket = `b-${this.upTo(1000)}`;
    const key = this.text(12);
    const isPath = this.#random() < 0.5;
    const headers: Record<string, string> = {};
    if (this.#random() < 0.5) headers['content-type'] = this.one(['text/plain', 'text/html; charset="utf-8"', '']);
    if (this.#random() < 0.3) headers['range'] = `bytes=${this.upTo(1e9)}-${this.upTo(1e9)}`;
    if (this.#random() < 0.3) headers['if-match'] = '"0123456789abcdef"';
    if (this.#random() < 0.3) headers['cache-control'] = 'no-cache';
    if (this.#random() < 0.2) headers['user-agent'] = 'drayage';
    for (let left = this.upTo(4); left > 0; left -= 1)
      headers[`${vendor}meta-${this.one(['a', 'mode', 'b-c', 'z_1'])}`] = this.value();
    const resource = `/${bucket}/${encodePath(key)}`;
    const endpoint = this.one(['s3.eu-central-1.amazonaws.com', '127.0.0.1:9000', '[::1]:9000']);
    return {
      bucket,
      key,
      method: this.one(METHODS),
      host: isPath ? endpoint : `${bucket}.${endpoint}`,
      path: isPath ? resource : `/${encodePath(key)}`,
      resource,
      query: this.query(),
      headers,
    };
  }
}
