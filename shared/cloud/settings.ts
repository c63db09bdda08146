import { PluginError } from '../errors.ts';
import { option, type Parsed } from '../options.ts';

/** The settings by which a plugin gets at a cloud, the same in every plugin. */
export const CLOUD_SETTINGS = {
  region: option.text({
    pattern: /^[a-z0-9-]{2,40}$/,
    allowed: 'a region such as eu-central-1 or cn-hangzhou',
    help: "The cloud's region; that of the metadata service when empty.",
  }),
  cloudEndpoint: option.url({
    example: 'https://ec2.eu-central-1.api.aws',
    help: "Where the cloud's API answers; the region's public endpoint when empty.",
  }),
  metadataEndpoint: option.url({
    example: 'http://169.254.169.254',
    help: "Where the cloud's metadata service answers; its well-known address when empty.",
  }),
  accessKeyId: option.text({
    pattern: /^[\w./-]{8,128}$/,
    allowed: 'an access key id',
    help: "Access key for the cloud; when empty, the credentials file or the role of this host's instance is used.",
  }),
  accessKeySecret: option.text({ sensitive: true, help: 'The secret of ACCESS_KEY_ID.' }),
  securityToken: option.text({ sensitive: true, help: 'Session token that goes with a temporary ACCESS_KEY_ID.' }),
  credentialsFile: option.path({
    example: '/var/lib/drayage/credentials',
    help: 'Profile file with credentials for the cloud (AWS: `[profile]` sections; Aliyun: the JSON of its command). It must be below /var/lib/drayage.',
  }),
  credentialsProfile: option.text({
    default: 'default',
    pattern: /^[\w.-]{1,64}$/,
    allowed: 'the name of a profile',
    help: 'Which profile of CREDENTIALS_FILE is used.',
  }),
} as const;

export type CloudSettings = Parsed<typeof CLOUD_SETTINGS>;

/** The region to work in: that of this host's instance, and no other. Errors: SETTING_INVALID when another one is set. */
export const regionOf = ({ region = '' }: Pick<CloudSettings, 'region'>, here: string): string => {
  if (region === '' || region === here) return here;
  const reason = `this host's instance is in ${here}`;
  throw new PluginError('SETTING_INVALID', {
    ...{ option: 'REGION', value: region, reason, allowed: `${here}, or nothing`, example: here },
  });
};

/** The access key of the settings. Errors: SETTING_INVALID when only a part of it is set. */
export const keyOf = ({
  accessKeyId: id,
  accessKeySecret: secret,
  securityToken: token,
}: Pick<CloudSettings, 'accessKeyId' | 'accessKeySecret' | 'securityToken'>):
  | { readonly id: string; readonly secret: string; readonly token?: string }
  | undefined => {
  if (id === undefined && secret === undefined) return undefined;
  if (id === undefined || secret === undefined) {
    const [option, other] =
      id === undefined ? ['ACCESS_KEY_ID', 'ACCESS_KEY_SECRET'] : ['ACCESS_KEY_SECRET', 'ACCESS_KEY_ID'];
    const reason = `${other} is set, and needs it`;
    throw new PluginError('SETTING_INVALID', { option, value: '', reason, allowed: 'both or none of them' });
  }
  return { id, secret, ...(token !== undefined && { token }) };
};
