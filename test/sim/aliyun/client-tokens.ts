import { ApiError } from '../core/api.ts';
import { TokenMemory } from '../core/token-memory.ts';
import { usual } from './gateway.ts';
import type { Asker, Parameters } from './parameters.ts';
import type { Routing } from './routing.ts';
import type { World } from './world.ts';

/** `ClientToken` of CreateRouteEntry; the batch actions and ModifyRouteEntry have none. */
export class ClientTokens {
  readonly #routing: Routing;
  readonly #done: TokenMemory<string>;

  constructor(world: World, routing: Routing) {
    this.#routing = routing;
    this.#done = new TokenMemory(world.core.clock);
  }

  /** The id of the entry that a request with this token made already. */
  recall(parameters: Parameters, { caller }: Asker): string | undefined {
    const { ClientToken: token = '', ...rest } = parameters;
    if (token === '') return undefined;
    if (token.length > 64 || !/^[\x20-\x7e]+$/.test(token)) {
      throw new ApiError('InvalidClientToken', 'Specified parameter ClientToken is not valid.');
    }
    const found = this.#done.recall(`${caller} CreateRouteEntry`, token, rest);
    if (found === undefined) return undefined;
    if (found === 'mismatch') {
      throw new ApiError(
        'IdempotentParameterMismatch',
        'The request uses the same client token as a previous, but non-identical request. Do not reuse a client token with different requests, unless the requests are identical.',
      );
    }
    if (this.#routing.isPending(found.result)) throw usual('LastTokenProcessing');
    return found.result;
  }

  remember(parameters: Parameters, { caller }: Asker, id: string): void {
    const { ClientToken: token = '', ...rest } = parameters;
    if (token !== '') this.#done.remember(`${caller} CreateRouteEntry`, token, rest, id);
  }
}
