/** A simulated S3: strict about signatures, checksums, conditions and limits, and fast. */
import type { Credential } from '../core/credentials.ts';
import type { Bucket } from '../objects/bucket.ts';
import type { ObjectService } from '../objects/service.ts';
import { ObjectSim, type ObjectSimConfig } from '../objects/simulator.ts';
import { s3Service } from './service.ts';
import { type Elsewhere, type Lacking, type S3Limits, S3World } from './world.ts';

export class S3Sim extends ObjectSim {
  readonly world: S3World;

  constructor(config: ObjectSimConfig = {}) {
    super(config, { lasting: 'AKIA', temporary: 'ASIA' }, 'us-east-1');
    this.world = new S3World(this.region, this.core.clock, config.fastEtags ?? false);
    for (const name of config.buckets ?? []) this.world.addBucket(name);
  }

  get buckets(): ReadonlyMap<string, Bucket> {
    return this.world.buckets;
  }

  /** Makes it when it is not there. A bucket of another region wants requests that are signed for that. */
  bucket(name: string, region?: string): Bucket {
    return this.world.buckets.get(name) ?? this.world.addBucket(name, region);
  }

  /** The bucket answers with 301 or 307, whatever requests are signed for; undefined: it is here. */
  elsewhere(name: string, how: Elsewhere | undefined): void {
    if (how === undefined) this.world.elsewhere.delete(name);
    else this.world.elsewhere.set(name, how);
  }

  /** Conditional headers or calls that this vendor does not have. */
  lack(lacking: Partial<Omit<Lacking, 'actions'>> & { readonly actions?: readonly string[] }): void {
    const { actions, ...conditions } = lacking;
    Object.assign(this.world.lacking, conditions);
    for (const action of actions ?? []) this.world.lacking.actions.add(action);
  }

  /** Other limits, such as parts of 64 KiB: to test uploads in parts with little. */
  limits(limits: Partial<S3Limits>): void {
    Object.assign(this.world.limits, limits);
  }

  /** Somebody else has a bucket of that name. */
  taken(name: string): void {
    this.world.taken.add(name);
  }

  environment(key?: Credential): Record<string, string> {
    const { id, secret, token } = key ?? {};
    return {
      AWS_REGION: this.region,
      AWS_DEFAULT_REGION: this.region,
      AWS_ENDPOINT_URL: this.endpoint,
      ...(id && { AWS_ACCESS_KEY_ID: id }),
      ...(secret && { AWS_SECRET_ACCESS_KEY: secret }),
      ...(token && { AWS_SESSION_TOKEN: token }),
    };
  }

  protected service(): ObjectService {
    const { world, denied, open, domains } = this;
    return s3Service({ world, credentials: this.core.credentials, denied, open, domains });
  }

  protected verbs() {
    return {
      make: ({ name, region }: { name: string; region?: string }) => {
        this.bucket(name, region);
      },
      elsewhere: ({ name, how }: { name: string; how?: Elsewhere }) => this.elsewhere(name, how),
      lack: (lacking: Parameters<S3Sim['lack']>[0]) => this.lack(lacking),
      limits: (limits: Partial<S3Limits>) => this.limits(limits),
      taken: ({ name }: { name: string }) => this.taken(name),
    };
  }
}

/** Starts a simulator on a free port of 127.0.0.1, or where the configuration says. `close` it. */
export async function startS3Sim(config: ObjectSimConfig = {}): Promise<S3Sim> {
  const sim = new S3Sim(config);
  try {
    await sim.start(config);
  } catch (error) {
    await sim.close();
    throw error;
  }
  return sim;
}
