import type { FileSystem, MountTarget } from '../../shared/cloud/aws/share-model.ts';
import { isShareRefusal } from '../../shared/cloud/aws/shares.ts';
import { type Context, now } from '../../shared/context.ts';
import { PluginError } from '../../shared/errors.ts';
import { type Look, onceInAWhile, until } from '../../shared/looking.ts';
import type { EfsMaking } from './efs-making.ts';
import type { EfsPlace } from './efs-place.ts';

/** So many of this host's security groups are given to a mount target; EFS takes no more. */
const MOST_GROUPS = 5;

/** By which address this host reaches a file system, and from where that is. */
export interface Reached {
  readonly address: string;
  readonly zone: string;
}

/**
 * Mount targets: one for each zone and file system, and all of one VPC. One that is missing in this host's zone is made in
 * this host's subnet, with this host's security groups; of hosts that do so at once EFS refuses all but one.
 */
export class EfsReaching {
  readonly #place: EfsPlace;
  readonly #making: EfsMaking;
  readonly #missingMs: number;
  /** By file system: what is being waited for. */
  readonly #waits = new Map<string, { readonly since: number; readonly reason: string }>();

  /** `missingMs`: how long is looked for a file system before it counts as missing: another host may just have made it. */
  constructor(place: EfsPlace, making: EfsMaking, missingMs: number) {
    this.#missingMs = missingMs;
    this.#place = place;
    this.#making = making;
  }

  /** What is being waited for, in words. */
  progress(fileSystem: string): string | undefined {
    const wait = this.#waits.get(fileSystem);
    return wait === undefined ? undefined : `${wait.reason}, for ${Math.round((now() - wait.since) / 1000)} s so far`;
  }

  /** Errors: SHARE_MISSING, BACKEND_REFUSED, STILL_WORKING, DEADLINE; PROVIDER_*. */
  async reach(fileSystem: string, c: Context): Promise<Reached> {
    const tell = (reason: string): void => {
      const { since = now() } = this.#waits.get(fileSystem) ?? {};
      this.#waits.set(fileSystem, { since, reason });
    };
    const waits = <T>(look: (says: (reason: string) => void) => Promise<Look<T>>): Promise<T> =>
      until(`to reach file system ${fileSystem}`, c, (says) =>
        look((reason) => {
          tell(reason);
          says(reason);
        }),
      );
    try {
      const begun = now();
      const found = await waits((says) => this.#lookAt(fileSystem, now() - begun, says, c));
      const look = this.#lookForTarget(found, c);
      const target = await waits(look);
      this.#waits.delete(fileSystem);
      return target;
    } catch (error) {
      // EFS goes on with what was begun; who comes back should find out for how long.
      if (!(error instanceof PluginError && (error.code === 'STILL_WORKING' || error.code === 'DEADLINE'))) {
        this.#waits.delete(fileSystem);
      }
      throw error;
    }
  }

  async #lookAt(
    id: string,
    lookedForMs: number,
    says: (reason: string) => void,
    c: Context,
  ): Promise<Look<FileSystem>> {
    const found = await this.#place.efs.call('DescribeFileSystems', { id }, c);
    if (found?.state === 'available' || found?.state === 'updating') return { done: found };
    if (found?.state === 'creating' || (found === undefined && this.#making.isYoung(id))) {
      says('the file system is being made');
      return 'wait';
    }
    if (found === undefined && lookedForMs < this.#missingMs) return 'wait';
    const { region } = this.#place.self;
    if (found?.state === 'error') throw refused(`to use file system ${id}`, 'it is in the state "error"');
    const reason =
      found === undefined
        ? `there is no such file system in ${region}, or it is another account's`
        : 'it is being deleted';
    throw new PluginError('SHARE_MISSING', { share: id, reason });
  }

  /** The steps from nothing to a mount target that can be used. */
  #lookForTarget(file: FileSystem, c: Context): (says: (reason: string) => void) => Promise<Look<Reached>> {
    const { efs, self } = this.#place;
    const once = onceInAWhile();
    let refusal: PluginError | undefined;
    return async (says) => {
      const all = await this.#targets(file.id, c);
      const near = all.find((one) => isIn(one, self));
      if (near !== undefined && near.state !== 'error') {
        const reached = usable(near);
        if (reached !== undefined) return { done: reached };
        says(`mount target ${near.id} in ${near.zone} is ${near.state}`);
        return 'wait';
      }
      const cannot = refusal?.message ?? this.#obstacle(file, all, near);
      if (cannot === undefined) {
        try {
          says(`a mount target in ${self.zone} is being made`);
          const isDone = await once(async () => {
            const { subnet, securityGroups } = self;
            const groups = securityGroups.slice(0, MOST_GROUPS);
            const made = await efs.call(
              'CreateMountTarget',
              { fileSystem: file.id, subnet, securityGroups: groups },
              c,
            );
            c.log.info('made a mount target', { fileSystem: file.id, mountTarget: made.id, zone: self.zone, groups });
          });
          return isDone ? 'again' : 'wait';
        } catch (error) {
          // Another host was quicker, or an answer was lost: it will show.
          if (isShareRefusal(error, 'target-exists', 'share-state', 'share-missing')) return 'wait';
          if (!isFinal(error)) throw error;
          refusal = error;
        }
      }
      return this.#other(file, all, cannot ?? refusal?.message ?? '', refusal, says, c);
    };
  }

  /** One of another zone, where this host's cannot have any: slower and not free of charge, but it works. */
  #other(
    file: FileSystem,
    all: readonly MountTarget[],
    why: string,
    refusal: PluginError | undefined,
    says: (reason: string) => void,
    c: Context,
  ): Look<Reached> {
    const { zone } = this.#place.self;
    const sorted = all.toSorted((a, b) => a.id.localeCompare(b.id));
    const found = sorted.map(usable).find((one) => one !== undefined);
    if (found !== undefined) {
      c.log.warn('a file system is reached through another zone', {
        fileSystem: file.id,
        through: found.zone,
        zone,
        why,
      });
      return { done: found };
    }
    const coming = sorted.find(({ state }) => state === 'creating' || state === 'updating');
    if (coming !== undefined) {
      says(`mount target ${coming.id} in ${coming.zone} is ${coming.state}`);
      return 'wait';
    }
    if (refusal !== undefined) throw refusal;
    throw refused(`to reach file system ${file.id} from ${zone}`, why);
  }

  /** Why this host must not make a mount target in its zone. */
  #obstacle(file: FileSystem, all: readonly MountTarget[], near: MountTarget | undefined): string | undefined {
    const { vpc, zone } = this.#place.self;
    const elsewhere = all.find((one) => one.vpc !== vpc);
    if (elsewhere !== undefined) return `its mount targets are in ${elsewhere.vpc}, and this host is in ${vpc}`;
    if (near !== undefined) return `its mount target ${near.id} in ${zone} has failed: delete it`;
    if (file.zone === undefined || file.zone === zone) return undefined;
    return `it is kept in ${file.zone} only, and has no mount target there`;
  }

  async #targets(fileSystem: string, c: Context): Promise<readonly MountTarget[]> {
    try {
      const all = await this.#place.efs.call('DescribeMountTargets', { fileSystem }, c);
      return all.filter(({ state }) => state !== 'deleted');
    } catch (error) {
      // It was there a moment ago: this answer is older.
      if (isShareRefusal(error, 'share-missing')) return [];
      throw error;
    }
  }
}

const isIn = (target: MountTarget, self: { readonly zone: string; readonly zoneId: string }): boolean =>
  self.zoneId !== '' && target.zoneId !== '' ? target.zoneId === self.zoneId : target.zone === self.zone;

const usable = ({ state, address, zone }: MountTarget): Reached | undefined =>
  (state === 'available' || state === 'updating') && address !== undefined ? { address, zone } : undefined;

/** What asking again does not change. */
const isFinal = (error: unknown): error is PluginError =>
  error instanceof PluginError && (error.code === 'PROVIDER_PERMISSION' || error.code === 'PROVIDER_REFUSED');

const refused = (what: string, reason: string): PluginError =>
  new PluginError('BACKEND_REFUSED', { provider: 'efs', what, reason });
