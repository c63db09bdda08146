import { HttpError } from './http-error.ts';

/** What a proxy means by 407. */
export const WANTS_CREDENTIALS = 'wants a name and a password, or others';

export interface HttpProxy {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`: without its password. */
  readonly key: string;
  /** A header line, or nothing. */
  readonly authorization: string;
}

/** `http://[user:password@]host[:port]`. Errors: HttpError `proxy`. */
export const parseProxy = (text: string): HttpProxy => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' || url.hostname === '' || !['', '/'].includes(url.pathname)) {
    // It may have a password: it is not repeated.
    throw new HttpError('proxy', 'the proxy is not given as http://host:port');
  }
  const port = url.port === '' ? 80 : Number(url.port);
  const who = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    key: `http://${url.hostname}:${port}`,
    authorization: who === ':' ? '' : `proxy-authorization: Basic ${Buffer.from(who).toString('base64')}\r\n`,
  };
};
