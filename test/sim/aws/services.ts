/** The services of the simulated account behind one URL. */
import { apiHandler, type Core, type Service } from '../core/api.ts';
import type { HttpHandler } from '../core/http.ts';
import type { Quotas } from '../core/quotas.ts';
import type { Throttle } from '../core/rates.ts';
import { TokenMemory } from '../core/token-memory.ts';
import type { Surroundings } from './action.ts';
import { ec2Service } from './ec2.ts';
import { efsService } from './efs.ts';
import type { FileStorage } from './file-storage.ts';
import { awsQuotas } from './limits.ts';
import { quotasService, stsService } from './side-services.ts';
import { readSignature } from './sigv4.ts';
import type { AwsSimConfig } from './sim.ts';
import type { Storage } from './storage.ts';
import type { World } from './world.ts';

export interface ServiceParts {
  readonly core: Core;
  readonly config: AwsSimConfig;
  readonly world: World;
  readonly quotas: Quotas;
  readonly throttle: Throttle;
  readonly storage: Storage;
  readonly files: FileStorage;
  /** Called after each action that may have changed a route. */
  readonly changed: () => void;
}

/** Sends a request to the service that it was signed for. */
export function awsApi(parts: ServiceParts): HttpHandler {
  const { core, config, world, quotas, throttle, storage, files, changed } = parts;
  const { skewMs = 5 * 60_000, pageSize = 1000 } = config;
  const tokens: Surroundings['tokens'] = new TokenMemory(core.clock);
  const around = { world, quotas, tokens, pageSize, storage, now: () => core.clock.now() };
  const handler = <R>(service: Service<R>) => apiHandler(core, service);
  const ec2 = handler(ec2Service(core, around, throttle, skewMs, changed));
  const others: Readonly<Record<string, HttpHandler>> = {
    sts: handler(stsService(core, world, skewMs)),
    elasticfilesystem: handler(efsService(core, { world, quotas, pageSize, files }, throttle, skewMs)),
    servicequotas: handler(quotasService(core, world, quotas, awsQuotas, skewMs)),
  };
  return (request) => (others[readSignature(request)?.service ?? ''] ?? ec2)(request);
}
