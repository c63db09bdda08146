import { type Context, newContext, noLongerThan, now } from '../../shared/context.ts';
import { asPluginError, PluginError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { freezeFilesystem, thawFilesystem } from '../block/filesystem.ts';
import { isBlank } from '../block/generations.ts';
import type { Disk, DiskTags, Snapshot } from '../block/provider.ts';
import type { ListedSnapshot } from './backend.ts';
import { type BlockParts, mountOf, tokensOf, withTokens } from './block-parts.ts';

/** For one attempt to let everybody write again, and for all of them together. */
const THAW_MS = 5_000;
const THAWING_MS = 60_000;
/** So long after it was given up a freeze may come to its end. */
const LATE_MS = 300_000;

const TOKENS = 4;

export const listedSnapshot = ({ id, volume, size, state, progress, created, tags }: Snapshot): ListedSnapshot => ({
  ...{ id, volume, size, state, progress, created },
  reason: tags.reason ?? 'user',
});

/**
 * Begins a snapshot. Where this host has the disk mounted, everything is written out and nobody can write until it has
 * begun: what is in it is a file system that was unmounted in order, or nearly. Errors: BACKEND_REFUSED when there is
 * nothing on the disk or when beginning takes too long for those who want to write, and those of the provider.
 */
export const takeSnapshot = async (
  parts: BlockParts,
  disk: Disk,
  more: DiskTags,
  token: string,
  c: Context,
): Promise<Snapshot> => {
  const { provider } = parts;
  if (isBlank(disk)) {
    const what = `a snapshot of volume ${disk.volume}`;
    const reason = 'nothing is on it yet: it was never mounted';
    throw new PluginError('BACKEND_REFUSED', { provider: provider.name, what, reason });
  }
  const { options = '{}', formatted, inside } = disk.tags;
  const tags = {
    ...{ options, ...more },
    ...(formatted !== undefined && { formatted }),
    ...(inside !== undefined && { inside }),
  };
  const take = (inner: Context): Promise<Snapshot> =>
    withTokens(tokensOf(token, TOKENS), async (one) => {
      const taken = await provider.snapshot(disk.id, tags, one, inner);
      if (taken.state !== 'failed') return taken;
      const what = `a snapshot of volume ${disk.volume}`;
      throw new PluginError('TOKEN_BURNED', { provider: provider.name, what, reason: `${taken.id} has failed` });
    });
  const target = (await mountOf(parts, disk, c))?.target;
  try {
    return await (target === undefined ? take(c) : whileFrozen(parts, disk, target, take, c));
  } catch (error) {
    if (!(error instanceof PluginError) || error.code !== 'VOLUME_BUSY') throw error;
    const { volume, holder } = error.context;
    throw new PluginError('VOLUME_ELSEWHERE', { volume, holder }, { cause: error });
  }
};

/**
 * What has not ended when nobody may be kept from writing any longer is refused, whatever it is waiting for: tried again
 * and again it would keep everybody from writing nearly all the time.
 */
const whileFrozen = async <T>(
  { provider, frozenMs }: BlockParts,
  { volume }: Disk,
  target: string,
  work: (c: Context) => Promise<T>,
  c: Context,
): Promise<T> => {
  const inner = newContext(c.log, frozenMs, c);
  const why = (error: unknown): unknown => {
    if (!inner.signal.aborted || c.signal.aborted) return error;
    const reason = `it had not begun after ${frozenMs / 1000} s, and nobody is kept from writing for longer`;
    const what = `a snapshot of volume ${volume} while it is in use`;
    return new PluginError('BACKEND_REFUSED', { provider: provider.name, what, reason }, { cause: error });
  };
  await freezeFilesystem(target, inner).catch(async (error: unknown) => {
    // One that was ended may have its effect, even later; one that was refused has none, and somebody else may have frozen it.
    if (asPluginError(error).code !== 'EXEC_FAILED' && !(await thaw(target, c.log))) void thawLater(target, c.log);
    throw why(error);
  });
  try {
    return await noLongerThan(inner, work(inner));
  } catch (error) {
    throw why(error);
  } finally {
    await thaw(target, c.log);
  }
};

/**
 * A freeze that waits for writers in the kernel cannot be ended, and is not one yet: it is looked for until it must have
 * come to its end.
 */
const thawLater = async (target: string, log: Logger): Promise<void> => {
  for (const end = now() + LATE_MS; now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 1_000).unref());
    try {
      if (!(await thawFilesystem(target, newContext(log, THAW_MS)))) continue;
      log.warn('a volume that was frozen late can be written to again', { target });
    } catch (error) {
      // It is mounted no more.
      log.debug('a volume that may be frozen late is not looked at any more', { target, error });
    }
    return;
  }
};

/** Whatever has ended meanwhile, the call or the plugin: this is done. Answers whether it was frozen. */
const thaw = async (target: string, log: Logger): Promise<boolean> => {
  for (const end = now() + THAWING_MS; ; ) {
    try {
      return await thawFilesystem(target, newContext(log, THAW_MS));
    } catch (thrown) {
      const error = asPluginError(thrown);
      log.error('nobody can write to a volume yet: it is tried again', { target, error });
      if (now() > end) return false;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
};
