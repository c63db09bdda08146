import { PluginError } from '../../shared/errors.ts';
import type { Share } from './share.ts';
import type { ShareProvider, ShareRequest } from './share-provider.ts';
import { parseShare, SHARE_FORMS, shareTextProblem } from './share-text.ts';

/** Exports of any NFS server, which somebody else looks after: by `-o share=` and the setting NFS_SHARE. */
export class ExportProvider implements ShareProvider {
  readonly name = 'export';
  readonly #usual: readonly string[];

  /** `usual`: the shares of NFS_SHARE; the first is for volumes that name none. Errors: SETTING_INVALID. */
  constructor(usual: readonly string[]) {
    this.#usual = [...new Set(usual.map((text) => checked(text).id))];
  }

  async start(): Promise<void> {
    return undefined;
  }

  async usual(): Promise<readonly string[]> {
    return this.#usual;
  }

  async ensure(request: ShareRequest): Promise<string> {
    const [first] = this.#usual;
    const [asked] = Object.entries(request);
    if (asked !== undefined) {
      const [option, value] = asked;
      throw new PluginError('OPTION_INVALID', {
        ...{ where: 'The volume option', option: option === 'key' ? 'kms-key' : option, value: String(value) },
        ...{ reason: 'NFS_PROVIDER=export makes no file systems', allowed: 'nothing there' },
      });
    }
    if (first !== undefined) return first;
    throw new PluginError('OPTION_MISSING', {
      ...{ where: 'The volume', option: 'share', reason: 'no share is usual here', example: '10.0.0.5:/export' },
      ...{ plugin: 'cloudvol', setting: 'NFS_SHARE' },
    });
  }

  async locate(text: string): Promise<Share> {
    if (/^[a-z0-9-]+$/i.test(text)) {
      throw new PluginError('OPTION_INVALID', {
        ...{ where: 'The volume option', option: 'share', value: text, allowed: SHARE_FORMS },
        reason: 'the id of a file system needs NFS_PROVIDER=efs or nas',
      });
    }
    return parseShare(text);
  }

  async close(): Promise<void> {
    return undefined;
  }
}

const checked = (text: string): Share => {
  const reason = shareTextProblem(text);
  if (reason === undefined) return parseShare(text);
  throw new PluginError('SETTING_INVALID', {
    ...{ where: 'The setting', plugin: 'cloudvol', option: 'NFS_SHARE', value: text, reason },
    ...{ allowed: `a list of shares: ${SHARE_FORMS}`, example: '10.0.0.5:/export' },
  });
};
