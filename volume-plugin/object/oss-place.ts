import type { Origin } from './http/message.ts';
import { parseOrigin } from './http/origin.ts';
import { StoreError } from './store.ts';

/** From everywhere, and from inside of Aliyun. */
const HOST = /^oss-(?<region>[a-z]+-[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$/;
const USUAL_REGION = 'cn-hangzhou';

export interface OssPlace {
  /** As signatures name it, without `oss-`. */
  readonly region: string;
  readonly endpoint: Origin;
  /** OSS wants the bucket in the host's name; an address has no names below it. */
  readonly addressing: 'path' | 'virtual';
}

/** Region and endpoint, each told from the other where it is not given. Throws INVALID. */
export const ossPlace = ({
  region,
  endpoint: url,
}: {
  readonly region?: string;
  readonly endpoint?: string;
}): OssPlace => {
  const given = url === undefined ? undefined : parseOrigin(url);
  if (url !== undefined && given === undefined)
    throw new StoreError('INVALID', `the endpoint ${url} is no URL of HTTP`);
  const own = region?.replace(/^oss-/, '') ?? HOST.exec(given?.host ?? '')?.groups?.['region'] ?? USUAL_REGION;
  const endpoint = given ?? parseOrigin(`https://oss-${own}.aliyuncs.com`);
  if (endpoint === undefined) throw new StoreError('INVALID', `${own} is no region of OSS`);
  return { region: own, endpoint, addressing: /^[\d.]+$|:/.test(endpoint.host) ? 'path' : 'virtual' };
};
