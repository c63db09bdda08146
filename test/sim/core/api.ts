/** What every simulated API does with a request: log it, look at who asks, put faults on it, throttle, authorise, perform, answer. */
import type { CallLog } from './call-log.ts';
import type { Clock } from './clock.ts';
import type { Credential, Credentials } from './credentials.ts';
import type { Faults } from './faults.ts';
import type { HttpHandler, HttpReply, HttpRequest } from './http.ts';
import type { Ids } from './ids.ts';
import type { Throttle } from './rates.ts';
import type { RoutePublisher } from './routes.ts';
import { Cut, strike, type Victim } from './striking.ts';

/** A refusal in the cloud's own words. */
export class ApiError extends Error {
  readonly code: string;
  /** HTTP status. */
  readonly status: number;
  constructor(code: string, message: string, status = 400) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
  }
}

/** A request that was understood. */
export interface ApiCall {
  readonly action: string;
  /** Flat, as sent: `Filter.1.Name`. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly requestId: string;
  readonly request: HttpRequest;
}

/** What all services of one simulated cloud share. */
export interface Core {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly credentials: Credentials;
  readonly faults: Faults;
  readonly calls: CallLog;
  readonly routes: RoutePublisher;
}

/** One service in a vendor's dialect. Its functions throw ApiError to refuse. */
export interface Service<R> {
  /** As calls and faults name it: `ec2`. */
  readonly name: string;
  /** Buckets; none for a service without throttling. */
  readonly throttle?: Throttle;
  decode(request: HttpRequest): { action: string; parameters: Record<string, string> };
  /** Who asks, signature and expiry checked. Undefined where the service asks for no credentials. */
  authenticate(call: ApiCall): Credential | undefined;
  /** The refusals that the core makes; each in the vendor's words. */
  readonly refusals: {
    throttled(call: ApiCall): ApiError;
    unavailable(call: ApiCall): ApiError;
    forbidden(call: ApiCall, credential: Credential): ApiError;
    /** For the fault `fail` without status or message. */
    named(code: string, call: ApiCall): ApiError;
  };
  /** Does it. `credential` is whom `authenticate` found; the core has checked that `<name>:<action>` is allowed. */
  perform(call: ApiCall, credential: Credential | undefined): R | Promise<R>;
  encode(result: R, call: ApiCall): HttpReply;
  encodeError(error: ApiError, call: ApiCall): HttpReply;
}

const victimOf = <R>(service: Service<R>, call: ApiCall): Victim => ({
  gone: call.request.gone,
  authenticate: () => service.authenticate(call),
  refusal: (fault) => {
    const { refusals } = service;
    if (fault.kind !== 'fail') return fault.kind === 'throttle' ? refusals.throttled(call) : refusals.unavailable(call);
    const usual = refusals.named(fault.code, call);
    return new ApiError(fault.code, fault.message ?? usual.message, fault.status ?? usual.status);
  },
});

/** The handler to `listen` with. */
export function apiHandler<R>(core: Core, service: Service<R>): HttpHandler {
  return async (request) => {
    const requestId = core.ids.uuid();
    const begun = core.clock.now();
    const { source } = request;
    let call: ApiCall = { action: '?', parameters: {}, requestId, request };
    const number = core.calls.begin({
      at: begun,
      service: service.name,
      action: '?',
      caller: '',
      source,
      parameters: {},
      requestId,
    });
    const end = (code: string, reply: HttpReply | undefined): HttpReply | undefined => {
      core.calls.note(number, { code, status: reply?.status ?? 0, took: core.clock.now() - begun });
      // By the simulator's clock: SDKs learn from it how wrong their own is.
      const dated = { Date: new Date(core.clock.now()).toUTCString(), ...reply?.headers };
      return reply === undefined ? undefined : { ...reply, headers: dated };
    };
    try {
      call = { ...call, ...service.decode(request) };
      core.calls.note(number, { action: call.action, parameters: call.parameters });
      const credential = service.authenticate(call);
      const caller = credential?.id ?? '';
      core.calls.note(number, { caller });
      const { action, parameters } = call;
      const faults = core.faults.take({ service: service.name, action, caller, source, parameters });
      core.calls.note(number, { faults: faults.map(({ kind }) => kind) });
      for (const fault of faults) await strike(core, victimOf(service, call), fault);
      if (service.throttle?.take(action) === false) throw service.refusals.throttled(call);
      if (credential !== undefined && !core.credentials.allows(credential, `${service.name}:${action}`)) {
        throw service.refusals.forbidden(call, credential);
      }
      let reply: HttpReply;
      let code = 'OK';
      try {
        reply = service.encode(await service.perform(call, credential), call);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        code = error.code;
        reply = service.encodeError(error, call);
      }
      await core.routes.settled();
      return end(code, faults.some(({ kind }) => kind === 'lose-reply') ? undefined : reply);
    } catch (error) {
      if (error instanceof Cut) return end(error.message, undefined);
      if (error instanceof ApiError) return end(error.code, service.encodeError(error, call));
      end('simulator', undefined);
      throw error;
    }
  };
}
