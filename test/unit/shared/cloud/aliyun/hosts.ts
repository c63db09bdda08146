import { PluginError } from '../../../../../shared/errors.ts';
import type { AliyunSim } from '../../../../sim/aliyun/sim.ts';
import type { Instance } from '../../../../sim/aliyun/world.ts';

/** Hosts of a simulated account, and how plugins get at it from them. */

export const ROLE = 'drayage';

/** One host in each of these vSwitches. */
export const makeHosts = async (sim: AliyunSim, vswitches: readonly string[]) => {
  sim.role({ name: ROLE });
  const instances: Instance[] = [];
  const ways: string[] = [];
  for (const [n, vswitch] of vswitches.entries()) {
    const made = sim.instance({ vswitch, name: `host-${n}`, role: ROLE });
    instances.push(made);
    ways.push(await sim.metadataOf(made.id));
  }
  const instance = (n: number): Instance => {
    const found = instances[n];
    if (found === undefined) throw new Error(`no host ${n}`);
    return found;
  };
  /** Settings of the plugin on host `n`, which has its keys from the role. */
  const settings = (n: number) => ({
    ...{ region: undefined, cloudEndpoint: sim.endpoint, metadataEndpoint: ways[n] },
    ...{ accessKeyId: undefined, accessKeySecret: undefined, securityToken: undefined },
    ...{ credentialsFile: undefined, credentialsProfile: 'default' },
  });
  return { instance, settings };
};

/** What a promise rejects with. */
export const thrown = (work: Promise<unknown>): Promise<PluginError> =>
  work.then(
    () => Promise.reject(new Error('nothing was thrown')),
    (error: unknown) => {
      if (error instanceof PluginError) return error;
      throw error;
    },
  );
