import { isOpen, kindOfError } from '../../shared/cloud/aliyun/errors.ts';
import type { MountTargetInfo } from '../../shared/cloud/aliyun/nas-answers.ts';
import type { AliyunNas } from '../../shared/cloud/aliyun/nas-client.ts';
import type { Context } from '../../shared/context.ts';
import { soon, until } from '../../shared/looking.ts';
import type { NasClaims } from './nas-claims.ts';
import type { Where } from './nas-place.ts';
import { missing, refused } from './nas-refusals.ts';

/** Lets every host of the VPC in, for reading and writing, root as root; operators may put another one in its place. */
const ACCESS_GROUP = 'DEFAULT_VPC_GROUP_NAME';

/** How long what may have been made is looked for. */
const APPEAR_MS = 6_000;

export interface TargetOptions {
  readonly client: () => AliyunNas;
  readonly claims: () => NasClaims;
  readonly where: () => Where;
  readonly appearMs?: number;
}

/** How hosts of a VPC get at a file system: one mount target is for all of it, whatever vSwitch and zone it is in. */
export class NasTargets {
  readonly #options: TargetOptions;

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  /**
   * The host name of the mount target of this host's VPC, made when there is none, once it can be mounted. Errors:
   * SHARE_MISSING, BACKEND_REFUSED, PROVIDER_*, AliyunRefusal, STILL_WORKING.
   */
  async domain(fileSystem: string, says: (what: string) => void, c: Context): Promise<string> {
    const { where } = this.#options;
    const { vpc } = where();
    const what = `bringing file system ${fileSystem} to VPC ${vpc}`;
    return await until(what, c, async (reason) => {
      const say = (text: string): void => {
        reason(text);
        says(text);
      };
      if (!(await this.#isReady(fileSystem, say, c))) return 'wait';
      const targets = await this.#targets(fileSystem, c);
      const active = targets.find(({ domain, status }) => status === 'active' && domain !== '');
      if (active !== undefined) return { done: active.domain };
      const [first] = targets;
      if (first === undefined) {
        say('a mount target is made');
        await this.#ensure(fileSystem, what, c);
        return 'again';
      }
      if (!targets.some(({ status }) => status === 'pending' || status === 'active')) {
        throw refused(
          `file system ${fileSystem}`,
          `its mount target ${first.domain} is ${first.status}: make it active`,
        );
      }
      say(`its mount target is ${first.status}`);
      return 'wait';
    });
  }

  /** Mount targets cannot be made, and lead nowhere, before a file system runs. */
  async #isReady(id: string, say: (what: string) => void, c: Context): Promise<boolean> {
    const { client, where } = this.#options;
    const found = await client().fileSystem(id, c);
    if (found === undefined) throw missing(id, where().region);
    const { status } = found;
    if (status === 'Running' || status === 'Extending') return true;
    if (status !== 'Pending') throw refused(`file system ${id}`, `it is ${status.toLowerCase()}`);
    say(`file system ${id} is ${status}`);
    return false;
  }

  /** Those of this VPC, in an order that is the same for every host. */
  async #targets(fileSystem: string, c: Context): Promise<readonly MountTargetInfo[]> {
    const { client, where } = this.#options;
    const { vpc } = where();
    const found = (await client().targets(fileSystem, c)).filter((one) => one.vpc === vpc && one.status !== 'deleting');
    return found.sort((a, b) => (a.domain < b.domain ? -1 : 1));
  }

  async #ensure(fileSystem: string, what: string, c: Context): Promise<void> {
    const { client, claims, where, appearMs = APPEAR_MS } = this.#options;
    const { vpc, vswitch, region } = where();
    const find = async (): Promise<MountTargetInfo | undefined> => (await this.#targets(fileSystem, c))[0];
    const make = async (): Promise<MountTargetInfo> => {
      for (;;) {
        let refusal: unknown;
        try {
          await client().createTarget({ fileSystem, vpc, vswitch, accessGroup: ACCESS_GROUP }, c);
        } catch (error) {
          refusal = error;
          const kind = kindOfError(error);
          if (kind !== 'quota' && kind !== 'exists' && !isOpen(error)) throw error;
        }
        const made = await soon(appearMs, c, find);
        if (made !== undefined) return made;
        if (kindOfError(refusal) !== 'quota') continue;
        const reason = `it has as many mount targets as it takes, and none of them is in VPC ${vpc}`;
        throw refused(`a mount target of file system ${fileSystem}`, reason, refusal);
      }
    };
    await claims().once({ key: `mount target ${region} ${fileSystem} ${vpc}`, what, find, make }, c);
  }
}
