/** A simulated S3: strict about signatures, checksums, conditions and limits, and fast. */
import type { Credential } from '../core/credentials.ts';
import { started } from '../core/started.ts';
import type { ObjectService } from '../objects/service.ts';
import { ObjectSim, type ObjectSimConfig } from '../objects/simulator.ts';
import type { ServiceParts } from '../objects/store-service.ts';
import { s3Service } from './service.ts';
import { type Elsewhere, type Lacking, S3World } from './world.ts';

/** Its buckets of other regions want requests that are signed for those. */
export class S3Sim extends ObjectSim<S3World> {
  constructor(config: ObjectSimConfig = {}) {
    super(config, {
      keys: { lasting: 'AKIA', temporary: 'ASIA' },
      region: 'us-east-1',
      world: (region, clock) => new S3World(region, clock, config.fastEtags ?? false),
    });
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

  protected service(parts: ServiceParts<S3World>): ObjectService {
    return s3Service(parts);
  }

  protected verbs() {
    return {
      elsewhere: ({ name, how }: { name: string; how?: Elsewhere }) => this.elsewhere(name, how),
      lack: (lacking: Parameters<S3Sim['lack']>[0]) => this.lack(lacking),
    };
  }
}

/** Starts a simulator on a free port of 127.0.0.1, or where the configuration says. `close` it. */
export const startS3Sim = (config: ObjectSimConfig = {}): Promise<S3Sim> => started(new S3Sim(config), config);
