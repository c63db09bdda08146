import { type Context, newContext } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { kernelOptions, mountShare } from './mount-command.ts';
import { strangerTo } from './mount-options.ts';
import type { MountWish } from './mounted-share.ts';
import type { Looked } from './preflight.ts';
import type { NfsVersion, Share } from './share.ts';

/** The kernel's own conversation with a server that has just answered; of one version, in milliseconds. */
const MOUNT_MS = 10_000;

/** Mounts a share at a folder with the best version that works; answers which that is. */
export type Mounter = (
  share: Share,
  wish: MountWish,
  looked: Looked,
  folder: string,
  c: Context,
) => Promise<NfsVersion>;

/**
 * Tries one version after the other, best first, as far as the server offers them and the kernel has them. Errors: of the
 * first version that was refused for another reason than that it is not spoken; SHARE_SILENT when the kernel's mount
 * hangs, which is then ended.
 */
export const negotiate: Mounter = async (share, wish, looked, folder, c) => {
  let told: PluginError | undefined;
  for (const version of looked.versions) {
    const stranger = strangerTo(version, wish.options);
    if (stranger !== undefined) {
      const reason = `mounts of version ${version} have no such option`;
      const allowed = `options of version ${version}, or -o nfsvers= of another one`;
      const where = 'The volume option';
      told ??= new PluginError('OPTION_INVALID', { where, option: 'mount-options', value: stranger, reason, allowed });
      continue;
    }
    const options = kernelOptions(share, version, looked, wish.options);
    const refusal = await tryOne(share, version, options, wish.readonly, folder, c);
    if (refusal === undefined) return version;
    c.log.debug('a share cannot be mounted', { share: share.id, version, reason: refusal.error.message });
    if (!refusal.another) throw refusal.error;
    if (told === undefined || told.code === 'SHARE_VERSION') told = refusal.error;
  }
  throw (
    told ??
    new PluginError('SHARE_VERSION', { share: share.id, offered: 'of another version', wanted: wish.version ?? 'any' })
  );
};

const tryOne: typeof mountShare = async (share, version, options, readonly, folder, c) => {
  const step = newContext(c.log, MOUNT_MS, c);
  try {
    return await mountShare(share, version, options, readonly, folder, step);
  } catch (error) {
    if (!step.signal.aborted || c.signal.aborted) throw error;
    throw new PluginError('SHARE_SILENT', { share: share.id, reason: `its mount with NFS ${version} did not end` });
  }
};
