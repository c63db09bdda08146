/** A simulated OSS: strict enough for the vendor's client unmodified, in both versions of its signatures. */
import type { Credential } from '../core/credentials.ts';
import type { Bucket } from '../objects/bucket.ts';
import type { ObjectService } from '../objects/service.ts';
import { ObjectSim, type ObjectSimConfig } from '../objects/simulator.ts';
import { ossService } from './service.ts';
import { OssWorld } from './world.ts';

export class OssSim extends ObjectSim {
  readonly world: OssWorld;

  constructor(config: ObjectSimConfig = {}) {
    super(config, { lasting: 'LTAI', temporary: 'STS.' }, 'cn-hangzhou');
    this.world = new OssWorld(this.region, this.core.clock);
    for (const name of config.buckets ?? []) this.world.addBucket(name);
  }

  get buckets(): ReadonlyMap<string, Bucket> {
    return this.world.buckets;
  }

  /** Makes it when it is not there. A bucket of another region is told to be at that region's endpoint. */
  bucket(name: string, region?: string): Bucket {
    return this.world.buckets.get(name) ?? this.world.addBucket(name, region);
  }

  /** The next so many writes of bytes are answered with a wrong checksum, as if something else had arrived. */
  damage(times: number): void {
    this.world.damaged = times;
  }

  /** Somebody else has a bucket of that name. */
  taken(name: string): void {
    this.world.taken.add(name);
  }

  /** Other limits, such as parts of 1 KiB: to test uploads in parts with little. */
  limits(limits: Partial<OssWorld['limits']>): void {
    Object.assign(this.world.limits, limits);
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

  protected service(): ObjectService {
    const { world, denied, open, region } = this;
    const own = [`oss-${region}.aliyuncs.com`, `oss-${region}-internal.aliyuncs.com`];
    return ossService({ world, credentials: this.core.credentials, denied, open, domains: [...own, ...this.domains] });
  }

  protected verbs() {
    return {
      make: ({ name, region }: { name: string; region?: string }) => {
        this.bucket(name, region);
      },
      damage: ({ times }: { times: number }) => this.damage(times),
      taken: ({ name }: { name: string }) => this.taken(name),
      limits: (limits: Partial<OssWorld['limits']>) => this.limits(limits),
    };
  }
}

/** Starts a simulator on a free port of 127.0.0.1, or where the configuration says. `close` it. */
export async function startOssSim(config: ObjectSimConfig = {}): Promise<OssSim> {
  const sim = new OssSim(config);
  try {
    await sim.start(config);
  } catch (error) {
    await sim.close();
    throw error;
  }
  return sim;
}
