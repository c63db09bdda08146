import type { Origin } from './message.ts';

/** An origin of its parts; `host` without brackets. */
export const originOf = (tls: boolean, host: string, port: number): Origin => {
  const name = host.includes(':') ? `[${host}]` : host;
  return {
    tls,
    host,
    port,
    key: `${tls ? 'https' : 'http'}://${name}:${port}`,
    authority: port === (tls ? 443 : 80) ? name : `${name}:${port}`,
  };
};

/** Of an URL such as `https://host:port`; undefined when it is none of HTTP. */
export const parseOrigin = (text: string): Origin | undefined => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.hostname === '') {
    return undefined;
  }
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  return originOf(tls, url.hostname.replace(/^\[|\]$/g, ''), port);
};
