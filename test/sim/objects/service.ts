/** What every simulated object store does with a request: log it, put faults on it, look at who asks, perform, answer after the latency. */
import type { CallLog } from '../core/call-log.ts';
import type { Clock } from '../core/clock.ts';
import type { Credential, Credentials } from '../core/credentials.ts';
import type { Faults, ObjectFault } from '../core/faults.ts';
import type { Ids } from '../core/ids.ts';
import { Cut, strike, type Victim } from '../core/striking.ts';
import type { ObjectHandler, ObjectReply, ObjectRequest, Spoiling } from './message.ts';
import { Refusal } from './refusal.ts';

export interface ObjectCore {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly credentials: Credentials;
  readonly faults: Faults<ObjectFault>;
  readonly calls: CallLog;
  /** Calls by action since the start or the last `clear`. */
  readonly counts: Map<string, number>;
  /** Milliseconds from the end of a request to its answer; by action, and `*` for those without their own. */
  readonly latency: Map<string, number>;
}

/** A request that was understood. */
export interface ObjectCall {
  readonly action: string;
  /** '' for what is about no bucket. */
  readonly bucket: string;
  readonly key: string;
  readonly requestId: string;
  readonly request: ObjectRequest;
  /** The body, without the coding that clients may put on it. Set by `authenticate`. */
  body: readonly Buffer[];
}

/** One store in a vendor's dialect. Its functions throw Refusal. */
export interface ObjectService {
  /** As calls and faults name it: `s3`. */
  readonly name: string;
  decode(request: ObjectRequest, requestId: string): ObjectCall;
  /** Who asks, with everything that is checked before the request is looked at. Undefined: nobody in particular. */
  authenticate(call: ObjectCall): Credential | undefined;
  perform(call: ObjectCall, credential: Credential | undefined): ObjectReply | Promise<ObjectReply>;
  /** The refusal with that code in the vendor's words: for faults. */
  named(code: string, status?: number, message?: string): Refusal;
  /** Codes that the faults `throttle` and `unavailable` stand for. */
  readonly busy: { readonly throttle: string; readonly unavailable: string };
  encodeError(refusal: Refusal, call: ObjectCall): ObjectReply;
  /** Of every answer. */
  headers(requestId: string): Readonly<Record<string, string>>;
}

/** What is left to be done to the answer. */
interface Struck {
  spoiling?: Spoiling;
  /** The code of the error that is in the body. */
  late?: string;
  lost: boolean;
  caller: string;
  kinds: readonly string[];
}

const victimOf = (service: ObjectService, call: ObjectCall): Victim => ({
  gone: call.request.gone,
  authenticate: () => service.authenticate(call),
  refusal: (fault) =>
    fault.kind === 'fail'
      ? service.named(fault.code, fault.status, fault.message)
      : service.named(service.busy[fault.kind]),
});

const hit = async (core: ObjectCore, victim: Victim, fault: ObjectFault, struck: Struck): Promise<void> => {
  switch (fault.kind) {
    case 'lose-reply':
      struck.lost = true;
      return;
    case 'late-error':
      struck.late = fault.code;
      return;
    case 'truncate':
    case 'corrupt':
    case 'reset':
      struck.spoiling = fault;
      return;
    default:
      await strike(core, victim, fault);
  }
};

/** Waits until `at` (performance.now()), to about half a millisecond: timers alone come up to 1.2 ms late. */
const until = (at: number): Promise<void> =>
  new Promise((resolve) => {
    const left = at - performance.now();
    if (left < 0.3) resolve();
    else setTimeout(resolve, Math.max(1, Math.round(left - 0.4)));
  });

const perform = async (core: ObjectCore, service: ObjectService, call: ObjectCall, struck: Struck) => {
  const credential = service.authenticate(call);
  const { action, request, bucket, key } = call;
  struck.caller = credential?.id ?? '';
  const faults = core.faults.take({
    service: service.name,
    action,
    caller: struck.caller,
    source: request.source,
    parameters: { bucket, key },
  });
  struck.kinds = faults.map(({ kind }) => kind);
  const victim = victimOf(service, call);
  for (const fault of faults) await hit(core, victim, fault, struck);
  if (struck.late !== undefined) {
    const { body } = service.encodeError(service.named(struck.late), call);
    return { code: struck.late, reply: { status: 200, headers: { 'Content-Type': 'application/xml' }, body } };
  }
  return { code: 'OK', reply: await service.perform(call, credential) };
};

const SAID = /^x-(?:amz|oss)-(request-payer|storage-class|server-side-encryption.*)$/;

/** Who pays, and how an object is to be kept: by the vendor's names without what they begin with. */
const said = ({ headers }: ObjectRequest): Record<string, string> => {
  const found: Record<string, string> = {};
  for (const name in headers) {
    const short = SAID.exec(name)?.[1];
    if (short !== undefined) found[short] = headers[name] ?? '';
  }
  return found;
};

/** The handler to listen with. */
export function objectHandler(core: ObjectCore, service: ObjectService): ObjectHandler {
  return async (request) => {
    const begun = performance.now();
    const requestId = core.ids.upper(16);
    const struck: Struck = { lost: false, caller: '', kinds: [] };
    let call: ObjectCall = { action: '?', bucket: '', key: '', requestId, request, body: request.body };
    let code = 'OK';
    let reply: ObjectReply | undefined;
    let number = 0;
    try {
      try {
        call = service.decode(request, requestId);
      } finally {
        const { action, bucket, key } = call;
        core.counts.set(action, (core.counts.get(action) ?? 0) + 1);
        number = core.calls.begin({
          at: core.clock.now(),
          service: service.name,
          action,
          caller: '',
          source: request.source,
          parameters: { bucket, key, ...said(request) },
          requestId,
        });
      }
      ({ code, reply } = await perform(core, service, call, struck));
    } catch (error) {
      if (error instanceof Cut) code = error.message;
      else if (error instanceof Refusal) {
        code = error.code;
        reply = service.encodeError(error, call);
      } else throw error;
    }
    const latency = core.latency.get(call.action) ?? core.latency.get('*') ?? 0;
    if (latency > 0) await until(begun + latency);
    if (struck.lost) reply = undefined;
    core.calls.note(number, {
      code,
      caller: struck.caller,
      status: reply?.status ?? 0,
      took: performance.now() - begun,
      faults: struck.kinds,
    });
    if (reply === undefined) return undefined;
    // By the simulator's clock: clients learn from it how wrong their own is.
    const headers = { ...service.headers(requestId), Date: new Date(core.clock.now()).toUTCString(), ...reply.headers };
    return { ...reply, headers, ...(struck.spoiling === undefined ? {} : { spoiling: struck.spoiling }) };
  };
}
