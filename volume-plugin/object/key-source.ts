import type { Credentials as AliyunCredentials } from '../../shared/cloud/aliyun/credentials.ts';
import type { Credentials as AwsCredentials } from '../../shared/cloud/aws/credentials.ts';
import type { Context } from '../../shared/context.ts';
import type { StoreKey } from './signing.ts';

/** Where keys come from. */
export interface KeySource {
  /**
   * A key that is good now; undefined: none, requests go unsigned. `refused` is one that the store does not take any
   * more: another one is looked for, and the same answered when there is none. Errors: PluginError PROVIDER_AUTH,
   * PROVIDER_UNREACHABLE, SETTING_INVALID, DEADLINE.
   */
  key(c: Context, refused?: StoreKey): Promise<StoreKey | undefined>;
}

/** Always the same key, or none. */
export const fixedKey = (key: StoreKey | undefined): KeySource => ({ key: () => Promise.resolve(key) });

/** Settings, a profile file, or the role of the instance. */
export const awsKeys = (credentials: Pick<AwsCredentials, 'get' | 'refused'>): KeySource => ({
  key: async (c, refused) => {
    if (refused !== undefined) await credentials.refused(refused, c);
    return credentials.get(c);
  },
});

/** The same, of Aliyun. */
export const aliyunKeys = (credentials: Pick<AliyunCredentials, 'get' | 'reject'>): KeySource => ({
  key: async (c, refused) => {
    if (refused !== undefined) credentials.reject(refused);
    return credentials.get(c);
  },
});
