/** A simulated OSS: strict enough for the vendor's client unmodified, in both versions of its signatures. */
import type { Credential } from '../core/credentials.ts';
import { started } from '../core/started.ts';
import type { ObjectService } from '../objects/service.ts';
import { ObjectSim, type ObjectSimConfig } from '../objects/simulator.ts';
import type { ServiceParts } from '../objects/store-service.ts';
import { ossService } from './service.ts';
import { OssWorld } from './world.ts';

/** Who asks for its buckets of other regions is told to go to those regions' endpoints. */
export class OssSim extends ObjectSim<OssWorld> {
  constructor(config: ObjectSimConfig = {}) {
    super(config, {
      keys: { lasting: 'LTAI', temporary: 'STS.' },
      region: 'cn-hangzhou',
      world: (region, clock) => new OssWorld(region, clock),
    });
  }

  /** The next so many writes of bytes are answered with a wrong checksum, as if something else had arrived. */
  damage(times: number): void {
    this.world.damaged = times;
  }

  environment(key?: Credential): Record<string, string> {
    const { id, secret, token } = key ?? {};
    return {
      OSS_REGION: this.region,
      OSS_ENDPOINT: this.endpoint,
      ...(id && { OSS_ACCESS_KEY_ID: id }),
      ...(secret && { OSS_ACCESS_KEY_SECRET: secret }),
      ...(token && { OSS_SESSION_TOKEN: token }),
    };
  }

  protected service(parts: ServiceParts<OssWorld>): ObjectService {
    const own = ['', '-internal'].map((end) => `oss-${this.region}${end}.aliyuncs.com`);
    return ossService({ ...parts, domains: [...own, ...parts.domains] });
  }

  protected verbs() {
    return { damage: ({ times }: { times: number }) => this.damage(times) };
  }
}

/** Starts a simulator on a free port of 127.0.0.1, or where the configuration says. `close` it. */
export const startOssSim = (config: ObjectSimConfig = {}): Promise<OssSim> => started(new OssSim(config), config);
